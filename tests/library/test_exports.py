"""Vectors for other tools: where each model has its layers, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.foreign import ImportOptions, export_vector, import_file
from mfv_dsl.lang.constructed import calls_of_id, constructed, model_id
from mfv_dsl.library.folder import Library
from tests.library.foreign_files import code

VECTOR = np.arange(128, dtype=np.float32)


def metadata(id: str = "tiny", **more: Any) -> dict[str, Any]:
    return {"model": {"id": id, "d_model": 128, "n_layers": 10}, "layer": 3, **more}


def hookpoint_in(path: Path) -> str:
    (key,) = torch.load(path, weights_only=True)
    return str(key)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [("tiny", "layers.3"), ('tiny("llava")', "language_model.layers.3")],
)
def test_a_layers_path_is_the_models_own_out_and_in(tmp_path: Path, call: str, wanted: str):
    model = constructed("model", call)
    d_model, n_layers = model.facts.d_model, model.facts.n_layers
    vector = np.arange(d_model, dtype=np.float32)
    said = {"model": {"id": model_id(model), "d_model": d_model, "n_layers": n_layers}, "layer": 3}
    export_vector(tmp_path / "v.pt", vector, said)
    assert hookpoint_in(tmp_path / "v.pt") == wanted
    (made,) = import_file(tmp_path / "v.pt", Library(tmp_path / "lib"), ImportOptions(call))
    stored = mfv.load_vector(made)
    assert (stored.vector.residual.numpy() == vector).all() and stored.metadata["layer"] == 3
    assert stored.metadata["model"]["id"] == said["model"]["id"]
    export_vector(tmp_path / "again.pt", vector, stored.metadata)
    assert hookpoint_in(tmp_path / "again.pt") == wanted


def test_a_model_that_is_not_here_is_asked_for(tmp_path: Path):
    path = tmp_path / "v.pt"
    with pytest.raises(MfvError, match="`org/none` .* is not known") as found:
        export_vector(path, VECTOR, metadata("org/none"))
    assert found.value.code == "MFV6044" and not path.exists()
    assert "--model" in str(found.value) and "--hookpoint" in str(found.value)
    for id in ("", 'a"b', "a\\b", "tiny-nowhere", "tinyx"):
        assert code(export_vector, path, VECTOR, metadata(id)) == "MFV6044"
    export_vector(path, VECTOR, metadata("org/none"), model="tiny")
    assert hookpoint_in(path) == "layers.3"
    export_vector(path, VECTOR, metadata("org/none"), hookpoint="blocks.{layer}")
    assert hookpoint_in(path) == "blocks.3"
    for suffix in (".npy", ".gguf"):  # these say nothing of paths
        export_vector(tmp_path / f"v{suffix}", VECTOR, metadata("org/none"))


def test_a_layer_that_cannot_be_is_refused(tmp_path: Path):
    path = tmp_path / "v.pt"
    for layer in (-1, 10, 99):
        assert code(export_vector, path, VECTOR, metadata(), layer) == "MFV6044"
    assert code(export_vector, path, VECTOR, metadata(layer="native")) == "MFV6044"
    assert code(export_vector, path, VECTOR, metadata(), 3, None, "layers.4") == "MFV6044"
    export_vector(path, VECTOR, metadata(layer="native"), 0)
    assert hookpoint_in(path) == "layers.0"


def test_the_constructors_that_a_models_name_may_be_of():
    assert calls_of_id("tiny") == ["tiny()", 'openflamingo("tiny")', 'hf("tiny")']
    assert calls_of_id("tiny-llava")[0] == 'tiny("llava")'
    for call in ("tiny", 'tiny("llava")', 'hf("org/x")', 'openflamingo("org/x")'):
        model = constructed("model", call, with_facts=False)
        again = [constructed("model", c, with_facts=False) for c in calls_of_id(model_id(model))]
        assert (model.constructor, model.arguments) in [(m.constructor, m.arguments) for m in again]
