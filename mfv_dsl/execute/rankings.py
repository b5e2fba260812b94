"""The scores of heads that a run has (``heads.csv``), apart by how heads were ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.columns import cell

Line = Mapping[str, Any]
#: The columns of ``heads.csv`` that are no setting of a ranking.
NO_SETTING = ("run", "step", "relation", "by", "layer", "head", "score", "low", "high", "p",
              "p_holm", "q_bh", "accuracy_change", "n")  # fmt: skip
#: Settings whose values say by themselves what they are of.
_PLAIN = ("run", "by", "model", "dataset")


@dataclass(frozen=True)
class Ranking:
    """One way of ranking heads: ``apart``, which settings tell it from others, as texts by name
    (nothing where it is the only one), and its lines, one for each head and relation."""

    apart: Mapping[str, str]
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What tells it from others, in words; empty where it is the only one."""
        return ", ".join(
            text if name in _PLAIN else f"{name} {text}" for name, text in self.apart.items()
        )

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations that heads were ranked on."""
        return tuple(dict.fromkeys(line["relation"] for line in self.lines))


def rankings(lines: Iterable[Line]) -> list[Ranking]:
    """Lines of ``heads.csv``, of one run or (with a column ``run``) several, by how heads were
    ranked: by their run, what they are ranked by, and every setting that has a column."""
    groups: dict[tuple[tuple[str, str], ...], list[Line]] = {}
    for line in lines:
        settings = {
            name: cell(line[name])
            for name in line
            if name not in NO_SETTING and line[name] is not None
        }
        run = {"run": str(line["run"])} if "run" in line else {}
        how = {**run, "by": str(line["by"]), **settings}
        groups.setdefault(tuple(how.items()), []).append(line)
    ways = [dict(how) for how in groups]
    names = dict.fromkeys(name for way in ways for name in way)
    apart = [name for name in names if len({way.get(name) for way in ways}) > 1]
    return [
        Ranking({name: way[name] for name in apart if name in way}, tuple(own))
        for way, own in zip(ways, groups.values(), strict=True)
    ]
