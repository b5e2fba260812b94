"""Vectors with a part for each of several places."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.vector_file import load_vector, save_vector
from mfv_dsl.methods.algebra import cosine, normalize, random_like, reject
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.vectors import Space, Vector, combine

PLACES = (("lm.resid", 1), ("lm.attn.out", 3), ("lm.resid", 3))
SPACE = Space("model", 4, places=PLACES)
V = Vector(torch.arange(1.0, 13.0), SPACE, "v")
W = Vector(torch.linspace(-1, 1, 12), SPACE, "w")


def test_parts_stand_in_the_order_of_the_places():
    parts = V.parts_by_place()
    assert list(parts) == list(PLACES)
    assert parts["lm.attn.out", 3].tolist() == [5, 6, 7, 8]
    assert Vector(torch.zeros(4), Space("model", 4)).parts_by_place() == {}


def test_the_algebra_is_that_of_the_concatenation():
    v, w = V.residual.double(), W.residual.double()
    assert V.norm() == pytest.approx(float(v.norm()))
    assert torch.equal((2 * V - W).residual, 2 * V.residual - W.residual)
    assert cosine(V, W) == pytest.approx(float(v @ w / v.norm() / w.norm()))
    assert normalize(V).norm() == pytest.approx(1)
    wanted = v - (v @ w) / (w @ w) * w
    assert torch.allclose(reject(V, W).residual.double(), wanted, atol=1e-5)


def test_a_vector_of_one_place_knows_its_site(tmp_path: Path):
    stream = Vector(torch.ones(4), Space("model", 4))
    attention = Vector(torch.arange(4.0), Space("model", 4, site="lm.attn.out"), "v")
    for vector in (2 * attention, normalize(attention), random_like(attention, 1)):
        assert [(e.site, e.layer) for e in adding(vector, 3, 1.0)] == [("lm.attn.out", 3)]
    save_vector(tmp_path / "v.safetensors", attention, {"kind": "composed", "model": {"id": "m"}})
    stored = load_vector(tmp_path / "v.safetensors")
    assert stored.metadata["site"] == "lm.attn.out" and stored.vector.space == attention.space
    for vector in (attention + stream, stream - attention, reject(stream, attention)):
        assert vector.space == stream.space
    assert adding(attention, 3, 1.0, "lm.mlp")[0].site == "lm.mlp"


@pytest.mark.parametrize(
    "other",
    [Vector(torch.zeros(4), Space("model", 4)),
     Vector(torch.zeros(12), Space("model", 4, places=(*PLACES[:2], ("lm.resid", 4))))],
)  # fmt: skip
def test_vectors_of_other_places_are_refused(other: Vector):
    with pytest.raises(MfvError, match="of other places") as caught:
        combine([(1.0, V), (1.0, other)])
    assert caught.value.code == "MFV5303"
    assert "lm.attn.out[3]" in caught.value.notes[0]


def test_a_random_vector_keeps_the_length_of_each_part():
    drawn = random_like(V, seed=1)
    for place, part in drawn.parts_by_place().items():
        assert float(part.norm()) == pytest.approx(float(V.parts_by_place()[place].norm()))
    assert abs(cosine(drawn, V)) < 0.9


def test_native_writes_each_part_at_its_own_place():
    edits = adding(V, "native", 2.0)
    assert [(edit.site, edit.layer) for edit in edits] == list(PLACES)
    assert edits[1].value.tolist() == [10, 12, 14, 16]


@pytest.mark.parametrize("layer", [1, "{1, 3}"])
def test_other_layers_are_refused(layer: int | str):
    with pytest.raises(MfvError, match="layer = native|part for each") as caught:
        adding(V, layer, 1.0)
    assert caught.value.code == "MFV5500"


def test_a_file_keeps_the_places(tmp_path: Path):
    file = tmp_path / "v.safetensors"
    save_vector(file, V, {})
    stored = load_vector(file)
    assert stored.metadata["format_version"] == "2.0"
    assert stored.vector.space == SPACE
    assert torch.equal(stored.vector.residual, V.residual)


def test_a_file_of_one_place_is_as_it_was(tmp_path: Path):
    file = tmp_path / "v.safetensors"
    save_vector(file, Vector(torch.ones(4), Space("model", 4)), {})
    metadata = load_vector(file).metadata
    assert metadata["format_version"] == "1.0" and "places" not in metadata


@pytest.mark.parametrize(
    "places",
    [PLACES[:2], (PLACES[1], PLACES[0], PLACES[2]), (*PLACES[:2], PLACES[1]), PLACES[:1] * 3],
)
def test_places_that_do_not_fit_are_refused(tmp_path: Path, places):
    vector = Vector(V.residual, Space("model", 4, places=places))
    with pytest.raises(MfvError) as caught:
        save_vector(tmp_path / "v.safetensors", vector, {})
        load_vector(tmp_path / "v.safetensors")
    assert caught.value.code in ("MFV6002", "MFV6004")
