"""Training a vector with the model frozen (arXiv:2510.02528, tuned function vectors).

The only parameter is the vector v, or factors of the one it starts from, or which of its heads are
patched (:mod:`mfv_dsl.methods.tuning_variables`).  With v added at one place of the model, or a
part of it at each of several (:mod:`mfv_dsl.methods.destinations`),

    loss = mean over prompts of L + weight_decay / 2 · |v|² + sparsity · Σ head weights
           + kl · mean over off-task prompts of KL(unedited ‖ edited)

is minimised by Adam with a learning rate that falls to 0 along a cosine over all steps.  L is
-log p(answer's first token) for the loss ``nll``; for ``teacher``

    L = KL(teacher ‖ edited) + nll_weight · -log p(answer's first token)

where the teacher is the unedited model behind demonstrations, asked the same (arXiv:2406.13185,
arXiv:2504.08851, arXiv:2504.04633).  Off-task prompts are ones whose next token v should leave
alone.  Each KL is of the next token, over the whole vocabulary.

At the last token nothing below the first place depends on v: a mini-batch's prefix and the last
token's hidden state at that layer are run once and kept for all epochs, and a step runs only the
layers above, on one token a prompt.  The gradient is the same as through the whole model.  At other
tokens every step is a full pass.  Several vectors are trained in the same steps
(:func:`tune_together`, :mod:`mfv_dsl.methods.training`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.engine.edits import LAST, Read
from mfv_dsl.engine.prefix import encode_prefix, full_passes
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.algebra import random_like
from mfv_dsl.methods.courses import Checkpoint, Course, Epoch, Settings
from mfv_dsl.methods.destinations import Destination, Place, destination_of
from mfv_dsl.methods.training import Trainer
from mfv_dsl.methods.tuning_variables import VARIABLES
from mfv_dsl.methods.vectors import Space, Vector, require_model, space_at
from mfv_dsl.models.base import Backend, PromptBatch

#: A random start's length as a share of the mean length of the residual stream it is added to:
#: enough to have a direction, too little to drown what the prompt says.
RANDOM_SHARE = 0.1

#: The share of a loss's fall that says, in the second half of the epochs, that it is not done.
STILL = 0.1

#: Gives the named part of a long piece of work: as kept by an earlier run, else made.
Keep = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True, repr=False)
class Training(Short):
    """How training went: ``epochs`` from the start (0) on; which one was ``chosen``; ``n``
    validation prompts chose it."""

    epochs: tuple[Epoch, ...]
    chosen: int
    n: int

    @property
    def still_falling(self) -> float | None:
        """By how much the loss fell in the second half of the epochs, where training was not done
        when it ended; None where it was, and of fewer than four epochs.

        It was not where that fall is more than :data:`STILL` of the fall since the first epoch,
        more than twice the largest rise from one epoch to the next in that half (its noise), and
        more than 0.01.  The learning rates of the second half add up to 18 % of all, so that a loss
        that fell evenly with them would have a share of 0.18.
        """
        losses = [epoch.loss for epoch in self.epochs if epoch.loss is not None]
        if len(losses) < 4:
            return None
        half = losses[len(losses) // 2 - 1 :]
        fall, noise = half[0] - half[-1], max(b - a for a, b in pairwise(half))
        falling = fall > max(STILL * (losses[0] - losses[-1]), 2 * noise, 0.01)
        return fall if falling else None


@dataclass(frozen=True, eq=False, repr=False)
class Tuned(Vector):
    """A vector that was trained."""

    training: Training = field(kw_only=True, repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Task(Short):
    """One vector to be trained, as :func:`tune` takes it."""

    batches: Sequence[PromptBatch]
    validation: Sequence[PromptBatch]
    start: Vector | str
    settings: Settings
    off_task: Sequence[PromptBatch] = ()
    keep: Keep = lambda _, make: make()
    teacher: Sequence[PromptBatch] = ()


def tune(
    backend: Backend,
    batches: Sequence[PromptBatch],
    validation: Sequence[PromptBatch],
    start: Vector | str,
    settings: Settings,
    off_task: Sequence[PromptBatch] = (),
    teacher: Sequence[PromptBatch] = (),
    *,
    keep: Keep = lambda _, make: make(),
    progress: Progress = lambda _: None,
) -> Tuned:
    """Train a vector on ``batches``, one step each per epoch; ``start`` is a vector, or ``random``,
    a direction :data:`RANDOM_SHARE` as long as the residual stream it is added to, or ``normal``,
    numbers from the standard normal distribution, as the official code of arXiv:2510.02528 draws
    them.

    After each epoch the vector is measured on ``validation``; the epoch with the highest accuracy
    is chosen, of equals the one with the lower NLL, then the earlier; the start itself (epoch 0)
    is a candidate, and no epoch of ``patch_mask`` in which no head is patched.  With
    ``settings.kl``, step i of an epoch also looks at ``off_task[i]``, one for each of ``batches``;
    with the loss ``teacher`` at ``teacher[i]``, the queries of ``batches[i]`` behind
    demonstrations.

    ``keep`` is asked for every epoch by name, so that a run that was interrupted goes on where it
    stopped; results are the same bit for bit.  ``progress`` counts steps.  Prefixes are kept in a
    quarter of the free memory; those beyond it are run again in each epoch.

    Raises MfvError MFV5305, MFV5313 and MFV5543 for a start that has nothing to learn, MFV5540 to
    MFV5544 for one that does not go with where it is to be written, MFV5314 where the loss is no
    longer finite, MFV5315 where a mask keeps no head.
    """
    task = Task(batches, validation, start, settings, off_task, keep, teacher)
    (vector,) = tune_together(backend, [task], progress=progress)
    if isinstance(vector, MfvError):
        raise vector
    return vector


def tune_together(
    backend: Backend, tasks: Sequence[Task], *, progress: Progress = lambda _: None
) -> list[Tuned | MfvError]:
    """Train several vectors that are added at the same places, a step of all in one pass of the
    model.

    What comes of each is what :func:`tune` makes of it alone, but for rounding: in float32 the
    vectors are apart by less than a millionth of their length.  In place of a vector whose training
    fails is the error; the others go on.  An epoch that was kept of some of the tasks is made again
    with the others, so that it has the same bits as in one go.
    """
    where = {(task.settings.layer, task.settings.sites, task.settings.positions) for task in tasks}
    assert len(where) <= 1, "one place at a time"
    at_last = all(task.settings.positions == LAST for task in tasks)
    prefixes = PrefixCache(backend, encode_prefix if at_last else full_passes)
    trainer = Trainer(backend, prefixes, progress)
    runs = [_Run(backend, prefixes, task) for task in tasks]
    for number in range(1 + max((task.settings.epochs for task in tasks), default=0)):
        running = [r for r in runs if r.error is None and number <= r.task.settings.epochs]
        epoch = _Epoch(trainer, running, number)
        for place, run in enumerate(running):
            run.go_on(f"epoch/{number}", partial(epoch.checkpoint, place))
        if not epoch.is_made and number:  # kept from an earlier run
            progress(sum(len(run.task.batches) for run in running))
    return [run.result() for run in runs]


class _Run:
    """One vector's way through its epochs: its checkpoints, or the error that ended it."""

    def __init__(self, backend: Backend, prefixes: PrefixCache, task: Task) -> None:
        self.task = task
        self.checkpoints: list[Checkpoint] = []
        self.error: MfvError | None = None
        try:
            start, settings = task.start, task.settings
            destination = destination_of(
                backend.sites, start, settings.layer, settings.sites, settings.positions
            )
            start = require_model(backend, self._start(backend, prefixes, destination))
            variable = VARIABLES[settings.variable](start, backend.device, destination)
        except MfvError as error:
            self.error = error
        else:
            self.course = Course(
                task.batches, task.validation, task.off_task, settings, variable, task.teacher
            )

    def _start(self, backend: Backend, prefixes: PrefixCache, destination: Destination) -> Vector:
        task, start = self.task, self.task.start
        places, seed = destination.places, self.task.settings.seed
        if start == "random":
            make = partial(random_start, backend, prefixes, task.batches, places, seed)
            start = task.keep("start", make)
        elif start == "normal":
            start = normal_start(backend, places, seed)
        assert isinstance(start, Vector)
        return start

    def go_on(self, name: str, make: Callable[[], Checkpoint]) -> None:
        """Take the next checkpoint: as kept by an earlier run, else made."""
        try:
            self.checkpoints.append(self.task.keep(name, make))
        except MfvError as error:
            self.error = error

    def result(self) -> Tuned | MfvError:
        """The vector of the best epoch."""
        if self.error is not None:
            return self.error
        epochs = tuple(checkpoint.epoch for checkpoint in self.checkpoints)
        variable, values = self.course.variable, [point.value for point in self.checkpoints]
        candidates = [i for i, value in enumerate(values) if variable.is_candidate(value)]
        if not candidates:
            chance = max(float(value.sigmoid().max()) for value in values)
            steps = (len(epochs) - 1) * len(self.task.batches)
            return MfvError(
                "MFV5315", "no head's chance of being patched came above a half: in "
                f"{steps} steps the largest was {chance:.2f}",
                help="train longer, by more `epochs` or `items` or a smaller `batch`, or with a "
                "larger `lr`; or begin with other heads",
            )  # fmt: skip
        best = max(candidates, key=lambda i: (epochs[i].accuracy, -epochs[i].nll))
        vector = variable.result(values[best])
        if vector.heads == ():
            return MfvError(
                "MFV5315", "the mask that did best on validation keeps no head",
                help="lower `sparsity`, or train for fewer epochs",
            )  # fmt: skip
        training = Training(epochs, best, sum(map(len, self.task.validation)))
        own = {item.name: getattr(vector, item.name) for item in fields(vector)}
        return Tuned(**own, training=training)


class _Epoch:
    """An epoch of several runs, made when the first of them needs it."""

    def __init__(self, trainer: Trainer, runs: Sequence[_Run], number: int) -> None:
        self._trainer, self._runs, self._number = trainer, runs, number
        self._before = [run.checkpoints[-1] for run in runs] if number else []
        self._made: list[Checkpoint | MfvError] = []

    @property
    def is_made(self) -> bool:
        """Whether it was made now, not by an earlier run."""
        return bool(self._made)

    def checkpoint(self, place: int) -> Checkpoint:
        """What comes of the epoch for the run at ``place``."""
        if not self._made:
            courses = [run.course for run in self._runs]
            if self._number:
                self._made = self._trainer.epoch(courses, self._number, self._before)
            else:
                self._made = self._trainer.starts(courses)
        made = self._made[place]
        if isinstance(made, MfvError):
            raise made
        return made


@torch.no_grad()
def random_start(
    backend: Backend, prefixes: PrefixCache, batches: Sequence[PromptBatch],
    places: Sequence[Place], seed: int,
) -> Vector:  # fmt: skip
    """A random direction at each of ``places``, :data:`RANDOM_SHARE` as long as what passes there
    is on average at the last token of ``batches``."""
    lengths: list[list[torch.Tensor]] = [[] for _ in places]
    reads = [Read(site, layer) for site, layer in places]
    for batch in batches:
        (chunk,) = prefixes.of(batch).run([()], reads=reads)
        for found, reading in zip(lengths, chunk.readings, strict=True):
            found.append(reading.double().norm(dim=-1).flatten().cpu())
    long = torch.zeros(len(places), backend.facts.d_model)
    for number, found in enumerate(lengths):
        long[number, 0] = RANDOM_SHARE * float(torch.cat(found).mean())
    return random_like(Vector(long.flatten(), _space(backend, places)), seed)


def normal_start(backend: Backend, places: Sequence[Place], seed: int) -> Vector:
    """At each of ``places`` a vector of numbers from the standard normal distribution, about
    √d_model long."""
    space, generator = _space(backend, places), torch.Generator().manual_seed(seed)
    return Vector(torch.randn(space.size, generator=generator), space)


def _space(backend: Backend, places: Sequence[Place]) -> Space:
    """That of a vector with a part for each of several places."""
    facts = backend.facts
    return space_at(Space(facts.fingerprint, facts.d_model), places)
