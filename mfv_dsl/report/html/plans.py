"""A plan as a table of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfv_dsl.plan.explain import doc_lines
from mfv_dsl.report.html.elements import MOST_ROWS, counted, remark, table, title

if TYPE_CHECKING:
    from mfv_dsl.plan.explain import Note
    from mfv_dsl.plan.steps import Plan

_COLUMNS = ("", "operation", "what", "from", "reads", "writes", "variants", "state")
_WORDS = ("operation", "what", "from", "reads", "writes", "state")


def plan_html(plan: Plan, notes: Sequence[Note]) -> str:
    """The steps of a plan, and what it shows and saves; ``notes``, one a step, are what
    :func:`mfv_dsl.plan.explain.explain_plan` says of them."""
    rows = [
        (str(number), step.operation, step.label, ", ".join(note.inputs), note.reads, note.writes,
         f"{note.variants:,}" if note.variants else "", "cached" if note.cached else "to run")
        for number, (step, note) in enumerate(
            zip(plan.steps[:MOST_ROWS], notes[:MOST_ROWS], strict=True), 1
        )
    ]  # fmt: skip
    cached = sum(note.cached for note in notes)
    lines = [title(f"Plan: {counted(len(plan.steps), 'step')}", f"{cached:,} of them in the store")]
    if rows:
        lines.append(table(_COLUMNS, rows, _WORDS, total=len(notes), rest="`plan.steps` has all"))
    lines += map(remark, doc_lines(plan.docs))
    for save in plan.saves:
        saved = ", ".join(vector.name for vector in save.vectors)
        lines.append(remark(f"saves {saved} into {save.folder}"))
    if plan.errors:
        lines.append(remark(f"It cannot be run: {'; '.join(e.message for e in plan.errors)}"))
    return "".join(lines)
