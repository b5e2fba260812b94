"""Where a model that is not in the table of families keeps its parts: its decoder layers, and in a
layer the attention's output projection.

Nothing is guessed: where there are several places that a part could be, it is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

#: What models call the attention's output projection, by the last part of its path.
_PROJECTIONS = ("o_proj", "out_proj", "c_proj", "dense", "wo", "proj", "output_proj", "out_lin")
#: Parts of paths that lead into an attention; those of the paths and classes of other things than a
#: token's softmax attention to earlier tokens, which have heads of their own or none.
_ATTENTION = ("attn", "attention")
_OTHER = ("cross", "encoder_attn", "encoderattention", "linear", "lightning", "delta", "mamba")
#: Attentions whose output is not that of one head beside that of the next: pairs are subtracted.
_NO_HEADS = ("diffllama",)
#: What configurations call their sizes.
N_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
N_HEADS = ("num_attention_heads", "n_heads", "n_head", "num_heads")
D_MODEL = ("hidden_size", "d_model", "n_embd")


def has_module(model: nn.Module, path: str) -> bool:
    """Whether there is a module at ``path``."""
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


def config_of(model: Any) -> Any:
    """The configuration of a model's language model, None where there is none."""
    config = getattr(getattr(model, "lang_encoder", model), "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def size_of(config: Any, names: tuple[str, ...]) -> int | None:
    """The size that a configuration gives under one of ``names``: the same for all layers."""
    for name in names:
        try:
            size = getattr(config, name, None)
        except Exception:  # transformers' own, of sizes that differ between layers
            continue
        if isinstance(size, int) and size > 0:
            return size
    return None


def module_lists(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The model's outermost lists of modules by path: what may be its layers."""
    from torch import nn

    found: dict[str, nn.ModuleList] = {}

    def visit(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            place = f"{path}.{name}" if path else name
            if isinstance(child, nn.ModuleList) and len(child):
                found[place] = child
            else:
                visit(child, place)

    visit(model, "")
    return found


def find_layers(model: nn.Module, config: Any) -> str | None:
    """The path of the decoder layers: of the only list of as many modules as the configuration has
    layers; None where there is none, or more than one."""
    count = size_of(config, N_LAYERS)
    places = [path for path, modules in module_lists(model).items() if len(modules) == count]
    return places[0] if len(places) == 1 else None


def find_projection(layer: nn.Module, width: int) -> str | None:
    """The path in a decoder layer of its attention's output projection: of the only linear map to
    ``width`` numbers that has the name of one, within an attention; None where there is none, or
    more than one."""
    places = []
    for path, module in layer.named_modules():
        holder, _, name = path.rpartition(".")
        kinds = f"{holder} {type(layer.get_submodule(holder)).__name__}".lower()
        sizes = linear_sizes(module)
        if (
            name.lower() in _PROJECTIONS
            and sizes is not None
            and sizes[1] == width
            and any(word in kinds for word in _ATTENTION)
            and not any(word in kinds for word in (*_OTHER, *_NO_HEADS))
        ):
            places.append(path)
    return places[0] if len(places) == 1 else None


def is_softmax_attention(layer: nn.Module, path: str) -> bool:
    """Whether what holds the module at ``path`` of a decoder layer may be an attention with heads
    side by side: its class does not say otherwise."""
    holder = type(layer.get_submodule(path.rpartition(".")[0])).__name__.lower()
    return not any(word in holder for word in (*_OTHER, *_NO_HEADS))


def heads_of(layer: nn.Module, path: str) -> int | None:
    """How many heads the attention says it has whose output projection is at ``path``."""
    return size_of(layer.get_submodule(path.rpartition(".")[0]), N_HEADS)


def named_projections(layer: nn.Module, name: str) -> list[str]:
    """The paths in a decoder layer of the modules that a user calls ``name``: its path, or the end
    of it."""
    return [path for path, _ in layer.named_modules() if f".{path}".endswith(f".{name}") and name]


def linear_sizes(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear map; None of another module."""
    inputs, outputs = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(inputs, int) and isinstance(outputs, int):
        return inputs, outputs
    weight = getattr(module, "weight", None)
    if type(module).__name__ == "Conv1D" and weight is not None:  # GPT-2's, (inputs, outputs)
        return int(weight.shape[0]), int(weight.shape[1])
    return None


def used_once(layers: nn.ModuleList, path: str) -> Iterator[tuple[int, nn.Module]]:
    """The layers that have a module of their own at ``path``, and it; a module that several layers
    share would be edited in all of them."""
    modules = {
        number: layer.get_submodule(path) if path else layer
        for number, layer in enumerate(layers)
        if has_module(layer, path)
    }
    counts: dict[int, int] = {}
    for module in modules.values():
        counts[id(module)] = counts.get(id(module), 0) + 1
    for number, module in modules.items():
        if counts[id(module)] == 1:
            yield number, module
