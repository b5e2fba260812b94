"""What each head and MLP adds to the answer's logit: direct logit attribution.

The last token's final state x is a sum: the embedded token, what every head, MLP and block of
cross-attention wrote, and an added vector.  With the final norm at the scale that it has for x
(:mod:`mfv_dsl.methods.linear_norm`) the logit is linear in that sum, and so each part has a share
of its own (nostalgebraist 2020; Elhage et al. 2021; arXiv:2211.00593, section 3.1):

    logit(answer) = Σ over parts of part · d + constant        d = J(x) w(answer)

with w the answer's row of the output head, J(x) the norm at its scale, and as the constant what
biases of norm and head give.  With candidates the mean row of the other candidates is taken away
from w: then it is the answer's logit less the mean of theirs, in which what raises all answers
alike does not show.

The shares add up to the logit exactly, but they know direct effects alone: what a part does through
later parts is in the shares of those.  A part that makes the state longer makes the scale, and so
all shares, smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.finite import holds_numbers
from mfv_dsl.engine.hooks import find_module
from mfv_dsl.engine.prefix import Prefix, encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.injections import Injection, part_name, sites_in
from mfv_dsl.methods.linear_norm import linear_norm
from mfv_dsl.methods.linearisation import is_behind_norm
from mfv_dsl.methods.variant_runs import run_variants
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.models.gates import gates
from mfv_dsl.models.projections import weights_of


@dataclass(frozen=True)
class Part:
    """What writes into the stream: ``kind`` is ``embedding``, ``head``, ``bias`` (of an attention's
    output), ``mlp``, ``cross head``, ``cross mlp``, ``other`` (what a layer adds beside these),
    ``vector`` or ``constant``."""

    kind: str
    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        site = {"head": "lm.attn", "mlp": "lm.mlp", "cross head": "xattn",
                "cross mlp": "xattn.mlp"}.get(self.kind)  # fmt: skip
        if site is not None and self.layer is not None:
            return part_name(site, self.layer, self.head)
        return self.kind if self.layer is None else f"{self.kind} {self.layer}"


@dataclass(frozen=True, repr=False, eq=False)
class LogitAttribution(Short):
    """The shares of ``parts`` in the answer's logit, (conditions, prompts, parts) float64, without
    and, where there was one, with the vector; ``logits`` (conditions, prompts) are their sums.

    ``relative``: less the mean of the other candidates' logits.
    """

    parts: tuple[Part, ...]
    shares: np.ndarray
    logits: np.ndarray
    relative: bool


def logit_attribution(
    backend: Backend,
    batches: Sequence[PromptBatch],
    edits: Sequence[Edit] = (),
    candidates: Sequence[int] = (),
    progress: Progress = lambda _: None,
) -> LogitAttribution:
    """The direct shares in the logits of the answers to the prompts of ``batches``.

    Args:
        backend: The model.
        batches: The prompts.
        edits: What adds a vector at the last token; none for the unedited model alone.
        candidates: Tokens of answers; without any it is the logit itself.  Of a model that bounds
            its logits (Gemma 2) it is what is bounded.
        progress: Counts prompts.

    Raises MfvError: MFV5582 for edits that do more than add, MFV5580 for a norm that cannot be made
    linear, MFV5370 where the model computes no numbers::

        found = logit_attribution(model, [batch], adding(vector, 3, 1.0))
        change = (found.shares[1] - found.shares[0]).mean(0)
        found.parts[change.argmax()]
    """
    injection = Injection.of(edits)
    conditions = [[], list(edits)] if edits else [[]]
    parts: list[Part] = []

    def measured(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        own = [rows.edits(variant) for variant in conditions]
        with torch.no_grad():
            run = _Measurement(backend, rows.batch, own, candidates)
            found = [dict(run.shares(number, injection)) for number in range(len(own))]
        parts[:] = found[-1]
        table = np.stack(
            [np.stack([shares.get(part, np.zeros(len(rows.batch))) for part in parts], axis=1)
             for shares in found]
        )  # fmt: skip
        return table, np.stack(run.logits)

    tables = []
    for rows, part in in_parts(backend, batches, measured):
        tables.append(part)
        progress(len(rows.batch))
    shares, logits = (np.concatenate(each, axis=1) for each in zip(*tables, strict=True))
    return LogitAttribution(tuple(parts), shares, logits, bool(candidates))


def readout(
    backend: Backend, answers: torch.Tensor, candidates: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of ``answers`` (prompts,) what the final norm's output is multiplied with,
    (prompts, d_model), and what is added, (prompts,), for the answer's logit less the mean of the
    other ``candidates``'; float64 on the processor."""
    _, head = backend.readout
    weights, bias = weights_of(head), getattr(head, "bias", None)
    rows, added = [], []
    for answer in answers.tolist():
        others = sorted(set(candidates) - {answer})
        row = weights[answer].double().cpu()
        own = 0.0 if bias is None else float(bias[answer])
        if others:
            row = row - weights[others].double().cpu().mean(0)
            own -= 0.0 if bias is None else float(bias[others].double().mean())
        rows.append(row)
        added.append(own)
    return torch.stack(rows), torch.tensor(added, dtype=torch.float64)


class _Measurement:
    """One batch, under several conditions: what passed, and the direction of each logit."""

    def __init__(
        self, backend: Backend, batch: PromptBatch, conditions: Sequence[Sequence[Edit]],
        candidates: Sequence[int],
    ) -> None:  # fmt: skip
        self.backend, self.batch = backend, batch
        prefix = encode_prefix(backend, batch)
        layers = range(backend.facts.n_layers)
        sites = {layer: sites_in(backend, layer) for layer in layers}
        reads = [Read(site, layer) for layer in layers for site in sites[layer]]
        reads += [Read("lm.attn.out", layer) for layer in layers if "lm.attn" in sites[layer]]
        reads += [Read("lm.resid", layer) for layer in layers]
        scores, readings = run_variants(prefix, conditions, reads)
        self._read = {
            (read.site, read.layer): values for read, values in zip(reads, readings, strict=True)
        }
        last = self._read["lm.resid", layers[-1]]
        (finite,) = brought(holds_numbers(last) & scores.finite)
        for number, edits in enumerate(conditions):
            check_scores(backend, batch, finite[:, number], edits)
        self._start = _start(prefix)
        rows, bias = readout(backend, prefix.answers, candidates)
        norm, _ = backend.readout
        self.directions, self.constants, self.logits = [], [], []
        for number in range(len(conditions)):
            linear = linear_norm(norm, last[:, number])
            direction = linear.direction(rows)
            constant = (rows @ linear.bias) + bias
            self.directions.append(direction)
            self.constants.append(constant)
            logit = (last[:, number].double().cpu() * direction).sum(-1) + constant
            self.logits.append(logit.numpy())

    def at(self, site: str, layer: int, condition: int) -> torch.Tensor:
        """What passed, (prompts, [heads,] width) float64 on the processor."""
        return self._read[site, layer][:, condition].double().cpu()

    def shares(self, condition: int, injection: Injection) -> Iterator[tuple[Part, np.ndarray]]:
        """Each part with its share, (prompts,)."""
        backend, direction = self.backend, self.directions[condition]
        edits = injection.edits if condition else ()
        added = sum((edit.value.double().cpu() for edit in edits), start=torch.zeros(1).double())
        if self._start is not None:
            yield Part("embedding"), _dot(self._start, direction)
        before = self._start
        for layer in range(backend.facts.n_layers):
            known = torch.zeros_like(direction)
            for part, share, written in self._written(layer, condition, edits):
                yield part, share
                if written is not None:
                    known = known + written
            after = self.at("lm.resid", layer, condition)
            own = [edit.value.double().cpu() for edit in edits if edit.layer == layer]
            rest = after - known - (0.0 if before is None else before) - sum(own)
            yield (
                Part("embedding" if before is None else "other", layer or None),
                _dot(rest, direction),
            )
            before = after
        if edits:
            yield Part("vector"), _dot(added.expand_as(direction), direction)
        yield Part("constant"), self.constants[condition].numpy()

    def _written(
        self, layer: int, condition: int, edits: Sequence[Edit]
    ) -> Iterator[tuple[Part, np.ndarray, torch.Tensor | None]]:
        """The parts of a layer with their shares and what they write, (prompts, d_model); None
        where that is told with others."""
        direction, sites = self.directions[condition], sites_in(self.backend, layer)
        if "lm.attn" not in sites:
            return  # a layer of cross-attention is told as a whole
        open_ = gates(self.backend, layer)
        if open_ is not None:
            gate, mlp_gate = (value.double().cpu() for value in open_)
            total = torch.zeros_like(direction)
            for part, share, written in self._heads("xattn", layer, condition, gate * direction):
                total = total + gate * written
                yield part, share, None
            mlp = mlp_gate * self.at("xattn.mlp", layer, condition)
            yield Part("cross mlp", layer), _dot(mlp, direction), total + mlp
        out = self.at("lm.attn.out", layer, condition)
        out = out - _added(edits, "lm.attn.out", layer)
        inner, heads = self._behind_norm(layer, condition, direction), np.zeros(len(out))
        for part, share, _ in self._heads("lm.attn", layer, condition, inner):
            heads = heads + share
            yield part, share, None
        yield Part("bias", layer), _dot(out, direction) - heads, out
        if "lm.mlp" in sites:
            mlp = self.at("lm.mlp", layer, condition) - _added(edits, "lm.mlp", layer)
            yield Part("mlp", layer), _dot(mlp, direction), mlp

    def _heads(
        self, site: str, layer: int, condition: int, direction: torch.Tensor
    ) -> Iterator[tuple[Part, np.ndarray, torch.Tensor]]:
        """The heads of a site: their shares and what their projection makes of them."""
        place = self.backend.sites[site]
        weights = weights_of(find_module(self.backend.model, place, layer)).double().cpu()
        outputs = self.at(site, layer, condition)
        for head in range(place.heads or 1):
            own = weights[:, head * place.width : (head + 1) * place.width]
            written = outputs[:, head] @ own.T
            kind = "cross head" if site == "xattn" else "head"
            yield Part(kind, layer, head), _dot(written, direction), written

    def _behind_norm(self, layer: int, condition: int, direction: torch.Tensor) -> torch.Tensor:
        """``direction`` as the sum of a layer's heads is to be multiplied with it, where a norm
        stands behind them: that norm at its own scale, too."""
        if not is_behind_norm(self.backend):
            return direction
        projection = find_module(self.backend.model, self.backend.sites["lm.attn"], layer)
        norm = find_module(self.backend.model, self.backend.sites["lm.attn.out"], layer)
        heads = self._read["lm.attn", layer][:, condition]
        return linear_norm(norm, projection(heads.flatten(1))).direction(direction)


def _start(prefix: Prefix) -> torch.Tensor | None:
    """The last tokens as they enter the first layer, (prompts, d_model); None where that is not
    known."""
    start = prefix.before(0)
    return None if start is None else start[:, 0].double().cpu()


def _added(edits: Sequence[Edit], site: str, layer: int) -> torch.Tensor:
    values = [e.value.double().cpu() for e in edits if (e.site, e.layer) == (site, layer)]
    return sum(values, start=torch.zeros(1, dtype=torch.float64))


def _dot(states: torch.Tensor, direction: torch.Tensor) -> np.ndarray:
    numbers: np.ndarray = (states * direction).sum(-1).numpy()
    return numbers
