"""Relevance of heads by AttnLRP, written out for the two bundled models in plain PyTorch: the last
token alone, behind keys and values that the model's own forward computed.  Prompts of one length.

Every rule is written where it applies, by ``detach``: nothing of the package is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def shared(product: Tensor) -> Tensor:
    """A product of two activations: half for each."""
    return (product + product.detach()) / 2


def activated(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return x * (f(x) / x).detach()


def layer_norm(norm: Any, x: Tensor) -> Tensor:
    deviation = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
    return (x - x.mean(-1, keepdim=True)) / deviation * norm.weight + norm.bias


def rms_norm(norm: Any, x: Tensor) -> Tensor:
    root = (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt().detach()
    return x / root * norm.weight


def turned(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """(prompts, heads, tokens, head_dim) at their positions."""
    cosines, sines = (part[:, None] for part in rotation)
    half = x.shape[-1] // 2
    return x * cosines + torch.cat([-x[..., half:], x[..., :half]], -1) * sines


def attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The last token's heads, (prompts, heads, head_dim): of keys and values the last are its own;
    all before are constants, which take their share all the same."""
    scores = shared((query * keys).sum(-1)) / query.shape[-1] ** 0.5
    return shared((scores.softmax(-1)[..., None] * values).sum(-2))


def by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Reference:
    """``outputs`` and ``relevance`` of heads (prompts, layers, heads) by site for the answers."""

    def __init__(self, model: Any, batch: Any) -> None:
        self.model, self.heads = model, model.facts.n_heads
        self.caught: dict[str, Any] = {}
        self.outputs: dict[tuple[str, int], Tensor] = {}
        handles = []
        for name, module in model.model.named_modules():
            handles.append(module.register_forward_hook(self._catch(name), with_kwargs=True))
        with torch.no_grad():
            model.forward(batch)
        for handle in handles:
            handle.remove()
        forward = self._flamingo if "xattn" in model.sites else self._llama
        logit = forward(batch).gather(1, batch.answers[:, None]).sum()
        outputs = list(self.outputs.values())
        gradients = torch.autograd.grad(logit, outputs)
        self.gradients = dict(zip(self.outputs, gradients, strict=True))
        self.relevance = {
            place: (output * gradient).sum(-1).detach()
            for place, output, gradient in zip(self.outputs, outputs, gradients, strict=True)
        }

    def _catch(self, name: str) -> Callable[..., None]:
        def catch(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            self.caught[name] = (args, kwargs, output)

        return catch

    def _of(self, name: str) -> Any:
        return self.caught[name][2]

    def _start(self, layer: str) -> Tensor:
        (hidden, *_), _, _ = self.caught[layer]
        return hidden[:, -1:].detach().requires_grad_()

    def _kept(self, site: str, layer: int, output: Tensor) -> Tensor:
        self.outputs[site, layer] = output
        return output.flatten(1)[:, None]

    def _llama(self, batch: Any) -> Tensor:
        base = self.model.sites["lm.resid"].path
        x = self._start(base.format(layer=0))
        rotation = self.caught[base.format(layer=0)][1]["position_embeddings"]
        own = tuple(part[:, -1:] for part in rotation)
        for number in range(self.model.facts.n_layers):
            path = base.format(layer=number)
            layer = self.model.model.get_submodule(path)
            normed = rms_norm(layer.input_layernorm, x)
            attention = layer.self_attn
            query, key, value = (
                by_head(projection(normed), self.heads)
                for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            before = turned(by_head(self._of(f"{path}.self_attn.k_proj"), self.heads), rotation)
            keys = torch.cat([before[:, :, :-1], turned(key, own)], 2)
            earlier = by_head(self._of(f"{path}.self_attn.v_proj"), self.heads)
            values = torch.cat([earlier[:, :, :-1], value], 2)
            read = attended(turned(query, own), keys, values)
            x = x + attention.o_proj(self._kept("lm.attn", number, read))
            normed = rms_norm(layer.post_attention_layernorm, x)
            gate = activated(F.silu, layer.mlp.gate_proj(normed))
            x = x + layer.mlp.down_proj(shared(gate * layer.mlp.up_proj(normed)))
        language = self.model.model
        path, _, _ = base.partition(".layers")
        return language.lm_head(rms_norm(language.get_submodule(f"{path}.norm"), x))[:, 0]

    def _flamingo(self, batch: Any) -> Tensor:
        base = self.model.sites["lm.resid"].path
        x = self._start(base.format(layer=0))
        rotation = self.caught[base.format(layer=0)][1]["position_embeddings"]
        own = tuple(part[:, -1:] for part in rotation)
        for number in range(self.model.facts.n_layers):
            path = base.format(layer=number)
            whole = self.model.model.get_submodule(path)
            if whole.gated_cross_attn_layer is not None:
                x = self._cross(whole.gated_cross_attn_layer, number, x, batch.media[:, -1])
            layer = whole.decoder_layer
            assert not layer.use_parallel_residual
            mixed = by_head(
                layer.attention.query_key_value(layer_norm(layer.input_layernorm, x)), self.heads
            )
            query, key, value = mixed.chunk(3, -1)
            all_mixed = self._of(f"{path}.decoder_layer.attention.query_key_value")
            _, before, earlier = by_head(all_mixed, self.heads).chunk(3, -1)
            keys = torch.cat([turned(before, rotation)[:, :, :-1], turned(key, own)], 2)
            values = torch.cat([earlier[:, :, :-1], value], 2)
            read = attended(turned(query, own), keys, values)
            x = x + layer.attention.dense(self._kept("lm.attn", number, read))
            hidden = layer.mlp.dense_h_to_4h(layer_norm(layer.post_attention_layernorm, x))
            x = x + layer.mlp.dense_4h_to_h(activated(F.gelu, hidden))
        language = self.model.model.lang_encoder
        return language.get_output_embeddings()(layer_norm(language.gpt_neox.final_layer_norm, x))[
            :, 0
        ]

    def _cross(self, gate: Any, number: int, x: Tensor, media: Tensor) -> Tensor:
        attention = gate.attn
        query = by_head(attention.to_q(layer_norm(attention.norm, x)), attention.heads)
        keys, values = (
            by_head(part, attention.heads) for part in attention.to_kv(media).chunk(2, -1)
        )
        read = attended(query, keys, values)
        x = x + gate.attn_gate.tanh() * attention.to_out(self._kept("xattn", number, read))
        norm, first, _, second = gate.ff
        return x + gate.ff_gate.tanh() * second(activated(F.gelu, first(layer_norm(norm, x))))
