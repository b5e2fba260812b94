"""Small files that would take much memory, time or stack: refused, and nothing of it taken."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.imported import ForeignFile, read_effects, read_foreign

MOST = 64 << 20  # bytes that refusing a file may take


def torch_bytes(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def called(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def expanded(*sizes: int) -> torch.Tensor:
    return torch.zeros(1).expand(*sizes)


def many_expanded() -> dict[str, Any]:
    entry = {"steering_coefficient": 1.0, "action": "add", "bias": None}
    return {f"layers.{i}": {"steering_vector": expanded(100_000_000), **entry} for i in range(100)}


def deep_tuple() -> bytes:
    """A key of a dict, within so many tuples that hashing it would overflow the stack."""
    return opcodes(b"}", b")", b"\x85" * 200_000, b"N", b"s")


def deep_reduce() -> bytes:
    return opcodes(b"}", b")", (called("collections", "OrderedDict") + b")R0\x85") * 200, b"Ns")


def doubled() -> bytes:
    """Lists of the last list twice: 2^60 paths to the first."""
    return opcodes(b"](K\x01e\x94", *(b"]h" + bytes([i]) + b"ah" + bytes([i]) + b"a\x94"
                                     for i in range(60)))  # fmt: skip


def circular() -> bytes:
    return opcodes(b"}\x94", text("a"), b"h\x00s")


def nested_circular() -> bytes:
    return opcodes(b"}\x94", text("layer_activations"), b"h\x00s")


def outside_in() -> bytes:
    """Lists that are put into others after they were made: their depth shows only at the end."""
    lists = [b"]\x94"]
    for i in range(1, 5000):
        lists.append(b"]\x94aj" + struct.pack("<I", i))
    return opcodes(*lists)


def copies(function: tuple[str, str], argument: bytes) -> bytes:
    """A function that copies what it gets, called again and again with one and the same."""
    calls = called(*function) + b"\x94" + argument + b"\x94" + b"(" + b"h\x00h\x01\x85R" * 5_000
    return opcodes(calls, b"l")


def copied_storages() -> bytes:
    inner = torch_bytes(torch.zeros(100_000)._typed_storage(), _use_new_zipfile_serialization=False)
    data = b"B" + struct.pack("<I", len(inner)) + inner
    return copies(("torch.storage", "_load_from_bytes"), data)


def steps() -> bytes:
    return opcodes(b"]", b"(", b"N" * 250_000, b"e")


def entries() -> bytes:
    """An archive of very many entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(1))
    data = file.getvalue()
    entry = data[data.index(b"PK\x01\x02") : data.index(b"PK\x05\x06")]
    return data[: data.index(b"PK\x01\x02")] + entry * 200_000 + data[data.index(b"PK\x05\x06") :]


def zipped(count: int) -> bytes:
    """An archive whose entries share their content, and unpack to more than a file may have."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(1))
        archive.writestr("archive/data/0", bytes(16 << 20))
        first = archive.infolist()[-1]
        for i in range(1, count):
            info = zipfile.ZipInfo(f"archive/data/{i}")
            for name in ("compress_type", "CRC", "file_size", "compress_size", "header_offset"):
                setattr(info, name, getattr(first, name))
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    return file.getvalue()


def numpy_header(shape: str, descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def gguf_text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf_file(tensors: int, values: int, *parts: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + b"".join(parts) + bytes(64)


def gguf_array(kind: int, count: int, data: bytes = b"") -> bytes:
    key = gguf_text("general.tags") + struct.pack("<I", 9)
    return gguf_file(0, 1, key, struct.pack("<IQ", kind, count), data)


def gguf_tensor(name: str, kind: int, *sizes: int, offset: int = 0) -> bytes:
    axes = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
    return gguf_text(name) + axes + struct.pack("<IQ", kind, offset)


def safetensors_file(header: Any, length: int | None = None) -> bytes:
    data = json.dumps(header).encode()
    return struct.pack("<Q", len(data) if length is None else length) + data


BOMBS: dict[str, Callable[[], bytes]] = {
    "a stride of 0": lambda: torch_bytes(expanded(1 << 20, 1 << 20)),
    "a stride of 0, as a vector": lambda: torch_bytes(expanded(1 << 40)),
    "a stride of 0, in an old file": lambda: torch_bytes(
        {"left": expanded(1 << 12, 1 << 12, 1 << 12)}, _use_new_zipfile_serialization=False),
    "a stride of 0, in a pickle": lambda: pickle.dumps({4: expanded(1 << 30)}),
    "very many of them": lambda: torch_bytes(many_expanded()),
    "means of many relations": lambda: torch_bytes(
        {str(i): expanded(100, 100, 10_000) for i in range(100)}),
    "a deep tuple": deep_tuple,
    "a deep tuple of calls": deep_reduce,
    "a list twice in the next": doubled,
    "a dict in itself": circular,
    "layers in themselves": nested_circular,
    "a list in a list": outside_in,
    "a dict copied": lambda: copies(
        ("collections", "OrderedDict"), b"](" + b"K\x01K\x02\x86" * 20_000 + b"e"),
    "a text copied": lambda: copies(
        ("_codecs", "encode"), b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)),
    "a storage copied": copied_storages,
    "a byte array as large as it likes": lambda: opcodes(
        called("builtins", "bytearray"), b"\x8a\x06" + (1 << 40).to_bytes(6, "little"), b"\x85R"),
    "a tuple as large as it likes": lambda: opcodes(
        called("torch", "Size"), called("builtins", "range"), b"K\x00\x8a\x06"
        + (1 << 40).to_bytes(6, "little"), b"\x86R\x85R"),
    "more steps than any": steps,
    "an archive of very many entries": entries,
    "an archive whose entries share": lambda: zipped(64),
    "an array's header": lambda: numpy_header("(1099511627776,)"),
    "an array's header of many axes": lambda: numpy_header("(" + "65536, " * 4 + ")"),
    "an array's header below 0": lambda: numpy_header("(-1,)"),
    "an array of objects": lambda: numpy_header("(4,)", "'|O'") + pickle.dumps(1),
    "an array of nothing, often": lambda: numpy_header("(1099511627776,)", "'|V0'"),
    "an array's header of brackets": lambda: numpy_header("(" * 5000),
    "GGUF: tensors without end": lambda: gguf_file(1 << 60, 0),
    "GGUF: values without end": lambda: gguf_file(0, 1 << 60),
    "GGUF: an array without end": lambda: gguf_array(4, 1 << 62),
    "GGUF: texts without end": lambda: gguf_array(8, 1 << 62),
    "GGUF: arrays in arrays": lambda: gguf_array(9, 1, struct.pack("<IQ", 9, 1) * 10_000),
    "GGUF: many numbers": lambda: gguf_array(0, 4_000_000, bytes(4_000_000)),
    "GGUF: a huge text": lambda: gguf_file(0, 1, struct.pack("<Q", 1 << 63)),
    "GGUF: a huge tensor": lambda: gguf_file(1, 0, gguf_tensor("direction.4", 0, 1 << 62)),
    "GGUF: a huger tensor": lambda: gguf_file(
        1, 0, gguf_tensor("direction.4", 0, *(1 << 62,) * 4)),
    "GGUF: tensors in one place": lambda: gguf_file(
        1000, 0, *(gguf_tensor(f"direction.{i}", 30, 1 << 20) for i in range(1000)),
        bytes(1 << 21)),
    "GGUF: an alignment of 0": lambda: gguf_file(
        0, 1, gguf_text("general.alignment"), struct.pack("<II", 4, 0)),
    "GGUF: beyond its end": lambda: gguf_file(
        1, 0, gguf_tensor("direction.4", 0, 4, offset=1 << 62)),
    "safetensors: a huge header": lambda: safetensors_file({}, 1 << 40) + bytes(64),
    "safetensors: a huge tensor": lambda: safetensors_file(
        {"4": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
    "safetensors: a huge shape": lambda: safetensors_file(
        {"4": {"dtype": "F32", "shape": [1 << 40, 0], "data_offsets": [0, 0]}}),
    "safetensors: brackets": lambda: struct.pack("<Q", 100_000) + b"{" + b"[" * 99_999,
}  # fmt: skip


OF_EFFECTS = (
    "a stride of 0",
    "means of many relations",
    "a list twice in the next",
    "an array's header",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "what"),
    [(read_foreign, what) for what in BOMBS] + [(read_effects, what) for what in OF_EFFECTS],
)
def test_a_small_file_takes_little(tmp_path: Path, read: Callable[[Path], Any], what: str):
    path = tmp_path / f"v{'.gguf' if what.startswith('GGUF') else '.pt'}"
    path.write_bytes(BOMBS[what]())
    assert path.stat().st_size < 16 << 20
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(MfvError) as found:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.value.code in ("MFV6041", "MFV6042")
    assert len(str(found.value)) < 2000
    assert peak < MOST and time.process_time() - start < 30


def test_what_is_shared_is_read_once(tmp_path: Path):
    """Tensors that are views of one storage, as torch saves them, are read as such."""
    storage = torch.arange(1000.0)
    path = tmp_path / "v.pt"
    torch.save({i: storage[i : i + 128] for i in range(10)}, path)
    found = read_foreign(path).vectors
    assert all((found[i] == np.arange(i, i + 128)).all() for i in range(10))


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path, form: str):
    def build(size: int, stride: int, offset: int) -> bytes:
        tensor = torch.zeros(4).as_strided((4,), (1,))
        data = pickle.dumps(tensor, 2) if form == "pickle" else torch_bytes(
            tensor, _use_new_zipfile_serialization=form == "zip")  # fmt: skip
        view = b"K\x00K\x04\x85"  # offset, then the size (4,)
        at = data.index(view)
        new = b"K" + bytes([offset]) + b"K" + bytes([size]) + b"\x85"
        data = data[:at] + new + data[at + len(view) :]
        if form != "zip":
            return data
        file = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(torch_bytes(tensor))) as old,
            zipfile.ZipFile(file, "w") as made,
        ):
            for info in old.infolist():
                made.writestr(info.filename, old.read(info).replace(view, new))
        return file.getvalue()

    path = tmp_path / "v.pt"
    path.write_bytes(build(4, 1, 0))
    assert read_foreign(path).vectors[None].shape == (4,)
    for size, offset in ((5, 0), (4, 1), (200, 0), (4, 200)):
        path.write_bytes(build(size, 1, offset))
        with pytest.raises(MfvError) as found:
            read_foreign(path)
        assert found.value.code == "MFV6041"


# -- damaged files --------------------------------------------------------------------------------
def forms() -> dict[str, bytes]:
    """A small file of every form that is read."""
    vector = torch.arange(16.0)
    entry = {"steering_vector": vector, "steering_coefficient": torch.tensor(2.0), "action": "add"}
    steered = {"layers.4": entry, "layers.5": {**entry, "steering_vector": vector.half()}}
    own = {
        "v": np.arange(16.0), "args": argparse.Namespace(a=1, out=Path("x")), "n": np.float64(1),
        "d": defaultdict(list, a=[1]), "t": torch.float16,
    }  # fmt: skip
    made = {
        "zip": torch_bytes(steered),
        "old": torch_bytes(steered, _use_new_zipfile_serialization=False),
        "safetensors": save({"4": vector, "5": vector.bfloat16()}),
        "gguf": gguf_file(2, 0, gguf_tensor("direction.4", 0, 4), gguf_tensor("direction.5", 1, 4)),
    }
    for protocol in (0, 2, 4):
        made[f"steered {protocol}"] = pickle.dumps(steered, protocol)
        made[f"own {protocol}"] = pickle.dumps(own, protocol)
    for name, write in (("npy", np.save), ("npz", np.savez)):
        file = io.BytesIO()
        write(file, vector.numpy())
        made[name] = file.getvalue()
    return made


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, taken out, put in or doubled; in an archive those of its pickle."""
    if data.startswith(b"PK") and chance.random() < 0.8:
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
            for name in old.namelist():
                part = old.read(name)
                new.writestr(name, damaged(part, chance) if name.endswith(".pkl") else part)
        return file.getvalue()
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, other = chance.randrange(len(changed)), chance.randrange(len(changed))
        opcodes = bytes(
            chance.choice(b"}]()\x85\x86\x87Rbsuae.0Ntl\x94hjKMIJ\x8a") for _ in range(3)
        )
        changed[at : at + chance.choice((0, 1, 5))] = chance.choice(
            (b"", bytes([chance.randrange(256)]), opcodes, changed[other : other + 12])
        )
        changed = changed or bytearray(b"x")
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rounds", [40, pytest.param(1000, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.filterwarnings("error")
def test_a_damaged_file_gives_vectors_or_an_error_of_ours(tmp_path: Path, rounds: int):
    chance, path = random.Random(rounds), tmp_path / "v"
    for name, data in forms().items():
        path.write_bytes(data)
        assert read_foreign(path).vectors, name
        for _ in range(rounds):
            path.write_bytes(damaged(data, chance))
            for read in (read_foreign, read_effects):
                with contextlib.suppress(MfvError):
                    content = read(path)
                    if isinstance(content, ForeignFile):
                        assert all(np.isfinite(vector).all() for vector in content.vectors.values())
