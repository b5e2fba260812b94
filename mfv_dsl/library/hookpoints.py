"""Hookpoints: paths of modules, by which other tools say where a vector is added."""

from __future__ import annotations

import re

_LAYER = re.compile(r"(0|[1-9][0-9]{0,5})")
#: What the list of decoder layers is called.
_LISTS = {"layers", "layer", "blocks", "block", "h"}
#: The output of a layer by TransformerLens' name for it.
_OUTPUTS = ("hook_resid_post",)
#: Words of modules that have layers and are not the decoder.
_OTHERS = {
    "vision", "visual", "vit", "image", "img", "audio", "speech", "encoder", "clip", "siglip",
    "perceiver", "resampler", "qformer", "projector", "connector", "cross", "adapter", "expert",
    "experts", "mtp", "draft", "embed", "embeddings",
}  # fmt: skip
_KEY = re.compile(r"(?:layers?[ _.-]?|L)?(0|[1-9][0-9]{0,5})")


def layer_of_key(key: object) -> int | None:
    """The layer that an entry of ``{layer: vector}`` is of: a number, also as text or behind the
    word, or a decoder layer's path; None for other keys.

    >>> [layer_of_key(key) for key in (4, "4", "layer_4", "model.layers.4", "left", -1)]
    [4, 4, 4, 4, None, None]
    """
    if isinstance(key, int) and not isinstance(key, bool):
        return key if 0 <= key < 1_000_000 else None
    if not isinstance(key, str):
        return None
    match = _KEY.fullmatch(key)
    if match:
        return int(match[1])
    found = layer_of_path(key)
    return found if isinstance(found, int) else None


def layer_of_path(path: str) -> int | str:
    """The layer whose output a path names, or in words where the path leads instead.

    The layer is the number that is a whole component, behind the name of the list of layers.

    >>> layer_of_path("gpt_neox.layers.7")
    7
    >>> layer_of_path("layers.7.mlp.dense_4h_to_h")
    'is inside layer 7'
    """
    parts = path.split(".")
    if parts[-1] in _OUTPUTS:
        parts.pop()
    numbers = [i for i, part in enumerate(parts) if _LAYER.fullmatch(part)]
    if not numbers:
        return "is no numbered layer"
    first = numbers[0]
    words = {word for part in parts for word in re.split("[^a-z]+", part.lower())}
    if "lang_encoder" in parts:
        words.discard("encoder")
    if words & _OTHERS:
        return "is not in the decoder"
    if first == 0 or parts[first - 1] not in _LISTS:
        return "is in no list of decoder layers"
    if len(numbers) > 1 and numbers[-1] == len(parts) - 1 and parts[-2] in _LISTS:
        return "has several numbers, each of which may be the layer"
    if first != len(parts) - 1:
        return f"is inside layer {parts[first]}"
    return int(parts[first])
