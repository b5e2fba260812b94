"""The vectors that a page offers, and by what names."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.playground.libraries import short_names, vectors_of
from mfv_dsl.playground.pictures import FromDataset
from mfv_dsl.playground.studio import Request, Settings, Studio


def saved(folder: Path, *names: str) -> str:
    """A library of the bundled vector of `left` under some names."""
    folder.mkdir(exist_ok=True)
    vector = mfv.load_vector("vectors/flamingo-tiny", "left").vector
    for name in names:
        vector.save(folder / name)
    return str(folder)


def test_names_that_a_recipe_can_declare_are_names(tmp_path: Path):
    names = ("mine", "left", "L4H1", "fv", "each", "with-dash", "2nd", "vector", "network", "added")
    found = short_names(vectors_of([saved(tmp_path / "a", *names)]), ["left"], ["network", "added"])
    assert [*found] == ["mine"]
    assert unparse(found["mine"]) == f'load("{tmp_path}/a", "mine")'


@pytest.mark.slow
def test_vectors_of_one_name_are_told_apart_by_their_libraries(tmp_path: Path):
    first, second = saved(tmp_path / "a", "v", "w"), saved(tmp_path / "b", "v")
    found = vectors_of([first, second])
    assert [one.name for one in found] == [f"{first}/v", "w", f"{second}/v"]
    assert [*short_names(found, [], [])] == ["w"]
    studio = Studio.open(Settings(libraries=(first, second)))
    for one in found:
        call = studio.call_for(one)
        outcome = studio.ask(Request(FromDataset("left", 1), "", call, 1))
        assert outcome.layer == 1 and outcome.checked.diagnostics == ()


def test_a_library_may_be_a_file_and_have_any_path(tmp_path: Path):
    folder = tmp_path / 'a "quoted" folder'
    saved(folder, "one")
    (tmp_path / "alone").mkdir()
    file = str(Path(saved(tmp_path / "alone", "two")) / "two.safetensors")
    studio = Studio.open(Settings(libraries=(str(folder), file)))
    for name in ("one", "two"):
        outcome = studio.ask(Request(FromDataset("left", 1), "", f"2 * {name}", 1))
        assert outcome.checked.diagnostics == () and outcome.layer == 1
    other = studio.check(f'load("{tmp_path}/alone", "two")')
    assert other.diagnostics[0].code == "MFV5411"  # the file was given, and not its folder


def test_a_link_that_leads_out_of_a_library_is_not_followed(tmp_path: Path):
    elsewhere = Path(saved(tmp_path / "elsewhere", "secret"))
    library = saved(tmp_path / "a", "one")
    (Path(library) / "link.safetensors").symlink_to(elsewhere / "secret.safetensors")
    found = {one.name: one for one in vectors_of([library])}
    assert "leads out" in found["link"].trouble and not found["one"].trouble
    studio = Studio.open(Settings(libraries=(library,)))
    checked = studio.check(f'load("{library}", "link")')
    assert checked.diagnostics[0].code == "MFV6007" and checked.expression is None
    assert "link" not in studio.names


def test_a_vector_of_another_model_is_refused_with_its_reason(studio: Studio):
    llava = Studio.open(Settings('tiny("llava")', libraries=("vectors/flamingo-tiny",)))
    assert llava.vectors and llava.cosines() == ([], [])
    assert [one.code for one in llava.check("tuned_left").diagnostics] == ["MFV6010"]
    assert llava.check("fv(left)").expression is not None  # and does not get in others' way


def test_a_file_that_goes_bad_takes_no_other_with_it(tmp_path: Path):
    library = saved(tmp_path / "a", "one", "two")
    studio = Studio.open(Settings(libraries=(library,)))
    (Path(library) / "one.safetensors").write_bytes(b"nonsense")
    assert studio.check("two + fv(left)").expression is not None
    assert studio.check("one").expression is None and studio.check("one").diagnostics
    assert studio.check("two + fv(lft)").diagnostics[0].help == "did you mean `left`?"
