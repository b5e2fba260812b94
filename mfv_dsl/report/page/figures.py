"""The interactive figures of a report, as numbers that its script draws; each has a table, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.columns import MEAN, OTHER, free_name
from mfv_dsl.base.numbers import decimals
from mfv_dsl.report.figures.conditions import (
    called,
    is_number,
    without_draws,
)
from mfv_dsl.report.page.curve_figures import run_curves, table_of_lines
from mfv_dsl.report.page.interval_figures import run_intervals
from mfv_dsl.report.page.rows import PageFigure, Row, measured_rows, run_rows
from mfv_dsl.report.page.tables import PageTable

if TYPE_CHECKING:
    from mfv_dsl.execute.recorded_run import Effects, RecordedRun

_MOST_HEADS = 20  # in the table beside the map
_DIGITS = 6  # behind the point of an effect


def run_figures(run: RecordedRun) -> list[PageFigure]:
    """The figures of what a run measured."""
    rows = run_rows(run)
    curves = run_curves(rows)
    return [
        *run_intervals(run), *curves.values(), *_confusions(rows, run.metrics),
        *_heads(run.effects), *_trainings(run.tunes),
    ]  # fmt: skip


def _confusions(rows: Sequence[Row], metrics: Mapping[str, Sequence[str]]) -> list[PageFigure]:
    """What was answered under each condition of the evals that report it, in one figure."""
    asked = [row for row in rows if row.row.answers and "confusion" in metrics[row["eval"]]]
    rows, _ = measured_rows(without_draws(asked))
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
                    table_of_lines(title, "epoch", lines),
                    "Stars are the epochs that were chosen.",
                )
            )  # fmt: skip
    return figures


def _training_name(tune: Mapping[str, Any]) -> str:
    axes = [f"{name} {value}" for name, value in tune.get("axes", {}).items()]
    return ", ".join([str(tune["relation"]), *axes])
