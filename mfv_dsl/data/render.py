"""Draws layouts as pictures, at any size.

Glyphs are drawn by coverage (8 × 8 samples a pixel), so they are anti-aliased and look the same at
40 pixels and at 800.  Everything random about a picture (jitter, tint, noise) is in
:class:`Looks`, drawn separately, so that a picture is a pure function of layout, looks and size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mfv_dsl.data.world import COLOURS, EMPTY, GRID, KINDS, SHAPES

_GLYPH = 0.8  # a glyph's size, in cells
_SAMPLES = 8
_NOISE = 6.0  # standard deviation of pixel noise, in grey levels of 255

_SHAPE_OF = np.array([SHAPES.index(kind.split()[1]) for kind in KINDS])
_COLOUR_OF = np.array([COLOURS[kind.split()[0]] for kind in KINDS], dtype=np.float32)


@dataclass(frozen=True)
class Looks:
    """The accidents of ``n`` pictures.

    ``jitter`` (n, 4, 4, 2) in {-1, 0, 1} tenths of a cell, ``tint`` (n, 3) background grey levels,
    ``noise_seed`` (n,).
    """

    jitter: np.ndarray
    tint: np.ndarray
    noise_seed: np.ndarray

    def __getitem__(self, index: object) -> Looks:
        return Looks(self.jitter[index], self.tint[index], self.noise_seed[index])


def sample_looks(rng: np.random.Generator, n: int) -> Looks:
    """Draw the accidents of ``n`` pictures."""
    return Looks(
        jitter=rng.integers(-1, 2, size=(n, GRID, GRID, 2)),
        tint=rng.uniform(195, 255, size=(n, 3)).astype(np.float32),
        noise_seed=rng.integers(0, 2**63, size=n),
    )


def render(grid: np.ndarray, looks: Looks, size: int = 40) -> np.ndarray:
    """Draw ``grid`` (n, 4, 4) as pictures, (n, size, size, 3) uint8.

    ``size`` must be a multiple of 4.  At 40 pixels a tenth of a cell is one pixel.
    """
    if size % GRID or size < 5 * GRID:
        raise ValueError(
            f"the picture's size must be a multiple of {GRID}, at least 20; got {size}"
        )
    cell = size // GRID
    n = len(grid)
    kinds = grid.reshape(n, -1)
    jitter = looks.jitter.reshape(n, -1, 2)
    masks = _glyphs(cell)[
        np.where(kinds == EMPTY, len(SHAPES), _SHAPE_OF[kinds]),
        jitter[..., 0] + 1,
        jitter[..., 1] + 1,
    ]
    masks = masks.reshape(n, GRID, GRID, cell, cell, 1)
    colours = _COLOUR_OF[kinds].reshape(n, GRID, GRID, 1, 1, 3)
    tint = looks.tint.reshape(n, 1, 1, 1, 1, 3)
    canvas = tint + masks * (colours - tint)
    canvas = canvas.transpose(0, 1, 3, 2, 4, 5).reshape(n, size, size, 3)
    canvas += _noise(looks.noise_seed, size)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def _noise(seeds: np.ndarray, size: int) -> np.ndarray:
    """Pixel noise, each picture's from its own seed, so that batching changes nothing."""
    out = np.empty((len(seeds), size, size, 3), dtype=np.float32)
    for i, seed in enumerate(seeds):
        np.random.Generator(np.random.PCG64(int(seed))).standard_normal(
            dtype=np.float32, out=out[i]
        )
    out *= _NOISE
    return out


@lru_cache(maxsize=8)
def _glyphs(cell: int) -> np.ndarray:
    """Coverage of shapes at every jitter, (shapes + 1, 3, 3, cell, cell); the last is empty."""
    out = np.zeros((len(SHAPES) + 1, 3, 3, cell, cell), dtype=np.float32)
    ticks = (np.arange(cell * _SAMPLES) + 0.5) / (cell * _SAMPLES) - 0.5  # cell units, 0 = centre
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y = ((ticks - dy / 10) / (_GLYPH / 2))[:, None]
            x = ((ticks - dx / 10) / (_GLYPH / 2))[None, :]
            for i, shape in enumerate(SHAPES):
                inside = _inside(shape, x, y).astype(np.float32)
                out[i, dy + 1, dx + 1] = inside.reshape(cell, _SAMPLES, cell, _SAMPLES).mean((1, 3))
    return out


def _inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points of the square [-1, 1]² (y downwards) lie inside a shape."""
    radius = np.hypot(x, y)
    if shape == "circle":
        return radius <= 1.0
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.9
    if shape == "triangle":
        return (y <= 0.9) & (y >= -1.0 + 2.0 * abs(x))
    if shape == "diamond":
        return abs(x) + abs(y) <= 1.0
    if shape == "cross":
        return (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 1.0)
    if shape == "ring":
        return (radius <= 1.0) & (radius >= 0.55)
    raise ValueError(f"unknown shape {shape!r}")
