"""Operations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mfv_dsl.execute.session import Session
from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.steps import Step

#: The values of a step's inputs, by the names that the plan gave them.
Values: TypeAlias = Mapping[str, Any]
Perform: TypeAlias = Callable[[Session, Step, Values], Any]

PERFORM: dict[str, Perform] = {}


def performs(operation: str) -> Callable[[Perform], Perform]:
    """Register a function as what ``operation`` does: ``perform(session, step, inputs)`` gives the
    step's value, where ``inputs`` holds the values of its inputs by name::

        @performs("norm")
        def norm(session: Session, step: Step, inputs: Values) -> float:
            return inputs["v"].norm()
    """
    assert operation in OPERATIONS, f"no operation `{operation}` is declared"

    def register(perform: Perform) -> Perform:
        PERFORM[operation] = perform
        return perform

    return register
