"""How vectors lie to one another, and to the stream that they are added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.methods.residual_stream import Stream
from mfv_dsl.methods.vectors import Vector, check_space, of_one_place

#: From this condition number on, directions are taken as nearly collinear (Belsley, Kuh and Welsch
#: 1980, "Regression Diagnostics", chapter 3: 30, for columns of length 1).
COLLINEAR = 30.0
#: Directions shorter than this share of the longest are rounding: vectors are kept in float32.
_ROUNDING = 1e-6


def similarity(vectors: Sequence[Vector], *, zero_is_nan: bool = False) -> np.ndarray:
    """The cosine of every two of ``vectors``, (n, n) float64.  With one that is zero MFV5304, or if
    ``zero_is_nan`` NaN."""
    directions, _ = _directions(vectors, zero_is_nan=zero_is_nan)
    cosines: np.ndarray = directions.T @ directions
    return cosines


@dataclass(frozen=True, repr=False)
class Decomposition(Short):
    """A vector as a sum of the members of a library, by least squares.

    By name: ``coefficients`` of the members as they are, ``cosines`` of the vector with each alone.
    ``residual_share`` is 1 - R² = |v - Σ c·m|² / |v|², the share of the vector's squared length
    that no sum of members reaches.  ``chance`` is the R² to be expected of a vector of random
    direction: rank / d_model.  ``condition`` is the condition number of the members at length 1.
    """

    coefficients: dict[str, float]
    cosines: dict[str, float]
    residual_share: float
    chance: float
    condition: float

    @property
    def collinear(self) -> bool:
        """Whether the members are so nearly collinear that other coefficients do about as well."""
        return self.condition >= COLLINEAR


def identify(vector: Vector, library: Mapping[str, Vector]) -> Decomposition:
    """``vector`` as a sum of the vectors of ``library``.

    Where several sums are equally near, as for members that lie in fewer dimensions than there are
    members, the coefficients are those of the shortest (of members at length 1).
    """
    if not library:
        raise MfvError("MFV5350", "there are no vectors to identify this one by")
    check_space(next(iter(library.values())), vector)
    members, lengths = _directions(list(library.values()))
    columns, length = _directions([vector])
    direction = columns[:, 0]
    solution, _, rank, singular = np.linalg.lstsq(members, direction, rcond=_ROUNDING)
    residual = direction - members @ solution
    smallest = float(singular[-1]) if len(library) <= len(direction) else 0.0
    return Decomposition(
        coefficients=_by_name(library, solution * length / lengths),
        cosines=_by_name(library, members.T @ direction),
        residual_share=float(residual @ residual),
        chance=int(rank) / len(direction),
        condition=float(singular[0]) / smallest if smallest > 0 else float("inf"),
    )


@dataclass(frozen=True)
class Ratio:
    """The stream's mean length at the output of ``layer``, with the standard deviation over
    prompts, and a vector's length as a share of it."""

    layer: int
    stream: float
    deviation: float
    share: float


def against_stream(vector: Vector, stream: Stream) -> list[Ratio]:
    """The length of ``vector`` against the residual stream's own, layer by layer."""
    length = of_one_place(vector, "a comparison with the stream").norm()
    return [
        Ratio(layer, float(norm), float(deviation), length / float(norm))
        for layer, (norm, deviation) in enumerate(zip(stream.norm, stream.deviation, strict=True))
    ]


def _directions(
    vectors: Sequence[Vector], *, zero_is_nan: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """``vectors`` at length 1 as columns (d_model, n), and their lengths (n,), in float64.  Of one
    that is zero MFV5304, or a direction of NaN."""
    for vector in vectors:
        check_space(vectors[0], vector)
    columns = np.stack([vector.residual.double().cpu().numpy() for vector in vectors], axis=1)
    lengths = np.linalg.norm(columns, axis=0)
    for vector, length in zip(vectors, lengths, strict=True):
        if length == 0 and not zero_is_nan:
            raise MfvError(
                "MFV5304", f"`{vector.expression or 'a vector'}` is zero and has no direction"
            )
    with np.errstate(invalid="ignore"):
        return columns / lengths, lengths


def _by_name(library: Mapping[str, Vector], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(library, values, strict=True)}
