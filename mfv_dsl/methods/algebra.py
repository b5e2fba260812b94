"""The algebra of vectors: lengths, directions, projections and angles."""

from __future__ import annotations

from dataclasses import replace

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.methods.vectors import Vector, check_space, combine, joined


def normalize(vector: Vector) -> Vector:
    """``vector`` at length 1, parts scaled alike.  Raises MfvError (MFV5304) for zero."""
    length = vector.norm()
    if length == 0:
        raise MfvError("MFV5304", "the zero vector has no direction and cannot be normalised")
    return combine([(1 / length, vector)])


def project(vector: Vector, onto: Vector) -> Vector:
    """The part of ``vector`` along ``onto``: (v·w / w·w) w."""
    part = combine([(dot(vector, onto) / _square(onto), onto)])
    return replace(part, space=joined([vector, onto]))


def reject(vector: Vector, direction: Vector) -> Vector:
    """``vector`` without its part along ``direction``."""
    return combine([(1.0, vector), (-dot(vector, direction) / _square(direction), direction)])


def random_like(vector: Vector, seed: int) -> Vector:
    """A random direction at the length of ``vector``, of several places at that of each part; it
    has no per-head parts."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(vector.residual.shape, generator=generator, dtype=torch.float64)
    noises, parts = (t.view(-1, vector.space.d_model) for t in (noise, vector.residual.double()))
    scales = torch.stack(
        [part.norm() / row.norm() for part, row in zip(parts, noises, strict=True)]
    )
    return Vector((noises * scales[:, None]).flatten().float(), vector.space)


def dot(first: Vector, second: Vector) -> float:
    """Inner product, in float64.  Raises MfvError (MFV5303) for vectors of different spaces."""
    check_space(first, second)
    return float(first.residual.double() @ second.residual.double())


def cosine(first: Vector, second: Vector) -> float:
    """Cosine of the angle between two vectors.  Raises MfvError (MFV5303, and MFV5304 for zero)."""
    lengths = first.norm() * second.norm()
    if lengths == 0:
        raise MfvError("MFV5304", "the zero vector has no direction, so no cosine")
    return dot(first, second) / lengths


def _square(vector: Vector) -> float:
    square = dot(vector, vector)
    if square == 0:
        raise MfvError("MFV5304", "the zero vector has no direction to project on")
    return square
