"""The bundled models by their own modules and ordinary hooks: what measures of a vector's paths are
held against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Plain:
    """A bundled model's parts by layer, each read and written at the last token of whole prompts.

    ``norms`` is, for each kind of reader, the norm whose input is the residual stream that this
    reader sees and no other does; ``outputs`` the module, and whether its input or output is what
    the reader puts out.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        flamingo = hasattr(backend.model, "lang_encoder")
        self.layers: list[dict[str, Any]] = []
        for layer in backend.layers:
            block = layer.decoder_layer if flamingo else layer
            attention = block.attention.dense if flamingo else block.self_attn.o_proj
            parts: dict[str, Any] = {
                "block": layer,
                "lm.attn": (block.input_layernorm, attention, "input"),
                "lm.mlp": (block.post_attention_layernorm, block.mlp, "output"),
            }
            gate = layer.gated_cross_attn_layer if flamingo else None
            if gate is not None:
                parts["xattn"] = (gate.attn.norm, gate.attn.to_out, "input")
                parts["xattn.mlp"] = (gate.ff[0], gate.ff, "output")
                parts["gates"] = gate.attn_gate.tanh(), gate.ff_gate.tanh()
            self.layers.append(parts)
        if flamingo:
            self.norm = backend.model.lang_encoder.gpt_neox.final_layer_norm
            self.head = backend.model.lang_encoder.get_output_embeddings()
        else:
            self.norm = backend.text_model.norm
            self.head = backend.model.get_output_embeddings()

    @contextmanager
    def seeing(self, site: str, layer: int, vector: torch.Tensor) -> Iterator[None]:
        """Within the block the readers at a site alone see the stream plus ``vector``."""
        norm = self.layers[layer][site][0]
        with hooked(norm, "input", lambda x: plus(x, vector)):
            yield

    @contextmanager
    def putting_out(
        self, site: str, layer: int, head: int | None, output: torch.Tensor
    ) -> Iterator[None]:
        """Within the block a reader puts out ``output`` (prompts, width)."""
        _, module, point = self.layers[layer][site]
        width = output.shape[-1]
        part = slice(None) if head is None else slice(head * width, (head + 1) * width)

        def replaced(x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            x[:, -1, part] = output
            return x

        with hooked(module, point, replaced):
            yield

    def output(self, batch: Any, site: str, layer: int) -> torch.Tensor:
        """What the readers at a site put out, (prompts, heads · width)."""
        _, module, point = self.layers[layer][site]
        found = []
        with hooked(module, point, lambda x: found.append(x[:, -1].clone()) or x):
            self.backend.forward(batch)
        return found[0]

    def log_p(self, batch: Any) -> torch.Tensor:
        logits = self.backend.forward(batch)
        return logits.double().log_softmax(-1)[torch.arange(len(batch)), batch.answers]

    def stream(self, batch: Any) -> list[torch.Tensor]:
        """The last token behind each layer, (prompts, d_model)."""
        return [self._state(batch, parts["block"]) for parts in self.layers]

    def _state(self, batch: Any, block: nn.Module) -> torch.Tensor:
        found = []
        with hooked(block, "output", lambda x: found.append(x[:, -1].clone()) or x):
            self.backend.forward(batch)
        return found[0]

    def written(self, site: str, layer: int, output: torch.Tensor) -> torch.Tensor:
        """What readers that put out ``output`` write into the stream, biases left out."""
        _, module, _ = self.layers[layer][site]
        gates = self.layers[layer].get("gates", (1.0, 1.0))
        if site in ("lm.attn", "xattn"):
            factor = gates[0] if site == "xattn" else 1.0
            return factor * (output @ module.weight.T)
        return (gates[1] if site == "xattn.mlp" else 1.0) * output


@contextmanager
def hooked(module: nn.Module, point: str, change: Any) -> Iterator[None]:
    """``change`` what passes a module at its input or output."""
    if point == "input":
        handle = module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    else:

        def after(_: nn.Module, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def plus(states: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """``states`` (prompts, tokens, width) with ``vector`` added at the last token."""
    states = states.clone()
    states[:, -1] += vector
    return states
