"""What is shown over a block: how many steps it takes, and how many of them are finished."""

from __future__ import annotations

from contextlib import suppress

from lsprotocol import types as lsp

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.storage import finished
from mfv_dsl.lang.changes import label_text
from mfv_dsl.lang.syntax import Block
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.plan.steps import Plan

#: The command of an editor that runs a block: its arguments are the file's URI and the block.
RUN = "mfv.runBlock"


def lenses(
    analysis: Analysis, plan: Plan | None, lines: Lines, uri: str = "", run: bool = False
) -> list[lsp.CodeLens]:
    """A line over every tune, eval and save; none where there is no plan.

    ``run``: whether the editor knows the command :data:`RUN`.
    """
    if plan is None or analysis.recipe is None:
        return []
    stored: set[str] = set()
    with suppress(OSError, MfvError):  # a store that cannot be reached has nothing to show
        stored = finished(step.key for step in plan.steps)
    ends = _ends(plan)
    result = []
    for item in analysis.recipe.items:
        if not isinstance(item, Block):
            continue
        name = "" if item.label is None else label_text(item.label)
        if (item.kind.text, name) not in ends:
            continue
        steps = _needed(plan, ends[item.kind.text, name])
        title = f"{len(steps)} steps, {len(steps & stored)} finished"
        if len(steps) == 1:
            title = "1 step, finished" if steps <= stored else "1 step"
        elif steps <= stored:
            title = f"{len(steps)} steps, all finished"
        command = lsp.Command(title, "")
        if run and name:
            command = lsp.Command(f"▷ run: {title}", RUN, arguments=[uri, name])
        result.append(lsp.CodeLens(lines.range(item.kind.span), command))
    return result


def _ends(plan: Plan) -> dict[tuple[str, str], set[str]]:
    """The steps that each block shows or writes, by its kind word and name."""
    ends: dict[tuple[str, str], set[str]] = {}
    for row in plan.rows:
        keys = ends.setdefault(("eval", row.eval), set())
        keys |= {row.step, *(key for _, key in row.against)}
        keys |= {row.off_task} if row.off_task is not None else set()
    for tune in plan.tunes:
        ends.setdefault(("tune", tune.tune), set()).add(tune.step)
    for save in plan.saves:
        keys = ends.setdefault(("save", save.folder), set())
        keys |= {vector.step for vector in save.vectors}
    if plan.numbers:  # of all reports together
        ends["report", ""] = {number.step for number in plan.numbers if number.step is not None}
    return ends


def _needed(plan: Plan, ends: set[str]) -> set[str]:
    """The keys of the steps that ``ends`` follow from, with them."""
    needed, work = set(ends), list(ends)
    while work:
        for key in plan[work.pop()].follows_from:
            if key not in needed:
                needed.add(key)
                work.append(key)
    return needed
