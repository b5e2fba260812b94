"""The bundled model's folder: configuration, tokenizer and weights, no pickles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn

#: Pixel normalisation: (grey level / 255 - MEAN) / STD.
MEAN, STD = 0.5, 0.25


def is_duplicate(name: str) -> bool:
    """Whether a state entry is Flamingo's second registration of its decoder blocks and gates."""
    return name.startswith(
        ("lang_encoder.old_decoder_blocks.", "lang_encoder.gated_cross_attn_layers.")
    )


def write_folder(out: Path, model: nn.Module, config: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``tokenizer.json`` under ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
        if not is_duplicate(name)
    }
    partial = out / "model.safetensors.partial"
    save_file(state, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save(str(out / "tokenizer.json"))
