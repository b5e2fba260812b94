"""Which heads and MLPs read a vector, and what that does to the answer: path patching.

With U the unedited prompt and I the prompt with the vector v added at the last token, x_U and x_I
their residual streams, and r a reader (:mod:`mfv_dsl.methods.injections`) with input x(r):

    total     log p(answer | I) - log p(answer | U)
    straight  the path v → logits: the last state of U plus v, through the final norm and the head
    sent      the paths v → r → ...: in U, r puts out what it does for the input x_U(r) + v;
              everything behind r is computed anew
    to answer the path v → r → logits: the same, but everything behind r stays as it is in U
    removed   in I, r puts out what it does for the input x_I(r) - v: r alone does not see the
              vector, but sees what others made of it.  Everything behind r is computed anew

each as a difference of the answer's log-probability, in nats, of its probability, or of its logit
less the mean logit of other candidates: from U, and ``removed`` from I.  Where the answer is all
but certain with the vector a probability can hardly change, and the logit tells more.  These are
the interventions of path patching (arXiv:2304.05969; arXiv:2211.00593, section 3.1) with the vector
as the sender.  x(r) differs by v itself, however many layers are between, as the path from the
vector to r has nothing else on it.

The vector is added at the last token, and so all of this happens there: prompts' earlier tokens are
run once, and the effects are those of full passes.  Effects of readers do not add up to the total:
readers act on one another, and the final norm and the softmax are not linear.
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
from mfv_dsl.engine.hooks import find_site
from mfv_dsl.engine.prefix import Prefix, encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.engine.scoring import Scores, score
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.injections import (
    Injection,
    Reader,
    Readings,
    check_readers,
    frozen,
    reads_of,
    sites_in,
)
from mfv_dsl.methods.logit_attribution import readout
from mfv_dsl.methods.variant_runs import run_variants
from mfv_dsl.models.base import Backend, PromptBatch


@dataclass(frozen=True, repr=False, eq=False)
class VectorPaths(Short):
    """What the answers are worth, float64: ``unedited``, ``injected`` and ``straight``
    (prompts, 2); ``sent``, ``to_answer`` and ``removed`` (prompts, readers, 2), of the readers in
    ``readers``.  The last axis has the log-probability, and the logit less the mean of the other
    candidates', NaN without candidates."""

    readers: tuple[Reader, ...]
    unedited: np.ndarray
    injected: np.ndarray
    straight: np.ndarray
    sent: np.ndarray
    to_answer: np.ndarray
    removed: np.ndarray

    def effects(self, unit: str = "log_p") -> dict[str, np.ndarray]:
        """Differences for each prompt: ``total`` and ``straight`` (prompts,), ``sent``,
        ``to_answer`` and ``removed`` (prompts, readers), of ``log_p`` in nats, of ``p``, or of the
        ``logit`` less that of other candidates."""

        def worth(values: np.ndarray) -> np.ndarray:
            own: np.ndarray = values[..., int(unit == "logit")]
            return np.exp(own) if unit == "p" else own

        before, after = worth(self.unedited), worth(self.injected)
        return {
            "total": after - before,
            "straight": worth(self.straight) - before,
            "sent": worth(self.sent) - before[:, None],
            "to_answer": worth(self.to_answer) - before[:, None],
            "removed": worth(self.removed) - after[:, None],
        }

    def of_heads(self, values: np.ndarray, layers: int, site: str = "lm.attn") -> np.ndarray:
        """``values`` (readers,) as (layers, heads) of a site, NaN where no head reads."""
        heads = [(i, reader) for i, reader in enumerate(self.readers) if reader.site == site]
        count = 1 + max((reader.head or 0 for _, reader in heads), default=0)
        table = np.full((layers, count), np.nan)
        for i, reader in heads:
            table[reader.layer, reader.head or 0] = values[i]
        return table


def vector_paths(
    backend: Backend,
    batches: Sequence[PromptBatch],
    edits: Sequence[Edit],
    candidates: Sequence[int] = (),
    progress: Progress = lambda _: None,
) -> VectorPaths:
    """The paths from a vector that ``edits`` add to the answers of the prompts of ``batches``.

    ``candidates`` are tokens that logits are compared with; ``progress`` counts prompts.  Raises
    MfvError: MFV5581 for a model whose readers are not all known, MFV5582 for edits of another
    kind, MFV5583 where nothing reads the vector, MFV5103 for a layer that is not there, MFV5370
    where the model computes no numbers::

        paths = vector_paths(model, [batch], adding(vector, 3, 1.0))
        removed = paths.effects()["removed"].mean(0)
        paths.readers[removed.argmin()]  # who most needs to see the vector
    """
    check_readers(backend)
    injection = Injection.of(edits)
    for edit in edits:
        find_site(backend.sites, edit.site, edit.layer)
    if not injection.readers(backend):
        raise MfvError(
            "MFV5583", "nothing reads this vector: it is added behind the last layer's MLP",
            help=f"add it at a layer from 0 to {backend.facts.n_layers - 2}",
        )  # fmt: skip

    def measured(rows: Rows) -> VectorPaths:
        with torch.no_grad():
            return _Measurement(backend, rows.batch, injection, candidates).paths()

    parts = []
    for rows, part in in_parts(backend, batches, measured):
        parts.append(part)
        progress(len(rows.batch))
    names = ("unedited", "injected", "straight", "sent", "to_answer", "removed")
    together = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return VectorPaths(parts[0].readers, **together)


class _Measurement:
    """One batch."""

    def __init__(
        self, backend: Backend, batch: PromptBatch, injection: Injection, candidates: Sequence[int]
    ) -> None:
        self.backend, self.batch, self.injection = backend, batch, injection
        self.prefix: Prefix = encode_prefix(backend, batch)
        self.last = Read("lm.resid", backend.facts.n_layers - 1)
        answers = self.prefix.answers
        self.readout = readout(backend, answers, candidates) if candidates else None

    def paths(self) -> VectorPaths:
        injected = list(self.injection.edits)
        stream = [Read("lm.resid", layer) for layer in range(self.backend.facts.n_layers)]
        reads = [*reads_of(self.backend), *stream]
        scores, readings = run_variants(self.prefix, [[], injected], reads)
        unedited, changed = (
            {(r.site, r.layer): values[:, row] for r, values in zip(reads, readings, strict=True)}
            for row in (0, 1)
        )
        final = unedited["lm.resid", self.last.layer]
        whole = sent(self.injection.whole(), final.device).to(final.dtype)
        sent_, removed, written = [], [], []
        for layer in range(self.backend.facts.n_layers):
            of_layer = self._layer(layer, unedited, changed)
            if of_layer is not None:
                sent_.append(of_layer[0])
                removed.append(of_layer[1])
                written.append(of_layer[2].to(final.device))
        direct = torch.cat([whole.expand_as(final)[:, None], *written], dim=1)
        ends = final[:, None] + direct
        straight = self._worth(self._unembedded(ends), ends)
        base = self._worth(scores, readings[-1])
        return VectorPaths(
            self.injection.readers(self.backend), base[:, 0], base[:, 1], straight[:, 0],
            np.concatenate(sent_, 1), straight[:, 1:], np.concatenate(removed, 1),
        )  # fmt: skip

    def _layer(
        self, layer: int, unedited: Readings, changed: Readings
    ) -> tuple[np.ndarray, np.ndarray, torch.Tensor] | None:
        """Of the readers of a layer: what the answers are worth where each is sent the vector and
        where it is kept from it, (prompts, readers, 2), and what each then writes more into the
        stream of the unedited prompt, (prompts, readers, d_model); None where no reader is."""
        backend, injected = self.backend, list(self.injection.edits)
        sites = [
            site for site in sites_in(backend, layer) if self.injection.arriving(site, layer, 1.0)
        ]
        if not sites:
            return None
        variants = [
            [*base, *self.injection.arriving(site, layer, sign),
             *frozen(backend, layer, readings, before=site)]
            for base, sign, readings in (([], 1.0, unedited), (injected, -1.0, changed))
            for site in sites
        ]  # fmt: skip
        _, outputs = run_variants(self.prefix, variants, [Read(site, layer) for site in sites])
        seeing: list[list[Edit]] = []
        blind: list[list[Edit]] = []
        alone: list[list[Edit]] = []
        for number, (site, output) in enumerate(zip(sites, outputs, strict=True)):
            behind = frozen(backend, layer, unedited, behind=site)
            sees, sees_not = output[:, number], output[:, len(sites) + number]
            for edit in _by_reader(site, layer, sees, backend):
                seeing.append([edit])
                alone.append([edit, *behind])
            blind += [[*injected, edit] for edit in _by_reader(site, layer, sees_not, backend)]
        scores, (ends,) = run_variants(self.prefix, [*seeing, *blind], [self.last])
        worth = self._worth(scores, ends)
        _, (states,) = run_variants(self.prefix, alone, [Read("lm.resid", layer)])
        written = states - unedited["lm.resid", layer][:, None]
        return worth[:, : len(seeing)], worth[:, len(seeing) :], written

    def _unembedded(self, states: torch.Tensor) -> Scores:
        """Scores of last states of the stream, (prompts, states, d_model)."""
        vocabulary = self.backend.unembed(states[:1, 0]).shape[-1]
        return score(states, self.backend.unembed, vocabulary, self.prefix.answers, ranks=False)

    def _worth(self, scores: Scores, ends: torch.Tensor) -> np.ndarray:
        """What the answers are worth by their ``scores`` and by the last states ``ends``
        (prompts, variants, d_model): (prompts, variants, 2); refused (MFV5370) where it is no
        number."""
        finite, log_p = brought(scores.finite, scores.log_p)
        check_scores(self.backend, self.batch, finite.all(1), self.injection.edits)
        relative = torch.full_like(log_p, torch.nan, dtype=torch.float64)
        if self.readout is not None:
            direction, bias = self.readout
            normed = self.backend.readout[0](ends).double().cpu()
            relative = (normed * direction[:, None]).sum(-1) + bias[:, None]
        return torch.stack([log_p.double(), relative], dim=-1).numpy()


def _by_reader(site: str, layer: int, output: torch.Tensor, backend: Backend) -> list[Edit]:
    """For each reader at a site the edit that puts ``output`` (prompts, [heads,] width) in its
    place."""
    heads = backend.sites[site].heads
    if heads is None:
        return [Edit(site, layer, "replace", output)]
    return [
        Edit(site, layer, "replace", output[:, head : head + 1], (head,)) for head in range(heads)
    ]
