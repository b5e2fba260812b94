"""Random models, prompts and plans of edits for the engine's tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.items import Dataset
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.engine.edits import Edit, Gate
from mfv_dsl.models.base import Continuation, PromptBatch
from mfv_dsl.models.flamingo_classes import flamingo_classes
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.parallel_attention import LookedBack, Past, last_tokens, register
from mfv_dsl.models.sites import Site, SiteTable
from tests.conftest import small_flamingo, small_mpt_flamingo


def enliven(model: nn.Module, seed: int) -> None:
    """Weights so large that attention is not uniform and every layer matters."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.ndim == 2:
            fresh = torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5
            weight.data.copy_(1.5 * fresh)


@lru_cache(maxsize=8)
def lively_flamingo(layers: int, heads: int, d_model: int, every: int) -> OpenFlamingo:
    model = small_flamingo(layers, heads, d_model, every=every)
    enliven(model.model.lang_encoder, seed=1)
    return model


@lru_cache(maxsize=8)
def lively_mpt(
    layers: int,
    heads: int,
    d_model: int,
    every: int,
    qk_ln: bool = False,
    clip: float | None = None,
) -> OpenFlamingo:
    model = small_mpt_flamingo(layers, heads, d_model, every=every, qk_ln=qk_ln, clip=clip)
    enliven(model.model.lang_encoder, seed=1)
    return model


def double(model: OpenFlamingo) -> OpenFlamingo:
    """The same model in float64."""
    return OpenFlamingo(
        copy.deepcopy(model.model).double(), model.tokenizer, model.preprocess, model.facts, 40,
        model.pad_token,
    )  # fmt: skip


def mixed_batch(
    model: OpenFlamingo, dataset: Dataset, shots: Sequence[int] = (3, 0, 1, 2)
) -> PromptBatch:
    """Prompts of different lengths and numbers of images."""
    relations = ("left", "above", "right", "below")
    prompts = [
        draw_prompts(dataset, relations[i % 4], "test", 1, k)[0] for i, k in enumerate(shots)
    ]
    return model.batch(prompts, dataset)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_edit(
    sites: SiteTable, prompts: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Edit:
    """Any operation at the last token of any site, heads and value as they come."""

    def below(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    name = sorted(sites)[below(len(sites))]
    site = sites[name]
    layer = site.layers[below(len(site.layers))]
    operation = ("add", "replace", "scale", "project_out")[below(4)]
    heads = None
    shape: tuple[int, ...] = (site.width,)
    if site.heads is not None:
        if below(3):
            chosen = torch.randperm(site.heads, generator=generator)[: 1 + below(site.heads)]
            heads = tuple(chosen.tolist())
        shape = (site.heads if heads is None else len(heads), site.width)
    if below(3) == 0:
        shape = (prompts, *shape)
    if operation == "scale":
        shape = (shape, (*shape[:-1], 1), ())[below(3)]
    value = torch.randn(shape, generator=generator, dtype=dtype)
    how: dict[str, Any] = {}
    if operation == "add" and below(2):
        how = {"keep": (1.0, 0.5, 0.0)[below(3)], "length": ("free", "kept")[below(2)],
               "scaled_by": ("vector", "length", "angle")[below(3)]}  # fmt: skip
    gate = None
    if below(4) == 0:
        direction = torch.randn(sites["lm.resid"].width, generator=generator)
        gate = Gate(direction, sites["lm.resid"].layers[below(len(sites["lm.resid"].layers))], 0.0)
    return Edit(name, layer, operation, value, heads, **how, when=gate)


def random_variants(
    sites: SiteTable, prompts: int, seed: int, count: int = 12, dtype: torch.dtype = torch.float32
) -> list[list[Edit]]:
    """Variants of no to four edits each."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [random_edit(sites, prompts, generator, dtype) for _ in range(number % 5)]
        for number in range(count)
    ]


def traces(model: nn.Module) -> dict[str, Any]:
    """Whatever an engine could leave behind in a model."""
    found: dict[str, Any] = {"hooks": 0, "forwards": [], "implementation": []}
    for name, module in model.named_modules():
        found["hooks"] += len(module._forward_hooks) + len(module._forward_pre_hooks)
        if "forward" in vars(module):
            found["forwards"].append(name)
        if hasattr(module, "config"):
            found["implementation"].append(module.config._attn_implementation)
        for state in ("vis_x", "media_locations", "use_cached_media"):
            if getattr(module, state, None) is not None:
                found["forwards"].append((name, state))
    return found


@dataclass(frozen=True)
class _TextState:
    start: torch.Tensor
    positions: torch.Tensor
    past: tuple[Past, ...]


class TextModel:
    """A language model of transformers with grouped key-value heads whose head_dim is not
    d_model / heads, and which cannot start in the middle: one stage."""

    def __init__(self) -> None:
        flamingo_classes()  # lets transformers be imported beside any torchvision
        from transformers import Qwen3Config, Qwen3ForCausalLM

        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, head_dim=12,
        )  # fmt: skip
        self.model = Qwen3ForCausalLM(config).eval().requires_grad_(False)
        enliven(self.model, seed=2)
        self.facts = ModelFacts(3, 4, 12, 32, "qwen3")
        layers = (0, 1, 2)
        self.sites = {
            "lm.attn": Site("model.layers.{layer}.self_attn.o_proj", "input", layers, 12, 4),
            "lm.mlp": Site("model.layers.{layer}.mlp", "output", layers, 32),
            "lm.resid": Site("model.layers.{layer}", "output", layers, 32),
            "embedding": Site("model.embed_tokens", "output", (0,), 32),
        }
        self.device = torch.device("cpu")
        self.end_tokens, self.banned_tokens = frozenset({0}), frozenset()
        register()

    def tokens(self, lengths: Sequence[int]) -> PromptBatch:
        generator = torch.Generator().manual_seed(3)
        tokens = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, length in enumerate(lengths):
            tokens[row, -length:] = torch.randint(1, 50, (length,), generator=generator)
            mask[row, -length:] = 1
        prompts, media = (None,) * len(lengths), torch.zeros(len(lengths), 0)
        return PromptBatch(prompts, tokens, mask, media, tokens[:, -1])

    def forward(self, batch: PromptBatch) -> torch.Tensor:
        positions = (batch.mask.cumsum(-1) - 1).clamp_min(0)
        done = self.model(batch.tokens, attention_mask=batch.mask, position_ids=positions)
        return done.logits[:, -1]

    def prefix(self, batch: PromptBatch) -> _TextState:
        from transformers import DynamicCache

        mask = batch.mask[:, :-1]
        positions = batch.mask.cumsum(-1) - 1
        cache = DynamicCache(config=self.model.config)
        self.model.model(
            batch.tokens[:, :-1],
            attention_mask=mask,
            position_ids=positions[:, :-1].clamp_min(0),
            past_key_values=cache,
            use_cache=True,
        )
        return _TextState(
            self.model.get_input_embeddings()(batch.tokens[:, -1:]),
            positions[:, -1:],
            tuple(Past.of(layer.keys, layer.values, mask) for layer in cache.layers),
        )

    @contextmanager
    def continuation(self, state: _TextState) -> Iterator[Continuation]:
        def whole(hidden: torch.Tensor) -> torch.Tensor:
            return self.model.model(
                inputs_embeds=hidden,
                position_ids=state.positions.expand(-1, hidden.shape[1]),
                use_cache=False,
            ).last_hidden_state

        attentions = (layer.self_attn for layer in self.model.model.layers)
        past = LookedBack(dict(zip(map(id, attentions), state.past, strict=True)))

        def further(tokens: torch.Tensor) -> torch.Tensor:
            positions = state.positions + len(past.branches.rows)
            return self.model.model(
                tokens, position_ids=positions.expand(-1, tokens.shape[1]), use_cache=False
            ).last_hidden_state

        with last_tokens(self.model.config, past):
            yield Continuation(
                state.start, (whole,), self.model.lm_head, 50, 4096, past.branches, further
            )
