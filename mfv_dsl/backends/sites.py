"""Sites: named places in a model where activations are read and written.

A model is a table of sites, one line each.  The engine knows nothing else of a model's inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Site:
    """One kind of place.

    ``path`` is the module's path with ``{layer}``; ``point`` says whether its input or its output
    is meant.  A site with ``heads`` holds ``heads`` parts of ``width`` side by side in the last
    dimension; without, the last dimension is one part of ``width``.
    """

    path: str
    point: Literal["input", "output"]
    layers: tuple[int, ...]
    width: int
    heads: int | None = None


SiteTable: TypeAlias = Mapping[str, Site]
