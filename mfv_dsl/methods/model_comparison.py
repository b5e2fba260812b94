"""Whether two models hold the same relations in the same arrangement.

Vectors of different models cannot be compared number by number, but how they lie to one another
can: each model has a matrix of dissimilarities between its vectors for the same relations, and two
models are compared by the correlation of these matrices' upper triangles (representational
similarity analysis, Kriegeskorte, Mur & Bandettini 2008).  Its p-value is that of a permutation
test over the relations' names (Mantel 1967), as dissimilarities that share a relation are not
independent: of all orders of up to eight relations, else of drawn ones.  With n relations no
p-value is below 1 / n!.

Beside it stands linear centred kernel alignment (Kornblith et al. 2019, arXiv:1905.00414), which
few relations in many dimensions make large by themselves: what it is by chance, the mean over the
same permutations, is part of the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.methods.vectors import Vector, check_space

#: How the dissimilarity of two vectors is measured: 1 less their cosine, or 1 less the correlation
#: of their numbers.
DISTANCES = ("cosine", "correlation")
#: Up to so many relations all orders are tried.
MOST_IN_ALL_ORDERS = 8
LEAST_RELATIONS = 3
_SAME = 1e-12  # as far as rounding goes


@dataclass(frozen=True, repr=False)
class Arrangement(Short):
    """How the vectors of one model lie to one another: ``relations``, their ``dissimilarities``
    (n, n), and the centred ``gram`` matrix (n, n), at length 1.  Of several sets of vectors, such
    as those of several seeds, ``single`` has the dissimilarities of each (sets, n, n), and the
    others are means."""

    relations: tuple[str, ...]
    dissimilarities: np.ndarray
    gram: np.ndarray
    single: np.ndarray


@dataclass(frozen=True)
class ModelComparison:
    """Two arrangements compared: rank correlation ``spearman`` and correlation ``pearson`` of their
    dissimilarities, and ``cka``, with one-sided p-values of the permutation test of ``orders``
    orders, ``exact`` where these are all that there are; ``least_p`` is the least that a p-value
    can be, and ``cka_by_chance`` the mean of ``cka`` over the orders."""

    relations: tuple[str, ...]
    spearman: float
    spearman_p: float
    pearson: float
    pearson_p: float
    cka: float
    cka_p: float
    cka_by_chance: float
    orders: int
    exact: bool
    least_p: float


@dataclass(frozen=True)
class Ceiling:
    """How well the arrangement of one set of vectors can be told from those of other ``sets`` of
    the same model, as rank correlations (Nili et al. 2014): each set with the mean of all
    (``upper``), and with the mean of the others (``lower``)."""

    sets: int
    lower: float
    upper: float


def arrangement(
    sets: Sequence[Mapping[str, Vector]], relations: Sequence[str], distance: str = "cosine"
) -> Arrangement:
    """How the vectors of ``relations`` lie to one another in each of ``sets``, by relation, and on
    the mean.

    Args:
        sets: Vectors by relation, one set or one for each seed; all of a set are of one space.
        relations: Three at least.
        distance: One of :data:`DISTANCES`.

    Raises:
        MfvError: MFV5601 for fewer than three relations, MFV5304 for a vector that is zero or, with
            ``correlation``, has the same number everywhere, MFV5303 for vectors of several spaces.
    """
    if len(relations) < LEAST_RELATIONS:
        few = ", ".join(relations) or "none"
        raise MfvError(
            "MFV5601", f"arrangements are compared over {LEAST_RELATIONS} relations at least, and "
            f"there are {len(relations)} in common: {few}",
            help="extract vectors of the same relations, under the same names, on both models",
        )  # fmt: skip
    single, grams = [], []
    for vectors in sets:
        matrix = _matrix([vectors[name] for name in relations], relations, distance)
        single.append(1 - matrix @ matrix.T)
        grams.append(_centred(matrix))
    return Arrangement(
        tuple(relations), np.mean(single, axis=0), np.mean(grams, axis=0), np.stack(single)
    )


def compare_arrangements(
    a: Arrangement, b: Arrangement, draws: int = 9999, seed: int = 0
) -> ModelComparison:
    """Two models' arrangements of the same relations compared; with more than eight relations
    ``draws`` orders are drawn by ``seed``, and that of the names counts as one more.

    Raises MfvError (MFV5602) where all dissimilarities of one are the same, so that there is
    nothing to correlate.
    """
    assert a.relations == b.relations
    n = len(a.relations)
    upper = np.triu_indices(n, 1)
    for one in (a, b):
        values = one.dissimilarities[upper]
        if np.ptp(values) <= _SAME:
            raise MfvError(
                "MFV5602", "all vectors of one model are equally unlike one another, so that there "
                "is no arrangement to compare",
                help="take more relations, or vectors that are not all at right angles",
            )  # fmt: skip
    ranks = [_ranked(one.dissimilarities, upper) for one in (a, b)]
    plain = [one.dissimilarities for one in (a, b)]
    exact = n <= MOST_IN_ALL_ORDERS
    orders = math.factorial(n) if exact else draws + 1
    found = []
    for order in _orders(n, draws, seed):
        places = np.ix_(order, order)
        found.append([
            _correlation(ranks[0][upper], ranks[1][places][upper]),
            _correlation(plain[0][upper], plain[1][places][upper]),
            float((a.gram * b.gram[places]).sum()
                  / (np.linalg.norm(a.gram) * np.linalg.norm(b.gram))),
        ])  # fmt: skip
    table = np.array(found)
    p_values = (table >= table[0] - 1e-9).mean(axis=0)  # the first is the order of the names
    (spearman, pearson, cka), chance = table[0], table[:, 2].mean()
    return ModelComparison(
        a.relations, float(spearman), float(p_values[0]), float(pearson), float(p_values[1]),
        float(cka), float(p_values[2]), float(chance), orders, exact, 1 / orders,
    )  # fmt: skip


def ceiling(one: Arrangement) -> Ceiling | None:
    """How well one set's arrangement is told from the others of its model; None for one alone."""
    sets, upper = len(one.single), np.triu_indices(len(one.relations), 1)
    if sets < 2:
        return None
    ranks = np.stack([_ranked(single, upper)[upper] for single in one.single])
    mean = ranks.mean(axis=0)
    others = (ranks.sum(axis=0) - ranks) / (sets - 1)
    lower = float(np.mean([_correlation(*pair) for pair in zip(ranks, others, strict=True)]))
    return Ceiling(sets, lower, float(np.mean([_correlation(own, mean) for own in ranks])))


def _matrix(vectors: Sequence[Vector], relations: Sequence[str], distance: str) -> np.ndarray:
    """Vectors at length 1 as rows; with ``correlation`` each less its mean."""
    for vector in vectors:
        check_space(vectors[0], vector)
    rows = np.stack([vector.residual.double().cpu().numpy() for vector in vectors])
    if distance == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    for name, length in zip(relations, lengths[:, 0], strict=True):
        if length <= _SAME:
            raise MfvError("MFV5304", f"`{name}` is zero and has no direction")
    directions: np.ndarray = rows / lengths
    return directions


def _centred(matrix: np.ndarray) -> np.ndarray:
    """The Gram matrix of rows less their mean, at length 1 as a whole."""
    rows = matrix - matrix.mean(axis=0)
    gram: np.ndarray = rows @ rows.T
    length = float(np.linalg.norm(gram))
    return gram / length if length > 0 else gram


def _orders(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Orders of ``n`` names, the first that of the names: all, or so many drawn ones."""
    if n <= MOST_IN_ALL_ORDERS:
        yield from (np.array(order) for order in permutations(range(n)))
        return
    rng = np.random.default_rng(seed)
    yield np.arange(n)
    for _ in range(draws):
        yield rng.permutation(n)


def _ranked(matrix: np.ndarray, upper: tuple[np.ndarray, ...]) -> np.ndarray:
    """The matrix with the ranks of its upper triangle, alike ones with the mean of theirs; numbers
    that differ by rounding alone are alike."""
    from scipy.stats import rankdata

    ranks = np.zeros_like(matrix)
    ranks[upper] = rankdata(np.round(matrix[upper], 12))
    return ranks + ranks.T


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    length = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / length if length > 0 else 0.0
