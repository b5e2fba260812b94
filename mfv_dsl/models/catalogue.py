"""The models that a recipe can name, with what is known of them without loading anything."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import PRECISIONS, ModelFacts
from mfv_dsl.base.hub_cache import snapshots
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.models.checkpoints.locate import is_here
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN, memory
from mfv_dsl.models.tiny import constructor as tiny
from mfv_dsl.models.vlm.folder import locate, weight_files
from mfv_dsl.models.vlm.known import KNOWN as KNOWN_VLMS
from mfv_dsl.models.vlm.known import KnownModel

#: Bytes that a number takes in the files of the known transformers models.
_IN_FILES = PRECISIONS["bf16"]
#: What running one takes, in sizes of its weights: a fifth more for keys and values and the
#: pictures' activations.
_RUNNING = 1.2


@dataclass(frozen=True)
class CatalogueRow:
    """A constructor, or a model that it can load by ``name``.

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
    """Every model constructor, the second bundled model, and the published models."""
    rows = []
    for entry in CONSTRUCTOR["model"].values():
        bundled = entry.executable and not any(p.required for p in entry.parameters)
        shape: tuple[int | None, ...] = ()
        if entry.module is not None and bundled:
            shape = _shape(importlib.import_module(entry.module).facts())
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
        if entry.name == "tiny":
            llava = tiny.facts("llava")
            rows.append(CatalogueRow("tiny", "llava", llava.description, *_shape(llava), here=True))
    return rows + published_models()


def published_models() -> list[CatalogueRow]:
    """The published models that recipes can be checked and planned for without their files."""
    return checkpoints() + vision_language_models()


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


def vision_language_models() -> list[CatalogueRow]:
    """The known transformers vision-language models."""
    return [
        CatalogueRow(
            "hf", name, known.model_type, known.n_layers, known.n_heads, known.head_dim,
            known.d_model, int(known.parameters), int(_IN_FILES * known.parameters),
            _running(known, "bf16"), _running(known, "fp32"), here=_weights_are_here(name),
        )
        for name, known in KNOWN_VLMS.items()
    ]  # fmt: skip


def _running(known: KnownModel, dtype: str) -> int:
    """About how many bytes running a model takes, in ``dtype`` of :data:`PRECISIONS`."""
    return int(_RUNNING * PRECISIONS[dtype] * known.parameters)


def _weights_are_here(name: str) -> bool:
    if not snapshots(name):
        return False
    try:
        return bool(weight_files(locate(name)))
    except MfvError:
        return False


def _shape(facts: ModelFacts) -> tuple[int, int, int, int]:
    return facts.n_layers, facts.n_heads, facts.head_dim, facts.d_model
