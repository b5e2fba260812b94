"""Torch files and pickles: honest ones are read, and those that want more than that do nothing."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.imported import read_effects, read_foreign
from mfv_dsl.library.torch_file import read_tree
from mfv_dsl.library.unpickle import plain
from tests.library.foreign_files import code, saved


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
@pytest.mark.parametrize("form", ["pickle", "torch", "old torch"])
def test_honest_files_are_read(value: Any, protocol: int, form: str):
    others = (1, 2.5, "x", b"y", None, {3}, np.float32(1.5), np.int64(-2), np.bool_(True))
    content = {"a": [value, others]}
    file = io.BytesIO()
    if form == "pickle":
        pickle.dump(content, file, protocol)
    elif protocol < 2:
        pytest.skip("torch writes no tensors so")
    else:
        zipped = form == "torch"
        torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    tree = read_tree(file.getvalue(), "p")
    assert tree["a"][1] == (1, 2.5, "x", b"y", None, {3}, 1.5, -2, True)
    numbers = plain(tree["a"][0])
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy()
    assert numbers.shape == value.shape and (numbers.array() == value).all()


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


def test_a_dict_has_no_attributes(tmp_path: Path):
    """They would cover its methods."""
    for name in ("v.ckpt", "v.pkl"):
        found = read_foreign(saved(tmp_path / name, shadowed()))
        assert found.activations["left"].shape == (10, 8, 16)
    honest = saved(tmp_path / "w.pkl", OrderedDict(left=torch.zeros(10, 8, 16)))
    assert list(read_foreign(honest).activations) == ["left"]


@pytest.mark.slow
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
