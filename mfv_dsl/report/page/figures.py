"""The interactive figures of a report, as numbers that its script draws; each has a table, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.columns import ALL, MEAN, OTHER, free_name
from mfv_dsl.base.numbers import decimals, percent
from mfv_dsl.report.figures.conditions import (
    axes_of,
    called,
    is_number,
    measured,
    swept,
    without_draws,
)
from mfv_dsl.report.page.tables import PageTable

if TYPE_CHECKING:
    from mfv_dsl.execute.recorded_run import Effects, RecordedRun
    from mfv_dsl.execute.rows import ResultRow

#: Fields that a curve may run along.
_ALONG = ("layer", "scale", "k", "shots")
_MOST_BARS = 60
_NO_FIELDS = ("answers", "answers_other", "against")
_MOST_HEADS = 20  # in the table beside the map
_DIGITS = 6  # behind the point of an effect


class Row(dict[str, Any]):
    """The fields of a row as ``results.csv`` has them, sweeps among them; ``row`` is all of it, and
    ``shown`` what its relation is called."""

    def __init__(self, row: ResultRow, every: str) -> None:
        fields = row.to_json()
        axes = fields.pop("axes", {})
        kept = {name: value for name, value in fields.items() if name not in _NO_FIELDS}
        super().__init__({**axes, **kept})
        self.row, self.shown = row, every if row.relation is None else row.relation


@dataclass(frozen=True)
class PageFigure:
    """A figure: how it is drawn (``lines``, ``intervals``, ``matrix`` or ``heads``), its numbers,
    and the same numbers as a table; ``note`` is said below."""

    kind: str
    title: str
    data: Mapping[str, Any]
    table: PageTable
    note: str = ""


def run_figures(run: RecordedRun) -> list[PageFigure]:
    """The figures of what a run measured."""
    rows = _rows(run)
    names = dict.fromkeys(row["eval"] for row in rows)
    curves = {
        name: figure
        for name in names
        if (figure := _curve(name, [row for row in rows if row["eval"] == name])) is not None
    }
    bars = _intervals([row for row in rows if row["eval"] not in curves])
    return [
        *filter(None, bars), *curves.values(), *_confusions(rows, run.metrics),
        *_heads(run.effects), *_trainings(run.tunes),
    ]  # fmt: skip


def _rows(run: RecordedRun) -> list[Row]:
    """The rows of a run."""
    rows = run.results.rows
    every = free_name(ALL, {row.relation for row in rows})
    return [Row(row, every) for row in rows]


def _curve(name: str, rows: Sequence[Row]) -> PageFigure | None:
    """Accuracy along what an eval sweeps; None where it sweeps nothing that is a number."""
    rows = [row for row in rows if not row.get("error")]
    along = [
        field
        for field in swept(rows)
        if (field in _ALONG or field in axes_of(rows)) and _n_numbers(rows, field) > 1
    ]
    if not along:
        return None
    x = max(along, key=lambda field: _n_numbers(rows, field))
    kept, note = _measured([row for row in without_draws(rows, x) if is_number(row.get(x))])
    labels = called(kept, but=("eval", x))
    series: dict[str, list[Row]] = {}
    for row, label in zip(kept, labels, strict=True):
        series.setdefault(", ".join(filter(None, (row.shown, label))), []).append(row)
    lines = [
        {
            "name": line, "x": [row[x] for row in own], "y": [row["accuracy"] for row in own],
            "low": [row["ci_low"] for row in own], "high": [row["ci_high"] for row in own],
            "text": [percent(row["accuracy"], row["ci_low"], row["ci_high"]) for row in own],
            "main": _is_pooled(own),
        }
        # those over all relations first
        for line, unordered in sorted(series.items(), key=lambda one: not _is_pooled(one[1]))
        for own in [sorted(unordered, key=lambda row: float(row[x]))]
    ]  # fmt: skip
    if not lines:
        return None
    return PageFigure(
        "lines", f"{name}: accuracy by {x}", {"x": x, "y": "accuracy", "percent": True,
        "series": lines}, _table_of_lines(f"{name}: accuracy by {x}", x, lines), note,
    )  # fmt: skip


def _is_pooled(rows: Sequence[Row]) -> bool:
    """Whether rows are over all relations."""
    return rows[0]["relation"] is None


def _measured(rows: Sequence[Any]) -> tuple[list[Row], str]:
    """The rows that can be drawn, and what must be said of the others."""
    kept, note = measured(rows)
    return [row for row in kept if isinstance(row, Row)], note


def _n_numbers(rows: Sequence[Row], field: str) -> int:
    """How many numbers a field has on one and the same relation."""
    by_relation: dict[str, set[float]] = {}
    for row in rows:
        if is_number(row.get(field)):
            by_relation.setdefault(row.shown, set()).add(row[field])
    return max(map(len, by_relation.values()), default=0)


def _table_of_lines(caption: str, x: str, lines: Sequence[Mapping[str, Any]]) -> PageTable:
    """A row for every place along, a column for every line."""
    places = sorted({place for line in lines for place in line["x"]})
    cells = [dict(zip(line["x"], line["text"], strict=True)) for line in lines]
    rows = [[f"{place:g}", *(cell.get(place, "") for cell in cells)] for place in places]
    return PageTable.plain(caption, [x, *(line["name"] for line in lines)], rows, words=0)


def _intervals(rows: Sequence[Row]) -> list[PageFigure]:
    """Evals beside each other: their accuracy, and its difference from zero-shot, with intervals;
    over all relations where there are several."""
    pooled = {row["eval"] for row in rows if row["relation"] is None}
    rows = [row for row in rows if row["relation"] is None or row["eval"] not in pooled]
    rows, note = _measured(without_draws(rows))
    if not rows:
        return []
    names = [
        f"{label} ({row.shown})" for row, label in zip(rows, called(rows), strict=True)
    ]  # fmt: skip
    fields = (
        ("Accuracy of every eval", "accuracy", "ci_low", "ci_high", ""),
        ("Difference in accuracy from zero-shot, on the same items", "difference",
         "difference_low", "difference_high", "+"),
    )  # fmt: skip
    figures = []
    for title, value, low, high, sign in fields:
        kept = [
            (name, row)
            for name, row in zip(names, rows, strict=True)
            if all(is_number(row.get(field)) for field in (value, low, high))
            and (not sign or any(row[field] for field in (value, low, high)))
        ]
        if not kept:
            continue
        more = f"The first {_MOST_BARS} of {len(kept)}." if len(kept) > _MOST_BARS else ""
        kept = kept[:_MOST_BARS]
        texts = [percent(row[value], row[low], row[high], sign) for _, row in kept]
        data = {
            "names": [name for name, _ in kept], "signed": bool(sign), "text": texts,
            **{key: [row[field] for _, row in kept]
               for key, field in (("y", value), ("low", low), ("high", high))},
        }  # fmt: skip
        cells = [[name, text] for (name, _), text in zip(kept, texts, strict=True)]
        table = PageTable.plain(title, ["eval", f"{value} %"], cells)
        figures.append(
            PageFigure("intervals", title, data, table, " ".join(filter(None, (more, note))))
        )
    return figures


def _confusions(rows: Sequence[Row], metrics: Mapping[str, Sequence[str]]) -> list[PageFigure]:
    """What was answered under each condition of the evals that report it, in one figure."""
    asked = [row for row in rows if row.row.answers and "confusion" in metrics[row["eval"]]]
    rows, _ = _measured(without_draws(asked))
    if not rows:
        return []
    relations = {row["relation"] for row in rows}
    other = free_name(OTHER, relations.union(*(row.row.answers for row in rows)))
    groups: dict[str, list[Row]] = {}
    # the rows of one condition differ in what was chosen for their relation
    for row, label in zip(rows, called(rows), strict=True):
        groups.setdefault(label, []).append(row)
    matrices, lines = [], []
    for name, own in groups.items():
        answered = list(dict.fromkeys(answer for row in own for answer in row.row.answers))
        shares = [
            [*(row.row.answers.get(answer, 0.0) for answer in answered), row.row.answers_other]
            for row in own
        ]
        down = [row.shown for row in own]
        matrices.append({"name": name, "down": down, "across": [*answered, other], "z": shares})
        lines += [
            [name, relation, answer, "" if share is None else f"{100 * share:.0f}"]
            for relation, cells in zip(down, shares, strict=True)
            for answer, share in zip([*answered, other], cells, strict=True)
        ]
    title = "Answers, by the relation they are right for"
    table = PageTable.plain(title, ["eval", "relation", "answered", "%"], lines, words=3)
    return [PageFigure("matrix", title, {"matrices": matrices}, table)]


# -- heads ----------------------------------------------------------------------------------------
def _heads(effects: Sequence[Effects]) -> list[PageFigure]:
    """A map of all heads for every way in which they were measured."""
    differing = [
        name
        for name in dict.fromkeys(name for one in effects for name in one.parameters)
        if name != "relation" and len({str(one.parameters.get(name)) for one in effects}) > 1
    ]
    groups: dict[str, list[Effects]] = {}
    for one in effects:
        how = ", ".join(f"{name} {one.parameters.get(name)}" for name in differing)
        groups.setdefault(how, []).append(one)
    return [figure for how, own in groups.items() for figure in _head_map(how, own)]


def _head_map(how: str, effects: Sequence[Effects]) -> list[PageFigure]:
    """The map of the heads' mean effects over relations measured in one way."""
    shapes = {one.arrays["aie"].shape for one in effects}
    if len(shapes) != 1:  # of several models
        return [figure for shape in sorted(shapes) for figure in _head_map(
            ", ".join(filter(None, (how, f"{shape[0]} × {shape[1]} heads"))),
            [one for one in effects if one.arrays["aie"].shape == shape])]  # fmt: skip
    relations = [one.relation for one in effects]
    mean = sum(one.arrays["aie"] for one in effects) / len(effects)
    title = "Effects of heads" + (f" ({how})" if how else "")
    data = {
        "mean": mean.round(_DIGITS).tolist(), "mean_name": free_name(MEAN, relations),
        "relations": [
            {
                "name": one.relation, "n": one.n,
                **{name: one.arrays[key].round(_DIGITS).tolist() for name, key in
                   (("aie", "aie"), ("low", "aie_low"), ("high", "aie_high"))
                   if key in one.arrays},
            }
            for one in effects
        ],
    }  # fmt: skip
    rows = []
    for flat in (-mean).argsort(axis=None, kind="stable")[:_MOST_HEADS]:
        layer, head = divmod(int(flat), mean.shape[1])
        if is_number(float(mean[layer, head])):
            cells = [_effect_text(one, layer, head) for one in effects]
            rows.append([f"L{layer}H{head}", decimals(mean[layer, head], 3), *cells])
    table = PageTable.plain(
        f"{title}: the {len(rows)} largest means", ["head", data["mean_name"], *relations], rows,
        note="The files under aie/ in the run's folder have all of them.",
    )  # fmt: skip
    return [PageFigure("heads", title, data, table)]


def _effect_text(effects: Effects, layer: int, head: int) -> str:
    arrays = effects.arrays
    shown = decimals(arrays["aie"][layer, head], 3)
    if "aie_low" not in arrays:
        return shown
    low, high = (decimals(arrays[name][layer, head], 3) for name in ("aie_low", "aie_high"))
    return f"{shown} [{low}, {high}]"


# -- trainings ------------------------------------------------------------------------------------
def _trainings(tunes: Sequence[Mapping[str, Any]]) -> list[PageFigure]:
    """Accuracy and loss on validation prompts by epoch, for every tune; the epochs that were chosen
    are marked."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for tune in tunes:
        groups.setdefault(str(tune["tune"]), []).append(tune)
    figures = []
    for name, own in groups.items():
        for field, what, is_percent in (
            ("accuracy", "accuracy on validation", True), ("nll", "loss on validation", False),
        ):  # fmt: skip
            lines = [
                {
                    "name": _training_name(tune), "x": [e["epoch"] for e in tune["epochs"]],
                    "y": [e[field] for e in tune["epochs"]], "marked": [tune["chosen"]],
                    "text": [f"{100 * e[field]:.0f}" if is_percent else decimals(e[field])
                             for e in tune["epochs"]],
                }
                for tune in own
            ]  # fmt: skip
            title = f"{name}: {what} by epoch"
            figures.append(
                PageFigure(
                    "lines", title,
                    {"x": "epoch", "y": what, "percent": is_percent, "series": lines},
                    _table_of_lines(title, "epoch", lines),
                    "Stars are the epochs that were chosen.",
                )
            )  # fmt: skip
    return figures


def _training_name(tune: Mapping[str, Any]) -> str:
    axes = [f"{name} {value}" for name, value in tune.get("axes", {}).items()]
    return ", ".join([str(tune["relation"]), *axes])
