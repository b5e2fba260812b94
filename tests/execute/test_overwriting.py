"""A vector that others in its library were made from is not written over unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.findings import findings
from tests.cases import one_quick

HEAD = """mfv 1
model m = tiny()
dataset d = scenes()
defaults {{ trials = {trials}, shots = 1, heads = random(10, seed=0) }}
"""


def recipe(folder: Path, save: str, trials: int = 2) -> Path:
    path = folder / "recipe.mfv"
    path.write_text(HEAD.format(trials=trials) + save + "\n")
    return path


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `left`, and with `steer` that another recipe made of it."""
    monkeypatch.chdir(tmp_path)
    mfv.run(recipe(tmp_path, 'save "lib" { vectors = [fv(left), fv(right)] }'))
    mfv.run(recipe(tmp_path, 'vector steer = load("lib", "left") - fv(above)\n'
                             'save "lib" { vectors = [steer] }'))  # fmt: skip
    return tmp_path


@pytest.mark.slow
def test_another_vector_in_its_place(library: Path):
    before = (library / "lib" / "left.safetensors").read_bytes()
    path = recipe(library, 'save "./lib/" { vectors = [fv(left), fv(right)] }', trials=3)
    (found,) = findings(path)
    assert (found.code, found.severity) == ("MFV6017", "warning")
    assert found.message == (
        "another vector would be saved in the place of `left` in ./lib/, from which `steer` there "
        "was made"
    )
    assert found.span is not None
    assert path.read_text()[found.span.start : found.span.end] == '"./lib/"'
    with pytest.raises(MfvError, match="in the place of `left`") as raised:
        mfv.run(path)
    assert raised.value.code == "MFV6017"
    assert (library / "lib" / "left.safetensors").read_bytes() == before


STEER = "vector steer = fv(left) - fv(above)\n"


@pytest.mark.parametrize(
    ("save", "trials", "files"),
    one_quick([
        ('save "lib" { vectors = [fv(left), fv(right)] }', 2, 2),  # the same again
        ('save "lib" { vectors = [fv(right)] }', 3, 1),  # nothing was made of it
        ('save "other" { vectors = [fv(left)] }', 3, 1),
        ('save "lib" { vectors = [fv(left)], allow = [MFV6017] }', 3, 1),
        ('defaults for save { allow = [MFV6017] }\nsave "lib" { vectors = [fv(left)] }', 3, 1),
        (f'{STEER}save "lib" {{ vectors = [fv(left), steer] }}', 3, 2),
        (f'{STEER}save "lib" {{ vectors = [fv(left)] }}\nsave "lib" {{ vectors = [steer] }}', 3, 2),
    ]),
)  # fmt: skip
def test_what_may_be_written(library: Path, save: str, trials: int, files: int):
    path = recipe(library, save, trials)
    assert findings(path) == ()
    assert len(mfv.run(path).saved) == files


@pytest.mark.slow
def test_of_what_a_deeper_one_was_made(library: Path):
    mfv.run(recipe(library, 'vector deep = normalize(load("lib", "steer"))\n'
                            'save "lib" { vectors = [deep] }'))  # fmt: skip
    (found,) = findings(recipe(library, 'save "lib" { vectors = [fv(left)] }', trials=3))
    assert "from which `deep`, `steer` there were made" in found.message
