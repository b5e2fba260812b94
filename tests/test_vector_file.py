"""Vector files: what is written is read, and nothing else is accepted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mfv_dsl.lang.diagnostics import MfvError
from mfv_dsl.library.vector_file import load_vector, save_vector
from mfv_dsl.methods.vectors import Space, Vector

METADATA = {"kind": "extracted", "model": {"id": "tiny", "fingerprint": "abc", "d_model": 6}}


def made(heads: bool = True) -> Vector:
    torch.manual_seed(0)
    space = Space("abc", 6, "none")
    if not heads:
        return Vector(torch.randn(6), space, "x")
    return Vector(
        torch.randn(6), space, "fv(left)", ((1, 0), (2, 3)), torch.randn(2, 4), torch.randn(2, 6),
        torch.tensor([0.5, 0.1]),
    )  # fmt: skip


@pytest.mark.parametrize("heads", [True, False])
def test_round_trip(tmp_path: Path, heads: bool):
    vector = made(heads)
    save_vector(tmp_path / "v.safetensors", vector, METADATA)
    stored = load_vector(tmp_path / "v.safetensors")
    again = stored.vector
    assert torch.equal(again.residual, vector.residual)
    assert (again.space, again.expression, again.heads) == (
        vector.space, vector.expression, vector.heads
    )  # fmt: skip
    for part in ("head_means", "head_projected", "head_scores"):
        old, new = getattr(vector, part), getattr(again, part)
        assert (old is None and new is None) or torch.equal(old, new)
    assert stored.metadata["kind"] == "extracted"


def test_equal_vectors_give_equal_bytes_and_one_metadata_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026, 1, 2, 3, 4, 5, 4, 2, 0)))
    for name in ("a", "b"):
        save_vector(tmp_path / name, made(), {**METADATA, "seed": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["mfv"]
    said = json.loads(metadata["mfv"])
    assert said["created"] == "2026-01-02T03:04:05Z"
    assert metadata["mfv"] == json.dumps(said, sort_keys=True, separators=(",", ":"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # no temporary file left


def test_saving_the_same_again_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "v.safetensors"
    save_vector(path, made(), {**METADATA, "heads": (1, 2)})
    before = path.read_bytes()
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2030, 1, 2, 3, 4, 5, 4, 2, 0)))
    save_vector(path, made(), {**METADATA, "heads": (1, 2)})
    assert path.read_bytes() == before
    save_vector(path, made(), {**METADATA, "heads": (1, 3)})
    assert load_vector(path).metadata["created"].startswith("2030")


def rewrite(path: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: object) -> None:
    """Write the file anew with other tensors or metadata and the old hash."""
    with safe_open(path, "pt") as file:
        said = json.loads(file.metadata()["mfv"])
        old = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    said.update(changes)
    save_file({**old, **(tensors or {})}, path, metadata={"mfv": json.dumps(said)})


def test_damage_is_refused(tmp_path: Path):
    path = tmp_path / "v.safetensors"
    save_vector(path, made(), METADATA)
    good = path.read_bytes()
    for cut in (0, 7, 8, 50, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(MfvError) as found:
            load_vector(path)
        assert found.value.code == "MFV6002"
    flipped = bytearray(good)
    flipped[-3] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(MfvError, match="does not match its hash|not finite"):
        load_vector(path)


@pytest.mark.parametrize(
    ("tensors", "changes", "says"),
    [
        ({"residual": torch.zeros(5)}, {}, r"`residual` has shape \(5,\)"),
        ({"extra": torch.zeros(1)}, {}, "unknown tensor `extra`"),
        ({"residual": torch.full((6,), float("nan"))}, {}, "not finite"),
        ({"heads.mean": torch.zeros(3, 4)}, {}, r"`heads.mean` has shape \(3, 4\)"),
        ({"residual": torch.zeros(6)}, {}, "does not match its hash"),
        ({}, {"format_version": "2.0"}, "format version 2.0"),
        ({}, {"format_version": None}, "format version None"),
        ({}, {"model": {"fingerprint": "abc"}}, "lacks `d_model`"),
        ({}, {"bias": 3}, "lacks `bias`"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], changes: dict[str, object], says: str
):
    path = tmp_path / "v.safetensors"
    save_vector(path, made(), METADATA)
    rewrite(path, tensors, **changes)
    with pytest.raises(MfvError, match=says):
        load_vector(path)


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(MfvError, match="there is no vector file"):
        load_vector(tmp_path / "none.safetensors")
    save_file({"residual": torch.zeros(6)}, tmp_path / "plain.safetensors")
    with pytest.raises(MfvError, match="not a vector of mfv-dsl"):
        load_vector(tmp_path / "plain.safetensors")
