"""What a vector is trained on and how, and what comes of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.engine.edits import LAST, Positions
from mfv_dsl.methods.tuning_variables import TuningVariable
from mfv_dsl.models.base import PromptBatch


@dataclass(frozen=True)
class Settings:
    """How a vector is trained; see the formula of :mod:`mfv_dsl.methods.tuning`.

    ``layer``, ``sites`` and ``positions`` say where it is written: a layer's number, several
    (``{3, 5}``), ``all``, or ``native`` for where the start's parts belong.  ``max_norm`` bounds
    the vector's length: the start is shortened to it, and so is the vector after each step.
    ``variable`` is a key of :data:`~mfv_dsl.methods.tuning_variables.VARIABLES`; ``loss`` is
    ``nll`` or ``teacher``, and ``nll_weight`` counts the answer's beside the teacher's.  ``seed``
    orders the mini-batches anew for each epoch, and draws a random start.
    """

    layer: int | str
    epochs: int = 10
    lr: float = 0.1
    weight_decay: float = 0.0
    max_norm: float | None = None
    kl: float = 0.0
    variable: str = "vector"
    sparsity: float = 0.0
    seed: int = 1234
    sites: tuple[str, ...] = ("lm.resid",)
    positions: Positions = LAST
    loss: str = "nll"
    nll_weight: float = 0.0


@dataclass(frozen=True)
class Epoch:
    """One epoch, or (number 0) the start.

    ``loss``, and of it ``off_task_kl`` where it is weighed: means over the epoch's prompts, each
    before its own step; None for the start.  After the epoch: ``accuracy`` and ``nll`` (mean
    negative log-probability of the answer) on the validation prompts, and the vector's ``norm``.
    """

    loss: float | None
    off_task_kl: float | None
    accuracy: float
    nll: float
    norm: float


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint(Short):
    """All that the next epoch needs: the learned ``value`` and Adam's two running means."""

    epoch: Epoch
    value: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Course(Short):
    """What one vector is trained on: a step for each of ``batches`` in an epoch, where
    ``settings.kl`` is weighed with one of ``off_task`` each, and where the ``loss`` is the
    teacher's with one of ``teacher``, the same queries behind demonstrations; and what is
    learned."""

    batches: Sequence[PromptBatch]
    validation: Sequence[PromptBatch]
    off_task: Sequence[PromptBatch]
    settings: Settings
    variable: TuningVariable
    teacher: Sequence[PromptBatch] = ()

    def limited(self, value: torch.Tensor) -> torch.Tensor:
        """``value``, or that of the vector at its greatest length."""
        longest = self.settings.max_norm
        return value if longest is None else self.variable.limit(value, longest)

    def order(self, number: int) -> list[int]:
        """The mini-batches of epoch ``number``, from 1, in the order in which they are taken."""
        seed = [self.settings.seed, number]
        order: list[int] = np.random.default_rng(seed).permutation(len(self.batches)).tolist()
        return order


class Work(NamedTuple):
    """A step of one course: its mini-batch ``number``, with ``value`` learned so far."""

    course: Course
    number: int
    value: torch.Tensor
    epoch: int = 1

    @property
    def batch(self) -> PromptBatch:
        """The prompts of the step."""
        return self.course.batches[self.number]

    def drawn(self) -> torch.Tensor | None:
        """What the step draws at random, the same whenever it is taken again."""
        seed = np.random.SeedSequence([self.course.settings.seed, self.epoch, self.number])
        generator = torch.Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
        return self.course.variable.drawn(self.value, len(self.batch), generator)
