"""Loads an OpenFlamingo checkpoint from its files."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import PRECISIONS
from mfv_dsl.models.check_numbers import check_numbers
from mfv_dsl.models.checkpoints.facts import facts
from mfv_dsl.models.checkpoints.language import Words, load_language, load_words
from mfv_dsl.models.checkpoints.layout import CheckpointLayout, checkpoint_layout
from mfv_dsl.models.checkpoints.locate import locate
from mfv_dsl.models.checkpoints.published_checkpoints import VISIONS
from mfv_dsl.models.checkpoints.vision import Tower, load_tower
from mfv_dsl.models.checkpoints.weights import fill, read_weights
from mfv_dsl.models.device_map import spread
from mfv_dsl.models.devices import devices
from mfv_dsl.models.flamingo_classes import flamingo_classes, is_duplicate
from mfv_dsl.models.openflamingo import OpenFlamingo

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

#: Buffers that transformers kept among a GPT-NeoX's weights when the checkpoints were saved.
_OLD_BUFFERS = re.compile(
    r"lang_encoder\.gpt_neox\.layers\.\d+\.decoder_layer\.attention\."
    r"(bias|masked_bias|rotary_emb\.inv_freq)"
)
#: The output embedding as GPT-NeoX's classes called it then, and as all do now.
_OUTPUT_EMBEDDING = re.compile(r"lang_encoder\.(embed_out|lm_head)\.weight")


def load_checkpoint(
    path: str, dtype: str = "bf16", device: str = "auto", download: bool = False
) -> OpenFlamingo:
    """An OpenFlamingo checkpoint: one of the published by its name, or a folder.

    ``dtype`` (bf16, fp16, fp32) is what all weights and all activations are in.  In float32
    whatever the dtype: the rotary angles of GPT-NeoX, probabilities and what is computed from them,
    task means and function vectors.  ``device`` is ``auto`` (the first of cuda, mps, cpu that is
    there), a device's name, or ``balanced``: over all GPUs.  Files that are missing are fetched
    with ``download`` only.

    Raises MfvError for whatever does not fit, each with what to do.
    """
    layout = checkpoint_layout(path)
    if dtype not in PRECISIONS:
        raise MfvError(
            "MFV7220", f"there is no dtype {dtype!r}", help=f"it is one of {', '.join(PRECISIONS)}"
        )
    places = devices(device)
    files = locate(layout, download)
    model_facts = facts(path, dtype)
    words = load_words(files.language)
    tower = load_tower(
        files.vision_config, files.vision_weights, _DTYPES[dtype], _quick_gelu(layout)
    )
    language = load_language(files.language, _DTYPES[dtype], words.count)
    model = _assemble(tower, language, words, layout.every, _DTYPES[dtype])
    _fill_trained(model, files.checkpoint)
    check_numbers(model, path)
    if len(places) == 1:
        model.to(places[0])
    else:
        spread(model, places)
    return OpenFlamingo(
        model, words.tokenizer, tower.preprocess, model_facts, tower.image_size, words.pad
    )


def _quick_gelu(layout: CheckpointLayout) -> bool | None:
    """Whether the vision model's weights were made with QuickGELU; None where it is not known."""
    if layout.publication is not None:
        return layout.publication.vision.quick_gelu
    vision = VISIONS.get(str(layout.vision))
    return None if vision is None else vision.quick_gelu


def _assemble(
    tower: Tower, language: nn.Module, words: Words, every: int, dtype: torch.dtype
) -> nn.Module:
    """``Flamingo`` of its parts; the perceiver and the cross-attention hold no values yet."""
    of = flamingo_classes()
    with torch.device("meta"):
        model: nn.Module = of.Flamingo(
            SimpleNamespace(visual=tower.module), language, words.end_of_chunk, words.image,
            vis_dim=tower.width, cross_attn_every_n_layers=every,
        )  # fmt: skip
    for part in (model.perceiver, language.gated_cross_attn_layers):
        part.to(dtype).to_empty(device="cpu")
    return model


def _fill_trained(model: nn.Module, path: Path) -> None:
    """Fill what OpenFlamingo trained: perceiver, cross-attention, embeddings.

    The output embedding is in the file where it is a matrix of its own, and may be missing.
    """
    language = model.lang_encoder
    names = {module: name for name, module in model.named_modules()}
    embedding, head = (
        f"{names[part]}.weight"
        for part in (language.get_input_embeddings(), language.get_output_embeddings())
    )
    trained = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not is_duplicate(name)
        and (
            name.startswith("perceiver.")
            or ".gated_cross_attn_layer." in name
            or name in (embedding, head)
        )
    }
    state = {
        head if _OUTPUT_EMBEDDING.fullmatch(name) else name: tensor
        for name, tensor in read_weights(path).items()
        if not _OLD_BUFFERS.fullmatch(name)
    }
    fill(trained, state, path, optional=(head,))
