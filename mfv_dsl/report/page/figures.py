"""The interactive figures of a report, as numbers that its script draws; each has a table, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mfv_dsl.base.columns import MEAN, OTHER, free_name
from mfv_dsl.base.numbers import decimals
from mfv_dsl.execute.rankings import Ranking, rankings
from mfv_dsl.report.effects import ranking_effects
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
    from mfv_dsl.execute.recorded_run import RecordedRun

_MOST_HEADS = 20  # in the table beside the map
_DIGITS = 6  # behind the point of an effect


def run_figures(run: RecordedRun) -> list[PageFigure]:
    """The figures of what a run measured."""
    rows = run_rows(run)
    curves = run_curves(rows)
    return [
        *run_intervals(run), *curves.values(), *_confusions(rows, run.metrics),
        *_heads(run.heads), *_trainings(run.tunes),
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


#: Rankings whose scores are effects, or estimates of them.
_EFFECTS = ("aie", "gradient", "relp")


# -- heads ----------------------------------------------------------------------------------------
def _heads(lines: Sequence[Mapping[str, Any]]) -> list[PageFigure]:
    """A map of all heads for every way in which their effects were measured."""
    return [_head_map(one) for one in rankings(line for line in lines if line["n"] is not None)]


def _head_map(ranking: Ranking) -> PageFigure:
    """The map of the heads' mean effects over relations."""
    effects, low, high = (_of_all_heads(ranking, name) for name in ("score", "low", "high"))
    relations = ranking.relations
    n = {line["relation"]: line["n"] for line in ranking.lines}
    mean = effects.mean(axis=2)
    by = ranking.lines[0]["by"]
    title = "Effects of heads" if by in _EFFECTS else f"Scores of heads by {by}"
    if ranking.title and (by in _EFFECTS or ranking.title != by):
        title += f" ({ranking.title})"
    data = {
        "mean": mean.tolist(), "mean_name": free_name(MEAN, relations),
        "relations": [
            {
                "name": relation, "n": n[relation],
                **{name: values[:, :, place].tolist()
                   for name, values in (("aie", effects), ("low", low), ("high", high))
                   if name == "aie" or np.isfinite(values[:, :, place]).any()},
            }
            for place, relation in enumerate(relations)
        ],
    }  # fmt: skip
    rows = []
    for flat in (-mean).argsort(axis=None, kind="stable")[:_MOST_HEADS]:
        layer, head = divmod(int(flat), mean.shape[1])
        if is_number(float(mean[layer, head])):
            cells = [
                _effect_text(*(array[layer, head, place] for array in (effects, low, high)))
                for place in range(len(relations))
            ]
            rows.append([f"L{layer}H{head}", decimals(mean[layer, head], 3), *cells])
    table = PageTable.plain(
        f"{title}: the {len(rows)} largest means", ["head", data["mean_name"], *relations], rows,
        note="The file heads.csv in the run's folder has all of them.",
    )  # fmt: skip
    return PageFigure("heads", title, data, table)


def _of_all_heads(ranking: Ranking, value: str) -> np.ndarray:
    """A value of all heads of all layers from 0 on (layers, heads, relations), NaN of those that
    the model does not have."""
    known = ranking_effects(ranking, value)
    whole = np.full((known.layers[-1] + 1, known.heads[-1] + 1, len(known.relations)), np.nan)
    whole[np.ix_(known.layers, known.heads)] = known.values
    return whole.round(_DIGITS)


def _effect_text(effect: float, low: float, high: float) -> str:
    """An effect with its interval where that is known; nothing where there is no such head."""
    if not is_number(float(effect)):
        return ""
    shown = decimals(effect, 3)
    return f"{shown} [{decimals(low, 3)}, {decimals(high, 3)}]" if is_number(float(low)) else shown


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
