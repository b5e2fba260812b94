"""What every operation of a plan does: one function an operation, registered by its name.

The functions prepare what a method needs and give its result to the store; the science is in
:mod:`mfv_dsl.methods`.  The operations are declared in :mod:`mfv_dsl.plan.operations`.
"""

from __future__ import annotations

from mfv_dsl.execute.operations import (
    activations,
    adapters,
    evaluation,
    heads,
    numbers,
    off_task,
    states,
    tuning,
    vectors,
)
from mfv_dsl.execute.operations.registry import PERFORM, TOGETHER

__all__ = [
    "PERFORM",
    "TOGETHER",
    "activations",
    "adapters",
    "evaluation",
    "heads",
    "numbers",
    "off_task",
    "states",
    "tuning",
    "vectors",
]
