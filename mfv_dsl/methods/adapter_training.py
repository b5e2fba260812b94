"""Training an adapter with the model frozen: what a tuned vector is compared with at equal data.

The loss is that of a tuned vector (:mod:`mfv_dsl.methods.tuning`): the mean over prompts of
-log p(answer's first token).  Adam's learning rate falls to 0 along a cosine over all steps, and
the epoch is chosen on validation prompts, the start among the candidates.  An adapter acts on every
token, so each step runs whole prompts, forward and backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.courses import Checkpoint, Epoch
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.off_task import OffTaskCost
from mfv_dsl.methods.tuning import Keep, Training
from mfv_dsl.models.adapters import Adapted, Lora, SoftPrompt, adapted
from mfv_dsl.models.base import Backend, PromptBatch


@dataclass(frozen=True)
class AdapterSettings:
    """How an adapter is trained; ``seed`` orders the mini-batches anew for each epoch."""

    epochs: int
    lr: float
    seed: int = 1234


@dataclass(frozen=True, eq=False, repr=False)
class Adapter(Short):
    """A trained adapter: its ``names`` and ``tensors``, of equal number, and what it is: ``method``
    ``lora`` or ``soft_prompt``, and its ``sizes``, rank and alpha or the number of tokens, with
    ``modules``, the linear maps that have one.  ``fingerprint`` is the model's; ``seed`` drew the
    beginning."""

    method: str
    sizes: tuple[float, ...]
    modules: str
    seed: int
    fingerprint: str
    names: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]
    training: Training = field(repr=False)

    @property
    def learned(self) -> int:
        """How many numbers are learned."""
        return sum(tensor.numel() for tensor in self.tensors)

    @property
    def form(self) -> Lora | SoftPrompt:
        """What is put into a model."""
        if self.method == "lora":
            return Lora(int(self.sizes[0]), self.sizes[1], self.modules)
        return SoftPrompt(int(self.sizes[0]))


def sizes_of(form: Lora | SoftPrompt) -> tuple[str, tuple[float, ...], str]:
    """The method, sizes and modules of an adapter of this form."""
    if isinstance(form, Lora):
        return "lora", (form.rank, form.alpha), form.modules
    return "soft_prompt", (form.tokens,), ""


@contextmanager
def with_adapter(backend: Backend, adapter: Adapter) -> Iterator[Backend]:
    """Within the block the model has ``adapter`` in it; batches have to be made by the backend that
    comes back.  Leaving it puts the model back as it was, to the bit.

    Raises MfvError (MFV5303) for an adapter of another model.
    """
    if adapter.fingerprint != backend.facts.fingerprint:
        raise MfvError(
            "MFV5303", "this adapter was trained for another model",
            help="an adapter can be used only with the model it was trained for",
        )  # fmt: skip
    with adapted(backend, adapter.form, adapter.seed) as inside:
        _write(inside.parameters, torch.cat([t.flatten() for t in adapter.tensors]))
        yield inside.backend


def train_adapter(
    backend: Backend,
    form: Lora | SoftPrompt,
    batches: Callable[[Backend], Sequence[PromptBatch]],
    validation: Callable[[Backend], Sequence[PromptBatch]],
    settings: AdapterSettings,
    *,
    keep: Keep = lambda _, make: make(),
    progress: Progress = lambda _: None,
) -> Adapter:
    """Train an adapter of ``form`` on ``batches``, one step each per epoch.

    ``batches`` and ``validation`` make prompts with the backend that they are given, as a soft
    prompt takes room in them.  Of the epochs, the start among them, the one with the highest
    accuracy on validation is chosen, of equals the one with the lower NLL, then the earlier.
    ``keep`` is asked for every epoch by name, so that an interrupted training goes on where it
    stopped, with the same bits.  ``progress`` counts steps.

    Raises MfvError (MFV5314) where the loss is no finite number any more.
    """
    with adapted(backend, form, settings.seed) as inside:
        trainer = _Trainer(inside, batches(inside.backend), validation(inside.backend), settings)
        checkpoints = [keep("epoch/0", trainer.start)]
        for number in range(1, settings.epochs + 1):
            before = checkpoints[-1]
            checkpoints.append(keep(f"epoch/{number}", partial(trainer.epoch, number, before)))
            progress(len(trainer.batches))
        epochs = tuple(checkpoint.epoch for checkpoint in checkpoints)
        best = max(range(len(epochs)), key=lambda i: (epochs[i].accuracy, -epochs[i].nll))
        shapes = {name: weight.shape for name, weight in inside.parameters.items()}
        parts = checkpoints[best].value.split([shape.numel() for shape in shapes.values()])
        training = Training(epochs, best, sum(map(len, trainer.validation)))
        return Adapter(
            *sizes_of(form), settings.seed, backend.facts.fingerprint, tuple(shapes),
            tuple(p.view(s).clone() for p, s in zip(parts, shapes.values(), strict=True)),
            training,
        )  # fmt: skip


def _write(parameters: Mapping[str, torch.nn.Parameter], value: torch.Tensor) -> None:
    """Set ``parameters``, one after the other, to the numbers of ``value`` (numbers,)."""
    sizes = [weight.numel() for weight in parameters.values()]
    with torch.no_grad():
        for weight, part in zip(parameters.values(), value.split(sizes), strict=True):
            weight.copy_(part.view_as(weight))


class _Trainer:
    """Makes one checkpoint after the other of an adapter that is in a model."""

    def __init__(
        self, inside: Adapted, batches: Sequence[PromptBatch], validation: Sequence[PromptBatch],
        settings: AdapterSettings,
    ) -> None:  # fmt: skip
        self.batches, self.validation, self.settings = batches, validation, settings
        self.backend, self.parameters = inside.backend, inside.parameters

    def start(self) -> Checkpoint:
        """The checkpoint before the first epoch."""
        value = self._value()
        return self._checkpoint(None, torch.zeros_like(value), torch.zeros_like(value))

    def epoch(self, number: int, before: Checkpoint) -> Checkpoint:
        """Epoch ``number``, from 1, which goes on from the checkpoint ``before``."""
        settings, weights = self.settings, list(self.parameters.values())
        _write(self.parameters, before.value)
        adam = torch.optim.Adam(weights, lr=settings.lr)
        sizes, steps = [w.numel() for w in weights], len(self.batches)
        means, squares = before.mean.split(sizes), before.square.split(sizes)
        for weight, mean, square in zip(weights, means, squares, strict=True):
            adam.state[weight] = {
                "step": torch.tensor(float((number - 1) * steps)),
                "exp_avg": mean.view_as(weight).to(weight.device).clone(),
                "exp_avg_sq": square.view_as(weight).to(weight.device).clone(),
            }
        order = np.random.default_rng([settings.seed, number]).permutation(steps)
        total = torch.zeros((), dtype=torch.float64)
        for step, place in enumerate(order.tolist()):
            share = ((number - 1) * steps + step) / (settings.epochs * steps)
            adam.param_groups[0]["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * share))
            batch = self.batches[place]
            with torch.enable_grad():
                loss = -_log_p(self.backend, batch).mean()
                gradients = torch.autograd.grad(loss, weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            adam.step()
            total += loss.detach().double().cpu() * len(batch)
        adam.zero_grad()
        states = [adam.state[weight] for weight in weights]
        return self._checkpoint(
            float(total) / sum(map(len, self.batches)),
            torch.cat([state["exp_avg"].flatten() for state in states]),
            torch.cat([state["exp_avg_sq"].flatten() for state in states]),
        )

    def _value(self) -> torch.Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.parameters.values()])

    @torch.no_grad()
    def _checkpoint(
        self, loss: float | None, mean: torch.Tensor, square: torch.Tensor
    ) -> Checkpoint:
        """The state as it is now, measured on the validation prompts."""
        value, correct, nll, n = self._value(), 0, 0.0, sum(map(len, self.validation))
        for batch in self.validation:
            logits = self.backend.forward(batch)
            assert batch.answers is not None
            correct += int((logits.argmax(-1) == batch.answers).sum())
            nll -= float(_chosen(logits, batch.answers).double().sum())
        if not bool(value.isfinite().all()) or not math.isfinite(nll + (loss or 0.0)):
            raise MfvError("MFV5314", "the loss is not a finite number any more", help="lower `lr`")
        epoch = Epoch(loss, None, correct / n, nll / n, float(value.double().norm()))
        return Checkpoint(epoch, value.cpu(), mean.cpu(), square.cpu())


def _log_p(backend: Backend, batch: PromptBatch) -> torch.Tensor:
    """The log-probability of each prompt's answer, (prompts,)."""
    assert batch.answers is not None
    return _chosen(backend.forward(batch), batch.answers)


def _chosen(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    log_p = logits.float().log_softmax(-1)
    return log_p.gather(-1, answers[:, None])[:, 0]


@torch.no_grad()
def adapter_cost(
    backend: Backend,
    adapter: Adapter,
    batches: Callable[[Backend], Sequence[PromptBatch]],
    progress: Progress = lambda _: None,
) -> OffTaskCost:
    """What an adapter costs on prompts of other kinds: as
    :func:`~mfv_dsl.methods.off_task.off_task_costs` of edits.  ``progress`` counts prompts."""
    kls, before, after = [], [], []
    plain = batches(backend)
    for number in range(len(plain)):
        batch = plain[number]
        assert batch.answers is not None
        unedited = backend.forward(batch).float().log_softmax(-1)
        with with_adapter(backend, adapter) as inside:
            edited = inside.forward(batches(inside)[number]).float().log_softmax(-1)
        check_scores(backend, batch, ~edited.isnan().any(-1))
        kl = (unedited.exp() * (unedited - edited)).sum(-1).clamp_min(0)  # below 0 is rounding
        kls.append(kl.double().cpu().numpy())
        before.append((unedited.argmax(-1) == batch.answers).cpu().numpy())
        after.append((edited.argmax(-1) == batch.answers).cpu().numpy())
        progress(len(batch))
    return OffTaskCost(*(np.concatenate(parts) for parts in (kls, before, after)))
