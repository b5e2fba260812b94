"""Models that the tests share."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

from mfv_dsl.backends import load
from mfv_dsl.backends.openflamingo import OpenFlamingo
from mfv_dsl.backends.stack import declare_torchvision_operators
from mfv_dsl.backends.tiny.build import CONFIG, build_flamingo
from mfv_dsl.backends.tiny.load import preprocess
from mfv_dsl.backends.tiny.tokenizer import END_OF_CHUNK, IMAGE, PAD, build_tokenizer
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.lang.checked import ModelFacts

torch.set_num_threads(1)
declare_torchvision_operators()  # before a test imports transformers' models itself


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Finished steps of the tests stay among the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFV_HOME", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="session")
def tiny() -> OpenFlamingo:
    """The bundled model."""
    return load("tiny")


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    return Scenes(seed=7, count=60)


def small_flamingo(
    layers: int = 2, heads: int = 4, d_model: int = 32, seed: int = 0, every: int = 2
) -> OpenFlamingo:
    """A random-weight Flamingo of open_flamingo's classes, as small as asked for, with
    cross-attention before every ``every``-th layer."""
    torch.manual_seed(seed)
    config = copy.deepcopy(CONFIG)
    config["cross_attention"]["every"] = every
    config["language"] |= {
        "hidden_size": d_model, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 2 * d_model,
    }  # fmt: skip
    tokenizer = build_tokenizer()
    ids = tokenizer.get_vocab()
    model = build_flamingo(config, len(ids), ids[IMAGE], ids[END_OF_CHUNK])
    facts = ModelFacts(layers, heads, d_model // heads, d_model, f"random-{seed}")
    return OpenFlamingo(
        model, tokenizer, lambda pictures: preprocess(pictures, 40), facts, 40, ids[PAD]
    )
