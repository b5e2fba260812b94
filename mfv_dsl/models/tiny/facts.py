"""Facts of ``tiny()`` from its configuration file: no torch, no weights loaded."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.sites import flamingo_paths
from mfv_dsl.models.weight_counts import count_weights

WEIGHTS = Path(__file__).parent / "weights"


@lru_cache(maxsize=4)
def folder_facts(folder: Path) -> ModelFacts:
    """Facts of a model in the bundled model's layout; the fingerprint is a hash of its files."""
    config = json.loads((folder / "config.json").read_text())
    language = config["language"]
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    vision = config["vision"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    counts = count_weights([folder / "model.safetensors"], language["num_hidden_layers"])
    return ModelFacts(
        n_layers=language["num_hidden_layers"],
        n_heads=language["num_attention_heads"],
        head_dim=language["hidden_size"] // language["num_attention_heads"],
        d_model=language["hidden_size"],
        fingerprint=digest.hexdigest(),
        description="the bundled small Flamingo",
        paths=flamingo_paths("gpt_neox"),
        parameters=counts.all,
        layer_parameters=counts.layer,
        output_parameters=counts.output,
        picture_work=counts.vision * patches,
    )
