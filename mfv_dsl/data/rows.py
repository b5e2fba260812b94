"""The rows of a dataset's files, and what is wrong with them, whatever the format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mfv_dsl.base.texts import excerpt
from mfv_dsl.data.choices import LONGEST_TEXT, Choice
from mfv_dsl.data.findings import Finding, listed
from mfv_dsl.data.marks import differing_by_case, is_blank, mark_in
from mfv_dsl.data.names import relation_name

#: Characters of a name at most; a longer one is a broken file, not an object.
LONGEST_NAME = 500
#: Characters of a relation at most, as of every name in a recipe.
LONGEST_RELATION = 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # as a recipe writes a relation


@dataclass(frozen=True)
class ItemRow:
    """One item as a reader gives it; ``place`` is where it stands in the file."""

    place: str
    image: str
    query: str
    answer: str
    relation: str
    split: str | None = None
    choice: Choice | None = None


def bad_names(rows: Sequence[ItemRow]) -> list[Finding]:
    """Names that are blank or endless, or that models would read as their marks."""
    findings = []
    for row in rows:
        for what, name in (("query", row.query), ("answer", row.answer)):
            if is_blank(name):
                message = f"`{what}` missing or empty"
            elif len(name) > (LONGEST_NAME if row.choice is None else LONGEST_TEXT):
                message = f"`{what}` has {len(name):,} characters, which is no name of an object"
            elif (mark := mark_in(name)) is not None:
                message = f"`{what}` holds `{mark}`, which models read as a mark, not as a name"
            else:
                continue
            findings.append(Finding("error", "MFV7107", row.place, message))
    return findings


def without_choice(rows: Sequence[ItemRow]) -> list[Finding]:
    """A warning of rows without options, where others have some: none can be asked by options."""
    lacking = [row for row in rows if row.choice is None]
    if not lacking or len(lacking) == len(rows):
        return []
    what = f"has no options, and {len(rows) - len(lacking):,} of {len(rows):,} items have some"
    return [Finding("warning", "MFV7161", lacking[0].place, what)]


def is_relation(name: str) -> bool:
    """Whether a recipe can name a relation so."""
    return bool(_NAME.fullmatch(name)) and name != "each" and len(name) <= LONGEST_RELATION


def bad_relations(rows: Sequence[ItemRow]) -> list[Finding]:
    """Relations that a recipe cannot name."""
    findings = []
    for name, row in {row.relation: row for row in reversed(rows)}.items():
        if len(name) > LONGEST_RELATION:
            what = f"a recipe cannot name a relation of {len(name):,} characters"
            findings.append(Finding("error", "MFV7107", row.place, what))
        elif not is_relation(name):
            better = relation_name(name)
            what = f"a recipe cannot name the relation `{excerpt(name)}`"
            if is_relation(better):
                what += f"; call it `{excerpt(better)}`"
            findings.append(Finding("error", "MFV7107", row.place, what))
    return findings


def twin_relations(rows: Sequence[ItemRow]) -> list[Finding]:
    """Warnings of relations that may be one, spelled in two ways."""
    first = {row.relation: row for row in reversed(rows)}
    findings = []
    for group in differing_by_case(first, _folded):
        what = f"these relations are told apart: {listed(group)}; if they are one, spell it alike"
        place = first[group[-1]].place
        findings.append(Finding("warning", "MFV7131", place, what))
    return findings


def _folded(relation: str) -> str:
    return relation_name(relation).casefold().replace("_", "")


def repeats(rows: Sequence[ItemRow]) -> list[Finding]:
    """Rows that say again what another said, or that contradict it."""
    first_rows: dict[tuple[str, str, str], ItemRow] = {}
    findings = []
    for row in rows:
        first = first_rows.setdefault((row.image, row.query, row.relation), row)
        if first is row:
            continue
        what = f"says the same as {first.place}"
        if first.answer != row.answer:
            what = f"gives `{row.answer}` where {first.place} gives `{first.answer}`"
        findings.append(Finding("error", "MFV7107", row.place, what))
    return findings
