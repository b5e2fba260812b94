"""Families of language models: sizes from configurations, and errors for what is not served."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.hooks import find_module
from mfv_dsl.models.families import FAMILIES, facts_from_config, family_of
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.sites import find_sites
from tests.conftest import flamingo_of, small_flamingo, small_mpt_flamingo
from tests.engine.support import mixed_batch, random_variants
from tests.engine.test_prefix import check_parity


def test_facts_of_the_published_models_configurations():
    redpajama = {
        "model_type": "gpt_neox", "num_hidden_layers": 32, "num_attention_heads": 32,
        "hidden_size": 2560,
    }  # fmt: skip
    assert facts_from_config(redpajama) == (32, 32, 80, 2560)
    mpt = {"n_layers": 32, "n_heads": 32, "d_model": 4096}
    assert facts_from_config({"model_type": "mpt", **mpt}) == (32, 32, 128, 4096)
    assert facts_from_config({"model_type": "mosaic_gpt", **mpt}) == (32, 32, 128, 4096)


@pytest.mark.parametrize("config", [{"model_type": "opt"}, {}])
def test_other_language_models_are_refused(config: dict[str, str]):
    with pytest.raises(MfvError, match="not served under a Flamingo"):
        facts_from_config(config)


@pytest.mark.parametrize("small", [small_flamingo, small_mpt_flamingo], ids=["neox", "mpt"])
def test_every_path_of_a_family_is_there(small: Callable[[], OpenFlamingo]):
    model = small()
    language = model.model.lang_encoder
    family = family_of(language.config.model_type)
    assert facts_from_config(language.config.to_dict())[0] == len(model.layers)
    assert language.get_submodule(family.layers) is model.layers
    language.get_submodule(f"{family.core}")
    language.get_submodule(family.final_norm)
    model.layers[0].decoder_layer.get_submodule(family.attention)
    for site in model.sites.values():
        for layer in site.layers:
            find_module(model.model, site, layer)


@pytest.mark.parametrize(
    "modules",
    [
        "mfv_dsl.models.families, mfv_dsl.models.sites",
        "mfv_dsl.models.tiny.constructor, mfv_dsl.models.checkpoints.constructor",
    ],
)
def test_what_is_known_before_loading_needs_no_torch(modules: str):
    code = f"import {modules}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_new_family_is_one_row_of_the_table(monkeypatch: pytest.MonkeyPatch, scenes: Scenes):
    """Llama under a Flamingo, by a changed row of ``families.py`` and nothing else: facts, sites,
    and the prefix engine held against full passes."""
    monkeypatch.setitem(FAMILIES, "llama", replace(FAMILIES["llama"], under_flamingo=True))
    model = flamingo_of(
        lambda words: LlamaForCausalLM(
            LlamaConfig(
                vocab_size=words, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
                num_key_value_heads=2, head_dim=16, intermediate_size=64,
                max_position_embeddings=256,
            )
        )
    )  # fmt: skip
    assert model.facts.head_dim == 16
    assert find_sites(model.model)["lm.attn"] == model.sites["lm.attn"]
    batch = mixed_batch(model, scenes)
    check_parity(model, batch, random_variants(model.sites, len(batch), seed=3))
    (generation, *_) = generate(model, batch, 2)
    assert len(generation.tokens) <= 2
