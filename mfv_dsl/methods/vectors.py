"""Vectors, the spaces that they belong to, and their linear combinations.

What else is computed with them is in :mod:`mfv_dsl.methods.algebra`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from mfv_dsl.base.arguments import ArgumentError, number, plain_number, shown
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.methods.linearisation import Linearisation
from mfv_dsl.methods.selection import Head
from mfv_dsl.models.base import Backend

#: Where a vector of the residual stream can be written: behind a layer, or to what the layer's
#: attention or MLP adds.
WRITABLE = ("lm.resid", "lm.attn.out", "lm.mlp")
#: Of more places than these a message names the first.
_PLACES_SHOWN = 4


@dataclass(frozen=True)
class Space:
    """What two vectors must share to be combined: model, size and bias convention; those with a
    part for each of several places, which these are: a site and a layer each, sorted by layer, then
    by site.

    ``site`` is where a vector of one place is written unless something else is said: where it was
    read or trained.  Vectors of different sites that a model adds up (:data:`WRITABLE`) combine to
    one of the residual stream.
    """

    fingerprint: str
    d_model: int
    bias: str = "none"
    site: str = "lm.resid"
    places: tuple[tuple[str, int], ...] = ()

    @property
    def size(self) -> int:
        """How many numbers a vector of it has."""
        return self.d_model * max(1, len(self.places))


def space_at(space: Space, places: Sequence[tuple[str, int]]) -> Space:
    """The space of a vector that was read or trained at ``places``, one or several, of the model
    and size of ``space``.

    >>> space_at(Space("model", 2), [("lm.mlp", 3)])
    Space(fingerprint='model', d_model=2, bias='none', site='lm.mlp', places=())
    """
    if len(places) == 1:
        return replace(space, site=places[0][0], places=())
    return replace(space, site="lm.resid", places=tuple(places))


@dataclass(frozen=True, eq=False, repr=False)
class Vector(Short):
    """A vector of the residual stream, and where it has them its per-head parts.

    ``residual`` (d_model,); of several places (``space.places``) it is (places · d_model,), the
    parts one behind the other, and :meth:`parts_by_place` gives each.  With per-head parts:
    ``heads`` lists k (layer, head); ``head_means`` (k, head_dim) before and ``head_projected``
    (k, d_model) after the output projection, and behind the norm that some architectures have
    there; ``linearised`` tells, of a vector that was just extracted, how that norm was made linear.
    A tuned vector has no parts.  Vectors add, subtract
    and scale; combining keeps parts where both sides have them (a head that one side lacks counts
    as zero there).
    """

    residual: torch.Tensor
    space: Space
    expression: str = ""
    heads: tuple[Head, ...] | None = None
    head_means: torch.Tensor | None = None
    head_projected: torch.Tensor | None = None
    head_scores: torch.Tensor | None = field(default=None, repr=False)
    linearised: Linearisation | None = None

    @property
    def has_parts(self) -> bool:
        """Whether the vector is known head by head."""
        return self.heads is not None

    #: numpy leaves products with its numbers to this class
    __array_ufunc__ = None

    def __add__(self, other: Vector) -> Vector:
        return combine([(1.0, self), (1.0, _other(other, "+"))])

    def __radd__(self, other: object) -> Vector:
        if isinstance(other, int) and not isinstance(other, bool) and other == 0:
            return self  # what `sum` begins with
        return _other(other, "+") + self

    def __sub__(self, other: Vector) -> Vector:
        return combine([(1.0, self), (-1.0, _other(other, "-"))])

    def __rsub__(self, other: object) -> Vector:
        return _other(other, "-") - self

    def __neg__(self) -> Vector:
        return combine([(-1.0, self)])

    def __mul__(self, factor: float) -> Vector:
        if isinstance(factor, Vector):
            raise MfvError(
                "MFV5301", "two vectors cannot be multiplied", help="did you mean dot(v, w)?"
            )
        return combine([(float(number(factor, "the factor of a vector")), self)])

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Vector:
        if (divisor := number(divisor, "what a vector is divided by")) == 0:
            raise MfvError("MFV5306", "a vector cannot be divided by zero")
        return combine([(1.0 / float(divisor), self)])

    def __rtruediv__(self, dividend: object) -> Vector:
        raise ArgumentError(f"nothing can be divided by a vector, and this is {shown(dividend)}")

    def numpy(self) -> np.ndarray:
        """Its numbers, (d_model,) float32, as an array of their own."""
        numbers: np.ndarray = self.residual.detach().cpu().float().numpy().copy()
        return numbers

    def made_like(self, vector: Vector) -> Vector:
        """``vector`` with the methods of this one's class."""
        return vector

    def norm(self) -> float:
        """Euclidean length; of several places that of all parts together."""
        return float(self.residual.double().norm())

    def parts_by_place(self) -> dict[tuple[str, int], torch.Tensor]:
        """Of a vector of several places its part for each (site, layer), (d_model,); of any other
        nothing.

        >>> space = Space("model", 2, places=(("lm.resid", 3), ("lm.resid", 5)))
        >>> Vector(torch.arange(4.0), space).parts_by_place()["lm.resid", 5]
        tensor([2., 3.])
        """
        parts = self.residual.view(-1, self.space.d_model)
        return dict(zip(self.space.places, parts, strict=True)) if self.space.places else {}


def _other(value: object, operator: str) -> Vector:
    """The other side of a sum.  Raises ArgumentError (MFV5119) for what is no vector."""
    if isinstance(value, Vector):
        return value
    vector = getattr(value, "vector", None)  # of a stored one
    if isinstance(vector, Vector):
        return vector
    raise ArgumentError(
        f"`{operator}` joins a vector to another one, and this is {shown(value)}",
        "a number can scale a vector: write `*`" if plain_number(value) is not None else None,
    )


def combine(terms: list[tuple[float, Vector]], expression: str = "") -> Vector:
    """Σ coefficient · vector.  Parts are kept if every vector has them; a sum too large to hold is
    an error (MFV5306), and so are vectors of different spaces (MFV5303)."""
    first = terms[0][1]
    for _, vector in terms:
        check_space(first, vector)
    residual = sum((c * v.residual for c, v in terms), torch.zeros_like(first.residual))
    if not holds(residual):
        raise _too_large(expression)
    space = joined([vector for _, vector in terms])
    result = first.made_like(Vector(residual, space, expression))
    if not all(vector.has_parts for _, vector in terms):
        return result
    heads = tuple(sorted({head for _, vector in terms for head in vector.heads or ()}))

    def gathered(part: Callable[[Vector], torch.Tensor | None]) -> torch.Tensor:
        example = part(first)
        assert example is not None
        total = torch.zeros(len(heads), example.shape[1])
        for coefficient, vector in terms:
            rows = part(vector)
            assert rows is not None and vector.heads is not None
            for head, row in zip(vector.heads, rows, strict=True):
                total[heads.index(head)] += coefficient * row
        if not holds(total):
            raise _too_large(expression)
        return total

    return replace(
        result,
        heads=heads,
        head_means=gathered(lambda vector: vector.head_means),
        head_projected=gathered(lambda vector: vector.head_projected),
    )


def joined(vectors: Sequence[Vector]) -> Space:
    """The space of what is made of ``vectors``: at their site, or of several in the stream."""
    sites = {vector.space.site for vector in vectors}
    return replace(vectors[0].space, site=sites.pop() if len(sites) == 1 else "lm.resid")


def _too_large(expression: str) -> MfvError:
    name = f"`{expression}`" if expression else "a vector"
    return MfvError("MFV5306", f"{name} came out too large to hold")


def holds(numbers: torch.Tensor) -> bool:
    """Whether all of some numbers are finite."""
    return bool(numbers.isfinite().all())


def check_space(first: Vector, second: Vector) -> None:
    """Refuse (MFV5303) to combine vectors of different models, sizes, sites, places or bias
    conventions."""
    if first.space == second.space:
        return
    if first.space.places != second.space.places:
        raise _other_places(first, second)
    for what in ("fingerprint", "d_model", "site", "bias"):
        left, right = getattr(first.space, what), getattr(second.space, what)
        if left != right and not {left, right} <= {*WRITABLE}:
            raise MfvError(
                "MFV5303",
                f"these vectors do not belong together: their {what} differs",
                notes=(
                    f"`{first.expression or 'the first'}` has {str(left)[:16]}",
                    f"`{second.expression or 'the second'}` has {str(right)[:16]}",
                ),
                help="extract both from the same model with the same bias option",
            )


def _other_places(first: Vector, second: Vector) -> MfvError:
    return MfvError(
        "MFV5303",
        "these vectors do not belong together: they are of other places",
        notes=tuple(
            f"`{vector.expression or name}` is of {places_text(vector.space.places)}"
            for vector, name in ((first, "the first"), (second, "the second"))
        ),
        help="combine vectors of the same layers and sites",
    )


def places_text(places: tuple[tuple[str, int], ...]) -> str:
    """The places of a vector, for people.

    >>> places_text((("lm.mlp", 3), ("lm.resid", 3))), places_text(())
    ('lm.mlp[3], lm.resid[3]', 'one place')
    """
    if not places:
        return "one place"
    shown = ", ".join(f"{site}[{layer}]" for site, layer in places[:_PLACES_SHOWN])
    more = len(places) - _PLACES_SHOWN
    return f"{shown}, … ({len(places)} places)" if more > 0 else shown


def of_one_place(vector: Vector, subject: str) -> Vector:
    """``vector``, unless it has a part for each of several places (MFV5501); ``subject`` names what
    takes a vector of one alone."""
    if vector.space.places:
        raise MfvError(
            "MFV5501",
            f"{subject} takes a vector of one place, and `{vector.expression or 'this one'}` has a "
            f"part for each of {places_text(vector.space.places)}",
            help="read one layer and one site, or take a part of it: parts_by_place()",
        )
    return vector


def require_model(backend: Backend, vector: Vector) -> Vector:
    """``vector`` if it belongs to the model, else MfvError (MFV5303), which says why not."""
    own = vector.space
    space = Space(backend.facts.fingerprint, backend.facts.d_model, own.bias, own.site, own.places)
    check_space(Vector(vector.residual, space, "this model"), vector)
    return vector
