"""Other tools' files: out and in again, and pickles that want more than to be read."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
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
from mfv_dsl.library.convert import export, read_effects, read_foreign
from mfv_dsl.library.folder import Library
from mfv_dsl.library.unpickle import as_tensor, read_pickle
from mfv_dsl.library.verify import verify_library
from mfv_dsl.methods.selection import top_heads
from mfv_dsl.methods.vectors import function_vector
from mfv_dsl.models.openflamingo import OpenFlamingo

LEFT = bundled("vectors") / "flamingo-tiny" / "left.safetensors"
VECTOR = np.arange(128, dtype=np.float32) - 7.5
TOLD = ImportOptions(model="tiny", layer=4)


def code(work: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(MfvError) as found:
        work(*arguments)
    return found.value.code


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
def saved(path: Path, value: Any) -> Path:
    """``value`` as its suffix says: a torch file, a pickle or an array."""
    if path.suffix in (".pt", ".ckpt"):
        torch.save(value, path)
    elif path.suffix == ".npy":
        np.save(path, value)
    else:
        path.write_bytes(pickle.dumps(value))
    return path


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


# -- pickles ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">i2"),
        np.array(True),
        np.zeros((0, 3), dtype=np.float16),
        torch.arange(12.0).reshape(3, 4)[:, 1:3],
        torch.arange(3, dtype=torch.int64),
        torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
    ],
    ids=str,
)
def test_honest_pickles_are_read(value: Any, protocol: int):
    tree = read_pickle(pickle.dumps({"a": [value, (1, 2.5, "x", b"y", None, {3})]}, protocol), "p")
    assert tree["a"][1] == (1, 2.5, "x", b"y", None, {3})
    read = as_tensor(tree["a"][0])
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.astype(np.float32))
    assert read is not None and read.equal(value.detach().float())


class Does:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


class Builds:
    """Pickles as a call that gets a state."""

    def __init__(self, function: Any, arguments: Any, state: Any) -> None:
        self.made = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.made


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def evil(mark: Path) -> dict[str, bytes]:
    """Pickles that would make the file ``mark``, or would take memory without end."""
    command, program = f"touch {mark}", f"open({str(mark)!r}, 'w').close()"
    call = text(command) + b"\x85R"
    storage = torch.storage._load_from_bytes
    inner = io.BytesIO()
    torch.save(Does(os.system, command), inner)
    values: dict[str, Any] = {
        "os.system": Does(os.system, command),
        "eval": Does(eval, program),
        "exec": Does(exec, program),
        "__import__": Does(__import__, "os"),
        "getattr": Does(getattr, "x", "__class__"),
        "subprocess": Does(subprocess.check_output, ["touch", str(mark)]),
        "open": Does(open, str(mark), "w"),
        "pickle.loads": Does(pickle.loads, pickle.dumps(Does(os.system, command))),
        "torch.load": Does(torch.load, str(mark)),
        "a storage that is a pickle": Does(storage, pickle.dumps(Does(os.system, command))),
        "a storage that is a torch file": Does(storage, inner.getvalue()),
        "numpy.load": Does(np.load, str(mark)),
        "an array of objects": np.array([Does(os.system, command)], dtype=object),
        "a module": Builds(torch.nn.Linear, (1, 1), {}),
        "deep in a dict": {"left": [{"x": (Does(os.system, command),)}]},
        "as a key": {Does(os.system, command): 1},
    }
    made = {name: pickle.dumps(value) for name, value in values.items()}
    made |= {
        "protocol 0": pickle.dumps(Does(os.system, command), protocol=0),
        "STACK_GLOBAL": opcodes(text("os"), text("system"), b"\x93", call),
        "a dotted name": opcodes(
            text("torch.storage"), text("_load_from_bytes.__globals__"), b"\x93"
        ),
        "posix": opcodes(b"cposix\nsystem\n", call),
        "builtins by another name": opcodes(b"c__builtin__\neval\n", text(program), b"\x85R"),
        "INST": b"(" + f"S{command!r}\n".encode() + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + f"S{command!r}\n".encode() + b"o.",
        "NEWOBJ": opcodes(b"cos\nsystem\n", text(command), b"\x85\x81"),
        "EXT": b"\x80\x02\x82\x01.",
        "a persistent id": b"\x80\x02" + text("x") + b"Q.",
        "a state for a function": opcodes(
            b"ctorch._utils\n_rebuild_parameter\n", b"}", text("_function"), b"N", b"s", b"b"
        ),
        "attributes for a function": opcodes(
            b"ctorch._utils\n_rebuild_parameter\n", b"N}", text("_function"), b"Ns\x86b"
        ),
        "an array as large as it likes": opcodes(
            b"cnumpy._core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n",
            b"\x8a\x06" + (1 << 40).to_bytes(6, "little"), b"\x85", text("b"), b"\x87R",
        ),
        "a tensor as large as it likes": pickle.dumps(
            Does(torch._utils._rebuild_tensor_v2, torch.zeros(1)._typed_storage(), 0,
                 (1 << 20, 1 << 20), (0, 0), False, {})
        ),
        "a memo as large as it likes": opcodes(b"Nr" + struct.pack("<I", 0xFFFFFFF0)),
        "a byte array as large as it likes": opcodes(b"\x96" + struct.pack("<Q", 1 << 40)),
        "a text as large as it likes": opcodes(b"\x8d" + struct.pack("<Q", 1 << 40)),
        "a frame as large as it likes": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "nothing": b"",
        "nothing but an end": b".",
        "no end": b"\x80\x04N",
        "noise": bytes(range(256)),
    }  # fmt: skip
    return made


EVIL = sorted(evil(Path("mark")))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("what", EVIL)
def test_a_pickle_that_wants_more_does_nothing(tmp_path: Path, what: str):
    mark = tmp_path / "mark"
    data = evil(mark)[what]
    tracemalloc.start()
    try:
        for suffix in (".pkl", ".ckpt", ".pt"):
            path = tmp_path / f"v{suffix}"
            path.write_bytes(data)
            assert code(read_foreign, path) in ("MFV6041", "MFV6042")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not mark.exists() and peak < 16 << 20


def test_what_a_refused_pickle_would_use_is_named(tmp_path: Path):
    mark = tmp_path / "mark"
    path = tmp_path / "v.pkl"
    path.write_bytes(evil(mark)["os.system"])
    with pytest.raises(MfvError, match=r"it would use (posix|nt)\.system") as found:
        read_foreign(path)
    assert found.value.code == "MFV6042" and "nothing of it was run" in str(found.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("what", ["os.system", "eval", "deep in a dict"])
def test_a_torch_file_with_such_a_pickle_does_nothing(tmp_path: Path, what: str):
    mark, path = tmp_path / "mark", tmp_path / "v.ckpt"
    torch.save(torch.zeros(3), path)
    with zipfile.ZipFile(path) as old:
        entries = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, data in entries.items():
            new.writestr(name, evil(mark)[what] if name.endswith("data.pkl") else data)
    assert code(read_foreign, path) == "MFV6042"
    assert not mark.exists()


def shadowed() -> Any:
    """Pickles as a dict whose methods are covered by numbers."""
    pairs = [["left", torch.zeros(10, 8, 16)]]
    return Builds(OrderedDict, (pairs,), {"items": 3, "values": 3, "keys": 3, "get": 3})


ODD: dict[str, Callable[[], Any]] = {
    "meta": lambda: torch.zeros(128, device="meta"),
    "expanded": lambda: torch.zeros(1, dtype=torch.half).expand(1 << 20, 1 << 20),
    "sparse": lambda: torch.zeros(4, 4).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.quint8),
    "shadowed": lambda: {"layers.1": shadowed()},
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch no longer wants quantized tensors
@pytest.mark.parametrize("suffix", [".ckpt", ".pkl"])
@pytest.mark.parametrize("what", ODD)
def test_odd_tensors_are_refused(tmp_path: Path, what: str, suffix: str):
    path = saved(tmp_path / f"v{suffix}", ODD[what]())
    assert code(read_foreign, path) in ("MFV6041", "MFV6042")
    assert code(read_effects, path) in ("MFV6041", "MFV6042")


def test_a_dict_may_have_no_attributes(tmp_path: Path):
    """torch's reader gives it those that the file has, the one here refuses."""
    found = read_foreign(saved(tmp_path / "v.ckpt", shadowed()))
    assert found.activations["left"].shape == (10, 8, 16)
    assert code(read_foreign, saved(tmp_path / "v.pkl", shadowed())) == "MFV6041"
    honest = saved(tmp_path / "w.pkl", OrderedDict(left=torch.zeros(10, 8, 16)))
    assert list(read_foreign(honest).activations) == ["left"]


def test_a_torch_file_that_unpacks_without_end_is_refused(tmp_path: Path):
    path = tmp_path / "v.ckpt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("archive/data/0", "w", force_zip64=True) as entry,
    ):
        for _ in range(513):
            entry.write(bytes(1 << 20))
    assert path.stat().st_size < 4 << 20
    assert code(read_foreign, path) == "MFV6041"


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
