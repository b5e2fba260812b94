"""The models that a recipe can name, with what is known of them without loading anything."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from mfv_dsl.backends import LOADERS
from mfv_dsl.lang.entries import CONSTRUCTOR


@dataclass(frozen=True)
class Known:
    """One constructor; the numbers are None where they depend on its arguments."""

    constructor: str
    what: str
    layers: int | None
    heads: int | None
    head_dim: int | None
    d_model: int | None
    runs_here: bool


def catalogue() -> list[Known]:
    """Every model constructor of the language."""
    rows = []
    for entry in CONSTRUCTOR["model"].values():
        shape: tuple[int | None, ...] = (None,) * 4
        if entry.facts is not None:
            module, function = entry.facts.split(":")
            facts = getattr(importlib.import_module(module), function)()
            shape = (facts.n_layers, facts.n_heads, facts.head_dim, facts.d_model)
        rows.append(Known(entry.name, entry.doc, *shape, entry.name in LOADERS))
    return rows
