"""Tables for people, drawn with rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from mfv_dsl.backends.catalogue import Known
from mfv_dsl.execute.results import ResultRow


def results_table(rows: Sequence[ResultRow]) -> Table:
    """Result rows, grouped by eval."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("eval", "relation"):
        table.add_column(name)
    for name in ("shots", "layer", "scale", "n"):
        table.add_column(name, justify="right")
    table.add_column("accuracy [95 % CI]", justify="right")
    table.add_column("p(answer)", justify="right")
    table.add_column("vs zero-shot [95 % CI]", justify="right")
    previous = None
    for row in rows:
        if previous not in (None, row.eval):
            table.add_section()
        gain = (
            f"{100 * row.difference:+5.1f} "
            f"[{100 * row.difference_low:+5.1f}, {100 * row.difference_high:+5.1f}]"
        )
        table.add_row(
            row.eval if row.eval != previous else "",
            row.relation,
            str(row.shots),
            _shown(row.layer),
            _shown(row.scale),
            str(row.n),
            f"{100 * row.accuracy:5.1f} [{100 * row.ci_low:5.1f}, {100 * row.ci_high:5.1f}]",
            f"{row.mean_p_answer:.3f}",
            gain if row.difference or row.difference_low or row.difference_high else "—",
        )
        previous = row.eval
    return table


def models_table(rows: Sequence[Known]) -> Table:
    """Models that recipes can name."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("constructor", "what", "layers", "heads", "head_dim", "d_model", "runs"):
        table.add_column(name)
    for row in rows:
        shape = (row.layers, row.heads, row.head_dim, row.d_model)
        table.add_row(
            row.constructor, row.what, *(_shown(number) or "?" for number in shape),
            "yes" if row.runs_here else "not yet",
        )  # fmt: skip
    return table


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
