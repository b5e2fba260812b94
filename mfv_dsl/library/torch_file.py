"""The files of ``torch.save``, of today and from before torch 1.6, and pickles: what they hold.

Nothing of them is run (:mod:`unpickle`), and no more memory is taken than they say themselves,
which is bounded before it is taken.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.header import LARGEST
from mfv_dsl.library.unpickle import STORAGES, Refused, Storage, unpickle

#: How files begin: archives, and those of torch before 1.6.
ZIP = b"PK"
_OLD = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
_ENTRIES = 100_000  # of an archive
#: Bytes of a number of those storages that are not read.
_OTHERS = {
    "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "QUInt8Storage": 1, "QInt8Storage": 1,
    "QInt32Storage": 4,
}  # fmt: skip
_ENTRY = b"PK\x01\x02"  # how each begins in its directory


def read_tree(data: bytes, name: object) -> Any:
    """What a torch file or a pickle holds; tensors and arrays come as
    :class:`~mfv_dsl.library.unpickle.Numbers`.

    MFV6042 for a pickle that would do more than hold numbers, MFV6041 for what cannot be read;
    ``name`` is what errors call it.
    """
    try:
        if data.startswith(ZIP) or _OLD.match(data):
            return read_torch(data)
        return unpickle(io.BytesIO(data), load_storage=read_torch)
    except Refused as error:
        raise MfvError(
            "MFV6042", f"{name} would do more than hold numbers: {error}",
            help="nothing of it was run; where you trust it, open it with the tool that wrote it "
            "and save the vector alone:\nnumpy.save('vector.npy', vector.float().numpy())",
        ) from None  # fmt: skip
    except Exception as error:  # whatever a malformed program ends with
        why = f"{type(error).__name__}: {error}".split("\n")[0]
        what = "a torch file" if data.startswith(ZIP) or _OLD.match(data) else "a pickle"
        raise MfvError("MFV6041", f"{name} cannot be read as {what}: {why[:200]}") from None


def read_torch(data: bytes) -> Any:
    """What a file of ``torch.save`` holds.  Raises Refused, and other exceptions where it is
    damaged."""
    return _read_zip(data) if data.startswith(ZIP) else _read_old(data)


def open_zip(data: bytes) -> zipfile.ZipFile:
    """An archive whose entries are neither too many nor too large, unpacked."""
    if data.count(_ENTRY) > _ENTRIES:
        raise ValueError(f"it has more than {_ENTRIES:,} entries")
    file = zipfile.ZipFile(io.BytesIO(data))
    if sum(entry.file_size for entry in file.infolist()) > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST >> 20} MiB")
    return file


def _read_zip(data: bytes) -> Any:
    with open_zip(data) as file:
        names = file.namelist()
        pickles = [name for name in names if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise ValueError("it is an archive without one data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if any(name.startswith((f"{folder}code/", f"{folder}constants.pkl")) for name in names):
            raise Refused("it is a TorchScript program")
        order = "<"
        if f"{folder}byteorder" in names:
            order = ">" if file.read(f"{folder}byteorder") == b"big" else "<"
        contents: dict[str, bytes] = {}

        def find(pid: Any) -> Storage:
            code, key, count = _described(pid)
            if key not in contents:  # once, however many tensors share it
                contents[key] = file.read(f"{folder}data/{key}")
            return Storage(code, count, lambda: contents[key], order)

        return unpickle(io.BytesIO(file.read(pickles[0])), find)


def _read_old(data: bytes) -> Any:
    """A magic number, a version, the system, what was saved, the keys of its storages, and their
    numbers; each a pickle but for the last, which stand behind their count."""
    file = io.BytesIO(data)
    _magic, _version, system = (unpickle(file) for _ in range(3))
    order = "<" if system.get("little_endian", True) else ">"
    widths: dict[str, int] = {}  # bytes of a number
    contents: dict[str, memoryview] = {}

    def find(pid: Any) -> Storage:
        code, key, count = _described(pid)
        name = pid[1].removeprefix("torch.")
        widths[key] = _OTHERS[name] if code is None else 2 if code == "bf16" else int(code[1])
        return Storage(code, count, lambda: contents[key], order)

    tree = unpickle(file, find)
    for key in unpickle(file):
        start = file.tell() + 8
        stop = start + widths[key] * int.from_bytes(file.read(8), "little")
        if stop > len(data):
            raise ValueError("its numbers are cut off")
        contents[key] = memoryview(data)[start:stop]
        file.seek(stop)
    return tree


def _described(pid: Any) -> tuple[str | None, str, int]:
    """The type, key and number of numbers of a storage that a pickle refers to."""
    kind, storage, key, _location, count, *view = pid
    if kind != "storage" or not isinstance(storage, str) or any(view):
        raise Refused("it refers to something outside itself")
    if not isinstance(key, str) or not isinstance(count, int):
        raise Refused("it refers to numbers that are not in it")
    return STORAGES.get(storage.removeprefix("torch.")), key, count
