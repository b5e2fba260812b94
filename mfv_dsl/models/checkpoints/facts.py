"""Facts of ``openflamingo(...)`` from names and configuration files: no torch, nothing loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.files import hash_sample, hash_tensors
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json, reason
from mfv_dsl.data.template import IMAGE, OPENFLAMINGO
from mfv_dsl.models.checkpoints.layout import (
    CheckpointLayout,
    CheckpointPart,
    Repository,
    checkpoint_layout,
)
from mfv_dsl.models.checkpoints.locate import NEEDED, find, locate, weight_files
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN, LANGUAGES
from mfv_dsl.models.families import facts_from_config
from mfv_dsl.models.sites import flamingo_paths


def facts(path: str, dtype: str = "bf16", device: str = "auto") -> ModelFacts:
    """Facts of ``openflamingo(path, dtype=…, device=…)``.

    The fingerprint says which weights these are, whatever their precision and device: of a
    published checkpoint by its name, revision and shape; of a folder by what is in it.  Raises
    MfvError for a path that is neither, or whose language model's configuration is not here.
    """
    layout = checkpoint_layout(path)
    family, *shape = _shape(layout)
    digest = hashlib.sha256(json.dumps([*shape, layout.every]).encode())
    for kind, part in layout.parts.items():
        _identify(digest, kind, part)
    return ModelFacts(
        *shape, fingerprint=digest.hexdigest(), description=layout.name, precision=dtype,
        family=family, paths=flamingo_paths(family), inputs=_inputs(layout), **_work(path),
        query=OPENFLAMINGO.question(IMAGE),
    )  # fmt: skip


def _work(path: str) -> dict[str, int]:
    """What the work of a published checkpoint is counted with."""
    known = KNOWN.get(path)
    if known is None:
        return {}
    return {
        "parameters": known.parameters,
        "layer_parameters": known.layer_parameters,
        "output_parameters": known.vocabulary * known.language.d_model,
        "picture_work": known.picture_work,
    }


def _shape(layout: CheckpointLayout) -> tuple[str, int, int, int, int]:
    """Family, layers, heads, width of a head, width of the residual stream."""
    part = layout.language
    language = LANGUAGES.get(part.name) if isinstance(part, Repository) else None
    if language is not None:
        return (
            language.model_type, language.n_layers, language.n_heads, language.head_dim,
            language.d_model,
        )  # fmt: skip
    config = _language_config(layout)
    try:
        return config.get("model_type", ""), *facts_from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise MfvError(
            "MFV7217", f"the language model's config.json does not give its sizes: {error!r}"
        ) from None


def _language_config(layout: CheckpointLayout) -> dict[str, Any]:
    """The language model's config.json.  Raises MFV7213 where it is missing."""
    config = find(layout.language, "config.json")
    return read_config(locate(layout).language / "config.json" if config is None else config)


def read_config(path: Path) -> dict[str, Any]:
    """A configuration file's object."""
    try:
        settings = read_json(path, LARGEST_CONFIG, finite=False)
    except (OSError, BadText) as error:
        raise MfvError("MFV7217", f"{path} cannot be read: {reason(error)}") from None
    if not isinstance(settings, dict):
        raise MfvError("MFV7217", f"{path} holds no JSON object")
    return settings


def _inputs(layout: CheckpointLayout) -> str:
    """A hash of a little of every tensor of large weight files; empty where there are none, and for
    a repository, which its revision tells."""
    part = layout.language
    if isinstance(part, Repository):
        return ""
    nothing = hashlib.sha256().digest()
    digest = hashlib.sha256()
    for path in weight_files("language", part)[0]:
        if path.suffix == ".safetensors":
            hash_tensors(digest, path)
    return "" if digest.digest() == nothing else digest.hexdigest()


def _identify(digest: hashlib._Hash, kind: str, part: CheckpointPart) -> None:
    """Add what tells a part from another: its repository, or its files' content."""
    if isinstance(part, Repository):
        digest.update(f"{kind} {part.name}@{part.revision}\n".encode())
        return
    configs = [find(part, name) for name in NEEDED[kind]]
    files = [path for path in configs if path is not None] + weight_files(kind, part)[0]
    for path in files:
        try:
            digest.update(f"{kind} {path.name} {path.stat().st_size}\n".encode())
            hash_sample(digest, path)
        except OSError as error:  # among them a pointer of git-LFS
            raise MfvError("MFV7215", f"{path} cannot be read: {error.strerror}") from None
