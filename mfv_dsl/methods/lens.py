"""Lenses: what a state of any layer says in the model's own words.

The logit lens (nostalgebraist 2020) reads a state h as W N(h), with the final norm N and the output
head W.  A tuned lens (arXiv:2303.08112) first brings h to where the last layer's states are, by an
affine translator of each layer,

    h + A(l) h + b(l)

trained to make W N(...) like the model's own logits: by the Kullback-Leibler divergence of the
lens's distribution from the model's.  Behind the last layer both are the model's own logits.

A translator knows the states that it was trained on.  These here are of last tokens of prompts with
and without demonstrations, not of all tokens of a corpus as in the paper; the lens is used at last
tokens, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.engine.scoring import score
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.variant_runs import run_variants
from mfv_dsl.models.base import Backend, PromptBatch

_BATCH = 256  # states a step
_RATE = 1e-3  # of Adam, at first; it falls to zero along a cosine


@dataclass(frozen=True, repr=False, eq=False)
class TunedLens(Short):
    """Translators of all layers but the last: ``weights`` (layers - 1, d_model, d_model), the A(l),
    and ``biases`` (layers - 1, d_model), float32, of the model with this ``fingerprint``.

    ``divergences`` is, for each of these layers, the mean KL divergence in nats on held-out states,
    of the logit lens and of this one, (layers - 1, 2).
    """

    fingerprint: str
    weights: torch.Tensor
    biases: torch.Tensor
    divergences: np.ndarray

    def translated(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        """States behind ``layer`` (..., d_model) as the last layer would have them."""
        if layer == len(self.weights):
            return states
        weight, bias = (
            sent(each[layer], states.device).to(states.dtype)
            for each in (self.weights, self.biases)
        )
        return states + states @ weight.T + bias


def require_lens(backend: Backend, lens: TunedLens) -> TunedLens:
    """``lens`` if it is of this model; else MfvError (MFV5584)."""
    if lens.fingerprint != backend.facts.fingerprint:
        raise MfvError(
            "MFV5584", "this lens was trained on another model",
            help="train one for this model by `mfv train-lens`",
            notes=[f"the lens: model {lens.fingerprint[:12]}",
                   f"the model: {backend.facts.fingerprint[:12]}"],
        )  # fmt: skip
    return lens


@dataclass(frozen=True, repr=False, eq=False)
class AnswerCurve(Short):
    """What a lens says of the answer at the last token, behind each layer, without and, where there
    was one, with a vector: ``log_p`` and ``rank`` (0: the likeliest) of the answer's first token
    and the ``likeliest`` token, each (conditions, prompts, layers)."""

    log_p: np.ndarray
    rank: np.ndarray
    likeliest: np.ndarray


def answer_curve(
    backend: Backend,
    batches: Sequence[PromptBatch],
    edits: Sequence[Edit] = (),
    lens: TunedLens | None = None,
    progress: Progress = lambda _: None,
) -> AnswerCurve:
    """The answers of the prompts of ``batches`` through a lens, by default the logit lens, layer by
    layer, and again under ``edits`` at the last token.

    ``progress`` counts prompts.  Raises MfvError: MFV5584 for a lens of another model, MFV5370
    where the model computes no numbers::

        curve = answer_curve(model, [batch], adding(vector, 3, 1.0))
        np.exp(curve.log_p).mean(1)  # (without and with the vector, layers)
    """
    if lens is not None:
        require_lens(backend, lens)
    conditions = [[], list(edits)] if edits else [[]]
    reads = [Read("lm.resid", layer) for layer in backend.sites["lm.resid"].layers]

    def measured(rows: Rows) -> tuple[np.ndarray, ...]:
        own = [rows.edits(variant) for variant in conditions]
        with torch.no_grad():
            prefix = encode_prefix(backend, rows.batch)
            scores, readings = run_variants(prefix, own, reads)
            (finite,) = brought(scores.finite)
            for number, variant in enumerate(own):
                check_scores(backend, rows.batch, finite[:, number], variant)
            of_layers = []
            for read, states in zip(reads, readings, strict=True):
                seen = states if lens is None else lens.translated(read.layer, states)
                vocabulary = backend.unembed(seen[:1, 0]).shape[-1]
                found = score(seen, backend.unembed, vocabulary, prefix.answers)
                parts = brought(found.log_p.double(), found.rank, found.likeliest)
                of_layers.append([part.numpy().T for part in parts])
        return tuple(np.stack(each, axis=-1) for each in zip(*of_layers, strict=True))

    tables = []
    for rows, part in in_parts(backend, batches, measured):
        tables.append(part)
        progress(len(rows.batch))
    return AnswerCurve(*(np.concatenate(each, axis=1) for each in zip(*tables, strict=True)))


def train_lens(
    backend: Backend,
    batches: Sequence[PromptBatch],
    held_out: Sequence[PromptBatch],
    epochs: int = 40,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> TunedLens:
    """A tuned lens of the model on the last tokens of the prompts of ``batches``; by Adam, from
    translators that change nothing.  ``progress`` counts epochs of layers.

    Raises MfvError (MFV5370) where the model computes no numbers.
    """
    states, targets = _states(backend, batches), _states(backend, held_out)
    *below, last = states
    width = backend.facts.d_model
    weights = torch.zeros(len(below), width, width)
    biases = torch.zeros(len(below), width)
    for layer, own in enumerate(below):
        weights[layer], biases[layer] = _translator(backend, own, last, epochs, seed, progress)
    lens = TunedLens(backend.facts.fingerprint, weights, biases, np.zeros((len(below), 2)))
    divergences = [
        [
            _mean_divergence(backend, own, targets[-1]),
            _mean_divergence(backend, lens.translated(layer, own), targets[-1]),
        ]
        for layer, own in enumerate(targets[:-1])
    ]
    return TunedLens(lens.fingerprint, weights, biases, np.array(divergences))


def _states(backend: Backend, batches: Sequence[PromptBatch]) -> list[torch.Tensor]:
    """The last tokens' states behind each layer, (prompts, d_model) on the processor."""
    reads = [Read("lm.resid", layer) for layer in backend.sites["lm.resid"].layers]

    def read(rows: Rows) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            scores, readings = run_variants(encode_prefix(backend, rows.batch), [[]], reads)
        check_scores(backend, rows.batch, scores.finite[:, 0])
        return brought(*(reading[:, 0].float() for reading in readings))

    parts = [part for _, part in in_parts(backend, batches, read)]
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _translator(
    backend: Backend, states: torch.Tensor, last: torch.Tensor, epochs: int, seed: int,
    progress: Progress,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """A(l) and b(l) from the states of a layer and those of the last one."""
    width, device = states.shape[-1], backend.device
    weight = torch.zeros(width, width, device=device, requires_grad=True)
    bias = torch.zeros(width, device=device, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=_RATE)
    steps = epochs * -(-len(states) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(states), generator=generator).split(_BATCH):
            own, final = sent(states[rows], device), sent(last[rows], device)
            with torch.enable_grad():
                loss = _divergence(backend, own + own @ weight.T + bias, final).mean()
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            schedule.step()
        progress(1)
    return weight.detach().cpu(), bias.detach().cpu()


def _divergence(backend: Backend, states: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """KL divergence of what ``states`` (n, d_model) say from what the last states say, (n,)."""
    precision = next(backend.model.parameters()).dtype
    with torch.no_grad():
        wanted = backend.unembed(last.to(precision)).float().log_softmax(-1)
    said = backend.unembed(states.to(precision)).float().log_softmax(-1)
    return (wanted.exp() * (wanted - said)).sum(-1)


@torch.no_grad()
def _mean_divergence(backend: Backend, states: torch.Tensor, last: torch.Tensor) -> float:
    parts = [
        _divergence(backend, sent(own, backend.device), sent(final, backend.device)).double().cpu()
        for own, final in zip(states.split(_BATCH), last.split(_BATCH), strict=True)
    ]
    return float(torch.cat(parts).mean())
