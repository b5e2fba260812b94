"""What a vector says in the model's own words: it is sent through the model's output.

With W the output head, N the final norm, and s(l) the mean residual stream at the last token at the
output of layer l, the scores of the vocabulary are by convention

    none          W v                        the head alone
    final         W N(v)                     arXiv:2310.15213's decoding of function vectors
    after_stream  W N(s(l) + v) - W N(s(l))  what adding v at layer l changes in the logit lens

The logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens") reads a state h of any
layer as W N(h).  A vector is not a state: N makes it as long as one, so ``final`` knows its
direction alone, while ``after_stream`` is the difference between two states, and knows its length
and its layer.  With a tuned lens (:mod:`mfv_dsl.methods.lens`) both states are first brought to
where the last layer's are.  None of them runs the layers above; what the vector does there is not
in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.hooks import find_site
from mfv_dsl.methods.lens import TunedLens, require_lens
from mfv_dsl.methods.residual_stream import Stream
from mfv_dsl.methods.vectors import Vector, of_one_place
from mfv_dsl.models.base import Backend

NORMS = ("final", "none", "after_stream")


@dataclass(frozen=True, repr=False)
class VectorTokens(Short):
    """The tokens that a vector speaks for most, at ``layer``, or whatever the layer (None).

    ``scores`` are logits less their mean over the vocabulary, which no softmax sees, best first.
    ``probabilities`` are the softmax of the logits, or None where they are a difference.
    """

    layer: int | None
    tokens: tuple[int, ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...] | None


def decode(
    backend: Backend,
    vector: Vector,
    layers: Sequence[int] | None = None,
    top: int = 10,
    norm: str = "final",
    stream: Stream | None = None,
    lens: TunedLens | None = None,
) -> list[VectorTokens]:
    """The ``top`` tokens of ``vector`` under the convention ``norm``.

    ``after_stream`` needs the ``stream`` and gives one result for each of ``layers`` (default: all
    of the model), through the ``lens`` if there is one; the others do not depend on the layer and
    give one.  Raises ValueError for another convention, a missing stream or a lens that it does not
    take, MfvError for a layer that is not there (MFV5103), for a lens of another model (MFV5584),
    for a vector of several places (MFV5501) and for scores that are no numbers (MFV5370).
    """
    if norm not in NORMS:
        raise ValueError(f"unknown convention {norm!r}; there are {', '.join(NORMS)}")
    if lens is not None:
        if norm != "after_stream":
            raise ValueError(f"a tuned lens is of states, and {norm} decodes the vector alone")
        require_lens(backend, lens)
    of_one_place(vector, "decoding")
    with torch.no_grad():
        if norm != "after_stream":
            logits = backend.unembed(_to_model(backend, vector.residual), normed=norm == "final")
            return [_top_tokens(backend, logits, None, top, is_distribution=True)]
        if stream is None:
            raise ValueError("after_stream needs the stream that the vector is added to")
        results = []
        for layer in backend.sites["lm.resid"].layers if layers is None else layers:
            find_site(backend.sites, "lm.resid", layer)  # an error for a layer there is not
            before = _to_model(backend, stream.mean[layer])
            after = before + _to_model(backend, vector.residual)
            if lens is not None:
                before, after = (lens.translated(layer, state) for state in (before, after))
            change = backend.unembed(after) - backend.unembed(before)
            results.append(_top_tokens(backend, change, layer, top, is_distribution=False))
        return results


def word_of(backend: Backend, token: int) -> str:
    """A token as a word of its own; one without text by its number."""
    return backend.text([token]).strip() or f"token {token}"


def _to_model(backend: Backend, state: torch.Tensor) -> torch.Tensor:
    """``state`` where the model is, in its precision."""
    return state.to(next(backend.model.parameters()))


def _top_tokens(
    backend: Backend, logits: torch.Tensor, layer: int | None, top: int, is_distribution: bool
) -> VectorTokens:
    """``logits`` (vocabulary,)."""
    (logits,) = brought(logits)
    exact = logits.double()
    if not bool(exact.isfinite().all()):
        raise not_finite("MFV5370", "the scores of the vocabulary for this vector are", backend)
    values, tokens = exact.topk(min(top, len(exact)))
    numbers = tuple(tokens.tolist())
    probabilities = exact.softmax(-1)[tokens].tolist() if is_distribution else None
    return VectorTokens(
        layer=layer,
        tokens=numbers,
        words=tuple(word_of(backend, token) for token in numbers),
        scores=tuple((values - exact.mean()).tolist()),
        probabilities=None if probabilities is None else tuple(probabilities),
    )
