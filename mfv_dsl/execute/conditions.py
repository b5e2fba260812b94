"""Conditions of an eval on one relation, and what was measured under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.lang.entries import PLACED
from mfv_dsl.methods.outcomes import Outcomes
from mfv_dsl.plan.treatments import Treatment, treatments


@dataclass(frozen=True)
class Point:
    """What tells a condition of an eval on one relation from the others: layer and scale of what is
    added, how many heads where that is swept, the vector's place in a list of several, and the
    control, empty for the real thing."""

    layer: int | str | None = None
    scale: float | str | None = None
    k: int | str | None = None
    vector: int | str | None = 0
    control: str = ""

    def __str__(self) -> str:
        parts = {"layer": self.layer, "scale": self.scale, "k": self.k}
        texts = [f"{name} {value}" for name, value in parts.items() if value is not None]
        if isinstance(self.vector, int) and self.vector:
            texts.append(f"vector {self.vector + 1}")
        texts += [f"control {self.control}"] if self.control else []
        return ", ".join(texts)

    @property
    def treatment(self) -> Treatment:
        """What is written under the condition."""
        assert isinstance(self.vector, int) and not isinstance(self.k, str)
        return Treatment(self.control, self.vector, self.k)

    def settled(self, choose: Iterable[str], value: str | None = None) -> Point:
        """The condition with ``value`` in the place of what ``choose`` names."""
        fields = {"vector" if name in PLACED else name: value for name in choose}
        return replace(self, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True, repr=False)
class Condition(Short):
    """One measured condition.  ``answered`` (prompts,) says for which of the evaluation's relations
    each answer would be right, -1 for none; ``weights`` (prompts, candidates) are a blend's;
    ``said`` (prompts,) are the answers' places among the evaluation's texts, None where it has
    none; ``opened`` (prompts,) says which prompts opened the gate of `when`, None without."""

    at: Point
    outcomes: Outcomes
    answered: np.ndarray
    weights: np.ndarray | None = None
    said: np.ndarray | None = None
    opened: np.ndarray | None = None


@dataclass(frozen=True)
class Failure:
    """A condition, or one of the trials, that gave no numbers, and why."""

    at: Point
    error: MfvError
    is_trial: bool = False


@dataclass(frozen=True, repr=False)
class Evaluation(Short):
    """Conditions measured on one split, the trials that settled ``choose`` on another, and the
    zero-shot outcomes on the same items; ``images`` (prompts) shows which items share one, and
    ``relations`` are those that the queries' pictures show.  ``failures`` are the conditions and
    trials that are in neither; the store keeps no evaluation that has some.

    ``items`` are the prompts' queries, answers and places in their file, each (prompts,) and empty
    in what an earlier version kept; ``texts`` are the different answers that were given, and
    ``zero_shot_said`` (prompts,) the places of the zero-shot ones among them.  ``blind`` (prompts,)
    is how probably an answer is right that is guessed without the picture, by how frequent it is;
    None of pictures that are drawn, of options, and in what an earlier version kept.
    ``options`` are those of each query, where it has to choose one.
    """

    conditions: tuple[Condition, ...]
    trials: tuple[Condition, ...]
    zero_shot: Outcomes
    images: tuple[str, ...]
    relations: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    items: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = ((), (), ())
    texts: tuple[str, ...] = ()
    zero_shot_said: np.ndarray | None = None
    blind: np.ndarray | None = None
    options: tuple[tuple[str, ...], ...] = ()

    @property
    def real(self) -> tuple[Condition, ...]:
        """The conditions without the controls."""
        return tuple(condition for condition in self.conditions if not condition.at.control)


def planned(p: Mapping[str, Any]) -> list[Point]:
    """The conditions of an evaluation with the parameters ``p``, before anything is measured: what
    ``choose`` settles is open."""
    chosen = p.get("choose", ())
    return with_controls(dict.fromkeys(point.settled(chosen) for point in sweep(p)), p)


def with_controls(points: Iterable[Point], p: Mapping[str, Any]) -> list[Point]:
    """Real conditions, each with its controls behind it."""
    controls = ("", *p.get("controls", ()))
    return [replace(point, control=control) for point in points for control in controls]


def sweep(p: Mapping[str, Any]) -> list[Point]:
    """The real conditions of an evaluation."""
    return [
        Point(layer, scale, treatment.k, treatment.vector)
        for treatment in treatments(p)
        for layer in p.get("layers") or (None,)
        for scale in p.get("scales") or (None,)
        if not treatment.control
    ]
