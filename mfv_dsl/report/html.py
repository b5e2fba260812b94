"""Plans and results as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from mfv_dsl.report.columns import confusion_columns, result_columns

if TYPE_CHECKING:
    from mfv_dsl.execute.results import ResultRow
    from mfv_dsl.plan.explain import Note
    from mfv_dsl.plan.steps import Plan


def plan_html(plan: Plan, notes: Sequence[Note]) -> str:
    """A table of steps; ``notes``, one a step, are what :func:`mfv_dsl.plan.explain.explain_plan`
    says of them."""
    return _table(
        ("", "operation", "what", "from", "reads", "writes", "variants", "state"),
        [
            (str(number), step.operation, step.label, ", ".join(note.inputs), note.reads,
             note.writes, f"{note.variants:,}" if note.variants else "",
             "cached" if note.cached else "to run")
            for number, (step, note) in enumerate(zip(plan.steps, notes, strict=True), 1)
        ],
    )  # fmt: skip


def results_html(
    rows: Sequence[ResultRow], metrics: Mapping[str, Collection[str]], notes: Sequence[str] = ()
) -> str:
    """Tables of result rows and, where asked for, of what was answered; ``notes``, plain texts,
    below.  ``metrics`` are what each eval reports."""
    tables = (result_columns(rows, metrics), confusion_columns(rows, metrics))
    return "".join(
        _table(list(columns), list(zip(*columns.values(), strict=True)))
        for columns in tables
        if columns is not None
    ) + "".join(f"<p>{escape(note)}</p>" for note in notes)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"
