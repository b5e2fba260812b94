"""Values with intervals, one below the other; of several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mfv_dsl.base.numbers import percent
from mfv_dsl.report.figures.conditions import called, is_number, without_draws
from mfv_dsl.report.page.curve_figures import run_curves
from mfv_dsl.report.page.rows import PageFigure, Row, measured_rows, run_rows, settled
from mfv_dsl.report.page.tables import PageTable

if TYPE_CHECKING:
    from mfv_dsl.execute.recorded_run import RecordedRun

_MOST_BARS = 60
ACCURACY = ("accuracy", "ci_low", "ci_high")
DIFFERENCE = ("difference", "difference_low", "difference_high")


@dataclass(frozen=True)
class Bar:
    """A share with its interval: what it is of, and the series that it belongs to."""

    name: str
    series: str
    value: float
    low: float
    high: float


def run_intervals(run: RecordedRun) -> list[PageFigure]:
    """A run's evals beside each other: accuracies, and differences from zero-shot."""
    accuracies, note = eval_bars([run], ACCURACY)
    differences, _ = eval_bars([run], DIFFERENCE)
    title = "Difference in accuracy from zero-shot, on the same items"
    moved = [bar for bar in differences if any((bar.value, bar.low, bar.high))]
    figures = [
        interval_figure("Accuracy of every eval", "accuracy", accuracies, note=note),
        interval_figure(title, "difference", moved, "+", note),
    ]
    return [figure for figure in figures if figure is not None]


def eval_bars(runs: Sequence[RecordedRun], fields: tuple[str, str, str]) -> tuple[list[Bar], str]:
    """The evals of runs that no curve shows, over all relations where there are several, and what
    must be said of those without numbers.  Bars of one name are of one condition, whatever the run:
    what differs between runs is named."""
    kept: list[tuple[RecordedRun, Row]] = []
    notes: dict[str, None] = {}
    for run in runs:
        rows = run_rows(run)
        curves = run_curves(rows)
        rows = [row for row in rows if row["eval"] not in curves]
        pooled = {row["eval"] for row in rows if row["relation"] is None}
        rows = [row for row in rows if row["relation"] is None or row["eval"] not in pooled]
        own, note = measured_rows(without_draws(rows))
        kept += [(run, row) for row in own]
        notes |= {note: None} if note else {}
    labels = called([settled(row, run) for run, row in kept])
    return [
        Bar(f"{label} ({row.shown})", run.name, *(row[field] for field in fields))
        for (run, row), label in zip(kept, labels, strict=True)
        if all(is_number(row.get(field)) for field in fields)
    ], " ".join(notes)


def interval_figure(
    title: str, what: str, bars: Sequence[Bar], sign: str = "", note: str = ""
) -> PageFigure | None:
    """The figure of ``bars`` and its table; None where there is none.  ``sign`` is that of
    differences."""
    if not bars:
        return None
    names = list(dict.fromkeys(bar.name for bar in bars))
    if len(names) > _MOST_BARS:
        note = f"The first {_MOST_BARS} of {len(names)}. {note}".strip()
        names = names[:_MOST_BARS]
    place = {name: number for number, name in enumerate(names)}
    texts: dict[tuple[str, str], str] = {
        (bar.name, bar.series): percent(bar.value, bar.low, bar.high, sign) for bar in bars
    }
    series = []
    for run in dict.fromkeys(bar.series for bar in bars):
        own = [bar for bar in bars if bar.series == run and bar.name in place]
        series.append({
            "name": run, "at": [place[bar.name] for bar in own], "y": [bar.value for bar in own],
            "low": [bar.low for bar in own], "high": [bar.high for bar in own],
            "text": [texts[bar.name, run] for bar in own],
        })  # fmt: skip
    runs = [str(one["name"]) for one in series]
    columns = runs if len(runs) > 1 else [f"{what} %"]
    rows = [[name, *(texts.get((name, run), "") for run in runs)] for name in names]
    data = {"names": names, "signed": bool(sign), "series": series}
    return PageFigure(
        "intervals", title, data, PageTable.plain(title, ["eval", *columns], rows), note
    )
