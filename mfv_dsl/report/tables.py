"""Tables for people, drawn with rich."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich import box
from rich.table import Table

from mfv_dsl.base.numbers import percent
from mfv_dsl.execute.results import ResultRow
from mfv_dsl.execute.tuning_rows import TuningRow
from mfv_dsl.models.catalogue import CatalogueRow
from mfv_dsl.report.columns import LEFT, confusion_columns, result_columns, shown


def results_table(rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]) -> Table:
    """Result rows, grouped by eval; ``metrics`` are what each eval reports."""
    return _grouped(result_columns(rows, metrics))


def confusion_table(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]
) -> Table | None:
    """What was answered under each condition, for the evals that report it; None if none does."""
    chosen, columns = confusion_columns(rows, metrics)
    return _grouped(columns, "answers in per cent, by the relation they are right for") if (
        chosen
    ) else None  # fmt: skip


def _grouped(columns: Mapping[str, Sequence[str]], title: str | None = None) -> Table:
    """A table with a gap between evals, each named once."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    evals = columns["eval"]
    for i, cells in enumerate(zip(*columns.values(), strict=True)):
        first = i == 0 or evals[i - 1] != evals[i]
        if first and i:
            table.add_section()
        table.add_row(evals[i] if first else "", *cells[1:])
    return table


def tuning_table(rows: Sequence[TuningRow]) -> Table:
    """Trained vectors: what the epoch that was chosen does on the validation prompts that chose it,
    beside the start; accuracy in per cent with its 95 % interval."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("tune", "relation"):
        table.add_column(name, no_wrap=True)
    for name in ("layer", "epoch", "n", "at the start %", "on validation %", "nll", "norm"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        first = i == 0 or rows[i - 1].tune != row.tune
        if first and i:
            table.add_section()
        table.add_row(
            row.tune if first else "", row.relation, str(row.layer), f"{row.chosen}/{row.epochs}",
            str(row.n), f"{100 * row.start_accuracy:.0f}",
            percent(row.accuracy, row.ci_low, row.ci_high),
            f"{row.start_nll:.2f} → {row.nll:.2f}", f"{row.start_norm:.1f} → {row.norm:.1f}",
        )  # fmt: skip
    return table


def models_table(rows: Sequence[CatalogueRow]) -> Table:
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
            row.name or f"{row.constructor}(): {row.what}", *map(shown, shape),
            *("" if size is None else f"{size / 1e9:.1f} G" for size in sizes), here,
        )  # fmt: skip
    table.caption = (
        "parameters; about how many bytes there are to fetch, and to run it in bf16 and fp32 take"
    )
    return table
