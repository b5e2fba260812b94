"""Whether a value from the store has the form that a step's value must have: the types that its
dataclass declares, all the way down, and shapes that belong together."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.methods.activations import TaskMean
from mfv_dsl.methods.adapter_training import Adapter
from mfv_dsl.methods.answers import Answers
from mfv_dsl.methods.head_outputs import HeadOutputs
from mfv_dsl.methods.linearisation import Linearisation, NormSamples
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.outcomes import Choices, Outcomes
from mfv_dsl.methods.states import States
from mfv_dsl.methods.vectors import Vector

_PLAIN = (str, int, float, bool, type(None))


def form_fault(value: Any, operation: str | None = None) -> str | None:
    """What is wrong, in words, with the form of a value as one of an operation, or where that is
    not known as one of its own type; None if nothing.

    >>> form_fault(1.5, "norm"), form_fault("1.5", "norm")
    (None, 'the value is a str, not a float')
    """
    perform = PERFORM.get(operation or "")
    hint = type(value) if perform is None else _hints(perform)["return"]
    return next(_faults(value, hint, "the value"), None)


@cache
def _hints(of: Any) -> dict[str, Any]:
    known = {kind.__name__: kind for kind in (Linearisation, NormSamples, TaskMean)}
    return get_type_hints(of, localns=known)


def _faults(value: Any, hint: Any, place: str) -> Iterator[str]:
    if not _is(value, hint):
        yield f"{place} is a {type(value).__name__}, not a {getattr(hint, '__name__', hint)}"
        return
    if is_dataclass(value):
        hints = _hints(type(value))
        for item in fields(value):
            yield from _faults(getattr(value, item.name), hints[item.name], f"`{item.name}`")
        yield from _shape_faults(value)
    elif isinstance(value, tuple):
        seen = set()  # of the many texts and numbers in a value, one of each type is looked at
        for part, of in zip(value, _parts(hint, len(value)), strict=False):
            if (type(part), of) not in seen:
                yield from _faults(part, of, f"a part of {place}")
                if type(part) in _PLAIN:
                    seen.add((type(part), of))


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; parts of tuples and dataclasses are not looked at."""
    if hint is Any:
        return True
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is(value, choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and len(_parts(hint, len(value))) == len(value)
    if hint in (None, type(None)):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _parts(hint: Any, length: int) -> tuple[Any, ...]:
    """The types of a tuple's parts."""
    if get_origin(hint) in (Union, types.UnionType):
        tuples = [choice for choice in get_args(hint) if get_origin(choice) is tuple]
        return _parts(tuples[0], length) if tuples else (Any,) * length
    arguments = get_args(hint)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return (arguments[0],) * length
    return arguments


def _shape_faults(value: Any) -> Iterator[str]:
    check = next((check for kind, check in _SHAPES.items() if isinstance(value, kind)), None)
    if check is not None and not check(value):
        yield f"the shapes of a {type(value).__name__} do not belong together"


def _vector(v: Vector) -> bool:
    parts = (v.heads, v.head_means, v.head_projected)
    if v.heads is None:
        parts_fit = v.head_means is None and v.head_projected is None
    else:
        k = len(v.heads)
        parts_fit = (
            all(part is not None and len(part) == k for part in parts)
            and v.head_projected is not None
            and v.head_projected.shape == (k, v.space.d_model)
            and (v.head_scores is None or v.head_scores.shape == (k,))
        )
    return parts_fit and v.residual.shape == (v.space.size,)


def _outcomes(outcomes: Outcomes) -> bool:
    arrays = (outcomes.p_answer, outcomes.correct, outcomes.said)
    choices = outcomes.choices
    return all(
        isinstance(a, np.ndarray) and a.shape == outcomes.correct.shape for a in arrays
    ) and (choices is None or choices.right.shape == outcomes.correct.shape)


def _choices(choices: Choices) -> bool:
    one = choices.right.shape
    return (
        choices.counts.shape == choices.in_order.shape == choices.said.shape == one
        and choices.p.shape[:1] == one
        and choices.text_log_p.shape == choices.text_tokens.shape
        and choices.text_log_p.shape in ((*one, 0), choices.p.shape)
    )


def _states(states: States) -> bool:
    shape = (len(states.queries), max(1, len(states.space.places)), states.space.d_model)
    return states.rows.shape == shape


_SHAPES: dict[type, Callable[[Any], bool]] = {
    Adapter: lambda adapter: len(adapter.names) == len(adapter.tensors),
    Vector: _vector,
    States: _states,
    Choices: _choices,
    Outcomes: _outcomes,
    Answers: lambda answers: len(answers.names) == len(answers.outcomes),
    TaskMean: lambda mean: mean.mean.ndim == 3,
    HeadOutputs: lambda known: (
        known.outputs.ndim == 4 and len(known.outputs) == len(known.answers) == len(known.images)
    ),
    Mediation: lambda effect: effect.cie.ndim == 3,
}
