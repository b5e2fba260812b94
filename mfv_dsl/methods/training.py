"""The epochs of a training: several vectors in one step, each as if it were alone.

A step takes a mini-batch of every vector, runs the frozen model once for all their prompts, and
goes back once; each vector has its own loss, optimiser, limit and measurements.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import AtOnce, rows_at_once
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.courses import Checkpoint, Course, Epoch, Work
from mfv_dsl.methods.losses import Losses
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.base import Backend


class Trainer:
    """Makes one checkpoint after the other, for several courses that write to the same places.

    A course's checkpoints do not depend on the others, but for the rounding of products of
    matrices that have other numbers of rows.  Memory that runs out makes a step smaller: fewer
    courses at a time, with a warning.
    """

    def __init__(self, backend: Backend, prefixes: PrefixCache, progress: Progress) -> None:
        self.device, self.prefixes, self.progress = backend.device, prefixes, progress
        self.losses = Losses(backend, prefixes)
        self._at_once = AtOnce(self.device, "vectors in training")

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
            works = {i: Work(courses[i], orders[i][step], values[i], number) for i in now}
            for i, loss in self._gradients(works):
                losses[i].append(loss)
            adam.step(step)
            for value in values:
                value.grad = None
            for i in now:
                if courses[i].settings.max_norm is not None:
                    with torch.no_grad():
                        values[i].copy_(courses[i].limited(values[i]))
            self.progress(len(now))
        # courses of one seed and number of batches take their batches in one order
        self.losses.settled = len({(c.settings.seed, len(c.batches)) for c in courses}) == 1
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

    def _gradients(self, works: dict[int, Work]) -> Iterator[tuple[int, torch.Tensor]]:
        """Set the gradients of what courses learn, by their numbers, to those of their steps.
        Gives each course's loss and its KL, (2,)."""

        def run(part: Sequence[int]) -> list[tuple[int, torch.Tensor]]:
            values = [works[i].value for i in part]
            with torch.enable_grad():
                losses = self.losses.of([works[i] for i in part])
                total = torch.stack([loss for loss, _ in losses]).sum()
                gradients = torch.autograd.grad(total, values)
            for value, gradient in zip(values, gradients, strict=True):
                value.grad = gradient
            return [(i, torch.stack(loss).detach()) for i, loss in zip(part, losses, strict=True)]

        for _, losses in self._at_once.of(list(works), run):
            yield from losses

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
        measured = self._measured(courses, results)
        return [
            _checkpoint(*parts)
            for parts in zip(results, measured, losses, values, means, squares, strict=True)
        ]

    @torch.no_grad()
    def _measured(
        self, courses: Sequence[Course], results: Sequence[Vector]
    ) -> list[tuple[float, float]]:
        """For each course, on its validation prompts under its vector: the share of correct answers
        and the mean negative log-probability, NaN where scores are no numbers."""
        edits = [c.variable.written(result) for c, result in zip(courses, results, strict=True)]
        correct, nll = [0] * len(courses), [0.0] * len(courses)
        for number in range(max(len(course.validation) for course in courses)):

            def run(part: Sequence[int], number: int = number) -> list[tuple[int, int, float]]:
                batches = [courses[i].validation[number] for i in part]
                group = self.losses.together(batches)
                scores = group.scores([edits[i] for i in part])
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
