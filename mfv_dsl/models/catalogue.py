"""The models that a recipe can name, with what is known of them without loading anything."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.models.checkpoints.locate import is_here
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN, memory


@dataclass(frozen=True)
class CatalogueRow:
    """A constructor, or a published checkpoint that it can load.

    ``parameters``; ``download``, about how many bytes there are to fetch; ``memory_bf16`` and
    ``memory_fp32``, about how many bytes running it takes; ``runs_here``: this version can load it;
    ``here``: its files are on this machine.  None where it depends on arguments.
    """

    constructor: str
    name: str | None
    what: str
    layers: int | None = None
    heads: int | None = None
    head_dim: int | None = None
    d_model: int | None = None
    parameters: int | None = None
    download: int | None = None
    memory_bf16: int | None = None
    memory_fp32: int | None = None
    runs_here: bool = True
    here: bool | None = None


def catalogue() -> list[CatalogueRow]:
    """Every model constructor of the language, then the published checkpoints."""
    rows = []
    for entry in CONSTRUCTOR["model"].values():
        shape: tuple[int | None, ...] = ()
        bundled = entry.executable and not any(p.required for p in entry.parameters)
        if entry.module is not None and bundled:
            facts = importlib.import_module(entry.module).facts()
            shape = (facts.n_layers, facts.n_heads, facts.head_dim, facts.d_model)
        rows.append(
            CatalogueRow(
                entry.name,
                None,
                entry.doc,
                *shape,
                runs_here=entry.executable,
                here=bundled or None,
            )
        )
    return rows + checkpoints()


def checkpoints() -> list[CatalogueRow]:
    """The published OpenFlamingo checkpoints."""
    return [
        CatalogueRow(
            "openflamingo", name, f"{checkpoint.language.repo} and CLIP {checkpoint.vision.name}",
            checkpoint.language.n_layers, checkpoint.language.n_heads, checkpoint.language.head_dim,
            checkpoint.language.d_model, checkpoint.parameters, sum(checkpoint.download.values()),
            memory(checkpoint, "bf16"), memory(checkpoint, "fp32"), here=is_here(name),
        )
        for name, checkpoint in KNOWN.items()
    ]  # fmt: skip
