"""Blending vectors by analogy (arXiv:2510.02528).

Each test item comes with a *source pair* (A, B): a query and its answer, in another image, that
stand in the relation under test.  For candidates v_1 … v_n, injected as the blend will be,

    w_r = p(B | source image, "Q:A. A:", v_r injected) / Σ over candidates of the same

and Σ w_r v_r is injected for the item's own query.  One example tells the weights; no vector has to
be made from the relation under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from mfv_dsl.base.short import Short
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import NotFinite, check_edits
from mfv_dsl.engine.prefix import PrefixOf, encode_prefix
from mfv_dsl.engine.rows import in_parts
from mfv_dsl.methods.evaluation import measure_many
from mfv_dsl.methods.finite import failure
from mfv_dsl.methods.outcomes import Outcomes, concatenate_outcomes
from mfv_dsl.models.base import Backend, PromptBatch

#: What one condition injects for each candidate: edits that add.
Candidates = Sequence[Sequence[Edit]]


@dataclass(frozen=True, repr=False)
class BlendOutcomes(Short):
    """Outcomes under one condition's blends, and ``weights`` (prompts, candidates), which add up to
    1 for each prompt; or why they are no numbers (``failure``)."""

    outcomes: Outcomes
    weights: np.ndarray
    failure: NotFinite | None = None


def analogy_weights(
    backend: Backend, sources: PromptBatch, conditions: Sequence[Candidates],
    prefix_of: PrefixOf = encode_prefix,
) -> torch.Tensor:  # fmt: skip
    """The weights of the candidates of every condition, (prompts, conditions, candidates).

    ``sources`` are zero-shot prompts that ask for A and whose answer is B; their earlier tokens are
    run once for all, by ``prefix_of``.  Every condition has the same number of candidates.
    """
    variants = [edits for candidates in conditions for edits in candidates]
    with torch.no_grad():
        log_p = prefix_of(backend, sources).scores(variants).log_p
    by_condition = log_p.double().reshape(len(sources), len(conditions), -1)
    return by_condition.softmax(-1)  # p / Σ p, which no tiny probability upsets


def blend_edits(candidates: Candidates, weights: torch.Tensor) -> list[Edit]:
    """Edits that add Σ w_r v_r, one value a prompt; ``weights`` (prompts, candidates)."""
    places: dict[tuple[str, int], torch.Tensor] = {}
    for number, edits in enumerate(candidates):
        for edit in edits:
            value = edit.value.to(weights)
            share = weights[:, number, None] * value
            site = (edit.site, edit.layer)
            places[site] = places[site] + share if site in places else share
    example = next(edit for edits in candidates for edit in edits)
    return [
        replace(example, site=site, layer=layer, value=value.to(example.value.dtype))
        for (site, layer), value in places.items()
    ]


def measure_blends(
    backend: Backend,
    batches: Sequence[tuple[PromptBatch, PromptBatch]],
    conditions: Sequence[Candidates],
    prefix_of: PrefixOf = encode_prefix,
) -> list[BlendOutcomes]:
    """For each condition, outcomes under its blends on all prompts, whose earlier tokens are run by
    ``prefix_of``.

    ``batches`` are pairs (sources, targets): prompt i of the first is the source pair of prompt i
    of the second.
    """
    parts = [blend_parts(backend, batches, conditions, prefix_of)]
    return joined_blends(backend, batches, conditions, parts)


#: The outcomes under one condition's blends, and the weights (prompts, candidates).
Blended: TypeAlias = tuple[Outcomes, np.ndarray]


def blend_parts(
    backend: Backend,
    batches: Sequence[tuple[PromptBatch, PromptBatch]],
    conditions: Sequence[Candidates],
    prefix_of: PrefixOf = encode_prefix,
) -> tuple[Blended, ...]:
    """What :func:`measure_blends` measures on some of the prompts; NaN where the model computes no
    numbers."""
    parts: list[list[Outcomes]] = [[] for _ in conditions]
    weights = []
    for sources, targets in batches:
        at_once = in_parts(
            backend,
            [sources],
            lambda rows: analogy_weights(backend, rows.batch, conditions, prefix_of),
        )
        weights.append(torch.cat([part for _, part in at_once]))
        variants = [
            blend_edits(candidates, weights[-1][:, number])
            for number, candidates in enumerate(conditions)
        ]
        results = measure_many(backend, [targets], variants, prefix_of)
        for part, result in zip(parts, results, strict=True):
            part.append(result)
    all_weights = torch.cat(weights).cpu().numpy()
    return tuple(
        (concatenate_outcomes(part), all_weights[:, number]) for number, part in enumerate(parts)
    )


def joined_blends(
    backend: Backend,
    batches: Sequence[tuple[PromptBatch, PromptBatch]],
    conditions: Sequence[Candidates],
    parts: Sequence[tuple[Blended, ...]],
) -> list[BlendOutcomes]:
    """For each condition what all ``parts`` give, measured on the prompts of ``batches``."""
    found = []
    for number, blended in enumerate(zip(*parts, strict=True)):
        outcomes, weights = zip(*blended, strict=True)
        result = BlendOutcomes(concatenate_outcomes(list(outcomes)), np.concatenate(weights))
        error = _failure(backend, batches, conditions[number], result)
        found.append(replace(result, failure=error))
    return found


def _failure(
    backend: Backend, batches: Sequence[tuple[PromptBatch, PromptBatch]],
    candidates: Candidates, result: BlendOutcomes,
) -> NotFinite | None:  # fmt: skip
    """Why a condition's weights or outcomes are no numbers: a candidate that is too large, or what
    the model makes of one or of the blend."""
    try:
        for edits in candidates:
            check_edits(backend, edits)
    except NotFinite as error:
        return error
    numbers = result.weights.sum(-1) + result.outcomes.p_answer
    edits = [edit for candidate in candidates for edit in candidate]
    return failure(backend, (targets for _, targets in batches), edits, numbers)
