"""Plans and results as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mfv_dsl.plan.explain import explain_plan
from mfv_dsl.plan.steps import Plan
from mfv_dsl.report.numbers import percent

if TYPE_CHECKING:
    from mfv_dsl.execute.results import ResultRow


def plan_html(plan: Plan) -> str:
    """A table of steps."""
    from mfv_dsl.execute.places import finished

    notes = explain_plan(plan, finished(step.key for step in plan.steps))
    return _table(
        ("", "operation", "what", "from", "reads", "writes", "variants", "state"),
        [
            (str(number), step.operation, step.label, ", ".join(note.inputs), note.reads,
             note.writes, f"{note.variants:,}" if note.variants else "",
             "cached" if note.cached else "to run")
            for number, (step, note) in enumerate(zip(plan.steps, notes, strict=True), 1)
        ],
    )  # fmt: skip


def results_html(rows: Sequence[ResultRow]) -> str:
    """A table of result rows; accuracies in per cent with 95 % intervals."""
    return _table(
        ("eval", "relation", "shots", "layer", "scale", "n", "accuracy %", "vs zero-shot"),
        [
            (row.eval, row.relation, str(row.shots), "" if row.layer is None else str(row.layer),
             "" if row.scale is None else f"{row.scale:g}", str(row.n),
             percent(row.accuracy, row.ci_low, row.ci_high),
             percent(row.difference, row.difference_low, row.difference_high, "+"))
            for row in rows
        ],
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"
