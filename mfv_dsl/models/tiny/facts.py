"""Facts of ``tiny()`` and of folders in its layout, from their configuration: no torch, no weights
loaded."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.files import hash_whole
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json
from mfv_dsl.data.template import IMAGE, OPENFLAMINGO
from mfv_dsl.models.families import whole
from mfv_dsl.models.sites import flamingo_paths
from mfv_dsl.models.weight_counts import count_weights

WEIGHTS = Path(__file__).parent / "weights"


def folder_facts(folder: Path) -> ModelFacts:
    """Facts of a model in the bundled Flamingo's layout; the fingerprint is a hash of its files.

    Raises MfvError (MFV7202) for files that are missing, or are not those of such a model.
    """
    config = read_config(folder)
    try:
        language, vision = config["language"], config["vision"]
        layers, heads, width = (
            whole(language[name])
            for name in ("num_hidden_layers", "num_attention_heads", "hidden_size")
        )
        head_dim = whole(width // heads)
        patches = (whole(vision["image_size"]) // whole(vision["patch_size"])) ** 2 + 1
    except (KeyError, TypeError, ValueError) as error:
        raise unfit(folder, f"config.json does not give the sizes of a Flamingo: {error}") from None
    fingerprint = _fingerprint(folder)
    counts = count_weights([folder / "model.safetensors"], layers)
    return ModelFacts(
        n_layers=layers,
        n_heads=heads,
        head_dim=head_dim,
        d_model=width,
        fingerprint=fingerprint,
        description="the bundled small Flamingo"
        if folder == WEIGHTS
        else f"the Flamingo in {folder}",
        paths=flamingo_paths("gpt_neox"),
        parameters=counts.all,
        layer_parameters=counts.layer,
        output_parameters=counts.output,
        picture_work=counts.vision * patches,
        query=OPENFLAMINGO.question(IMAGE),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in the folder.  Raises MfvError (MFV7202) where there is none."""
    try:
        config = read_json(folder / "config.json", LARGEST_CONFIG, finite=False)
    except OSError as error:
        raise unfit(folder, f"config.json cannot be read: {error.strerror}") from None
    except BadText as error:
        raise unfit(folder, f"config.json cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise unfit(folder, "config.json is no object")
    return config


def unfit(folder: Path, *notes: str) -> MfvError:
    """The error (MFV7202) of files that are not those of one model."""
    help = (
        "install mfv-dsl anew"
        if folder == WEIGHTS
        else "name a folder that `python -m tools.tiny.train --out` has written"
    )
    return MfvError(
        "MFV7202", f"the files in {folder} are not those of one model", notes=notes, help=help
    )


def _fingerprint(folder: Path) -> str:
    """A hash of the files, kept for as long as they are as they were."""
    files = tuple(folder / name for name in ("config.json", "tokenizer.json", "model.safetensors"))
    try:
        stats = [file.stat() for file in files]
        return _hash(files, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))
    except OSError as error:
        raise unfit(folder, f"{error.filename} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=8)
def _hash(files: tuple[Path, ...], states: tuple[tuple[int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(hash_whole(file)))
    return digest.hexdigest()
