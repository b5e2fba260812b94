"""Other tools' files: out and in again, and pickles that want more than to be read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.places import bundled
from mfv_dsl.foreign import ImportOptions, import_file
from mfv_dsl.library.convert import export
from mfv_dsl.library.folder import Library
from mfv_dsl.library.imported import read_effects, read_foreign
from mfv_dsl.library.verify import verify_library
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.selection import top_heads
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.library.foreign_files import code, saved

LEFT = bundled("vectors") / "flamingo-tiny" / "left.safetensors"
VECTOR = np.arange(128, dtype=np.float32) - 7.5
TOLD = ImportOptions(model="tiny", layer=4)


# -- out and in ------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".gguf", ".npy", ".pt"])
def test_what_is_exported_is_imported(tmp_path: Path, suffix: str):
    path = tmp_path / f"v{suffix}"
    stored = mfv.load_vector(LEFT)
    residual = stored.vector.residual.numpy()
    export(path, residual, 3, "tiny")
    (made,) = import_file(path, Library(tmp_path / "lib"), ImportOptions("tiny", 3, "left", "left"))
    again = mfv.load_vector(made)
    assert again.vector.residual.equal(stored.vector.residual)
    assert again.vector.space == stored.vector.space
    said = again.metadata
    assert (said["kind"], said["layer"], said["relation"]) == ("imported", 3, "left")
    assert (said["source"], said["model"]["id"]) == (path.name, "tiny")
    assert [row["error"] for row in verify_library(Library(tmp_path / "lib"))] == [None, None]


def test_a_gguf_file_is_a_control_vector(tmp_path: Path):
    """As llama.cpp's loader and repeng read it: architecture, hint, count, `direction.N` in f32."""
    export(tmp_path / "v.gguf", VECTOR, 7, "org/model")
    reader = gguf.GGUFReader(tmp_path / "v.gguf")
    fields = {
        name: reader.get_field(f"{name}").contents()  # type: ignore[union-attr]
        for name in (
            "general.architecture",
            "controlvector.model_hint",
            "controlvector.layer_count",
        )
    }
    assert list(fields.values()) == ["controlvector", "org/model", 1]
    (tensor,) = reader.tensors
    assert tensor.name == "direction.7"
    assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
    assert list(tensor.shape) == [128] and (tensor.data == VECTOR).all()
    assert code(export, tmp_path / "w.gguf", VECTOR, 0, "tiny") == "MFV6044"  # llama.cpp has none


def test_a_steering_dictionary_is_what_lm_evaluation_harness_loads(tmp_path: Path):
    export(tmp_path / "v.pt", VECTOR, 7, "tiny", "gpt_neox.layers.{layer}")
    ((hookpoint, entry),) = torch.load(tmp_path / "v.pt", weights_only=True).items()
    assert hookpoint == "gpt_neox.layers.7"
    assert set(entry) == {"steering_vector", "steering_coefficient", "action", "bias"}
    assert entry["steering_vector"].equal(torch.from_numpy(VECTOR))
    assert (entry["steering_coefficient"], entry["action"], entry["bias"]) == (1.0, "add", None)


def test_what_a_format_cannot_say_is_told(tmp_path: Path):
    for name, layer in (("v.gguf", None), ("v.pt", None), ("v.txt", 3), ("v", 3)):
        assert code(export, tmp_path / name, VECTOR, layer, "tiny") == "MFV6044"
    assert list(tmp_path.iterdir()) == []
    export(tmp_path / "v.npy", VECTOR, None, "tiny")


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert code(export, tmp_path / "v.gguf", VECTOR, 3, "tiny") == "MFV6045"


# -- what an import needs --------------------------------------------------------------------------
def test_an_import_says_all_that_is_missing(tmp_path: Path):
    path = saved(tmp_path / "v.npy", VECTOR)
    library = Library(tmp_path / "lib")
    with pytest.raises(MfvError, match="missing: --model, --layer") as found:
        import_file(path, library, ImportOptions())
    assert found.value.code == "MFV6040"
    with pytest.raises(MfvError, match="missing: --layer\\n"):
        import_file(path, library, ImportOptions(model="tiny"))
    activations = saved(tmp_path / "a.pkl", {"left": torch.zeros(10, 8, 16)})
    with pytest.raises(MfvError, match="missing: --effects"):
        import_file(activations, library, TOLD)
    with pytest.raises(RecipeError, match="unknown model constructor"):
        import_file(path, library, ImportOptions("tiyn", 3))
    assert not library.root.exists()


@pytest.mark.parametrize(
    ("name", "value", "told", "wanted"),
    [
        ("v.npy", VECTOR[:-1], TOLD, "MFV6043"),
        ("v.npy", VECTOR, ImportOptions("tiny", 10), "MFV6043"),
        ("v.npy", VECTOR, ImportOptions("tiny", -1), "MFV6043"),
        ("v.npy", VECTOR, ImportOptions('hf("org/x")', 3), "MFV6043"),
        ("v.npy", VECTOR, ImportOptions('openflamingo("org/x")', 3), "MFV7210"),
        ("v.npy", VECTOR, ImportOptions("tiny", 3, name="con"), "MFV6005"),
        ("v.npy", VECTOR, ImportOptions("tiny", 3, bias="some"), "MFV6004"),
        ("v.npy", np.zeros((2, 64), np.float32), TOLD, "MFV6041"),
        ("v.npy", np.full(128, np.nan), TOLD, "MFV6041"),
        ("v.npy", np.array(["x"] * 128), TOLD, "MFV6041"),
        ("v.npy", np.array([None] * 128), TOLD, "MFV6041"),  # an array of objects is a pickle
        ("v.npy", np.array(1.0), TOLD, "MFV6041"),
        ("v.npy", np.zeros(0), TOLD, "MFV6041"),
        ("v.pkl", {"left": "right"}, TOLD, "MFV6041"),
        ("v.pkl", 3, TOLD, "MFV6041"),
        ("v.pkl", {}, TOLD, "MFV6041"),
        ("v.pkl", {"left": torch.zeros(3, 4)}, TOLD, "MFV6041"),
        ("v.pt", {"layers.3": {"steering_vector": torch.zeros(128), "action": "clamp"}}, TOLD,
         "MFV6041"),
        ("v.pt", {"layers.3": {"steering_vector": "x", "action": "add"}}, TOLD, "MFV6041"),
        ("v.pt", torch.zeros(128, dtype=torch.complex64), TOLD, "MFV6041"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tmp_path: Path, name: str, value: Any, told: ImportOptions, wanted: str
):
    library = Library(tmp_path / "lib")
    assert code(import_file, saved(tmp_path / name, value), library, told) == wanted
    assert not library.names()


def test_the_layer_may_stand_in_the_file(tmp_path: Path):
    several = {
        f"model.layers.{layer}": {
            "steering_vector": torch.full((128,), float(layer)), "steering_coefficient": 2.0,
            "action": "add", "bias": None,
        }
        for layer in (2, 5)
    }  # fmt: skip
    path = saved(tmp_path / "v.pt", several)
    library = Library(tmp_path / "lib")
    assert code(import_file, path, library, ImportOptions("tiny")) == "MFV6040"
    with pytest.raises(MfvError, match="no vector of layer 3, but of 2, 5"):
        import_file(path, library, ImportOptions("tiny", 3))
    (made,) = import_file(path, library, ImportOptions("tiny", 5))
    assert (mfv.load_vector(made).vector.residual == 10).all()
    del several["model.layers.2"]
    (made,) = import_file(saved(path, several), library, ImportOptions("tiny"))
    assert mfv.load_vector(made).metadata["layer"] == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["v.ckpt", "v.pkl"])
def test_the_official_codes_vectors(tmp_path: Path, name: str, dtype: torch.dtype):
    """`torch.save(fv_model.function_vector, path)`: a parameter of shape (1, d)."""
    parameter = torch.nn.Parameter(torch.from_numpy(VECTOR).to(dtype).reshape(1, -1))
    (made,) = import_file(
        saved(tmp_path / name, parameter), Library(tmp_path / "lib"),
        ImportOptions("tiny", 4, "left", "left", "per_head"),
    )  # fmt: skip
    stored = mfv.load_vector(made)
    assert (stored.vector.residual == torch.from_numpy(VECTOR)).all()
    assert stored.vector.space.bias == "per_head"


def test_old_torch_files_are_read(tmp_path: Path):
    path = tmp_path / "v.ckpt"
    torch.save(torch.from_numpy(VECTOR), path, _use_new_zipfile_serialization=False)
    assert (read_foreign(path).vectors[None] == VECTOR).all()


def test_the_official_codes_activations(tmp_path: Path, tiny: OpenFlamingo):
    """Mean head outputs and effects by relation, pickled; through the model's own projections."""
    torch.manual_seed(0)
    means = {relation: torch.randn(10, 8, 16) for relation in ("left", "next to")}
    effects = {relation: torch.randn(10, 8) for relation in ("left", "next to")}
    path = saved(tmp_path / "activations.pkl", means)
    told = ImportOptions(
        "tiny", 4, bias="per_head", effects=saved(tmp_path / "effects.pkl", effects), heads=3
    )
    library = Library(tmp_path / "lib")
    made = import_file(path, library, told)
    assert library.names() == ["left", "next_to"] and len(made) == 2
    heads = top_heads([effects["left"].numpy()], 3)
    wanted = function_vector(tiny, means["left"], heads, "per_head")
    stored = mfv.load_vector(library.path("left"))
    assert stored.vector.residual.allclose(wanted.residual)
    assert stored.vector.heads == wanted.heads
    assert stored.metadata["heads"]["chosen"] == "top(3) of effects.pkl"
    assert [tuple(one[:2]) for one in stored.metadata["heads"]["list"]] == list(heads)
    for relation, name, wanted_code in (
        ("up", None, "MFV6043"), (None, "one", "MFV6040"), ("left", "one", None),
    ):  # fmt: skip
        telling = ImportOptions("tiny", 4, name, relation, effects=told.effects)
        if wanted_code:
            assert code(import_file, path, library, telling) == wanted_code
        else:
            assert [p.stem for p in import_file(path, library, telling)] == ["one"]
    wrong = saved(tmp_path / "wrong.pkl", {"left": torch.randn(4, 8)})
    assert code(
        import_file, path, library, ImportOptions("tiny", 4, None, "left", effects=wrong)
    ) == ("MFV6043")
    assert code(read_effects, path) == "MFV6041"
    assert code(read_effects, tmp_path / "none.pkl") == "MFV6041"


# -- GGUF files ------------------------------------------------------------------------------------
def test_damaged_gguf_files_are_refused(tmp_path: Path):
    path = tmp_path / "v.gguf"
    export(path, VECTOR[:4], 3, "tiny")
    good = path.read_bytes()
    end = len(good) - 16  # the numbers' last byte, behind which there is padding
    for size in range(0, end, 7):
        path.write_bytes(good[:size])
        assert code(read_foreign, path) == "MFV6041", size
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(good), 200):  # the numbers themselves have no check
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_foreign(path)
        except MfvError as error:
            assert error.code == "MFV6041"  # noqa: PT017


def test_a_gguf_file_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "v.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("token_embd.weight", np.zeros((2, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert code(read_foreign, path) == "MFV6041"
