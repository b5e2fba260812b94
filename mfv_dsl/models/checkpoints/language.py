"""A checkpoint's language model and tokenizer, as open_flamingo's factory makes them ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.template import END_OF_CHUNK, IMAGE
from mfv_dsl.models.checkpoints.facts import read_config
from mfv_dsl.models.checkpoints.weights import UNREADABLE, misfit, unreadable
from mfv_dsl.models.families import family_of
from mfv_dsl.models.flamingo_classes import flamingo_classes
from mfv_dsl.models.mpt import KEY_NAMES, is_mpt, mpt_class, mpt_config
from mfv_dsl.models.quiet import quiet_transformers


@dataclass(frozen=True)
class Words:
    """A tokenizer with open_flamingo's tokens, and their numbers."""

    tokenizer: Tokenizer
    count: int
    image: int
    end_of_chunk: int
    pad: int


def load_words(folder: Path) -> Words:
    """The tokenizer in ``folder`` with ``<|endofchunk|>`` and ``<image>``, then ``<PAD>`` if it has
    no token for padding, which is the order of open_flamingo's factory."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise MfvError("MFV7217", f"{folder / 'tokenizer.json'} cannot be read: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pad = _declared_pad(folder) or "<PAD>"
    tokenizer.add_special_tokens(
        [AddedToken(word, special=True) for word in (END_OF_CHUNK, IMAGE, pad)]
    )
    image, end_of_chunk, padding = map(tokenizer.token_to_id, (IMAGE, END_OF_CHUNK, pad))
    return Words(tokenizer, tokenizer.get_vocab_size(), image, end_of_chunk, padding)


def _declared_pad(folder: Path) -> str | None:
    """The token for padding that the tokenizer's configuration names."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file() and (pad := read_config(folder / name).get("pad_token")):
            return str(pad["content"] if isinstance(pad, dict) else pad)
    return None


def load_language(folder: Path, dtype: torch.dtype, words: int) -> nn.Module:
    """The language model in ``folder`` in ``dtype`` on the CPU, with ``words`` rows of embeddings
    and with open_flamingo's mixin.

    Where the vocabulary grows, the new rows of the output embedding, which no file has, are the
    mean of the others, unless the checkpoint brings its own.  transformers' own classes load it and
    none of the code that a repository may hold is run.
    """
    config = read_config(folder / "config.json")
    family = family_of(config.get("model_type", ""))
    model = _from_files(folder, config, dtype)
    output = model.get_output_embeddings().weight
    rows, mean = len(output), output.detach().float().mean(0)
    if words != rows:
        model.resize_token_embeddings(words, mean_resizing=False)
    with torch.no_grad():
        model.get_output_embeddings().weight[rows:] = mean.to(dtype)
    of = flamingo_classes()
    of.extend_instance(model, of.FlamingoLMMixin)
    model.set_decoder_layers_attr_name(family.layers)
    return model


def _from_files(folder: Path, config: dict[str, Any], dtype: torch.dtype) -> Any:
    kind: Any = flamingo_classes().GPTNeoXForCausalLM
    options: dict[str, Any] = {
        "dtype": dtype, "local_files_only": True, "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # they are looked at below
    }  # fmt: skip
    if is_mpt(config):
        kind = mpt_class(config)
        options |= {"config": mpt_config(config), "key_mapping": KEY_NAMES}
    try:
        with quiet_transformers():
            model, info = kind.from_pretrained(folder, **options)
    except UNREADABLE as error:
        raise unreadable(folder, error) from None
    misshapen = [
        f"{name}: {tuple(file_shape)} in the file, {tuple(model_shape)} in the model"
        for name, file_shape, model_shape in info["mismatched_keys"]
    ]
    missing, left_over = set(info["missing_keys"]), info["unexpected_keys"]
    if missing or left_over or misshapen:
        missing -= {name for name, *_ in info["mismatched_keys"]}
        raise misfit(folder, missing=missing, left_over=left_over, misshapen=misshapen)
    return model
