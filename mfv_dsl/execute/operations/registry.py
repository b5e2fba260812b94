"""Operations by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.session import Session
from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.steps import Step

#: The values of a step's inputs, by the names that the plan gave them.
Values: TypeAlias = Mapping[str, Any]
Perform: TypeAlias = Callable[[Session, Step, Values], Any]

#: What several steps give, each a value, or the error that it ends with.
PerformTogether: TypeAlias = Callable[[Session, Sequence[Step], Sequence[Values]], list[Any]]


PERFORM: dict[str, Perform] = {}
TOGETHER: dict[str, PerformTogether] = {}


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


def performs_together(operation: str) -> Callable[[PerformTogether], PerformTogether]:
    """Register a function as what ``operation`` does for several steps at once, all of them alike
    by its declaration: ``perform(session, steps, inputs)`` gives for each its value or the MfvError
    that it ends with.  A step alone is performed by it, too."""
    assert OPERATIONS[operation].together is not None, f"`{operation}` is performed step by step"

    def register(perform: PerformTogether) -> PerformTogether:
        def alone(session: Session, step: Step, inputs: Values) -> Any:
            (value,) = perform(session, [step], [inputs])
            if isinstance(value, MfvError):
                raise value
            return value

        performs(operation)(alone)
        TOGETHER[operation] = perform
        return perform

    return register
