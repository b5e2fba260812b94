"""Files of other tools: every form that is read, and what is refused by name."""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import sys
import types
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit
from mfv_dsl.foreign import ImportOptions, export_vector, import_file, parse_heads
from mfv_dsl.library.folder import Library
from mfv_dsl.library.hookpoints import layer_of_key, layer_of_path
from mfv_dsl.library.imported import read_effects, read_foreign
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.selection import top_heads
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.base.test_files import POINTER
from tests.library.foreign_files import code, saved

VECTOR = np.arange(128, dtype=np.float32) - 7.5


def error(work: Callable[..., object], *arguments: object) -> MfvError:
    with pytest.raises(MfvError) as found:
        work(*arguments)
    return found.value


def steered(vector: Any = VECTOR, coefficient: Any = 1.0, **more: Any) -> dict[str, Any]:
    """An entry of a steering dictionary."""
    tensor = torch.from_numpy(vector) if isinstance(vector, np.ndarray) else vector
    entry = {"steering_vector": tensor, "steering_coefficient": coefficient}
    return {**entry, "action": "add", "bias": None, **more}


# -- hookpoints -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path",
    [
        "layers.7", "gpt_neox.layers.7", "model.layers.7", "transformer.h.7", "h.7", "blocks.7",
        "transformer.blocks.7", "decoder.layers.7", "model.language_model.layers.7",
        "language_model.model.layers.7", "model.text_model.layers.7", "backbone.layers.7",
        "lang_encoder.gpt_neox.layers.7", "blocks.7.hook_resid_post", "model1.layers.7",
    ],
)  # fmt: skip
def test_a_decoder_layers_output_is_known_by_its_path(path: str):
    assert layer_of_path(path) == 7


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("layers.7.mlp.dense_4h_to_h", "inside layer 7"),
        ("layers.4.attention", "inside layer 4"),
        ("layers.4.attention.query_key_value", "inside layer 4"),
        ("transformer.h.12.attn.c_proj", "inside layer 12"),
        ("model.layers.3.mlp.up_proj", "inside layer 3"),
        ("blocks.3.hook_resid_pre", "inside layer 3"),
        ("layers.3.block_sparse_moe.gates.2", "inside layer 3"),
        ("vision_tower.vision_model.encoder.layers.5", "not in the decoder"),
        ("model.vision_tower.layers.5", "not in the decoder"),
        ("visual.blocks.5", "not in the decoder"),
        ("perceiver.layers.2", "not in the decoder"),
        ("lang_encoder.gated_cross_attn_layers.2", "not in the decoder"),
        ("layers.3.mlp.experts.2", "not in the decoder"),
        ("encoder.layers.2", "not in the decoder"),
        ("stages.1.layers.4", "no list of decoder layers"),
        ("layers.1.blocks.4", "several numbers"),
        ("embed_in", "no numbered layer"), ("norm", "no numbered layer"), ("", "no numbered"),
        ("layers", "no numbered layer"), ("layers4", "no numbered layer"),
        ("layers.-1", "no numbered layer"), ("layers.04", "no numbered layer"),
        ("layers." + "9" * 5000, "no numbered layer"), ("layers.٤", "no numbered layer"),
        ("norms.4", "no list of decoder layers"), ("4", "no list of decoder layers"),
    ],
)  # fmt: skip
def test_a_steering_vector_of_another_place_is_refused_by_name(tmp_path: Path, path: str, why: str):
    place = layer_of_path(path)
    assert isinstance(place, str) and why in place
    found = error(read_foreign, saved(tmp_path / "v.pt", {path: steered()}))
    assert found.code == "MFV6046" and f"`{path[:80]}" in found.message and why in found.message
    assert "layers.4" in str(found)


def test_one_layer_of_several_is_taken_by_its_entry(tmp_path: Path):
    content = {"layers.7": steered(VECTOR, 2.0), "layers.7.mlp": steered()}
    path = saved(tmp_path / "v.pt", content)
    assert "--entry" in str(error(read_foreign, path))
    assert (read_foreign(path, "layers.7").vectors[7] == 2 * VECTOR).all()
    assert code(read_foreign, path, "layers.7.mlp") == "MFV6046"
    assert "it has: layers.7/steering_vector (128)" in str(error(read_foreign, path, "layers.8"))


@pytest.mark.parametrize(
    "content",
    [
        {"layers.4": steered(), "model.layers.4": steered()},
        {4: torch.zeros(128), "4": torch.zeros(128)},
        {"layer_4": torch.zeros(128), "layers.4": torch.zeros(128)},
        [steered(hookpoint="layers.4"), steered(hookpoint="h.4")],
    ],
    ids=["steered", "number and text", "words", "list"],
)
def test_two_vectors_of_one_layer_are_an_error_that_lists_both(tmp_path: Path, content: Any):
    found = error(read_foreign, saved(tmp_path / "v.pt", content))
    keys = content if isinstance(content, dict) else [part["hookpoint"] for part in content]
    assert found.code == "MFV6047" and "layer 4" in found.message
    assert all(f"`{key}`" in found.message for key in keys)


@pytest.mark.parametrize(
    "coefficient",
    [2, 2.0, np.float64(2), np.float32(2), np.int64(2), torch.tensor(2.0), torch.tensor([2.0]),
     torch.tensor(2), torch.tensor([[2.0]], dtype=torch.bfloat16)],
    ids=repr,
)  # fmt: skip
def test_a_coefficient_is_any_number(tmp_path: Path, coefficient: Any):
    path = saved(tmp_path / "v.pt", {"layers.4": steered(VECTOR, coefficient)})
    assert (read_foreign(path).vectors[4] == 2 * VECTOR).all()


@pytest.mark.parametrize(
    ("coefficient", "says"),
    [
        (torch.ones(2), "an array of shape (2), expected a number"), (True, "a bool"),
        ("2", "expected a number"), (None, "nothing, expected a number"),
        (torch.tensor(float("nan")), "not finite"), (float("inf"), "no number"),
        (float("nan"), "no number"), (10**5000, "beyond the range"), (1e200, "beyond the range"),
        (torch.tensor(1j), "expected a number"), ([1.0], "a list, expected a number"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_coefficient_that_is_no_number_is_named(tmp_path: Path, coefficient: Any, says: str):
    found = error(
        read_foreign, saved(tmp_path / "v.pt", {"layers.4": steered(VECTOR, coefficient)})
    )
    assert found.code == "MFV6041" and "`layers.4" in found.message and says in found.message


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (steered(action="clamp"), "is steered by `clamp`"),
        ({"steering_vector": torch.zeros(128)}, "is steered by `None`"),
        (steered(head_index=3), "in one head alone"),
        (steered(torch.zeros(2, 64)), "an array of shape (2, 64), not one vector"),
        (steered("x"), "not one vector"),
        (torch.zeros(128), "has no steering_vector"),
    ],
)
def test_what_is_steered_otherwise_is_refused_by_name(tmp_path: Path, entry: Any, says: str):
    content = {"layers.3": steered(), "layers.4": entry}
    found = error(read_foreign, saved(tmp_path / "v.pt", content))
    assert found.code == "MFV6041" and "`layers.4" in found.message and says in found.message


def test_a_steering_entry_alone_keeps_its_coefficient(tmp_path: Path):
    path = saved(tmp_path / "v.pt", steered(VECTOR, 3.0))
    assert (read_foreign(path).vectors[None] == 3 * VECTOR).all()
    assert code(read_foreign, saved(path, steered(action="clamp"))) == "MFV6041"


# -- vectors by layer -----------------------------------------------------------------------------
def test_keys_of_layers():
    keys = [4, "4", "layer_4", "layer4", "layers.4", "layers-4", "L4", "model.layers.4"]
    assert [layer_of_key(key) for key in keys] == [4] * len(keys)
    for key in (-1, True, 4.0, None, (4, 1), "left", "", "-1", "layer", "v4", 10**9, "H4"):
        assert layer_of_key(key) is None


@pytest.mark.slow
@pytest.mark.parametrize("key", [int, str, np.int64, "layer_{}".format, "model.layers.{}".format])
@pytest.mark.parametrize("name", ["v.pt", "v.pkl"])
def test_vectors_by_layer(tmp_path: Path, key: Callable[[int], Any], name: str):
    tensors = {key(layer): torch.full((128,), float(layer)) for layer in (2, 3, 4, 7)}
    path, library = saved(tmp_path / name, tensors), Library(tmp_path / "lib")
    found = error(import_file, path, library, ImportOptions("tiny"))
    assert found.code == "MFV6040" and "2 to 4, 7; `--layer all`" in str(found)
    (made,) = import_file(path, library, ImportOptions("tiny", 4))
    assert (mfv.load_vector(made).vector.residual == 4).all()
    made = import_file(path, library, ImportOptions("tiny", "all", "mood", "left"))
    assert [one.stem for one in made] == ["mood_L2", "mood_L3", "mood_L4", "mood_L7"]
    for layer, one in zip((2, 3, 4, 7), made, strict=True):
        stored = mfv.load_vector(one)
        assert (stored.vector.residual == layer).all()
        assert (stored.metadata["layer"], stored.metadata["relation"]) == (layer, "left")


def test_a_vector_that_an_import_replaces_is_named(tmp_path: Path):
    path = saved(tmp_path / "v.pt", {4: torch.zeros(128), 5: torch.ones(128)})
    library = Library(tmp_path / "lib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # the same again is no loss
            import_file(path, library, ImportOptions("tiny", 4))
    with pytest.warns(UserWarning, match="had another vector `v`, which this one replaces"):
        import_file(path, library, ImportOptions("tiny", 5))


def test_a_file_of_other_layers_than_the_models_is_refused(tmp_path: Path):
    """As one is that counts the embeddings as layer 0."""
    states = {layer: torch.zeros(128) for layer in range(11)}
    path, library = saved(tmp_path / "v.pt", states), Library(tmp_path / "lib")
    found = error(import_file, path, library, ImportOptions("tiny", "all"))
    assert found.code == "MFV6043" and "no layer 10" in found.message
    assert "counts the embeddings as 0" in str(found) and not library.names()


def test_each_layers_vector_is_a_recipes_and_all_are_edited_at_once(
    tmp_path: Path, tiny: OpenFlamingo, scenes: Scenes
):
    vectors = {2: torch.randn(128), 5: torch.randn(128)}
    path, folder = saved(tmp_path / "mood.pt", vectors), tmp_path / "lib"
    import_file(path, Library(folder), ImportOptions("tiny", "all"))
    recipe = mfv.Recipe(
        'mfv 1\nmodel m = tiny()\ndataset d = scenes(count=4)\neval one { add = load("'
        f'{folder}", "mood_L5")\n layer = 5\n items = 2\n on = [left] }}\n'
    )
    assert [finding.code for finding in recipe.check()] == []
    batch = tiny.batch(draw_prompts(scenes, "left", "test", 2, 1), scenes)
    edits = [Edit("lm.resid", layer, "add", vector) for layer, vector in vectors.items()]
    with HookPlan.of(tiny, edits).attach():
        wanted = tiny.forward(batch)
    plans = [mfv.load(str(folder), f"mood_L{layer}").bind(tiny, layer=layer) for layer in vectors]
    with contextlib.ExitStack() as stack:
        for plan in plans:
            stack.enter_context(plan.attach())
        assert torch.equal(tiny.forward(batch), wanted)
    assert not torch.equal(tiny.forward(batch), wanted)


@dataclass
class SteeringVector:
    """As the package steering-vectors has it."""

    layer_activations: dict[int, torch.Tensor]
    layer_type: str = "decoder_block"


@dataclass
class ControlVector:
    """As repeng has it."""

    model_type: str
    directions: dict[int, np.ndarray] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules that these classes are pickled by."""
    for name, kind in (
        ("steering_vectors.steering_vector", SteeringVector), ("repeng.extract", ControlVector),
    ):  # fmt: skip
        module = types.ModuleType(name)
        setattr(module, kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", name)
        monkeypatch.setitem(sys.modules, name.split(".")[0], types.ModuleType(name.split(".")[0]))
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("protocol", range(6))
def test_vectors_of_steering_vectors_and_repeng(tmp_path: Path, protocol: int):
    path = tmp_path / "v.pkl"
    for value in (
        SteeringVector({3: torch.from_numpy(VECTOR), 4: torch.zeros(128)}),
        ControlVector("gpt_neox", {3: VECTOR, 4: np.zeros(128)}),
        {"layer_activations": {3: torch.from_numpy(VECTOR), 4: torch.zeros(128)}},
    ):
        path.write_bytes(pickle.dumps(value, protocol))
        found = read_foreign(path)
        assert list(found.vectors) == [3, 4] and (found.vectors[3] == VECTOR).all()
    if protocol >= 2:
        torch.save(SteeringVector({3: torch.zeros(128)}), path, pickle_protocol=protocol)
        assert list(read_foreign(path).vectors) == [3]


def test_a_steering_vector_of_another_place_in_a_layer_is_refused(tmp_path: Path):
    for kind in ("mlp", "self_attn", "input_layernorm"):
        found = error(
            read_foreign, saved(tmp_path / "v.pt", SteeringVector({3: torch.zeros(128)}, kind))
        )
        assert found.code == "MFV6046" and f"`{kind}`" in found.message
    wrong = SteeringVector({"left": torch.zeros(128)})  # type: ignore[dict-item]
    assert code(read_foreign, saved(tmp_path / "v.pt", wrong)) == "MFV6041"
    assert code(read_foreign, saved(tmp_path / "v.pt", SteeringVector({}))) == "MFV6041"


# -- checkpoints of one's own ---------------------------------------------------------------------
ARGUMENTS = argparse.Namespace(
    lr=1e-3, out=Path("runs/a"), device=torch.device("cpu"), dtype=torch.float16, sizes=[1, 2],
    kind=str, seed=np.int64(3), shape=torch.Size([2, 3]), more=argparse.Namespace(a={1, 2}),
)  # fmt: skip


@pytest.mark.parametrize("name", ["v.pt", "v.pkl", "v.ckpt"])
def test_a_checkpoint_with_one_vector_is_read_and_the_rest_is_named(tmp_path: Path, name: str):
    content = {
        "vector": torch.nn.Parameter(torch.from_numpy(VECTOR)), "args": ARGUMENTS,
        "loss": np.float64(0.25), "step": torch.tensor(7), "best": np.array([0.5]),
        "when": defaultdict(list, a=[1]), "names": np.str_("x"), "order": OrderedDict(a=1),
    }  # fmt: skip
    path = saved(tmp_path / name, content)
    with pytest.warns(UserWarning, match="of it `vector` alone was taken, not `args`, `loss`"):
        (made,) = import_file(path, Library(tmp_path / "lib"), ImportOptions("tiny", 4))
    assert (mfv.load_vector(made).vector.residual == torch.from_numpy(VECTOR)).all()


@pytest.mark.parametrize("factory", [list, dict, int, float])
def test_a_defaultdict_is_a_dict(tmp_path: Path, factory: Any):
    means = defaultdict(factory)
    means["left"] = torch.ones(10, 8, 16)
    for name in ("v.pkl", "v.pt"):
        found = read_foreign(saved(tmp_path / name, means))
        assert list(found.activations) == ["left"] and (found.activations["left"] == 1).all()


def test_of_several_arrays_one_is_named(tmp_path: Path):
    content = {"a": torch.zeros(128), "state": {"b": [torch.ones(128)], "c": {"d": VECTOR}}}
    path = saved(tmp_path / "v.pt", content)
    found = error(read_foreign, path)
    assert found.code == "MFV6041"
    assert "a (128), state/b/0 (128), state/c/d (128)" in found.message
    assert "`--entry 'a'`" in str(found)
    assert (read_foreign(path, "state/c/d").vectors[None] == VECTOR).all()
    assert (read_foreign(path, "a").vectors[None] == 0).all()
    for wrong in ("x", "state/x", "state/c/d/e", "a/b", "/", ""):
        assert code(read_foreign, path, wrong) == "MFV6041"
    inner = saved(path, {"vectors": {4: torch.zeros(128), 5: torch.ones(128)}, "meta": "x"})
    assert sorted(read_foreign(inner, "vectors").vectors) == [4, 5]
    assert list(read_foreign(inner, "vectors/5").vectors) == [5]
    many = {f"v{i}": torch.zeros(128) for i in range(20)}
    assert "and 12 more" in str(error(read_foreign, saved(path, many)))


def test_keys_of_any_kind_are_told(tmp_path: Path):
    for key in (10**5000, (1, 10**5000), b"x", 1.5, None, "x" * 5000):
        for value in (torch.zeros(128), steered(), torch.zeros(2, 3, 4, 5, 6)):
            for content in ({key: value, "other": value}, {key: {key: value}}):
                path = saved(tmp_path / "v.pt", content)
                for read in (read_foreign, read_effects):
                    found = error(read, path)
                    assert found.code in ("MFV6041", "MFV6046") and len(str(found)) < 1000


class Config:
    """A class of one's own."""

    def __init__(self) -> None:
        self.lr = 0.1


def test_a_class_of_ones_own_is_refused_by_name_and_what_to_do_is_said(tmp_path: Path):
    for name in ("v.pt", "v.pkl"):
        found = error(read_foreign, saved(tmp_path / name, {"vector": VECTOR, "config": Config()}))
        assert found.code == "MFV6042" and "tests.library.test_imports.Config" in found.message
        assert "numpy.save(" in str(found)


def test_a_program_of_torchscript_is_refused_by_name(tmp_path: Path):
    torch.save({"vector": torch.zeros(128)}, tmp_path / "v.pt")
    with zipfile.ZipFile(tmp_path / "v.pt", "a") as file:
        file.writestr("v/constants.pkl", b"")
    found = error(read_foreign, tmp_path / "v.pt")
    assert found.code == "MFV6042" and "TorchScript" in found.message


# -- arrays ---------------------------------------------------------------------------------------
def test_arrays_of_numpy_and_safetensors(tmp_path: Path):
    np.savez(tmp_path / "v.npz", **{"layer_3": VECTOR, "layer_4": VECTOR.astype(np.float16)})
    np.savez_compressed(tmp_path / "one.npz", vector=VECTOR)
    tensor = torch.from_numpy(VECTOR)
    save_file({"layers.3": tensor, "layers.4": tensor.bfloat16()}, tmp_path / "v.safetensors")
    for name in ("v.npz", "v.safetensors"):
        found = read_foreign(tmp_path / name)
        assert sorted(found.vectors) == [3, 4]
        assert all((vector == VECTOR).all() for vector in found.vectors.values())
    assert (read_foreign(tmp_path / "one.npz").vectors[None] == VECTOR).all()
    for dtype in ("<f2", ">f4", "<f8", "<i4", "u1"):
        np.save(tmp_path / "v.npy", np.arange(7).astype(dtype))
        assert (read_foreign(tmp_path / "v.npy").vectors[None] == np.arange(7)).all()
    np.save(tmp_path / "v.npy", np.asfortranarray(np.ones((3, 2, 4))))
    assert read_foreign(tmp_path / "v.npy").activations[None].shape == (3, 2, 4)


def test_a_vector_of_the_library_is_no_foreign_file(tmp_path: Path):
    from mfv_dsl.base.places import bundled

    found = error(read_foreign, bundled("vectors") / "flamingo-tiny" / "left.safetensors")
    assert found.code == "MFV6041" and "copy it into the library" in found.message


@pytest.mark.parametrize("name", ["V.NPY", "v.Npy", "V.PT", "v.GGUF", "V.bin", "v"])
def test_a_file_is_known_by_its_content_whatever_its_name(tmp_path: Path, name: str):
    plain = tmp_path / "plain"
    kind = Path(name).suffix.lower() if Path(name).suffix.lower() != ".bin" else ".pt"
    written = tmp_path / f"w{kind or '.npy'}"
    metadata = {"layer": 3, "model": {"id": "tiny", "d_model": 128, "n_layers": 10}}
    export_vector(written, VECTOR, metadata)
    plain.mkdir()
    written.rename(plain / name)
    (vector,) = read_foreign(plain / name).vectors.values()
    assert (vector == VECTOR).all()
    if kind in (".npy", ".pt", ".gguf") and name != "V.bin":
        export_vector(tmp_path / name, VECTOR, metadata)
        assert (tmp_path / name).read_bytes()[:4] == (plain / name).read_bytes()[:4]


def test_where_a_tensor_was_does_not_matter(tmp_path: Path):
    """As on the device that it was made on, which need not be here."""
    path = saved(tmp_path / "v.pt", {"v": torch.from_numpy(VECTOR).half()})
    with zipfile.ZipFile(path) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in contents.items():
            new.writestr(name, data.replace(b"\x03\0\0\0cpu", b"\x06\0\0\0cuda:0"))
    assert b"cuda:0" in path.read_bytes()
    assert (read_foreign(path).vectors[None] == VECTOR).all()


# -- GGUF -----------------------------------------------------------------------------------------
def write_gguf(
    path: Path, tensors: dict[str, np.ndarray], kind: Any = None, architecture: str | None = None,
    values: dict[str, str] | None = None, **options: Any,
) -> Path:  # fmt: skip
    writer = gguf.GGUFWriter(path, architecture or "controlvector", **options)
    writer.add_string(f"{architecture or 'controlvector'}.model_hint", "gpt_neox")
    writer.add_array("general.tags", ["a", "b"])
    for key, value in (values or {}).items():
        writer.add_string(key, value)
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_directions_of_every_floating_point_type(tmp_path: Path):
    types = gguf.GGMLQuantizationType
    halves = gguf.quants.quantize(VECTOR, types.BF16)
    tensors = {
        "direction.1": VECTOR, "direction.4": VECTOR.astype(np.float16),
        "direction.5": VECTOR * np.float64(0.5),
    }  # fmt: skip
    found = read_foreign(write_gguf(tmp_path / "v.gguf", tensors)).vectors
    assert sorted(found) == [1, 4, 5] and (found[5] == VECTOR / 2).all()
    assert (found[1] == VECTOR).all() and (found[4] == VECTOR).all()
    found = read_foreign(write_gguf(tmp_path / "b.gguf", {"direction.2": halves}, types.BF16))
    assert (found.vectors[2] == VECTOR).all() and found.remarks == ()
    big = write_gguf(tmp_path / "e.gguf", tensors, endianess=gguf.GGUFEndian.BIG)
    assert (read_foreign(big).vectors[5] == VECTOR / 2).all()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "TQ1_0"])
def test_quantized_directions_are_refused_by_name(tmp_path: Path, kind: str):
    wide = np.zeros(256, np.float32)
    data = gguf.quants.quantize(wide, getattr(gguf.GGMLQuantizationType, kind))
    tensors = {"direction.4": data}
    path = write_gguf(tmp_path / "v.gguf", tensors, getattr(gguf.GGMLQuantizationType, kind))
    found = error(read_foreign, path)
    assert found.code == "MFV6041" and f"`direction.4` is {kind}; F32, F16" in found.message


def test_whole_numbers_are_no_direction(tmp_path: Path):
    path = write_gguf(tmp_path / "v.gguf", {"direction.4": np.zeros(128, np.int32)})
    assert "`direction.4` is I32" in error(read_foreign, path).message


def test_what_is_not_to_be_added_is_refused_and_what_is_not_understood_is_warned_of(
    tmp_path: Path,
):
    tensors = {"direction.4": VECTOR}
    for key, value in (("glp.mode", "project"), ("x.y.action", "ablate"), ("a.Operation", "mul")):
        found = error(read_foreign, write_gguf(tmp_path / "v.gguf", tensors, values={key: value}))
        assert found.code == "MFV6041" and f"`{key}` is `{value}`" in found.message
    path = write_gguf(
        tmp_path / "v.gguf", tensors, architecture="llama",
        values={"glp.mode": "add", "x.hook_point": "pre"},
    )  # fmt: skip
    with pytest.warns(UserWarning, match="architecture|understood") as warned:
        import_file(path, Library(tmp_path / "lib"), ImportOptions("tiny"))
    texts = " ".join(str(one.message) for one in warned)
    assert "'llama', not 'controlvector'" in texts and "x.hook_point" in texts


@pytest.mark.parametrize(
    "names", [["token_embd.weight"], ["direction.4", "bias.4"], ["direction.x"], ["direction"],
              ["direction.4", "direction.4.bias"], ["direction.4", "direction.04"], []],
)  # fmt: skip
def test_other_tensors_are_refused(tmp_path: Path, names: list[str]):
    path = write_gguf(tmp_path / "v.gguf", dict.fromkeys(names, VECTOR))
    assert code(read_foreign, path) == "MFV6041"


# -- mean head outputs ----------------------------------------------------------------------------
def test_means_by_token_with_a_choice_of_heads(tmp_path: Path, tiny: OpenFlamingo):
    """As the official code of arXiv:2310.15213 saves them: the last token is the one answered at,
    and effects are of every trial, or of every trial and kind of token."""
    torch.manual_seed(0)
    means, effects = torch.randn(10, 8, 5, 16), torch.randn(6, 10, 8, 3)
    path, folder = saved(tmp_path / "antonym.pt", means), Library(tmp_path / "lib")
    found = error(import_file, path, folder, ImportOptions("tiny", 4))
    assert found.code == "MFV6040" and "--heads '{L4H1, L5H2}'" in str(found)

    def made(**options: Any) -> mfv.StoredVector:
        (file,) = import_file(path, folder, ImportOptions("tiny", 4, **options))
        return mfv.load_vector(file)

    named = made(heads=((4, 1), (5, 2)))
    wanted = function_vector(tiny, means[:, :, -1], ((4, 1), (5, 2)))
    assert named.vector.residual.equal(wanted.residual) and named.vector.heads == ((4, 1), (5, 2))
    assert named.metadata["heads"]["list"] == [[4, 1, None], [5, 2, None]]
    for scores, mean in ((effects, effects[..., -1].mean(0)), (effects[..., 0],) * 2):
        mean = mean.mean(0) if mean.ndim == 3 else mean
        ranked = made(effects=saved(tmp_path / "effects.pt", scores), heads=3)
        heads = top_heads([mean.numpy()], 3)
        assert ranked.vector.heads == heads
        assert ranked.vector.residual.equal(function_vector(tiny, means[:, :, -1], heads).residual)
    several = saved(tmp_path / "e.pkl", {"left": torch.randn(10, 8), "up": torch.randn(10, 8)})
    assert code(import_file, path, folder, ImportOptions("tiny", 4, effects=several)) == "MFV6043"
    assert made(effects=several, relation="up", heads=2).metadata["relation"] == "up"
    both = saved(tmp_path / "both.pkl", {"left": means[:, :, 0], "up": means[:, :, 0]})
    options = ImportOptions("tiny", 4, effects=saved(tmp_path / "effects.pt", effects))
    found = error(import_file, both, folder, options)
    assert found.code == "MFV6043" and "which of the 2 relations" in found.message


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (ImportOptions("tiny", 4, heads=((10, 0),)), "MFV6043"),
        (ImportOptions("tiny", 4, heads=((0, 8),)), "MFV6043"),
        (ImportOptions("tiny", "all", heads=((0, 1),)), "MFV6040"),
        (ImportOptions("tiny", 10, heads=((0, 1),)), "MFV6043"),
    ],
)
def test_heads_and_layers_that_the_model_has_not(
    tmp_path: Path, options: ImportOptions, wanted: str
):
    path = saved(tmp_path / "v.pt", torch.zeros(10, 8, 1, 16))
    assert code(import_file, path, Library(tmp_path / "lib"), options) == wanted
    effects = saved(tmp_path / "e.pt", torch.zeros(10, 8))
    many = ImportOptions("tiny", 4, effects=effects, heads=81)
    assert "has 80" in error(import_file, path, Library(tmp_path / "lib"), many).message


def test_heads_as_they_are_typed():
    assert parse_heads("10") == 10 and parse_heads("L4H1") == ((4, 1),)
    assert parse_heads("{L4H1, L5H2}") == parse_heads("L4H1,L5H2,L4H1") == ((4, 1), (5, 2))
    for text in ("0", "-1", "L4", "{}", "", "L4H1 L5H2", "4.1", "top(3)"):
        assert code(parse_heads, text) == "MFV6040"


# -- numbers that are none ------------------------------------------------------------------------
def spoiled(value: float, at: int = 17) -> np.ndarray:
    vector = VECTOR.astype(np.float64)
    vector[at] = value
    return vector


BAD = {
    "v.npy": lambda v: v,
    "v.pt": lambda v: torch.from_numpy(v),
    "v.pkl": lambda v: {"left": torch.from_numpy(v)},
    "layers.pt": lambda v: {3: torch.zeros(128), 4: torch.from_numpy(v)},
    "steered.pt": lambda v: {"layers.3": steered(), "layers.4": steered(torch.from_numpy(v))},
    "record.pt": lambda v: SteeringVector({4: torch.from_numpy(v)}),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -3.5e38])
@pytest.mark.parametrize("name", [*BAD, "v.gguf", "v.safetensors", "v.npz"])
def test_a_number_that_is_none_is_named_with_its_place(tmp_path: Path, name: str, value: float):
    path, vector = tmp_path / name, spoiled(value)
    if name == "v.gguf":
        write_gguf(path, {"direction.3": VECTOR, "direction.4": vector})
    elif name == "v.safetensors":
        save_file({"layers.4": torch.from_numpy(vector)}, path)
    elif name == "v.npz":
        np.savez(path, **{"4": vector})
    else:
        saved(path, BAD[name](vector))
    found = error(read_foreign, path)
    problem = "is beyond the range of float32" if np.isfinite(value) else "is not finite"
    assert found.code == "MFV6041" and f"{problem} at [17]: {value}" in found.message
    assert str(path) in found.message and "1 of its 128 numbers" in str(found)
    if name not in ("v.npy", "v.pt"):
        assert "`left`" in found.message or "4" in found.message.partition(str(path))[2]


def test_a_product_beyond_float32_is_named(tmp_path: Path):
    path = saved(tmp_path / "v.pt", {"layers.4": steered(VECTOR, 1e37)})
    found = error(read_foreign, path)
    assert "`layers.4` is beyond the range of float32 at [42]" in found.message


@pytest.mark.parametrize("where", ["means", "effects"])
def test_means_and_effects_that_are_not_finite_are_named(tmp_path: Path, where: str):
    means, effects = torch.zeros(10, 8, 16), torch.zeros(10, 8)
    (means if where == "means" else effects)[3, 4] = torch.nan
    path = saved(tmp_path / "means.pkl", {"up": torch.zeros(10, 8, 16), "left": means})
    by = saved(tmp_path / "effects.pkl", {"up": torch.zeros(10, 8), "left": effects})
    library = Library(tmp_path / "lib")
    found = error(import_file, path, library, ImportOptions("tiny", 4, effects=by))
    place = "[3, 4, 0]" if where == "means" else "[3, 4]"
    assert found.code == "MFV6041"
    assert f"{where}.pkl `left` is not finite at {place}: nan" in found.message
    assert not library.names()
    trials = saved(tmp_path / "trials.pt", effects.expand(5, 10, 8).clone())
    if where == "effects":
        assert np.isnan(read_effects(trials)[None][3, 4])


# -- files that are none --------------------------------------------------------------------------
@pytest.fixture
def odd(tmp_path: Path) -> Callable[[str], Path]:
    """Things in a file's place."""

    def make(kind: str) -> Path:
        path = tmp_path / f"v.{kind}"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "pointer":
            path.write_bytes(POINTER)
        elif kind == "large":
            path.touch()
            os.truncate(path, (512 << 20) + 1)
        return path

    return make


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pipe", "a pipe"), ("folder", "a folder"), ("device", "a device"),
        ("pointer", "`git lfs pull`"), ("large", "larger than 512 MiB"), ("none", "No such file"),
    ],
)  # fmt: skip
def test_regular_files_alone_are_read(odd: Callable[[str], Path], kind: str, says: str):
    path = odd(kind)
    for read in (read_foreign, read_effects):
        found = error(read, path)
        assert found.code == "MFV6041" and says in found.message
    if kind != "none":
        found = error(mfv.load_vector, path)
        assert found.code in ("MFV6001", "MFV6002", "MFV6014") or says in str(found)


def test_a_pointer_of_git_lfs_in_a_vectors_place_is_named(tmp_path: Path):
    path = tmp_path / "left.safetensors"
    path.write_bytes(POINTER)
    found = error(mfv.load_vector, path)
    assert found.code == "MFV6002" and "git lfs pull" in found.message
