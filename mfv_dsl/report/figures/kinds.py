"""Every kind of figure of a run: which table it is made of, what it can be told, what draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mfv_dsl.base.columns import MEAN, free_name
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.report.effects import effects_of
from mfv_dsl.report.figures.accuracy import accuracy_figure, sweepable
from mfv_dsl.report.figures.bars import evals_figure
from mfv_dsl.report.figures.conditions import Row, measured
from mfv_dsl.report.figures.heads import heads_figure
from mfv_dsl.report.figures.matrices import confusion_figure, similarity_figure
from mfv_dsl.report.figures.selection import selected
from mfv_dsl.report.figures.style import COLUMN, Drawing
from mfv_dsl.report.figures.training import norms_figure, tuning_figure

Drawn = tuple[Drawing, np.ndarray[Any, Any]]
_MOST_PANELS = 12


@dataclass(frozen=True)
class Wish:
    """What is asked of a figure; what is left out follows from the rows.

    ``evals`` and ``relations`` are kept, and of ``where`` by column; ``x`` runs along, ``value``
    runs up; ``width`` in inches.
    """

    evals: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    x: str | None = None
    value: str | None = None
    width: float = COLUMN

    def given(self) -> list[str]:
        """The names of the options that are given, but for the width, which all kinds take."""
        return [name for name in ("evals", "relations", "where", "x", "value")
                if getattr(self, name)]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of figure.  ``lacks`` says of the lines of its ``table`` why they cannot be drawn,
    empty where they can."""

    name: str
    doc: str
    table: str
    options: tuple[str, ...]
    draw: Callable[[Sequence[Row], Wish], Drawn]
    lacks: Callable[[Sequence[Row]], str]

    def figure(self, rows: Sequence[Row], wish: Wish) -> Drawn:
        """The figure of the lines of its table.  Raises MfvError: MFV6130 where there is nothing to
        draw, MFV6131 for an option that it does not take, or what no line has."""
        for name in wish.given():
            if name not in self.options:
                raise MfvError(
                    "MFV6131", f"figures of the kind `{self.name}` take no {_OPTION[name]}",
                    help=f"they take: {', '.join(_OPTION[one] for one in self.options)}",
                )  # fmt: skip
        if why := self.lacks(rows):
            raise MfvError("MFV6130", f"there is no figure of the kind `{self.name}`: {why}")
        where = dict(wish.where)
        if wish.evals:
            where["eval"] = wish.evals
        if wish.relations and self.name != "aie":
            where["relation"] = wish.relations
        return self.draw(selected(rows, where), wish)


_OPTION = {"evals": "--eval", "relations": "--relation", "where": "--where", "x": "--x",
           "value": "--value"}  # fmt: skip


def _aie(rows: Sequence[Row], wish: Wish) -> Drawn:
    value = wish.value or "score"
    if value not in ("score", "accuracy_change") or all(row.get(value) is None for row in rows):
        raise MfvError(
            "MFV6131", f"the heads have no value `{value}`",
            help="there are: score, and where answers were looked at accuracy_change",
        )  # fmt: skip
    ways = list(dict.fromkeys(row["by"] for row in rows))
    kept = [row for row in rows if row["by"] == ways[0]]
    others = ", ".join(ways[1:])
    note = f"Heads were also ranked by {others}: --where by={ways[1]}." if others else ""
    groups = effects_of(kept, value)
    first = next(iter(groups.values()))
    layers = tuple(sorted({layer for one in groups.values() for layer in one.layers}))
    heads = tuple(sorted({head for one in groups.values() for head in one.heads}))
    panels: dict[str, np.ndarray] = {}
    for title, effects in groups.items():
        mean = free_name(MEAN, effects.relations)
        wanted: Sequence[str] = wish.relations
        if not wanted:
            several = len(effects.relations) > 1
            wanted = [*effects.relations, *([mean] if several else [])]
            if len(wanted) * len(groups) > _MOST_PANELS:
                note = f"{note} Means over {len(effects.relations)} relations.".strip()
                wanted = [mean]
        for relation in wanted:
            values = effects.mean if relation == mean else effects[relation]
            whole = np.full((len(layers), len(heads)), np.nan)
            rows_of = [layers.index(layer) for layer in effects.layers]
            columns = [heads.index(head) for head in effects.heads]
            whole[np.ix_(rows_of, columns)] = values
            panels[", ".join(filter(None, (title, relation)))] = whole
    if len(panels) > 3 * _MOST_PANELS:
        raise MfvError(
            "MFV6132", f"{len(panels)} heat maps are too many for one figure",
            help="choose some by --where or --relation",
        )  # fmt: skip
    unit = first.by if value == "score" else "change of accuracy with the head in place"
    return heads_figure(panels, layers, heads, unit, wish.width, note)


def _accuracy(rows: Sequence[Row], wish: Wish) -> Drawn:
    return accuracy_figure(rows, wish.x, wish.value or "accuracy", wish.width)


def _evals(rows: Sequence[Row], wish: Wish) -> Drawn:
    value = wish.value or "accuracy"
    if value == "difference" or value.startswith("vs_"):
        return evals_figure(rows, "accuracy", value, wish.width)
    return evals_figure(rows, value, width=wish.width)


def _confusion(rows: Sequence[Row], wish: Wish) -> Drawn:
    return confusion_figure(rows, wish.width)


def _similarity(rows: Sequence[Row], wish: Wish) -> Drawn:
    names = list(dict.fromkeys(_vector(row, "vector") for row in rows))
    place = {name: number for number, name in enumerate(names)}
    cosines = np.full((len(names), len(names)), np.nan)
    for row in rows:
        other = _vector(row, "other")
        if other in place and row["cosine"] is not None:
            cosines[place[_vector(row, "vector")], place[other]] = row["cosine"]
    return similarity_figure(names, cosines, wish.width)


def _vector(row: Row, column: str) -> str:
    return str(row[column])


def _tuning(rows: Sequence[Row], wish: Wish) -> Drawn:
    if wish.value is None:
        return tuning_figure(rows, width=wish.width)
    return tuning_figure(rows, [part.strip() for part in wish.value.split(",")], wish.width)


def _norms(rows: Sequence[Row], wish: Wish) -> Drawn:
    return norms_figure([row for row in rows if row["layer"] is not None], wish.width)


def _no_rows(what: str) -> Callable[[Sequence[Row]], str]:
    return lambda rows: "" if rows else what


def _not_swept(what: str) -> Callable[[Sequence[Row]], str]:
    def lacks(rows: Sequence[Row]) -> str:
        return "" if sweepable(measured(rows)[0]) else what

    return lacks


def _not_measured(rows: Sequence[Row]) -> str:
    if not rows:
        return "nothing was evaluated"
    return "" if measured(rows)[0] else "no row has numbers, as all failed"


def _no_layers(rows: Sequence[Row]) -> str:
    known = any(row["layer"] is not None for row in rows)
    return "" if known else "no vector is known head by head, or an older version ran it"


def _one_run(rows: Sequence[Row]) -> str:
    if len({row.get("run") for row in rows}) > 1:
        return "vectors of several runs were not compared; `mfv similarity` does"
    if rows:
        return ""
    return (
        "the run has fewer than two vectors, more than 200, some of several models, or is of an "
        "older version"
    )


_OF_ROWS = ("evals", "relations", "where", "value")
#: By name, in the order in which one is taken where none is asked for.
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("accuracy", "accuracy against a layer, a scale or any sweep", "rows",
             (*_OF_ROWS, "x"), _accuracy, _not_swept("nothing is swept")),
        Kind("evals", "bars of evals with paired differences", "rows", _OF_ROWS, _evals,
             _not_measured),
        Kind("aie", "effects of heads by layer and head", "heads",
             ("relations", "where", "value"), _aie, _no_rows("no heads were ranked")),
        Kind("tuning", "training by epoch", "epochs", ("relations", "where", "value"), _tuning,
             _no_rows("nothing was trained")),
        Kind("choices", "what was tried to settle `choose`", "choices", (*_OF_ROWS, "x"),
             _accuracy, _not_swept("nothing was chosen")),
        Kind("confusion", "what was answered for which relation", "confusion",
             ("evals", "relations", "where"), _confusion, _no_rows("no answers were kept")),
        Kind("similarity", "cosines of the vectors, clustered", "similarity", ("where",),
             _similarity, _one_run),
        Kind("norms", "length of each layer's part of the vectors", "norms", ("where",), _norms,
             _no_layers),
    )
}  # fmt: skip


def kind_named(name: str) -> Kind:
    """The kind of a name.  Raises MfvError (MFV6130) where there is none."""
    if name not in KINDS:
        raise MfvError(
            "MFV6130", f"there is no kind of figure `{name}`",
            help=did_you_mean(name, KINDS, f"there are: {', '.join(KINDS)}"),
        )  # fmt: skip
    return KINDS[name]
