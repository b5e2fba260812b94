"""Tables of what runs give, and of the models that they can name, drawn with rich."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mfv_dsl.base.columns import MEAN, RESULT_COLUMNS, cell, free_name
from mfv_dsl.base.numbers import percent
from mfv_dsl.report.columns import confusion_columns, result_columns
from mfv_dsl.report.grid import Side, grid

if TYPE_CHECKING:
    from mfv_dsl.execute.heads import HeadEffect
    from mfv_dsl.execute.results import ReportedNumber, ResultRow
    from mfv_dsl.execute.tuning_rows import TuningRow
    from mfv_dsl.models.catalogue import CatalogueRow


def results_table(rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]) -> Table:
    """Result rows, grouped by eval; ``metrics`` are what each eval reports."""
    return _by_eval(result_columns(rows, metrics))


def confusion_table(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]]
) -> Table | None:
    """What was answered under each condition, for the evals that report it; None if none does."""
    columns = confusion_columns(rows, metrics)
    if columns is None:
        return None
    return _by_eval(columns, "answers in per cent, by the relation they are right for")


def _by_eval(columns: Mapping[str, Sequence[str]], title: str | None = None) -> Table:
    words = {name for name, column in RESULT_COLUMNS.items() if column.words}
    sides: dict[str, Side] = {name: "left" if name in words else "right" for name in columns}
    table = grid(sides, title)
    rows = list(zip(*columns.values(), strict=True))
    for name, row in zip(_groups(table, columns["eval"]), rows, strict=True):
        table.add_row(name, *row[1:])
    return table


def tuning_table(rows: Sequence[TuningRow]) -> Table:
    """Trained vectors: what the epoch that was chosen does on the validation prompts that chose it,
    beside the start; accuracy in per cent with its 95 % interval."""
    numbers = ("layer", "epoch", "n", "at the start %", "on validation %", "nll", "norm")
    axes = tuple(dict.fromkeys(name for row in rows for name in row.axes))
    table = grid({"tune": "left", "relation": "left", **_on_the_right((*axes, *numbers))})
    for name, row in zip(_groups(table, [row.tune for row in rows]), rows, strict=True):
        table.add_row(
            name, row.relation, *(cell(row.axes.get(axis)) for axis in axes),
            str(row.layer), f"{row.chosen}/{row.epochs}",
            str(row.n), f"{100 * row.start_accuracy:.0f}",
            percent(row.accuracy, row.ci_low, row.ci_high),
            f"{row.start_nll:.2f} → {row.nll:.2f}", f"{row.start_norm:.1f} → {row.norm:.1f}",
        )  # fmt: skip
    return table


def heads_table(heads: Sequence[HeadEffect]) -> Table:
    """Chosen heads, the best first, each with its mean score and that on every relation, a star
    where it holds when all heads are tested together."""
    relations = list(heads[0].by_relation) if heads else []
    table = grid({"": "right", "head": "left"})
    for name in [free_name(MEAN, relations), *relations] if relations else []:
        table.add_column(name, justify="right", no_wrap=True)  # a relation may be called `head`
    for place, head in enumerate(heads, 1):
        scores = [] if head.mean is None else [f"{head.mean:.3f}"]
        for relation, (score, interval) in head.by_relation.items():
            bounds = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
            scores.append(f"{score:.3f}{bounds}{'*' if relation in head.holds else ''}")
        table.add_row(str(place), f"L{head.layer}H{head.head}", *scores)
    if any(head.holds for head in heads):
        table.caption = (
            "* not zero at 5 % when all heads on all relations are tested together (sign-flip "
            "tests, Holm's correction)"
        )
    return table


def weights_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Mean weights of the candidates of blends, one line a candidate."""
    table = grid({"eval": "left", "relation": "left", "layer": "right", "candidate": "left",
                  "mean weight": "right"})  # fmt: skip
    for name, row in zip(_groups(table, [row["eval"] for row in rows]), rows, strict=True):
        condition = (name, row["relation"], str(row["layer"]))
        for weight in row["weights"]:
            table.add_row(*condition, weight["vector"], f"{weight['weight']:.2f}")
            condition = ("", "", "")
    return table


def numbers_table(rows: Sequence[ReportedNumber]) -> Table:
    """The numbers of reports, one line for each relation of one that has `each` in it."""
    axes = tuple(dict.fromkeys(name for row in rows for name in row.axes))
    columns: dict[str, Side] = {"number": "left", "relation": "left"}
    table = grid({**columns, **_on_the_right((*axes, "value"))}, wrap=("number",))
    for name, row in zip(_groups(table, [row.number for row in rows]), rows, strict=True):
        value = f"failed: {row.error}" if row.value is None else f"{row.value:.4g}"
        swept = (cell(row.axes.get(axis)) for axis in axes)
        table.add_row(Text(name), row.relation or "", *swept, value)
    return table


def models_table(rows: Sequence[CatalogueRow]) -> Table:
    """Models that recipes can name, and about what they take in GB."""
    sizes_of = ("parameters", "to fetch", "bf16", "fp32")
    numbers = _on_the_right(("layers", "heads", "head_dim", "d_model", *sizes_of))
    columns: dict[str, Side] = {"model": "left", **numbers, "here": "left"}
    table = grid(columns, wrap=columns)
    for row in rows:
        sizes = (row.parameters, row.download, row.memory_bf16, row.memory_fp32)
        shape = (row.layers, row.heads, row.head_dim, row.d_model)
        here = {None: "", True: "yes", False: "no"}[row.here] if row.runs_here else "not yet"
        table.add_row(
            _model_name(row), *map(cell, shape),
            *("" if size is None else f"{size / 1e9:.1f} G" for size in sizes), here,
        )  # fmt: skip
    table.caption = (
        "parameters; about how many bytes there are to fetch, and to run it in bf16 and fp32 take"
    )
    return table


def _model_name(row: CatalogueRow) -> str:
    """A published model by its repository, others as a recipe names them."""
    if row.name is None:
        return f"{row.constructor}(): {row.what}"
    return row.name if "/" in row.name else f'{row.constructor}("{row.name}"): {row.what}'


def _on_the_right(names: Sequence[str]) -> dict[str, Side]:
    return dict.fromkeys(names, "right")


def _groups(table: Table, names: Sequence[str]) -> Iterator[str]:
    """Each row's name where a group of rows begins, else nothing; a gap goes between groups.  To be
    taken row by row, as the rows are added."""
    for i, name in enumerate(names):
        first = i == 0 or names[i - 1] != name
        if first and i:
            table.add_section()
        yield name if first else ""
