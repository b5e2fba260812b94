"""Tables for people, drawn with rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from mfv_dsl.backends.catalogue import Known
from mfv_dsl.execute.results import ResultRow
from mfv_dsl.report.numbers import percent


def results_table(rows: Sequence[ResultRow]) -> Table:
    """Result rows, grouped by eval; accuracies in per cent with 95 % intervals.

    The columns ``layer`` and ``scale`` are shown where a row has them and they differ from 1.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = {
        "eval": [row.eval for row in rows],
        "relation": [row.relation for row in rows],
        "shots": [str(row.shots) for row in rows],
        "layer": [_shown(row.layer) for row in rows],
        "scale": [_shown(row.scale) if row.scale != 1 else "" for row in rows],
        "n": [str(row.n) for row in rows],
        "accuracy %": [percent(row.accuracy, row.ci_low, row.ci_high) for row in rows],
        "p(answer)": [f"{row.mean_p_answer:.2f}" for row in rows],
        "vs zero-shot": [_gain(row) for row in rows],
    }
    kept = {name: cells for name, cells in shown.items() if any(cells)}
    for name in kept:
        side = "left" if name in ("eval", "relation") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    for i, row in enumerate(rows):
        first = i == 0 or rows[i - 1].eval != row.eval
        if first and i:
            table.add_section()
        cells = [column[i] for column in kept.values()]
        table.add_row(cells[0] if first else "", *cells[1:])
    return table


def _gain(row: ResultRow) -> str:
    if not (row.difference or row.difference_low or row.difference_high):
        return ""
    return percent(row.difference, row.difference_low, row.difference_high, "+")


def models_table(rows: Sequence[Known]) -> Table:
    """Models that recipes can name, and about what they take in GB."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    sizes_of = ("parameters", "to fetch", "bf16", "fp32")
    for name in ("layers", "heads", "head_dim", "d_model", *sizes_of):
        table.add_column(name, justify="right")
    table.add_column("here")
    for row in rows:
        sizes = (row.parameters, row.download, row.memory_bf16, row.memory_fp32)
        shape = (row.layers, row.heads, row.head_dim, row.d_model)
        here = {None: "", True: "yes", False: "no"}[row.here] if row.runs_here else "not yet"
        table.add_row(
            row.name or f"{row.constructor}(): {row.what}", *map(_shown, shape),
            *("" if size is None else f"{size / 1e9:.1f} G" for size in sizes), here,
        )  # fmt: skip
    table.caption = (
        "parameters; about how many bytes there are to fetch, and to run it in bf16 and fp32 take"
    )
    return table


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
