"""The items of a run whose folder has no file of them, of the steps that the store still holds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mfv_dsl.base.source import Span
from mfv_dsl.execute.item_lines import ItemLine, parsed_items
from mfv_dsl.execute.items import items_file
from mfv_dsl.execute.store import default_store
from mfv_dsl.execute.stored_content import Damaged
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.syntax import Axis
from mfv_dsl.plan.steps import EvalRow, Plan, Step


def stored_items(data: Mapping[str, Any]) -> list[ItemLine]:
    """The items of what the store has of a plan, which is as in ``plan.json``; none where it holds
    nothing of it.  Raises KeyError, TypeError or ValueError for a plan of another form."""
    plan = _plan(data)
    store, values = default_store(), {}
    for step in plan.steps:
        if step.operation in ("evaluate", "answers"):
            with suppress(KeyError, Damaged):
                values[step.key] = store.get(step.key, step.operation)
    file = items_file(plan, values)
    return [] if file is None else parsed_items(*file)


def _plan(data: Mapping[str, Any]) -> Plan:
    """So much of a plan as items are made of."""
    datasets = {
        name: Constructed(name, one["constructor"], one["arguments"], None, Span(0, 0))
        for name, one in data["datasets"].items()
    }
    rows = tuple(
        EvalRow(
            row["eval"], row["relation"], row["shots"], row["step"], tuple(row["vectors"]),
            axes=tuple(Axis(name, value) for name, value in row["axes"].items()),
        )
        for row in data["rows"]
    )  # fmt: skip
    return Plan({}, datasets, tuple(Step(**step) for step in data["steps"]), rows, ())
