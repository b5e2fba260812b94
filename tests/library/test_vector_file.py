"""Vector files: what is written is read as it was, and equal content gives equal bytes."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.torch import save_file

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.vector_file import load_vector, save_vector
from mfv_dsl.methods.vectors import Space, Vector

LINEARISED = {"scales": [[1, 0.5], [2, 3.0]], "error": 0.125, "prompts": 8}
METADATA = {"kind": "extracted", "name": "left", "model": {"id": "tiny"}}


def made(heads: bool = True) -> Vector:
    torch.manual_seed(0)
    space = Space("abc", 6, "none")
    if not heads:
        return Vector(torch.randn(6), space, "x")
    return Vector(
        torch.randn(6), space, "fv(left)", ((1, 0), (2, 3)), torch.randn(2, 4), torch.randn(2, 6),
        torch.tensor([0.5, 0.1]),
    )  # fmt: skip


def same(one: Vector, other: Vector) -> bool:
    parts = ("residual", "head_means", "head_projected", "head_scores")
    pairs = [(getattr(one, part), getattr(other, part)) for part in parts]
    return (one.space, one.expression, one.heads) == (
        other.space, other.expression, other.heads
    ) and all(a is b is None or torch.equal(a, b) for a, b in pairs)  # fmt: skip


@pytest.mark.parametrize("heads", [True, False])
def test_round_trip(tmp_path: Path, heads: bool):
    vector = made(heads)
    save_vector(tmp_path / "v.safetensors", vector, METADATA)
    stored = load_vector(tmp_path / "v.safetensors")
    assert same(stored.vector, vector)
    assert stored.metadata["kind"] == "extracted"
    assert stored.metadata["model"] == {"id": "tiny", "fingerprint": "abc", "d_model": 6}


TEXT = st.text(st.characters(codec="utf-8"))
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def vectors(draw: st.DrawFn) -> Vector:
    d = draw(st.integers(1, 5))
    residual = torch.from_numpy(draw(arrays(np.float32, d, elements=FINITE)))
    space = Space(
        draw(st.text("abé\n", min_size=1)), d, draw(st.sampled_from(["none", "per_head"]))
    )
    expression = draw(TEXT)
    if draw(st.booleans()):
        return Vector(residual, space, expression)
    heads = tuple(
        draw(st.lists(st.tuples(*[st.integers(0, 99)] * 2), min_size=1, max_size=3, unique=True))
    )
    k, width = len(heads), draw(st.integers(1, 4))
    parts = [
        torch.from_numpy(draw(arrays(np.float32, shape, elements=FINITE)))
        for shape in ((k, width), (k, d), (k,))
    ]
    return Vector(residual, space, expression, heads, *parts[: draw(st.sampled_from([2, 3]))])


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(vectors(), st.dictionaries(st.just("x_note") | st.just("x_more"), TEXT | FINITE))
@pytest.mark.slow
def test_any_vector_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, vector: Vector, notes: dict[str, Any]
):
    path = tmp_path_factory.mktemp("v") / "v.safetensors"
    save_vector(path, vector, notes)
    stored = load_vector(path)
    assert same(stored.vector, vector)
    assert {key: stored.metadata[key] for key in notes} == notes
    before = path.read_bytes()
    save_vector(path, stored.vector, stored.metadata)
    assert path.read_bytes() == before


def at(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    moment = time.struct_time((year, 1, 2, 3, 4, 5, 4, 2, 0))
    monkeypatch.setattr(time, "gmtime", lambda seconds: moment)


def test_equal_vectors_give_equal_bytes_and_one_metadata_key(tmp_path: Path):
    said = {**METADATA, "seed": 1, "created": "2026-01-02T03:04:05Z"}
    for name in ("a", "b"):
        save_vector(tmp_path / name, made(), said)
        said = dict(reversed(said.items()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["mfv"]
    found = json.loads(metadata["mfv"])
    assert found["created"] == "2026-01-02T03:04:05Z"
    assert metadata["mfv"] == json.dumps(found, sort_keys=True, separators=(",", ":"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # no temporary file left


def test_saving_the_same_again_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "v.safetensors"
    at(monkeypatch, 2026)
    save_vector(path, made(), {**METADATA, "x_note": (1, 2)})
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    at(monkeypatch, 2030)
    save_vector(path, made(), {**METADATA, "x_note": (1, 2)})
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    save_vector(path, made(), {**METADATA, "x_note": (1, 3)})
    assert load_vector(path).metadata["created"].startswith("2030")
    path.write_bytes(before[0][:-1])  # damaged: made anew
    save_vector(path, made(), {**METADATA, "x_note": (1, 2)})
    assert load_vector(path).metadata["created"].startswith("2030")


def test_the_moment_of_a_reproducible_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    for name in ("a", "b"):
        save_vector(tmp_path / name, made(), METADATA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert load_vector(tmp_path / "a").metadata["created"] == "1970-01-02T00:00:00Z"
    moment = "2026-01-01T00:00:00Z"
    save_vector(tmp_path / "c", made(), {**METADATA, "created": moment})
    assert load_vector(tmp_path / "c").metadata["created"] == moment  # as it is given


def nested(levels: int) -> dict[str, Any]:
    """A mapping in a mapping, and so on."""
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    return deep


@pytest.mark.parametrize(
    ("vector", "metadata", "says"),
    [
        (made(), {"layer": "first"}, "`layer` does not have the form"),
        (made(), {"layer": True}, "`layer` is not of type integer or string"),
        (made(), {"seed": -1}, "`seed` is less than 0"),
        (made(), {"kind": "found"}, "`kind` is not one of extracted"),
        (made(), {"x_note": float("nan")}, "not JSON compliant"),
        (made(), {"x_note": object()}, "not JSON serializable"),
        (made(), {"x_note": "x" * 2_000_000}, "its header would be"),
        (made(), {"x_note": nested(5000)}, "nested more than 200 levels deep"),
        (made(), {"parents": nested(5000)["a"]}, "nested more than 200 levels deep"),
        (made(), {"x_note": {"a": {1: 2}}}, "`x_note.a` has a key of type int: 1"),
        (made(), {("x",): 1}, "the metadata has a key of type tuple"),
        (made(), {"x_note": [np.ones(2)]}, r"`x_note\[0\]` is a ndarray"),
        (made(), {"x_note": b"bytes"}, "`x_note` is a bytes"),
        (made(), {"x_note": {1}}, "`x_note` is a set"),
        (made(), {"x_note": 10**5000}, "limit"),
        (made(), {"model": "tiny"}, "`model` in the metadata is a str"),
        (made(), {"model": None}, "`model` in the metadata is a NoneType"),
        (made(), {"parents": "text"}, "`parents` is not of type array"),
        (made(), {"parents": [{"name": "a", "hash": "0" * 64}]}, "`parents.0..coefficient` is mis"),
        (made(), {"model": {"n_layers": 2}}, "names heads that the model does not have"),
        (Vector(torch.tensor([float("inf")]), Space("a", 1)), {}, "not finite"),
        (Vector(torch.zeros(3), Space("a", 4)), {}, r"shape \(3,\), expected \(4\)"),
        (Vector(torch.zeros(1), Space("", 1)), {}, "`model.fingerprint` does not have the form"),
        (
            Vector(torch.zeros(1), Space("a", 1), "", ((0, 0),) * 2, torch.ones(2, 1),
                   torch.ones(2, 1)),
            {}, "names a head twice",
        ),
    ],
)  # fmt: skip
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, vector: Vector, metadata: dict[str, Any], says: str
):
    with pytest.raises(MfvError, match=says) as found:
        save_vector(tmp_path / "v.safetensors", vector, {**METADATA, **metadata})
    assert found.value.code == "MFV6004"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "vector", "metadata", "says"),
    [
        (3, made(), {}, "its path is a int"),
        ("v", None, {}, "it is a NoneType, not a Vector"),
        ("v", np.ones(6), {}, "it is a ndarray, not a Vector"),
        ("v", made(), None, "metadata is a NoneType"),
        ("v", made(), [1], "metadata is a list"),
    ],
)
def test_arguments_of_other_types_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: Any,
    vector: Any,
    metadata: Any,
    says: str,
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MfvError, match=says) as found:
        save_vector(path, vector, metadata)
    assert found.value.code == "MFV6004"
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path: Path):
    notes = {"x_a": np.float32(0.5), "x_b": torch.tensor(2), "x_c": (1, [np.int64(3)])}
    save_vector(tmp_path / "v", made(), {**METADATA, **notes, "layer": np.int64(4)})
    found = load_vector(tmp_path / "v").metadata
    assert (found["x_a"], found["x_b"], found["x_c"], found["layer"]) == (0.5, 2, [1, [3]], 4)


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(MfvError, match="there is no vector file"):
        load_vector(tmp_path / "none.safetensors")
    save_file({"residual": torch.zeros(6)}, tmp_path / "plain.safetensors")
    with pytest.raises(MfvError, match="not a vector of mfv-dsl"):
        load_vector(tmp_path / "plain.safetensors")
    with pytest.raises(MfvError, match="cannot read the vector file"):
        (tmp_path / "folder.safetensors").mkdir()
        load_vector(tmp_path / "folder.safetensors")


def test_an_unknown_key_is_kept_and_named(tmp_path: Path):
    path = tmp_path / "v.safetensors"
    with pytest.warns(UserWarning, match="says more than this mfv-dsl knows: colour"):
        save_vector(path, made(), {**METADATA, "colour": "red"})
    with pytest.warns(UserWarning, match="colour"):
        assert load_vector(path).metadata["colour"] == "red"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_vector(tmp_path / "w", made(), {**METADATA, "x_colour": "red"})
        assert load_vector(tmp_path / "w").metadata["x_colour"] == "red"


# -- versions -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("more", "version"), [
    ({}, "1.0"),
    ({"linearised": LINEARISED}, "1.1"),
    ({"parents": [{"name": "v", "hash": "0" * 64, "coefficient": 2.0}]}, "1.0"),
    ({"parents": [{"name": "v", "hash": "0" * 64, "coefficient": 2.0, "linearised": LINEARISED}]},
     "1.1"),
])  # fmt: skip
def test_a_file_is_of_the_oldest_version_that_has_its_keys(
    more: dict[str, Any], version: str, tmp_path: Path
):
    path = tmp_path / "left.safetensors"
    save_vector(path, made(), {**METADATA, **more})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing in it is unknown
        metadata = load_vector(path).metadata
    assert metadata["format_version"] == version
    assert metadata.items() >= more.items()


@pytest.mark.parametrize("wrong", [{"scales": [[1]]}, {"error": 0.1}, {"scales": [], "error": -1}])
def test_how_a_norm_was_made_linear_has_a_form(wrong: dict[str, Any], tmp_path: Path):
    with pytest.raises(MfvError) as raised:
        save_vector(tmp_path / "left.safetensors", made(), {**METADATA, "linearised": wrong})
    assert raised.value.code == "MFV6004"
