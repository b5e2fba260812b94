"""What is wrong with a dataset's files, collected so that an error tells all of it at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mfv_dsl.base.errors import MfvError

SHOWN = 20  # findings an error lists; `mfv data check` lists all


@dataclass(frozen=True)
class Finding:
    """A mistake or an oddity in a dataset's files; ``place`` is a line, an image, or empty where it
    is the whole dataset."""

    severity: Literal["error", "warning"]
    code: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order of their lines: by place, with numbers in it taken as numbers."""

    def key(finding: Finding) -> list[tuple[int, str]]:
        parts = re.split(r"([0-9]{1,18})", finding.place)
        return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)]

    return tuple(sorted(findings, key=key))


def refuse_errors(name: str, findings: Sequence[Finding]) -> None:
    """Raise one MfvError with everything among ``findings`` that is an error, if anything is.

    Its code is that of the first.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    if len(errors) == 1:
        raise MfvError(errors[0].code, f"{name}: {errors[0]}")
    notes = [str(error) for error in errors[:SHOWN]]
    if len(errors) > SHOWN:
        notes.append(f"and {len(errors) - SHOWN:,} more: `mfv data check` lists all")
    raise MfvError(errors[0].code, f"{len(errors):,} mistakes in {name}", notes=notes)


def listed(names: Sequence[str]) -> str:
    """The first of ``names``, and how many more there are."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
