"""Damaged and hostile vector files: none is accepted, none does more than raise an MfvError, and
none makes the reader take more memory than the file has bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.header import (
    LARGEST,
    LARGEST_HEADER,
    content_hash,
    parse_header,
    read_header,
)
from mfv_dsl.library.metadata import Unreadable, canonical, metadata_text
from mfv_dsl.library.stored import read
from tests.library.support import good_file, opened, packed, write

GOOD = good_file()


def code_of(path: Path, data: bytes) -> str | None:
    """The code that reading a file of these bytes ends with; None if it is accepted."""
    try:
        parse_header(data, len(data))  # what is refused here needs no file
        path.write_bytes(data)
        read(path)
    except Unreadable:
        return "MFV6002"
    except MfvError as error:
        return error.code
    return None


def test_the_undamaged_file_is_read(tmp_path: Path):
    assert code_of(tmp_path / "v", GOOD) is None


def test_every_truncation_is_refused(tmp_path: Path):
    tried = [GOOD[:size] for size in range(len(GOOD))]
    tried += [GOOD + bytes(extra) for extra in (1, 4, 8)]
    accepted = [len(data) for data in tried if code_of(tmp_path / "v", data) != "MFV6002"]
    assert accepted == [], f"{len(accepted)} of {len(tried)} sizes"


@pytest.mark.slow
def test_every_flipped_bit_is_refused(tmp_path: Path):
    """All bits of the file: length, header, metadata, padding and numbers."""
    accepted, codes = [], set()
    for place in range(len(GOOD)):
        for bit in range(8):
            damaged = bytearray(GOOD)
            damaged[place] ^= 1 << bit
            code = code_of(tmp_path / "v", bytes(damaged))
            codes.add(code)
            if code is None:
                accepted.append((place, bit))
    assert accepted == [], f"{len(accepted)} of {8 * len(GOOD)} flips"
    assert codes == {"MFV6002", "MFV6003"}  # a flip in the format version's major number


@pytest.mark.slow
def test_every_missing_and_doubled_byte_of_the_header_is_refused(tmp_path: Path):
    length = struct.unpack("<Q", GOOD[:8])[0]
    text, body = GOOD[8 : 8 + length].decode().rstrip(), GOOD[8 + length :]
    tried = [text[:i] + text[i + 1 :] for i in range(len(text))]
    tried += [text[: i + 1] + text[i:] for i in range(len(text))]
    accepted = [one for one in tried if code_of(tmp_path / "v", packed(one, body)) is None]
    assert accepted == [], f"{len(accepted)} of {len(tried)} headers"


# -- files that somebody made on purpose: every hash is right --------------------------------------
def rebuilt(
    header: Callable[[dict[str, Any]], Any] = lambda header: None,
    metadata: Callable[[dict[str, Any]], Any] = lambda said: None,
    body: Callable[[bytes], bytes] = lambda body: body,
    sealing: Callable[[dict[str, Any]], str] = metadata_text,
) -> bytes:
    """The good file with its parts changed and its hashes made anew."""
    entries, said, data = opened(GOOD)
    data = body(data)
    header(entries)
    with contextlib.suppress(KeyError, TypeError):  # entries that are none have no hash
        said["content_sha256"] = content_hash(
            (name, one["dtype"], one["shape"], data[slice(*one["data_offsets"])])
            for name, one in entries.items()
        )
    metadata(said)
    tree = {"__metadata__": {"mfv": sealing(said)}, **entries}
    return packed(json.dumps(tree, separators=(",", ":")), data)


def unchecked(said: dict[str, Any]) -> str:
    """Metadata with their hash, whatever they say."""
    blank = canonical({**said, "metadata_sha256": "0" * 64})
    return canonical({**said, "metadata_sha256": hashlib.sha256(blank.encode()).hexdigest()})


def put(*path: Any) -> Callable[[Any], None]:
    """A change: ``put("model", "d_model", 7)`` sets it, a last ``...`` takes it away."""
    *steps, last, value = path

    def change(tree: Any) -> None:
        for step in steps:
            tree = tree[step]
        if value is ...:
            del tree[last]
        else:
            tree[last] = value

    return change


def number(value: float, dtype: str = "<f4", at: int = 0) -> Callable[[bytes], bytes]:
    packed = np.array([value], dtype=dtype).tobytes()
    return lambda body: body[:at] + packed + body[at + 4 :]


def index(*values: int) -> Callable[[bytes], bytes]:
    """The heads' index, which is stored last."""
    return lambda body: body[:-16] + np.array(values, dtype="<i4").tobytes()


def overlap(header: dict[str, Any]) -> None:
    header["heads.projected"]["data_offsets"] = [
        n - 4 for n in header["heads.projected"]["data_offsets"]
    ]


def swap(header: dict[str, Any]) -> None:
    """Two tensors in the wrong order."""
    header["heads.mean"] = header.pop("heads.mean")


MADE: dict[str, tuple[bytes, str]] = {
    "a length of all ones": (b"\xff" * 8 + GOOD[8:], "its header would be"),
    "a length just beyond the file": (
        struct.pack("<Q", len(GOOD) - 7) + GOOD[8:], "its header would be",
    ),
    "a huge header": (
        struct.pack("<Q", LARGEST_HEADER + 8) + b" " * (LARGEST_HEADER + 8), "its header would be",
    ),
    "not a safetensors file": (b"\x80\x04\x95" * 20, "its header would be"),
    "a header of no object": (packed("[]", b""), "not that of a safetensors file"),
    "a header of deep brackets": (packed("[" * 100_000, b""), "nested too deeply"),
    "a header of a huge number": (packed('{"a":' + "9" * 5000 + "}", b""), "is not JSON"),
    "no metadata": (packed("{}", b""), "not a vector of mfv-dsl"),
    "two metadata keys": (
        packed('{"__metadata__":{"format":"pt","mfv":"{}"}}', b""), "not a vector of mfv-dsl",
    ),
    "metadata that are no text": (packed('{"__metadata__":{"mfv":{}}}', b""), "not a vector of"),
    "a header key twice": (
        packed('{"__metadata__":{"mfv":"{}"},"residual":1,"residual":2}', b""), "is there twice",
    ),
    "white space in the header": (
        packed('{"__metadata__": {"mfv":"{}"}}', b""), "not written in the canonical form",
    ),
    "metadata not JSON": (rebuilt(sealing=lambda said: "hello"), "its metadata is not JSON"),
    "metadata not an object": (rebuilt(sealing=lambda said: "[1]"), "not a JSON object"),
    "metadata a number": (rebuilt(sealing=lambda said: "1"), "not a JSON object"),
    "metadata with NaN": (rebuilt(sealing=lambda said: '{"x_a":NaN}'), "it holds NaN"),
    "metadata with Infinity": (rebuilt(sealing=lambda said: '{"x_a":-Infinity}'), "-Infinity"),
    "metadata of deep brackets": (rebuilt(sealing=lambda said: "[" * 90_000), "nested too deeply"),
    "half a character": (rebuilt(sealing=lambda said: '{"x_a":"\\ud800"}'), "is not JSON"),
    "a metadata key twice": (rebuilt(sealing=lambda said: '{"a":1,"a":1}'), "is there twice"),
    "metadata with white space": (
        rebuilt(sealing=lambda said: metadata_text(said).replace(":", ": ", 1)),
        "not canonical JSON",
    ),
    "metadata not sorted": (
        rebuilt(sealing=lambda said: "{" + metadata_text(said).removeprefix('{"bias":"none",')[:-1]
                + ',"bias":"none"}'), "not canonical JSON",
    ),
    "a number beyond all": (
        rebuilt(sealing=lambda said: metadata_text({**said, "x_a": 1.5}).replace("1.5", "1e999")),
        "its metadata is not JSON",
    ),
    "another text than was hashed": (
        rebuilt(sealing=lambda said: metadata_text(said).replace("fv(left)", "fv(lift)")),
        "metadata does not match its hash",
    ),
    "a newer major version": (
        rebuilt(metadata=put("format_version", "3.0"), sealing=unchecked), "upgrade mfv-dsl",
    ),
    "no version": (rebuilt(metadata=put("format_version", ...), sealing=unchecked), "is missing"),
    "a version that is a number": (
        rebuilt(metadata=put("format_version", 1.0), sealing=unchecked), "`format_version` is not",
    ),
    "a version of one part": (
        rebuilt(metadata=put("format_version", "1"), sealing=unchecked), "`format_version` does",
    ),
    **{
        f"no {key}": (rebuilt(metadata=put(key, ...), sealing=unchecked), f"`{key}` is missing")
        for key in ("bias", "created", "expression", "kind", "model", "name", "site")
    },
    "no fingerprint": (
        rebuilt(metadata=put("model", "fingerprint", ...), sealing=unchecked), "`model.finger",
    ),
    "a size that is true": (
        rebuilt(metadata=put("model", "d_model", True), sealing=unchecked), "`model.d_model` is",
    ),
    "a size below one": (
        rebuilt(metadata=put("model", "d_model", 0), sealing=unchecked), "`model.d_model` is less",
    ),
    "a name of no letters": (rebuilt(metadata=put("name", ""), sealing=unchecked), "`name` does"),
    "an unknown kind": (rebuilt(metadata=put("kind", "x"), sealing=unchecked), "`kind` is not one"),
    "an unknown bias": (rebuilt(metadata=put("bias", "x"), sealing=unchecked), "`bias` is not one"),
    "a layer below 0": (rebuilt(metadata=put("layer", -1), sealing=unchecked), "`layer` is less"),
    "metrics that are no list": (
        rebuilt(metadata=put("metrics", {}), sealing=unchecked), "`metrics` is not of type array",
    ),
    "a parent without a hash": (
        rebuilt(metadata=put("parents", [{"name": "a", "coefficient": 1}]), sealing=unchecked),
        "`parents[0].hash` is missing",
    ),
    "a day that is none": (
        rebuilt(metadata=put("created", "yesterday"), sealing=unchecked), "`created` does not",
    ),
    "the wrong size": (
        rebuilt(metadata=put("model", "d_model", 7)), "`residual` has shape (6,), expected (7)",
    ),
    "the wrong head size": (
        rebuilt(metadata=put("model", "head_dim", 4)), "`heads.mean` has shape (2, 5), expected",
    ),
    "the wrong content hash": (
        rebuilt(metadata=put("content_sha256", "0" * 64)), "content does not match its hash",
    ),
    "no residual": (rebuilt(header=lambda h: h.pop("residual")), "overlaps another tensor, or"),
    "an unknown tensor": (
        rebuilt(header=lambda h: h.update(extra=h.pop("residual"))), "an unknown tensor `extra`",
    ),
    "heads without means": (
        rebuilt(header=lambda h: (h.pop("heads.mean"), h.update(
            {n: {**e, "data_offsets": [o - 40 for o in e["data_offsets"]]} for n, e in h.items()}
        )), body=lambda body: body[40:]), "it lacks the tensor `heads.mean`",
    ),
    "heads without their index": (
        rebuilt(header=lambda h: h.pop("heads.index"), body=lambda body: body[:-16]),
        "it lacks the tensor `heads.index`",
    ),
    "a scalar": (
        rebuilt(header=lambda h: h["heads.score"].update(shape=[2, 1])), "has shape (2, 1)",
    ),
    "no heads at all": (
        rebuilt(header=put("heads.score", {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
        "overlaps another tensor",
    ),
    "a shape that is too big": (
        rebuilt(header=put("residual", "shape", [2**62])), "not have the size that its shape gives",
    ),
    "a shape below 0": (
        rebuilt(header=put("residual", "shape", [-6])), "not describe `residual` as it must",
    ),
    "a shape of floats": (
        rebuilt(header=put("residual", "shape", [6.0])), "not describe `residual` as it must",
    ),
    "a shape of truth": (
        rebuilt(header=put("residual", "shape", [True])), "not describe `residual` as it must",
    ),
    "a tensor that is a text": (
        rebuilt(header=put("residual", "F32")), "not describe `residual` as it must",
    ),
    "a tensor with more to say": (
        rebuilt(header=put("residual", "more", 1)), "not describe `residual` as it must",
    ),
    "one offset": (
        rebuilt(header=put("residual", "data_offsets", [96])), "not have the size that",
    ),
    "offsets backwards": (
        rebuilt(header=lambda h: h["residual"]["data_offsets"].reverse()), "not have the size that",
    ),
    "half precision": (rebuilt(header=put("residual", "dtype", "F16")), "has dtype F16, expected"),
    "whole numbers for the vector": (rebuilt(header=put("residual", "dtype", "I32")), "dtype I32"),
    "tensors that overlap": (rebuilt(header=overlap), "overlaps another tensor, or leaves a gap"),
    "tensors in the wrong order": (rebuilt(header=swap), "overlaps another tensor"),
    "a gap at the end": (rebuilt(body=lambda body: body + bytes(8)), "and its header describes"),
    "not a number": (rebuilt(body=number(np.nan)), "`heads.mean` is not finite at [0, 0]: nan"),
    "infinity": (rebuilt(body=number(-np.inf, at=64)), " is not finite at [1, 0]: -inf"),
    "a head below 0": (rebuilt(body=index(-1, 0, 2, 3)), "heads that the model does not have"),
    "a head of no layer": (rebuilt(body=index(4, 0, 2, 3)), "heads that the model does not have"),
    "a head twice": (rebuilt(body=index(2, 3, 2, 3)), "names a head twice"),
}  # fmt: skip


@pytest.mark.parametrize("what", MADE)
def test_a_file_made_wrong_is_refused(tmp_path: Path, what: str):
    data, says = MADE[what]
    with pytest.raises(MfvError) as found:
        read(write(tmp_path / "v", data))
    assert found.value.code in ("MFV6002", "MFV6003")
    assert says in str(found.value)


def test_a_newer_minor_version_is_read_and_its_keys_are_named(tmp_path: Path):
    data = rebuilt(
        metadata=lambda said: said.update(format_version="1.7", colour="red", parents=[])
    )
    with pytest.warns(UserWarning, match="says more than this mfv-dsl knows: colour"):
        _, said = read(write(tmp_path / "v", data))
    assert said["colour"] == "red"


def sizes() -> Iterator[tuple[str, bytes, int]]:
    """Small files that speak of large things, and the size that they are stretched to."""
    yield "a file beyond all bounds", GOOD, LARGEST + 1
    yield "a header as large as a large file", struct.pack("<Q", 1 << 30) + GOOD[8:], LARGEST - 8
    yield "a tensor as large as a large file", MADE["a shape that is too big"][0], LARGEST - 8
    yield "zeros", bytes(8), LARGEST - 8


@pytest.mark.parametrize(("what", "data", "size"), list(sizes()), ids=lambda value: str(value)[:40])
def test_no_file_makes_the_reader_allocate_without_bound(
    tmp_path: Path, what: str, data: bytes, size: int
):
    path = write(tmp_path / "v", data)
    with open(path, "r+b") as file:
        file.truncate(size)  # sparse: it takes no room on the disk
    tracemalloc.start()
    try:
        for reader in (read, read_header):
            with pytest.raises(MfvError) as refusal:
                reader(path)
            assert ("larger than 512 MiB" in str(refusal.value)) == (size > LARGEST)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
