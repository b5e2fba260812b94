"""Loads the bundled model from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

from mfv_dsl.models.check_numbers import check_numbers
from mfv_dsl.models.devices import devices
from mfv_dsl.models.flamingo_classes import flamingo_classes, is_duplicate
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.tiny.build import build_flamingo
from mfv_dsl.models.tiny.facts import folder_facts, read_config, unfit
from mfv_dsl.models.tiny.tokenizer import END_OF_CHUNK, IMAGE, PAD

#: Pixel normalisation: (grey level / 255 - MEAN) / STD.
MEAN, STD = 0.5, 0.25


def load_folder(folder: Path, device: str | torch.device | None = None) -> OpenFlamingo:
    """A Flamingo in the bundled model's layout, in float32 on ``device`` (default: the CPU; of
    several the first).

    Raises MfvError (MFV7202) for files that are not those of one such model.
    """
    facts, config, of = folder_facts(folder), read_config(folder), flamingo_classes()
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = tokenizer.get_vocab()
        with torch.device("meta"):
            model = build_flamingo(config, len(ids), ids[IMAGE], ids[END_OF_CHUNK])
        state = load_file(folder / "model.safetensors")
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except Exception as error:  # of many kinds: sizes, names, damaged files
        raise unfit(folder, f"{type(error).__name__}: {str(error)[:300]}") from None
    missing = [name for name in missing if not is_duplicate(name)]
    if missing or unexpected:
        raise unfit(
            folder, f"missing: {', '.join(missing)}", f"unexpected: {', '.join(unexpected)}"
        )
    check_numbers(model, folder)
    language = model.lang_encoder  # rotary frequencies are computed, not stored
    language.gpt_neox.rotary_emb = of.GPTNeoXRotaryEmbedding(language.config)
    size = config["vision"]["image_size"]
    return OpenFlamingo(
        model.to(devices(device)[0]), tokenizer, lambda pictures: preprocess(pictures, size),
        facts, image_size=size, pad_token=ids[PAD],
    )  # fmt: skip


def preprocess(pictures: Sequence[np.ndarray], size: int) -> torch.Tensor:
    """Pictures of any size as the model's input, (n, 3, size, size) float32."""
    resized = [
        picture
        if picture.shape[:2] == (size, size)
        else np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
        for picture in pictures
    ]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float()
    return (pixels / 255.0 - MEAN) / STD
