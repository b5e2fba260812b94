"""Families of language models: sizes from configurations, and errors for what is not served."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.hooks import find_module
from mfv_dsl.models.families import FAMILIES, facts_from_config, family_of
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.conftest import small_flamingo, small_mpt_flamingo


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


@pytest.mark.parametrize("model", [small_flamingo(), small_mpt_flamingo()], ids=["neox", "mpt"])
def test_every_path_of_a_family_is_there(model: OpenFlamingo):
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


def test_families_need_no_torch():
    code = "import mfv_dsl.models.families, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(FAMILIES) == {"gpt_neox", "mpt", "mosaic_gpt"}
