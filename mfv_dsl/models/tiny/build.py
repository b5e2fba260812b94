"""Builds a small Flamingo out of open_flamingo's own classes from a configuration."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from torch import nn

from mfv_dsl.models.families import family_of
from mfv_dsl.models.flamingo_classes import flamingo_classes

#: Sizes of the bundled model.
CONFIG: dict[str, Any] = {
    "vision": {"image_size": 40, "patch_size": 10, "width": 64, "layers": 3, "heads": 4,
               "mlp_ratio": 4.0, "output_dim": 64},
    "perceiver": {"depth": 1, "heads": 4, "dim_head": 16, "num_latents": 16},
    "cross_attention": {"every": 2, "heads": 8, "dim_head": 16, "ff_mult": 2},
    "language": {"hidden_size": 128, "num_hidden_layers": 10, "num_attention_heads": 8,
                 "intermediate_size": 512, "max_position_embeddings": 512,
                 "use_parallel_residual": False, "attention_bias": True,
                 "tie_word_embeddings": False,
                 "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                     "partial_rotary_factor": 1.0}},
}  # fmt: skip


def build_flamingo(
    config: dict[str, Any], vocab_size: int, image_token: int, end_of_chunk_token: int
) -> nn.Module:
    """A ``Flamingo`` of the given sizes over GPT-NeoX with fresh weights."""
    of = flamingo_classes()

    def language() -> Any:
        return of.GPTNeoXForCausalLM(of.GPTNeoXConfig(vocab_size=vocab_size, **config["language"]))

    return flamingo_over(language, config, image_token, end_of_chunk_token)


def flamingo_over(
    make_language: Callable[[], Any],
    config: dict[str, Any],
    image_token: int,
    end_of_chunk_token: int,
) -> nn.Module:
    """A ``Flamingo`` of the given sizes over the language model that ``make_language`` makes, with
    gates open at tanh(1).

    The vision tower is made first: the order of making decides what weights a seed gives.
    ``Flamingo.__init__`` fixes the sizes of the perceiver and of the cross-attention; smaller ones
    of the same classes are put in their places.
    """
    of = flamingo_classes()
    vision = of.VisionTransformer(
        **config["vision"], output_tokens=True, final_ln_after_pool=True
    )  # tokens before ln_post, as OpenFlamingo was trained
    language = make_language()
    of.extend_instance(language, of.FlamingoLMMixin)
    language.set_decoder_layers_attr_name(family_of(language.config.model_type).layers)
    width = config["vision"]["width"]
    every = config["cross_attention"]["every"]
    model: nn.Module = of.Flamingo(
        SimpleNamespace(visual=vision), language, end_of_chunk_token, image_token,
        vis_dim=width, cross_attn_every_n_layers=every,
    )  # fmt: skip
    model.perceiver = of.PerceiverResampler(dim=width, **config["perceiver"])
    hidden = language.config.hidden_size
    for block in language.gated_cross_attn_layers:
        if block is not None:
            block.attn = of.MaskedCrossAttention(
                dim=hidden, dim_visual=width,
                heads=config["cross_attention"]["heads"],
                dim_head=config["cross_attention"]["dim_head"],
            )  # fmt: skip
            block.ff = of.FeedForward(hidden, mult=config["cross_attention"]["ff_mult"])
            nn.init.constant_(block.attn_gate, 1.0)
            nn.init.constant_(block.ff_gate, 1.0)
    return model
