"""Training a vector with the model frozen (arXiv:2510.02528, tuned function vectors).

The only parameter is the vector v, or factors of the one it starts from
(:mod:`mfv_dsl.methods.tuning_variables`).  With v added at the output of one decoder layer, at the
last token,

    loss = mean over prompts of -log p(answer's first token) + weight_decay / 2 · |v|²
           + sparsity · Σ head weights + kl · mean over off-task prompts of KL(unedited ‖ edited)

is minimised by Adam with a learning rate that falls to 0 along a cosine over all steps.  Off-task
prompts are ones whose next token v should leave alone; the KL is over the whole vocabulary.

Nothing below the injection depends on v: a mini-batch's prefix and the last token's hidden state at
the injected layer are run once and kept for all epochs, and a step runs only the layers above, on
one token a prompt.  The gradient is the same as through the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.functional import kl_div

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import AtOnce, Result, is_out_of_memory
from mfv_dsl.base.short import Short
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.engine.scoring import Scores
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.tuning_variables import VARIABLES, TuningVariable
from mfv_dsl.methods.vectors import Space, Vector, check_space, random_like
from mfv_dsl.models.base import Backend, PromptBatch

#: A random start's length as a share of the mean length of the residual stream it is added to:
#: enough to have a direction, too little to drown what the prompt says.
RANDOM_SHARE = 0.1

#: The share of a loss's fall that says, in the second half of the epochs, that it is not done.
STILL = 0.1

#: Gives the named part of a long piece of work: as kept by an earlier run, else made.
Keep = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Settings:
    """How a vector is trained; see the module's formula.

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
class Checkpoint(Short):
    """All that the next epoch needs: the learned ``value`` and Adam's two running means."""

    epoch: Epoch
    value: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor


def tune(
    backend: Backend,
    batches: Sequence[PromptBatch],
    validation: Sequence[PromptBatch],
    start: Vector | str,
    settings: Settings,
    off_task: Sequence[PromptBatch] = (),
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
    is a candidate.  With ``settings.kl``, step i of an epoch also looks at ``off_task[i]``, one for
    each of ``batches``.

    ``keep`` is asked for every epoch by name, so that a run that was interrupted goes on where it
    stopped; results are the same bit for bit.  ``progress`` counts steps.  Prefixes are kept in a
    quarter of the free memory; those beyond it are run again in each epoch.

    Raises MfvError MFV5305 and MFV5313 for a start that has nothing to learn, MFV5314 where the
    loss is no longer finite, MFV5315 where a mask keeps no head.
    """
    prefixes = PrefixCache(backend)
    if start == "random":
        start = keep("start", partial(random_start, backend, prefixes, batches, settings))
    elif start == "normal":
        start = normal_start(backend, settings.seed)
    assert isinstance(start, Vector)
    space = Space(backend.facts.fingerprint, backend.facts.d_model, start.space.bias)
    check_space(Vector(start.residual, space, "this model"), start)
    variable = VARIABLES[settings.variable](start, backend.device)
    trainer = _Trainer(
        backend, variable, prefixes, batches, validation, off_task, settings, progress
    )
    checkpoints: list[Checkpoint] = [keep("epoch/0", trainer.start)]
    for number in range(1, settings.epochs + 1):
        before = trainer.steps
        checkpoints.append(keep(f"epoch/{number}", partial(trainer.epoch, number, checkpoints[-1])))
        if trainer.steps == before:  # kept from an earlier run
            progress(len(batches))
    epochs = tuple(checkpoint.epoch for checkpoint in checkpoints)
    best = max(range(len(epochs)), key=lambda i: (epochs[i].accuracy, -epochs[i].nll))
    vector = variable.result(checkpoints[best].value)
    if vector.heads == ():
        raise MfvError(
            "MFV5315", "the mask that did best on validation keeps no head",
            help="lower `sparsity`",
        )  # fmt: skip
    training = Training(epochs, best, sum(map(len, validation)))
    return Tuned(
        **{item.name: getattr(vector, item.name) for item in fields(vector)}, training=training
    )


@torch.no_grad()
def random_start(
    backend: Backend, prefixes: PrefixCache, batches: Sequence[PromptBatch], settings: Settings
) -> Vector:
    """A random direction, :data:`RANDOM_SHARE` as long as the residual stream is on average at the
    last token of ``batches``, at the output of the layer that it will be added to."""

    def measured(rows: Rows) -> torch.Tensor:
        (chunk,) = prefixes.of(rows.batch).run([()], reads=[Read("lm.resid", settings.layer)])
        return chunk.readings[0].double().norm(dim=-1).flatten().cpu()

    lengths = [part for _, part in in_parts(backend, batches, measured)]
    facts = backend.facts
    long = torch.zeros(facts.d_model)
    long[0] = RANDOM_SHARE * float(torch.cat(lengths).mean())
    return random_like(Vector(long, Space(facts.fingerprint, facts.d_model)), settings.seed)


def normal_start(backend: Backend, seed: int) -> Vector:
    """A vector of numbers from the standard normal distribution, about √d_model long."""
    facts, generator = backend.facts, torch.Generator().manual_seed(seed)
    numbers = torch.randn(facts.d_model, generator=generator)
    return Vector(numbers, Space(facts.fingerprint, facts.d_model))


class _Trainer:
    """Makes one checkpoint after the other."""

    def __init__(
        self, backend: Backend, variable: TuningVariable, prefixes: PrefixCache,
        batches: Sequence[PromptBatch], validation: Sequence[PromptBatch],
        off_task: Sequence[PromptBatch], settings: Settings, progress: Progress,
    ) -> None:  # fmt: skip
        self.backend, self.device = backend, backend.device
        self.at_once = AtOnce(backend.device, "prompts")
        self.variable, self.prefixes, self.settings = variable, prefixes, settings
        self.batches, self.validation, self.off_task = batches, validation, off_task
        self.progress = progress
        self.steps = 0  # made here, not those of an earlier run
        self._unedited: dict[tuple[int, int, int], torch.Tensor] = {}

    def start(self) -> Checkpoint:
        value = self._limit(self.variable.first())
        return self._checkpoint(value, torch.zeros_like(value), torch.zeros_like(value))

    def epoch(self, number: int, before: Checkpoint) -> Checkpoint:
        """Epoch ``number``, from 1, which goes on from ``before``."""
        settings = self.settings
        value = before.value.to(self.device).clone().requires_grad_()
        adam = torch.optim.Adam([value], lr=settings.lr)
        n_steps = (number - 1) * len(self.batches)
        adam.state[value] = {
            "step": torch.tensor(float(n_steps)),
            "exp_avg": before.mean.to(self.device).clone(),
            "exp_avg_sq": before.square.to(self.device).clone(),
        }
        total, off_task = torch.zeros(2, dtype=torch.float64)
        order = np.random.default_rng([settings.seed, number]).permutation(len(self.batches))
        for i in order.tolist():
            share = n_steps / (settings.epochs * len(self.batches))
            adam.param_groups[0]["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * share))
            loss, kl, value.grad = self.gradient(i, value)
            adam.step()
            with torch.no_grad():
                value.copy_(self._limit(value))
            total += loss * len(self.batches[i])
            off_task += kl * len(self.batches[i])
            n_steps += 1
            self.steps += 1
            self.progress(1)
        prompts = sum(map(len, self.batches))
        mean, square = adam.state[value]["exp_avg"], adam.state[value]["exp_avg_sq"]
        return self._checkpoint(
            value.detach(), mean, square, float(total / prompts),
            float(off_task / prompts) if settings.kl else None,
        )  # fmt: skip

    def gradient(self, i: int, value: torch.Tensor) -> tuple[float, float, torch.Tensor]:
        """The loss of mini-batch ``i``, its KL on off-task prompts, and the loss's gradient.  Where
        memory runs out, they are summed over parts of the mini-batch."""
        total, kl, gradient = 0.0, 0.0, torch.zeros_like(value)
        rows = Rows(self.backend, self.batches[i], self.batches[i])
        for part, (loss, off_task, slope) in self._in_parts([rows], partial(self._part, i, value)):
            first, last = part.share
            total += (last - first) * loss
            kl += (last - first) * off_task
            gradient += (last - first) * slope
        return total, kl, gradient

    def _in_parts(
        self, batches: Iterable[Rows], run: Callable[[Rows], Result]
    ) -> Iterator[tuple[Rows, Result]]:
        """As :func:`~mfv_dsl.engine.rows.in_parts`, where the prefixes that are kept give way
        first."""

        def attempt(rows: Rows) -> Result:
            try:
                return run(rows)
            except Exception as error:
                if is_out_of_memory(error):
                    self.prefixes.forget()
                raise

        return self.at_once.of_each(batches, attempt)

    def _part(self, i: int, value: torch.Tensor, rows: Rows) -> tuple[float, float, torch.Tensor]:
        """:meth:`gradient` of some prompts of mini-batch ``i``."""
        with torch.enable_grad():
            loss, kl = self.loss(i, rows, value)
            (gradient,) = torch.autograd.grad(loss, value)
        return float(loss.detach()), float(kl.detach()), gradient

    def loss(self, i: int, rows: Rows, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of some prompts of mini-batch ``i`` and its KL on as large a share of off-task
        prompts, both with gradients."""
        settings, vector = self.settings, self.variable.vector(value)
        scores = self.prefixes.of(rows.batch).injected(settings.layer, vector)
        loss, kl = -scores.log_p.mean(), vector.new_zeros(())
        if settings.weight_decay:
            loss = loss + settings.weight_decay / 2 * vector.square().sum().to(loss.device)
        if settings.sparsity:
            loss = loss + settings.sparsity * self.variable.penalty(value).to(loss.device)
        if settings.kl:
            kl = self._off_task_kl(i, rows.share, vector)
            loss = loss + settings.kl * kl
        return loss, kl

    def _off_task_kl(
        self, i: int, share: tuple[float, float], vector: torch.Tensor
    ) -> torch.Tensor:
        """Mean KL(unedited ‖ edited) of the next token over the prompts of off-task batch ``i``, or
        a ``share`` of them, as large a part of the mean."""
        batch = self.off_task[i]
        first, last = (round(bound * len(batch)) for bound in share)
        if first == last:
            return vector.new_zeros(())
        whole = last - first == len(batch)
        prefix = self.prefixes.of(batch if whole else batch[first:last])
        place = i, first, last
        if place not in self._unedited:
            with torch.no_grad():
                unedited = prefix.scores([()], logits=True).logits
            assert unedited is not None
            self._unedited[place] = unedited[:, 0].float().log_softmax(-1)
        edited = prefix.injected(self.settings.layer, vector, logits=True).logits
        assert edited is not None
        mean = kl_div(
            edited[:, 0].float().log_softmax(-1), self._unedited[place],
            reduction="batchmean", log_target=True,
        )  # fmt: skip
        return mean * ((last - first) / len(batch) / (share[1] - share[0]))

    def _limit(self, value: torch.Tensor) -> torch.Tensor:
        longest = self.settings.max_norm
        return value if longest is None else self.variable.limit(value, longest)

    @torch.no_grad()
    def _checkpoint(
        self, value: torch.Tensor, mean: torch.Tensor, square: torch.Tensor,
        loss: float | None = None, off_task_kl: float | None = None,
    ) -> Checkpoint:  # fmt: skip
        """Measure the vector that ``value`` yields on the validation prompts."""
        result = self.variable.result(value)
        vector = result.residual.to(self.device)
        n_correct, nll, n, is_finite = 0, 0.0, 0, True
        rows = (Rows(self.backend, batch, batch) for batch in self.validation)

        def measured(part: Rows) -> Scores:
            return self.prefixes.of(part.batch).injected(self.settings.layer, vector)

        for part, scores in self._in_parts(rows, measured):
            batch = part.batch
            n_correct += int((scores.likeliest[:, 0].cpu() == batch.answers.cpu()).sum())
            nll -= float(scores.log_p.double().sum())
            is_finite = is_finite and bool(scores.finite.all())
            n += len(batch)
        is_finite = is_finite and all(bool(part.isfinite().all()) for part in (value, vector))
        if not is_finite or not math.isfinite(nll + (loss or 0.0) + (off_task_kl or 0.0)):
            raise MfvError(
                "MFV5314", "the loss is not a finite number any more",
                help="lower `lr`, or bound the vector by `max_norm`",
            )  # fmt: skip
        epoch = Epoch(loss, off_task_kl, n_correct / n, nll / n, result.norm())
        return Checkpoint(epoch, value, mean, square)
