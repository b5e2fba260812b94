"""The training of vectors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import free_bytes
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_in_turn
from mfv_dsl.engine.tensors import tensors_in
from mfv_dsl.execute.edits import positions_of
from mfv_dsl.execute.operations.registry import Values, performs_together
from mfv_dsl.execute.session import Session
from mfv_dsl.lang.entries import TRAINING_SPLIT
from mfv_dsl.lang.writing import SITES
from mfv_dsl.methods.courses import Settings
from mfv_dsl.methods.tuning import Task, Tuned, tune_together
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.plan.descriptions import OFF_TASK_SHOTS
from mfv_dsl.plan.steps import Step

_SHARE = 4  # of free memory, one part in so many is for the prompts of trainings in one go

_Batches = list[PromptBatch]


def _settings(p: Mapping[str, Any]) -> Settings:
    """How a step with these parameters is trained."""
    site = p.get("site", "residual")
    return Settings(
        **{f.name: p[f.name] for f in fields(Settings) if f.name in p},
        sites=tuple(SITES[name] for name in ((site,) if isinstance(site, str) else site)),
        positions=positions_of(p),
    )


@performs_together("tune")
def tune(
    session: Session, steps: Sequence[Step], inputs: Sequence[Values]
) -> list[Tuned | MfvError]:
    """Train the vectors of several relations, seeds or starts in the same steps of the model; every
    finished epoch is kept as a part of its step."""
    results: list[Tuned | MfvError] = []
    prompts = _Prompts(session)
    while len(results) < len(steps):
        left = list(zip(steps, inputs, strict=True))[len(results) :]
        tasks: list[Task | MfvError] = []
        for step, values in left:
            if tasks and not prompts.leave_room:
                break
            tasks.append(_task(session, prompts, step, values))
        results += _trained(session, steps[len(results) :][: len(tasks)], tasks)
        prompts.clear()
    return results


def _trained(
    session: Session, steps: Sequence[Step], tasks: Sequence[Task | MfvError]
) -> list[Tuned | MfvError]:
    ready = [task for task in tasks if isinstance(task, Task)]
    if not ready:
        return [task for task in tasks if isinstance(task, MfvError)]
    total = sum(task.settings.epochs * len(task.batches) for task in ready)
    label = ", ".join(step.label for step in steps)
    progress = session.listener.begin(label, total)
    vectors = iter(tune_together(session.backend(steps[0]), ready, progress=progress))
    return [next(vectors) if isinstance(task, Task) else task for task in tasks]


def _task(session: Session, prompts: _Prompts, step: Step, inputs: Values) -> Task | MfvError:
    """What one step trains, or why it cannot."""
    p = step.parameters
    try:
        return Task(
            prompts.batches(step, p["items"], TRAINING_SPLIT, p["batch"]),
            prompts.batches(step, p["select_items"], p["select_on"]),
            inputs["start"] if "start" in inputs else p["start"],
            _settings(p),
            prompts.off_task(step) if p["kl"] else [],
            keep=partial(session.part, step),
            teacher=prompts.teacher(step) if p["loss"] == "teacher" else (),
        )
    except MfvError as error:
        return error


class _Prompts:
    """The prompts of several steps, encoded once where they are the same."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._batches: dict[Hashable, _Batches] = {}
        self._teachers: dict[Hashable, Sequence[PromptBatch]] = {}
        self._free: int | None = None

    @property
    def leave_room(self) -> bool:
        """Whether as much again as the prompts so far take may be held."""
        parts = [batch for batches in self._batches.values() for batch in batches]
        held = sum(tensor.nbytes for tensor in tensors_in(parts))
        return self._free is None or 2 * held <= self._free // _SHARE

    def clear(self) -> None:
        """Let go of all."""
        self._batches.clear()
        self._teachers.clear()

    def batches(self, step: Step, n: int, split: str, size: int | None = None) -> _Batches:
        """Prompts of the step's relation and seed, ``size`` at a time."""
        p = step.parameters
        key = (step.dataset, p["relation"], p["shots"], p["seed"], n, split, size)

        def draw() -> list[Prompt]:
            return self._session.prompts(step, n, split, p["shots"])

        return self._once(key, step, draw, size)

    def teacher(self, step: Step) -> Sequence[PromptBatch]:
        """The training prompts behind the teacher's demonstrations, each batch encoded when it is
        taken."""
        p = step.parameters
        shots, size = p["teacher_shots"], p["batch"]
        key = (step.dataset, p["relation"], shots, p["seed"], p["items"], size)
        if key not in self._teachers:
            prompts = self._session.prompts(step, p["items"], TRAINING_SPLIT, shots)
            self._teachers[key] = self._session.batches(step, prompts, size)
        return self._teachers[key]

    def off_task(self, step: Step) -> _Batches:
        """As many few-shot prompts of other relations as there are training prompts, relation by
        relation in turn, from the same split."""
        p = step.parameters
        key = (step.dataset, tuple(p["off_task"]), p["items"], p["seed"], p["batch"])

        def draw() -> list[Prompt]:
            return draw_in_turn(
                self._session.dataset(step), p["off_task"], TRAINING_SPLIT, p["items"],
                OFF_TASK_SHOTS, p["seed"],
            )  # fmt: skip

        return self._once(key, step, draw, p["batch"])

    def _once(
        self, key: Hashable, step: Step, draw: Callable[[], list[Prompt]], size: int | None
    ) -> _Batches:
        if key not in self._batches:
            if self._free is None:
                self._free = free_bytes(self._session.backend(step).device)
            self._batches[key] = list(self._session.batches(step, draw(), size))
        return self._batches[key]
