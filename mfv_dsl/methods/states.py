"""Rows of states: what a model holds at some places on many prompts, and what is made of them.

A row is a prompt's.  Of several places, layers or sites, it is the parts one behind the other, so
that principal components and classifiers look at all of them together, as in-context vectors do
(arXiv:2311.06668).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.data.items import Prompt
from mfv_dsl.engine.edits import LAST, Read
from mfv_dsl.engine.finite import not_finite
from mfv_dsl.engine.full_pass import Pass, full_pass
from mfv_dsl.engine.positions import Told, mask_of
from mfv_dsl.engine.rows import Rows as Part
from mfv_dsl.engine.rows import in_parts
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.logistic import logistic_regressions
from mfv_dsl.methods.outcomes import outcomes
from mfv_dsl.methods.vectors import Space, Vector, check_space, space_at
from mfv_dsl.models.base import Backend, PromptBatch

#: A cosine with the mean that is no more than rounding.
_ORTHOGONAL = 1e-6
#: Components of a smaller share of the largest are rounding: rows are kept in float32.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class States(Short):
    """``rows`` (prompts, places, d_model) float32, and for each row what its prompt asks: rows
    of two values are paired by their ``queries``.  ``space`` is that of a vector of the places."""

    rows: torch.Tensor
    queries: tuple[str, ...]
    space: Space

    def flat(self) -> torch.Tensor:
        """The rows (prompts, places · d_model) in float64."""
        return self.rows.flatten(1).double()


def queries_of(prompts: Iterable[Prompt]) -> tuple[str, ...]:
    """What each prompt asks, as a text; of the same queries each is another."""
    seen: Counter[str] = Counter()
    found = []
    for prompt in prompts:
        query = prompt.query
        text = "\t".join((query.relation, query.image, query.query))
        seen[text] += 1
        found.append(text if seen[text] == 1 else f"{text}\t{seen[text]}")
    return tuple(found)


def read_states(
    backend: Backend,
    batches: Sequence[PromptBatch],
    queries: Sequence[str],
    places: Sequence[tuple[str, int]],
    told: Told | None = None,
    correct_only: bool = False,
    progress: Progress = lambda _: None,
) -> States:
    """What the unedited model holds at ``places``, a site and a layer each, on the prompts of
    ``batches``: at the last token, or as the mean over the tokens that ``told`` means.

    With ``correct_only`` prompts that are answered wrongly have no row.  ``progress`` counts
    prompts.  Raises MfvError: MFV5201 where no prompt is answered correctly, MFV5121 and MFV5122
    for tokens that a prompt does not have, MFV5370 and MFV5372 where the model computes no numbers.
    """
    parts = [read_rows(backend, batches, places, told, progress)]
    return states_of(backend, parts, queries, places, correct_only)


#: Rows of some prompts (prompts, places, d_model), and which were answered correctly (prompts,).
Rows: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"


def read_rows(
    backend: Backend,
    batches: Sequence[PromptBatch],
    places: Sequence[tuple[str, int]],
    told: Told | None = None,
    progress: Progress = lambda _: None,
) -> Rows:
    """What :func:`read_states` reads on some of the prompts, also on those that are answered
    wrongly."""
    rows, right = [], []

    def run(part: Part) -> Pass:
        at = LAST if told is None else mask_of(backend, part.batch, told)
        with torch.no_grad():
            return full_pass(
                backend, part.batch, reads=[Read(site, layer, at) for site, layer in places]
            )

    for part, output in in_parts(backend, batches, run):
        answered = outcomes(output.logits, part.batch.answers)
        check_scores(backend, part.batch, np.isfinite(answered.p_answer))
        right.append(torch.from_numpy(answered.correct))
        own = torch.empty(len(part.batch), len(places), backend.facts.d_model)
        readings = brought(*(reading[:, 0] for reading in output.readings))
        for number, ((site, layer), reading) in enumerate(zip(places, readings, strict=True)):
            own[:, number] = reading.float()
            if not bool(own[:, number].isfinite().all()):
                what = f"the states at {site}[{layer}] are"
                raise not_finite("MFV5372", what, backend, part.batch)
        rows.append(own)
        progress(len(part.batch))
    return torch.cat(rows), torch.cat(right)


def states_of(
    backend: Backend,
    parts: Sequence[Rows],
    queries: Sequence[str],
    places: Sequence[tuple[str, int]],
    correct_only: bool = False,
) -> States:
    """The states that all ``parts``, consecutive prompts, hold; arguments and errors as of
    :func:`read_states`."""
    rows, right = (torch.cat(part) for part in zip(*parts, strict=True))
    n = len(rows)
    kept = right.nonzero()[:, 0].tolist() if correct_only else list(range(n))
    if not kept:
        raise MfvError(
            "MFV5201", f"none of the {n} prompts was answered correctly, so there are no rows",
            help="use more shots, another relation, or correct_only=false",
        )  # fmt: skip
    return States(
        rows if len(kept) == n else rows[kept],
        tuple(queries[row] for row in kept),
        space_at(Space(backend.facts.fingerprint, backend.facts.d_model), places),
    )


def at_places(states: States, every: Sequence[tuple[str, int]], places: Sequence[tuple[str, int]]
) -> States:  # fmt: skip
    """Of rows that were read at ``every`` place, those at ``places``."""
    columns = [list(every).index(place) for place in places]
    rows = states.rows[:, columns].clone()
    return replace(states, rows=rows, space=space_at(states.space, places))


def combine_states(terms: Sequence[tuple[float, States]], label: str = "") -> States:
    """Σ coefficient · rows, paired by their queries, in the order of the first.

    Raises MfvError: MFV5505 where the queries differ, MFV5303 for rows of other places or models,
    MFV5306 where a sum is too large to hold.
    """
    first = terms[0][1]
    total = torch.zeros_like(first.rows, dtype=torch.float64)
    for coefficient, states in terms:
        _check_spaces(first, states)
        order = {query: row for row, query in enumerate(states.queries)}
        if set(order) != set(first.queries):
            raise other_queries(len(first.queries), len(order), len(set(order) & {*first.queries}))
        total += coefficient * states.rows[[order[query] for query in first.queries]].double()
    rows = total.float()
    if not bool(rows.isfinite().all()):
        raise MfvError("MFV5306", f"the rows of `{label or 'a sum'}` came out too large to hold")
    return States(rows, first.queries, first.space)


def other_queries(here: int, there: int, both: int) -> MfvError:
    """MFV5505: rows that are combined do not ask the same."""
    return MfvError(
        "MFV5505",
        f"rows are paired by their queries, and these differ: {here} and {there}, "
        f"{both} of them on both sides",
        help="read the same prompts: one relation, `trials`, `split` and `seed`, and no "
        "`correct_only`; means of different prompts can be combined: mean(...) - mean(...)",
    )


def _check_spaces(first: States, second: States) -> None:
    """Refuse (MFV5303) rows of other models or places."""
    if first.space.site != second.space.site:
        raise MfvError(
            "MFV5303", f"these rows were read at {first.space.site} and {second.space.site}, and "
            "do not belong together",
            help="read both at the same layers and sites",
        )  # fmt: skip
    empty = torch.empty(0)
    check_space(Vector(empty, first.space), Vector(empty, second.space))


def mean_of(states: States, expression: str = "") -> Vector:
    """The mean of the rows: of two of them a difference of means is the contrastive mean difference
    (arXiv:2312.06681)."""
    return Vector(states.flat().mean(0).float(), states.space, expression)


def principal_component(states: States, component: int = 1, expression: str = "") -> Vector:
    """The ``component``-th principal direction of the rows about their mean, of length 1, by
    singular values in float64; of differences it is the reading vector of arXiv:2310.01405.

    Its sign is that of its cosine with the mean of the rows; where it is orthogonal to that, its
    largest number is positive.  Raises MfvError (MFV5503) where the rows do not vary in so many
    directions.
    """
    rows = states.flat()
    mean = rows.mean(0)
    centred = rows - mean
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    scale = float(rows.norm(dim=1).max())
    varying = int((sizes > _ROUNDING * scale).sum())
    if component > varying:
        raise no_component(component, f"the {len(rows)} rows vary in {varying} directions")
    direction = directions[component - 1]
    along, length = float(direction @ mean), float(mean.norm())
    if abs(along) <= _ORTHOGONAL * length or not length:
        along = float(direction[direction.abs().argmax()])
    if along < 0:
        direction = -direction
    return Vector(direction.float(), states.space, expression)


def no_component(component: int, why: str) -> MfvError:
    """MFV5503: there is no such principal component."""
    return MfvError(
        "MFV5503", f"there is no principal component {component}: {why}",
        help="take an earlier component, or more `trials`",
    )  # fmt: skip


def probe_direction(first: States, second: States, expression: str = "") -> Vector:
    """The direction w, of length 1, of the linear classifier that tells the rows of ``first`` from
    those of ``second`` (arXiv:2306.03341 and arXiv:2310.01405 steer along such ones).

    Logistic regression with an intercept b: w and b are where
    |w|² / 2 + C Σ log(1 + exp(-y (w·h + b))) is least, with C = 1, y = 1 for ``first`` and -1 for
    ``second``, found by Newton's method in float64 in the space that the rows span.  Raises
    MfvError: MFV5303 for rows of other places or models,
    MFV5506 where it tells nothing, as for rows with the same mean.
    """
    _check_spaces(first, second)
    rows = torch.cat([first.flat(), second.flat()])
    signs = torch.ones(len(rows), dtype=torch.float64)
    signs[len(first.rows) :] = -1
    centre = rows.mean(0)
    left, sizes, directions = torch.linalg.svd(rows - centre, full_matrices=False)
    kept = sizes > _ROUNDING * float(rows.norm(dim=1).max())
    apart = first.flat().mean(0) - second.flat().mean(0)  # w is zero where the means are equal
    if float(apart.norm()) <= _ROUNDING * float(rows.norm(dim=1).max()):
        raise MfvError(
            "MFV5506", "a probe of rows with the same mean tells nothing",
            help="compare the states of different prompts, or at another layer",
        )  # fmt: skip
    penalty = torch.ones(int(kept.sum()) + 1)
    penalty[-1] = 0
    scores = left[:, kept] * sizes[kept]
    (fitted,) = logistic_regressions(scores[None], signs, torch.ones(len(rows)), penalty)
    direction = fitted[:-1] @ directions[kept]
    return Vector((direction / direction.norm()).float(), first.space, expression)
