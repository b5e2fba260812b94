"""The epochs of a training: several vectors in one step, each as if it were alone.

A step takes a mini-batch of every vector, runs the frozen model once for all their prompts, and
goes back once; each vector has its own loss, optimiser, limit and measurements.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import kl_div

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import AtOnce, rows_at_once
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.tuning_variables import TuningVariable
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.base import Backend, PromptBatch


@dataclass(frozen=True)
class Settings:
    """How a vector is trained; see the formula of :mod:`mfv_dsl.methods.tuning`.

    ``max_norm`` bounds the vector's length: the start is shortened to it, and so is the vector
    after each step.  ``variable`` is a key of
    :data:`~mfv_dsl.methods.tuning_variables.VARIABLES`.  ``seed`` orders the mini-batches anew for
    each epoch, and draws a random start.
    """

    layer: int
    epochs: int = 10
    lr: float = 0.1
    weight_decay: float = 0.0
    max_norm: float | None = None
    kl: float = 0.0
    variable: str = "vector"
    sparsity: float = 0.0
    seed: int = 1234


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
    ``settings.kl`` is weighed with one of ``off_task`` each; and what is learned."""

    batches: Sequence[PromptBatch]
    validation: Sequence[PromptBatch]
    off_task: Sequence[PromptBatch]
    settings: Settings
    variable: TuningVariable

    def limited(self, value: torch.Tensor) -> torch.Tensor:
        """``value``, or that of the vector at its greatest length."""
        longest = self.settings.max_norm
        return value if longest is None else self.variable.limit(value, longest)

    def order(self, number: int) -> list[int]:
        """The mini-batches of epoch ``number``, from 1, in the order in which they are taken."""
        seed = [self.settings.seed, number]
        order: list[int] = np.random.default_rng(seed).permutation(len(self.batches)).tolist()
        return order


class Trainer:
    """Makes one checkpoint after the other, for several courses that write to one layer.

    A course's checkpoints do not depend on the others, but for the rounding of products of
    matrices that have other numbers of rows.  Memory that runs out makes a step smaller: fewer
    courses at a time, with a warning.
    """

    def __init__(self, backend: Backend, prefixes: PrefixCache, progress: Progress) -> None:
        self.backend, self.device = backend, backend.device
        self.prefixes, self.progress = prefixes, progress
        self._at_once = AtOnce(self.device, "vectors in training")
        self._settled = False  # whether every batch has been taken, and comes with the same others
        self._unedited: dict[int, torch.Tensor] = {}  # by the identity of the batch

    def starts(self, courses: Sequence[Course]) -> list[Checkpoint | MfvError]:
        """The checkpoints before the first epoch."""
        values = [course.limited(course.variable.first()) for course in courses]
        means, squares = ([torch.zeros_like(value) for value in values] for _ in range(2))
        losses = [(None, None)] * len(courses)
        return self._checkpoints(courses, values, means, squares, losses)

    def epoch(
        self, courses: Sequence[Course], number: int, before: Sequence[Checkpoint]
    ) -> list[Checkpoint | MfvError]:
        """Epoch ``number``, from 1, which goes on from ``before``, of each course; MFV5314 of one
        whose loss is no longer finite."""
        values = [c.value.to(self.device).clone().requires_grad_() for c in before]
        if self._at_once.size is None:
            self._at_once.size = self._fitting(courses)
        adam = _Adam(courses, number, values, before)
        losses: list[list[torch.Tensor]] = [[] for _ in courses]
        orders = [course.order(number) for course in courses]
        for step in range(max(map(len, orders))):
            now = [i for i, order in enumerate(orders) if step < len(order)]
            for i, loss in self._gradients(courses, values, {i: orders[i][step] for i in now}):
                losses[i].append(loss)
            adam.step(step)
            for i in now:
                if courses[i].settings.max_norm is not None:
                    with torch.no_grad():
                        values[i].copy_(courses[i].limited(values[i]))
            self.progress(len(now))
        # courses of one seed and number of batches take their batches in one order
        self._settled = len({(c.settings.seed, len(c.batches)) for c in courses}) == 1
        means, squares = adam.moments()
        values = [value.detach() for value in values]
        mean_losses = list(map(_means, courses, orders, losses))
        return self._checkpoints(courses, values, means, squares, mean_losses)

    def _fitting(self, courses: Sequence[Course]) -> int:
        """How many courses memory suggests to take at once, every layer kept for the way back."""
        if len(courses) == 1:
            return 1
        largest = max(map(len, (batch for course in courses for batch in course.batches)))
        prefix = self.prefixes.of(courses[0].batches[0])
        return max(1, rows_at_once(self.device, prefix.row_bytes) // largest)

    def _gradients(
        self, courses: Sequence[Course], values: Sequence[torch.Tensor], taken: dict[int, int]
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Set the gradients of ``values``: of course i on its mini-batch ``taken[i]``, None of
        those that take none.  Gives each course's loss and its KL, (2,)."""
        for value in values:
            value.grad = None

        def run(part: Sequence[int]) -> list[tuple[int, torch.Tensor]]:
            with torch.enable_grad():
                losses = self.losses([(courses[i], taken[i], values[i]) for i in part])
                total = torch.stack([loss for loss, _ in losses]).sum()
                gradients = torch.autograd.grad(total, [values[i] for i in part])
            for i, gradient in zip(part, gradients, strict=True):
                values[i].grad = gradient
            return [(i, torch.stack(loss).detach()) for i, loss in zip(part, losses, strict=True)]

        for _, losses in self._at_once.of(list(taken), run):
            yield from losses

    def losses(
        self, work: Sequence[tuple[Course, int, torch.Tensor]]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each (course, mini-batch, value) the loss and its KL on off-task prompts, both with
        gradients."""
        vectors = [course.variable.vector(value) for course, _, value in work]
        layer = work[0][0].settings.layer
        group = self._injection([course.batches[i] for course, i, _ in work])
        log_p = group.log_p(layer, vectors).split(group.sizes)
        losses = [-part.mean() for part in log_p]
        kls = [vector.new_zeros(()) for vector in vectors]
        weighed = [n for n, (course, _, _) in enumerate(work) if course.settings.kl]
        if weighed:
            off_task = [work[n][0].off_task[work[n][1]] for n in weighed]
            found = self.off_task_kl(off_task, layer, [vectors[n] for n in weighed])
            for n, kl in zip(weighed, found, strict=True):
                kls[n] = kl
        for n, (course, _, value) in enumerate(work):
            settings, vector, device = course.settings, vectors[n], losses[n].device
            if settings.weight_decay:
                decay = settings.weight_decay / 2 * vector.square().sum()
                losses[n] = losses[n] + decay.to(device)
            if settings.sparsity:
                penalty = course.variable.penalty(value).to(device)
                losses[n] = losses[n] + settings.sparsity * penalty
            if settings.kl:
                losses[n] = losses[n] + settings.kl * kls[n]
        return list(zip(losses, kls, strict=True))

    def off_task_kl(
        self, batches: Sequence[PromptBatch], layer: int, vectors: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """For each batch the mean KL(unedited ‖ edited) of the next token over its prompts."""
        for batch in batches:
            if id(batch) not in self._unedited:
                with torch.no_grad():
                    unedited = self.prefixes.of(batch).scores([()], logits=True).logits
                assert unedited is not None
                self._unedited[id(batch)] = unedited[:, 0].float().log_softmax(-1)
        group = self._injection(batches)
        edited = group.logits(layer, vectors).float().log_softmax(-1).split(group.sizes)
        return [
            kl_div(part, self._unedited[id(batch)], reduction="batchmean", log_target=True)
            for part, batch in zip(edited, batches, strict=True)
        ]

    def _injection(self, batches: Sequence[PromptBatch]) -> Injection:
        return self.prefixes.together(batches, self._settled)

    def _checkpoints(
        self,
        courses: Sequence[Course],
        values: Sequence[torch.Tensor],
        means: Sequence[torch.Tensor],
        squares: Sequence[torch.Tensor],
        losses: Sequence[tuple[float | None, float | None]],
    ) -> list[Checkpoint | MfvError]:
        """Measure the vectors that ``values`` yield on the validation prompts."""
        results = [
            course.variable.result(value) for course, value in zip(courses, values, strict=True)
        ]
        measured = self._measured(courses, [result.residual for result in results])
        return [
            _checkpoint(*parts)
            for parts in zip(results, measured, losses, values, means, squares, strict=True)
        ]

    @torch.no_grad()
    def _measured(
        self, courses: Sequence[Course], vectors: Sequence[torch.Tensor]
    ) -> list[tuple[float, float]]:
        """For each course, on its validation prompts under its vector: the share of correct answers
        and the mean negative log-probability, NaN where scores are no numbers."""
        added = [sent(vector, self.device) for vector in vectors]
        correct, nll = [0] * len(courses), [0.0] * len(courses)
        for number in range(max(len(course.validation) for course in courses)):

            def run(part: Sequence[int], number: int = number) -> list[tuple[int, int, float]]:
                batches = [courses[i].validation[number] for i in part]
                group = self._injection(batches)
                layer = courses[part[0]].settings.layer
                scores = group.scores(layer, [added[i] for i in part])
                hits = scores.likeliest[:, 0] == group.answers.to(scores.likeliest.device)
                hits, log_p = brought(hits, scores.log_p[:, 0])
                parts = hits.split(group.sizes), log_p.double().split(group.sizes)
                found = zip(part, *parts, strict=True)
                return [(i, int(hit.sum()), -float(reached.sum())) for i, hit, reached in found]

            members = [i for i, c in enumerate(courses) if number < len(c.validation)]
            for _, found in self._at_once.of(members, run):
                for i, hits, loss in found:
                    correct[i] += hits
                    nll[i] += loss
        sizes = [sum(map(len, course.validation)) for course in courses]
        return [(c / n, total / n) for c, total, n in zip(correct, nll, sizes, strict=True)]


class _Adam:
    """Adam, with a state for each course's value and a learning rate that falls along a cosine."""

    def __init__(
        self, courses: Sequence[Course], number: int, values: Sequence[torch.Tensor],
        before: Sequence[Checkpoint],
    ) -> None:  # fmt: skip
        alike: dict[tuple[float, int, int], list[torch.Tensor]] = defaultdict(list)
        for course, value in zip(courses, values, strict=True):
            settings = course.settings
            alike[settings.lr, settings.epochs, len(course.batches)].append(value)
        self._values, self._number, self._schedules = values, number, list(alike)
        groups = [{"params": members} for members in alike.values()]
        self._adam = torch.optim.Adam(groups, foreach=True)
        for course, value, checkpoint in zip(courses, values, before, strict=True):
            self._adam.state[value] = {
                "step": torch.tensor(float((number - 1) * len(course.batches))),
                "exp_avg": checkpoint.mean.to(value.device).clone(),
                "exp_avg_sq": checkpoint.square.to(value.device).clone(),
            }

    def step(self, number: int) -> None:
        """Step ``number`` of the epoch, from 0, for all values that have a gradient."""
        for group, (lr, epochs, n) in zip(self._adam.param_groups, self._schedules, strict=True):
            share = ((self._number - 1) * n + number) / (epochs * n)
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * share))
        self._adam.step()

    def moments(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The running means of the gradients and of their squares."""
        states = [self._adam.state[value] for value in self._values]
        return [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]


def _means(
    course: Course, order: Sequence[int], losses: Sequence[torch.Tensor]
) -> tuple[float, float | None]:
    """The means over an epoch's prompts of the loss and, where it is weighed, of its KL; ``losses``
    has both of each step, (2,)."""
    prompts = torch.tensor([float(len(course.batches[i])) for i in order]).double()
    loss, kl = ((prompts @ torch.stack(list(losses)).cpu().double()) / prompts.sum()).tolist()
    return loss, kl if course.settings.kl else None


def _checkpoint(
    result: Vector,
    measured: tuple[float, float],
    losses: tuple[float | None, float | None],
    value: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
) -> Checkpoint | MfvError:
    """What comes of an epoch; MFV5314 where something in it is no number."""
    accuracy, nll = measured
    is_finite = all(bool(part.isfinite().all()) for part in (value, result.residual))
    if not is_finite or not math.isfinite(nll + sum(loss or 0.0 for loss in losses)):
        return MfvError(
            "MFV5314", "the loss is not a finite number any more",
            help="lower `lr`, or bound the vector by `max_norm`",
        )  # fmt: skip
    return Checkpoint(Epoch(*losses, accuracy, nll, result.norm()), value, mean, square)
