"""Facts of a transformers vision-language model from its config.json; no torch.

A published configuration leaves out what equals its class's defaults; these are repeated here, and
a test holds them equal to transformers'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.vlm.architectures import (
    ARCHITECTURES,
    REFUSED,
    Architecture,
    architecture_of,
    check_served,
)
from mfv_dsl.models.vlm.folder import fingerprint, read_config, read_processor
from mfv_dsl.models.vlm.grids import features
from mfv_dsl.models.vlm.known import KNOWN
from mfv_dsl.models.vlm.prompts import Form
from mfv_dsl.models.vlm.table_file import Row, read_row, row_identity
from mfv_dsl.models.vlm.weights import held_bytes, weight_bytes
from mfv_dsl.models.vlm.work import folder_work, known_work

#: ``model_type`` of a text configuration -> what it is where the file does not say:
#: hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim.
#: None: key-value heads as many as heads; head_dim the hidden size divided by the heads.
DEFAULTS: Mapping[str, tuple[int, int, int, int | None, int | None]] = {
    "llama": (4096, 32, 32, None, None),
    "mistral": (4096, 32, 32, 8, None),
    "qwen2": (4096, 32, 32, 32, None),
    "qwen3": (4096, 32, 32, 32, 128),
    "gemma": (3072, 28, 16, 16, 256),
    "gemma2": (2304, 26, 8, 4, 256),
    "gemma3_text": (2304, 26, 8, 4, 256),
    "qwen2_vl_text": (8192, 80, 64, 8, None),
    "qwen2_5_vl_text": (8192, 80, 64, 8, None),
    "qwen3_vl_text": (4096, 32, 32, 32, 128),
    "mllama_text_model": (4096, 40, 32, 8, None),
    "molmo2_text": (4096, 36, 32, 8, 128),
    "idefics": (4096, 32, 32, None, None),
}
#: ``model_type`` of a model -> that of its text configuration where the file does not say.
_TEXT = {
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "qwen3_vl": "qwen3_vl_text",
    "llava": "llama", "llava_next": "llama", "llava_onevision": "qwen2", "mistral3": "mistral",
    "idefics2": "mistral", "idefics3": "llama", "smolvlm": "llama", "gemma3": "gemma3_text",
    "paligemma": "gemma", "internvl": "qwen2", "molmo2": "molmo2_text",
    "mllama": "mllama_text_model", "idefics": "idefics",
}  # fmt: skip
#: Of Mllama the layers with cross-attention in place of self-attention, if the file does not say.
CROSS_LAYERS = (3, 8, 13, 18, 23, 28, 33, 38)
_NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
          "head_dim")  # fmt: skip


def sizes(config: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(layers, heads, head_dim, d_model) of the language model in a config.json.

    >>> sizes({"model_type": "llava", "text_config": {"model_type": "llama", "hidden_size": 5120,
    ...        "num_hidden_layers": 40, "num_attention_heads": 40}})
    (40, 40, 128, 5120)

    Raises MfvError (MFV7267) where a size is missing and there is no default, or is no number.
    """
    model_type = str(config.get("model_type"))
    text = config.get("text_config") or config  # of some models the file is flat
    kind = str(text.get("model_type") or model_type)
    defaults = DEFAULTS.get(_TEXT.get(kind, kind), (None,) * 5)
    values = {name: text.get(name, known) for name, known in zip(_NAMES, defaults, strict=True)}
    d_model, layers, heads = (values[name] for name in _NAMES[:3])
    head_dim = values["head_dim"]
    if all(map(_is_size, (d_model, layers, heads))):
        head_dim = head_dim or d_model // heads
        if _is_size(head_dim):
            return layers, heads, head_dim, d_model
    raise MfvError(
        "MFV7267", f"the config.json of a `{model_type}` does not give its sizes",
        notes=[f"{name}: {value!r}" for name, value in values.items()],
    )  # fmt: skip


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_architecture(
    folder: Path, path: str, row: Row | None = None
) -> tuple[dict[str, Any], Architecture]:
    """The config.json in ``folder``, and the row of its model, which the user calls ``path``:
    ``row``, or that of the table.

    Raises MfvError: MFV7264 for a file that cannot be read, MFV7265 for a model whose code is not
    in transformers, MFV7260 and MFV7261 for architectures that are not served, MFV7267 for a
    language model without a configuration, MFV7282 for weights that someone has quantised, MFV7284
    for a file that is no row.
    """
    given = None if row is None else read_row(row)
    config = read_config(folder)
    model_type = str(config.get("model_type"))
    known = given is not None or model_type in ARCHITECTURES or model_type in REFUSED
    if "auto_map" in config and not known:
        raise MfvError(
            "MFV7265", f"the code of {path} comes with its weights; such code is not run",
            help="models whose code is in transformers can be loaded", argument="path",
        )  # fmt: skip
    for name in ("text_config", "vision_config", "perceiver_config"):
        if not isinstance(config.get(name) or {}, dict):
            raise MfvError("MFV7267", f"the `{name}` in the config.json of {path} is no object")
    if config.get("quantization_config"):
        raise MfvError(
            "MFV7282", f"the weights of {path} were quantised by whoever published them",
            help="take the repository with the whole weights; `quantize=nf4` or `int8` makes them "
            "smaller when they are loaded", argument="path",
        )  # fmt: skip
    try:
        if given is not None:
            check_served(config, path)
            return config, given
        return config, _as_configured(architecture_of(config, path), config)
    except (TypeError, ValueError, OverflowError) as error:
        raise MfvError(
            "MFV7267", f"the config.json of {path} has a value of another kind than it should be",
            notes=[f"{type(error).__name__}: {error}"],
        ) from None  # fmt: skip


def _as_configured(row: Architecture, config: Mapping[str, Any]) -> Architecture:
    """The row with what this configuration makes of it: some architectures stand on language models
    with a norm behind their attention and MLP and on others, and on several vision towers."""
    text = config.get("text_config") or config
    kind = str(text.get("model_type") or config["model_type"])
    vision = config.get("vision_config")
    if isinstance(vision, dict) and vision.get("model_type") == "pixtral":
        row = replace(row, sizes="bounded")
    if _TEXT.get(kind, kind) == "gemma":
        return replace(row, attention_output="self_attn.o_proj", mlp_output="mlp")
    if text.get("norm_after"):
        names = "input_layernorm", "post_attention_layernorm"
        return replace(row, attention_output=names[0], mlp_output=names[1])
    return row


def facts_of(
    folder: Path, path: str, dtype: str, prompt: str, pixels: int | None = None,
    tiles: int | None = None, quantize: str = "none", attention: str = "auto",
    architecture: Row | None = None,
) -> ModelFacts:  # fmt: skip
    """Facts of the model in ``folder``, which the user calls ``path``, with pictures of ``pixels``
    pixels in at most ``tiles`` tiles, its weights held as ``quantize`` says; ``architecture`` is
    its row where that is not the table's.

    Raises MfvError as :func:`read_architecture` and :func:`sizes`, MFV7280 for a number of pixels
    where the model takes pictures of one size, and MFV7285 for tiles where it cuts none.
    """
    config, row = read_architecture(folder, path, architecture)
    model_type = str(config["model_type"])
    shape = sizes(config)
    kv_heads = _kv_heads(config) or shape[1]
    weights = fingerprint(folder)
    if architecture is not None:
        weights += row_identity(row, model_type)
    facts = _facts(model_type, row, shape, weights, path, dtype, prompt, pixels, tiles, quantize)
    try:
        tokens = features(config, read_processor(folder), row, pixels, tiles or 1)
    except (TypeError, ValueError, ArithmeticError, AttributeError, KeyError) as error:
        raise MfvError(
            "MFV7267", f"the configuration of {path} does not give the sizes of its pictures",
            notes=[f"{type(error).__name__}: {error}"],
        ) from None  # fmt: skip
    return replace(
        facts, kv_width=kv_heads * shape[2], context=_context(config), picture_tokens=tokens,
        layers_without_heads=layers_without_heads(config, row), attention=attention,
        weights=weight_bytes(folder, dtype, quantize), **folder_work(folder, facts, tokens),
    )  # fmt: skip


def known_facts(
    path: str, revision: str | None, dtype: str, prompt: str, pixels: int | None = None,
    tiles: int | None = None, quantize: str = "none", attention: str = "auto",
    architecture: Row | None = None,
) -> ModelFacts | None:  # fmt: skip
    """Facts of a published model that is not on this machine; None where nothing is known of it."""
    known = KNOWN.get(path)
    if known is None:
        return None
    row = ARCHITECTURES[known.model_type]
    shape = (known.n_layers, known.n_heads, known.head_dim, known.d_model)
    weights = known.fingerprint(path, revision)
    if architecture is not None:
        row = read_row(architecture)
        weights += row_identity(row, known.model_type)
    facts = _facts(
        known.model_type, row, shape, weights, path, dtype, prompt, pixels, tiles, quantize
    )
    tokens = known.picture_tokens
    if row.sizes == "any" and pixels:
        tokens = features({"model_type": known.model_type}, {}, row, pixels, 1)
    elif row.tiling == "squares" and tiles:
        tokens *= max(1, isqrt(tiles) ** 2 + 1 if tiles >= 4 else 1)
    return replace(
        facts, kv_width=known.kv_heads * known.head_dim, picture_tokens=tokens,
        context=known.context, attention=attention,
        layers_without_heads=layers_without_heads({"model_type": known.model_type}, row),
        weights=held_bytes(known.parameters, known.in_layers, dtype, quantize),
        **known_work(known, tokens),
    )  # fmt: skip


def _context(config: Mapping[str, Any]) -> int:
    """How many tokens the language model takes, 0 where the config.json does not say."""
    text = config.get("text_config") or config
    length = text.get("max_position_embeddings")
    return length if _is_size(length) else 0


def layers_without_heads(config: Mapping[str, Any], row: Architecture) -> tuple[int, ...]:
    """The layers of a model of this ``row`` that have cross-attention in place of self-attention.

    Raises MfvError (MFV7267) where the config.json has something else than a list of layers.
    """
    if row.features != "cross_states":
        return ()
    text = config.get("text_config") or config
    layers = text.get("cross_attention_layers")
    layers = CROSS_LAYERS if layers is None else layers
    if not isinstance(layers, list | tuple) or not all(isinstance(n, int) for n in layers):
        raise MfvError(
            "MFV7267", "`cross_attention_layers` of the config.json is no list of layers",
            notes=[f"it is {layers!r}"],
        )  # fmt: skip
    return tuple(layer for layer in range(sizes(config)[0]) if layer in layers)


def _kv_heads(config: Mapping[str, Any]) -> int | None:
    """The number of key-value heads, None where there are as many as heads."""
    text = config.get("text_config") or config
    kind = str(text.get("model_type") or config.get("model_type"))
    known = DEFAULTS.get(_TEXT.get(kind, kind), (None,) * 5)[3]
    number = text.get("num_key_value_heads", known)
    return number if _is_size(number) else None


def _facts(
    model_type: str, row: Architecture, shape: tuple[int, int, int, int], weights: str, path: str,
    dtype: str, prompt: str, pixels: int | None, tiles: int | None, quantize: str,
) -> ModelFacts:  # fmt: skip
    """The form of a model's prompts, the size of its pictures and what its weights were rounded to
    belong to its identity: vectors depend on them."""
    written = Form.of(prompt, row.mark, row.prompt_ending)
    form = written.identity
    if pixels is not None:
        if row.sizes == "one":
            raise MfvError(
                "MFV7280", f"a `{model_type}` takes pictures of one size", argument="pixels",
                help="leave `pixels` out" + (", or give `tiles`" if row.tiling else ""),
            )  # fmt: skip
        form += f":{pixels}px"
    if tiles is not None and row.tiling is None:
        raise MfvError(
            "MFV7285", f"a `{model_type}` is not shown tiles of pictures", argument="tiles",
            help="leave `tiles` out",
        )  # fmt: skip
    if row.tiling and not (row.tiles_lone_pictures and (tiles or 1) == 1):
        form += f":{tiles or 1}tiles"
    if quantize != "none":
        form += f":{quantize}"
    block = f"{row.text}.layers.{{layer}}"
    return ModelFacts(
        *shape, fingerprint=weights + form, description=path, precision=dtype, family=model_type,
        paths={"lm.resid": block, "lm.attn.out": f"{block}.{row.attention_output}",
               "lm.attn": f"{block}.self_attn.o_proj", "lm.mlp": f"{block}.{row.mlp_output}"},
        shares_prefix=not row.prompt_sees_itself, quantize=quantize,
        query="" if written.is_chat else written.template.question(row.mark),
    )  # fmt: skip
