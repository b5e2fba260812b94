"""The bundled LLaVA's sizes, its processor and its folder, all of transformers' own classes.

Import this module before any other of transformers: torchvision's operators are declared here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mfv_dsl.models.flamingo_classes import declare_torchvision_operators

declare_torchvision_operators()

from transformers import (  # noqa: E402
    CLIPImageProcessorPil,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging  # noqa: E402

from mfv_dsl.models.tiny.load import MEAN, STD  # noqa: E402
from tools.llava.text import IMAGE, build_tokenizer  # noqa: E402

logging.disable_progress_bar()

SIZE, PATCH = 40, 10
PICTURE_TOKENS = (SIZE // PATCH) ** 2
#: Decoder layers of the language model.
LAYERS = 6


def build_config(tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """Sizes of the bundled model; the feature layer is the vision tower's last."""
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None}  # fmt: skip
    vision = {"model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 256,
              "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": SIZE,
              "patch_size": PATCH, "projection_dim": 64}  # fmt: skip
    text = {"model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 128,
            "intermediate_size": 384, "num_hidden_layers": LAYERS, "num_attention_heads": 8,
            "num_key_value_heads": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True, **ends}  # fmt: skip
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=PICTURE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        **ends,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures of any size become 40 × 40 pixels, uncropped; each is 16 tokens of the text."""
    pictures = CLIPImageProcessorPil(
        do_resize=True,
        size={"height": SIZE, "width": SIZE},
        do_center_crop=False,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the vision tower's class token, which "default" leaves out
    )


def build_model(seed: int) -> LlavaForConditionalGeneration:
    """The model with fresh weights of one seed."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(build_config(build_tokenizer()))
    return model.float()


def pixels(images: np.ndarray) -> torch.Tensor:
    """What the processor makes of pictures (..., 40, 40, 3) uint8: (n, 3, 40, 40) float."""
    flat = torch.from_numpy(images).reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2)
    return (flat.float() / 255.0 - MEAN) / STD


def write_folder(out: Path, model: LlavaForConditionalGeneration) -> None:
    """Write everything that ``from_pretrained`` needs under ``out``."""
    tokenizer = build_tokenizer()
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    build_processor(tokenizer).save_pretrained(out)
