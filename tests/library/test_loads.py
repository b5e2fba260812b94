"""``load(...)`` in recipes and from Python, what ``mfv check`` knows of it, and ``mfv.lock``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.places import bundled
from mfv_dsl.library.folder import Library
from mfv_dsl.library.lock import read_lock
from mfv_dsl.models.tiny.constructor import facts
from tests.cli.support import mfv_command
from tests.library.support import said

TINY = {"id": "tiny", "fingerprint": facts().fingerprint, "d_model": 128, "n_layers": 10,
        "n_heads": 8, "head_dim": 16}  # fmt: skip
HEAD = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right], count=20)\n"


def put(root: Path, name: str, seed: int = 0, **more: Any) -> Path:
    """A vector of the bundled model, or of one that ``model`` describes, with one head."""
    model = more.pop("model", TINY)
    rng = np.random.default_rng(seed)
    arrays = {
        "residual": rng.standard_normal(model["d_model"], dtype=np.float32),
        "heads.index": np.array([[1, 2]], dtype=np.int32),
        "heads.mean": rng.standard_normal((1, 16), dtype=np.float32),
        "heads.projected": rng.standard_normal((1, model["d_model"]), dtype=np.float32),
    }
    library = Library(root)
    with library.writing():
        return library.put(name, arrays, said(model=model, **more))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    return tmp_path


def checked(body: str) -> mfv.Recipe:
    return mfv.Recipe(HEAD + body)


def refused(body: str) -> RecipeError:
    with pytest.raises(RecipeError) as found:
        checked(body)
    return found.value


def evaluated(vector: str, **attributes: object) -> str:
    more = "".join(f", {name} = {value}" for name, value in attributes.items())
    return f"eval e {{ add = {vector}, layer = 2, on = [left], items = 4{more} }}\n"


# -- what check knows ------------------------------------------------------------------------------
def test_a_vector_of_another_model_is_found_by_check(here: Path):
    put(here / "lib", "left", model={**TINY, "id": "org/other", "fingerprint": "f" * 64})
    error = refused(evaluated('load("lib", "left")'))
    assert error.code == "MFV6010"
    text = str(error)
    assert "made with another model: org/other, not `m`" in text
    assert "recipe:4:16" in text and "from lib/left.safetensors" in text
    assert "the fingerprint in the file is ffffffffffff" in text
    assert f"that of `m` is {facts().fingerprint[:12]}" in text
    recipe = checked(evaluated('load("lib", "left", allow_mismatch=true)'))
    (step,) = [step for step in recipe.plan().steps if step.operation == "load"]
    assert step.parameters["allow_mismatch"] is True


def test_a_vector_of_another_size_is_found_by_check_and_never_allowed(here: Path):
    small = {"id": "small", "fingerprint": "f" * 64, "d_model": 64}
    put(here / "lib", "left", model=small)
    for option in ("", ", allow_mismatch=true"):
        error = refused(evaluated(f'load("lib", "left"{option})'))
        assert error.code == "MFV6011"
        assert "has 64 numbers, and `m` has a residual stream of 128" in str(error)


def test_a_vector_of_another_site_is_found_by_check(here: Path):
    put(here / "lib", "left", site="xattn")
    assert refused(evaluated('load("lib", "left")')).code == "MFV6012"


def test_a_vector_of_the_other_bias_convention_is_found_by_check(here: Path):
    put(here / "lib", "left", bias="per_head")
    put(here / "lib", "right")
    for sum in ('load("lib", "left") + fv(left)', 'mean(fv(left), load("lib", "left"))',
                'load("lib", "right") - 2 * load("lib", "left")'):  # fmt: skip
        assert refused(evaluated(sum)).code == "MFV6013"
    checked(evaluated('load("lib", "left") + fv(left, bias=per_head)'))
    checked(evaluated('load("lib", "left", allow_mismatch=true) + fv(left)'))
    both = 'load("lib", "left", allow_mismatch=true) + fv(left, bias=per_head)'
    assert refused(evaluated(both)).code == "MFV6013"


def test_a_damaged_file_is_found_by_check(here: Path):
    path = put(here / "lib", "left")
    path.write_bytes(path.read_bytes()[:-1])
    error = refused(evaluated('load("lib", "left")'))
    assert error.code == "MFV6002" and "recipe:4:16" in str(error)


def test_a_vector_without_parts_cannot_be_patched(here: Path):
    library = Library(here / "lib")
    with library.writing():
        library.put("left", {"residual": np.ones(128, np.float32)}, said(model=TINY))
    assert refused('eval e { patch = load("lib", "left") }\n').code == "MFV3005"


def test_of_two_models_the_one_that_a_vector_was_made_with_counts(here: Path):
    put(here / "lib", "left")
    other = HEAD.replace("model m = tiny()", "model m = tiny()\nmodel n = tiny()")
    text = 'eval e { add = load("lib", "left"), layer = 1, on = [left], model = n }\n'
    assert mfv.Recipe(other + text).plan().rows


def test_what_is_not_here_is_told_by_the_run_before_anything_runs(here: Path):
    put(here / "lib", "left")
    for vector, says in (
        ('load("lib", "lfet")', "did you mean `left`"),
        ('load("nowhere", "left")', "there is no vector file nowhere/left.safetensors"),
        ('load("lib/none.safetensors")', "there is no vector file lib/none.safetensors"),
    ):
        recipe = checked(evaluated(vector) + evaluated("fv(left)").replace("eval e", "eval f"))
        with pytest.raises(MfvError, match=says) as found:
            recipe.run(here / "out")
        assert found.value.code == "MFV6001"
    assert not (here / "store").exists()


@pytest.mark.slow
def test_check_with_a_load_imports_nothing_heavy(here: Path):
    put(here / "lib", "left")
    (here / "r.mfv").write_text(HEAD + evaluated('load("lib", "left")'))
    program = (
        "import atexit, sys\natexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))"
        "\nfrom mfv_dsl.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "check", "r.mfv"], capture_output=True, text=True
    )
    assert done.stdout == "r.mfv: ok\n"
    heavy = {"torch", "numpy", "safetensors", "huggingface_hub", "filelock", "transformers"}
    assert heavy & set(done.stderr.split()) == set()


# -- what is loaded --------------------------------------------------------------------------------
def test_a_file_that_was_replaced_since_the_check_must_belong_to_the_model_too(here: Path):
    put(here / "lib", "left")
    recipe = checked(evaluated('load("lib", "left")'))
    put(here / "lib", "left", model={**TINY, "id": "org/other", "fingerprint": "f" * 64})
    with pytest.raises(MfvError, match="MFV5303.*their fingerprint differs"):
        recipe.run(here / "out")


@pytest.mark.slow
def test_folder_file_and_bundled_give_the_same(here: Path):
    shutil.copytree(bundled("vectors") / "flamingo-tiny", here / "lib")
    results = {
        vector: checked(evaluated(vector)).run(here / "out").rows[0]
        for vector in (
            'load("lib", "left")',
            'load("lib/left.safetensors")',
            'load("vectors/flamingo-tiny", "left")',
            'load("vectors/flamingo-tiny/left.safetensors")',
        )
    }
    assert len({row.mean_p_answer for row in results.values()}) == 1
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    again = mfv.load("lib", "left").vector(dataset="scenes(count=20)")
    assert again.residual.equal(stored.vector.residual)
    assert str(mfv.load("lib", "left", allow_mismatch=True)) == (
        'load("lib", "left", allow_mismatch=true)'
    )
    assert str(mfv.load("lib/left.safetensors")) == 'load("lib/left.safetensors")'


@pytest.mark.slow
def test_what_was_made_of_loaded_vectors_says_so(here: Path):
    shutil.copytree(bundled("vectors") / "flamingo-tiny", here / "lib")
    other = put(here / "lib", "other", model={**TINY, "fingerprint": "f" * 64})
    result = checked(
        evaluated('load("lib", "other", allow_mismatch=true)')
        + 'vector v = 2 * load("lib", "left") + load("lib", "other", allow_mismatch=true)\n'
        + 'save "mine" { vectors = [v, load("lib", "left")], license = "mit" }\n'
    ).run(here / "out")
    assert json.loads((here / "out" / "results.json").read_text())["allow_mismatch"] == [
        'load("lib", "other", allow_mismatch=true)'
    ]
    v, left = (mfv.load_vector(path).metadata for path in result.saved)
    assert v["allow_mismatch"] is True and v["license"] == "mit"
    parents = {parent["source"]: parent for parent in v["parents"]}
    assert parents["lib/left"]["coefficient"] == 2.0
    original = mfv.load_vector("lib", "left").metadata
    assert parents["lib/left"]["hash"] == original["content_sha256"]
    assert parents["lib/left"]["heads"] == original["heads"]
    assert parents["lib/other"]["hash"] == mfv.load_vector(other).metadata["content_sha256"]
    assert parents["lib/other"]["allow_mismatch"] is True
    assert left["source"] == "lib/left" and left["prompt"] == original["prompt"]
    assert left["kind"] == "extracted" and "allow_mismatch" not in left


# -- mfv.lock --------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_lock_pins_what_is_loaded(here: Path):
    put(here / "lib", "left")
    put(here / "lib", "right", seed=1)
    recipe = here / "r.mfv"
    recipe.write_text(HEAD + evaluated('load("lib", "left")'))
    unlocked = mfv_command("run", "r.mfv", "--locked")
    assert unlocked.returncode == 3 and "MFV6020" in unlocked.stderr
    assert "lib/left is not pinned" in unlocked.stderr
    locked = mfv_command("lock", "r.mfv")
    content = mfv.load_vector("lib", "left").metadata["content_sha256"]
    assert locked.stdout == f"lib/left: {content}\n"
    (entry,) = json.loads((here / "mfv.lock").read_text())["loads"]
    assert entry == {"path": "lib", "name": "left", "revision": None, "content_sha256": content}
    rows = mfv.Recipe.from_file(recipe).run(locked=True).rows
    assert len(rows) == 1
    shutil.copy(here / "lib" / "right.safetensors", here / "lib" / "left.safetensors")
    with pytest.raises(MfvError) as found:
        mfv.Recipe.from_file(recipe).run(locked=True)
    assert found.value.code == "MFV6020"
    assert f"pinned is {content[:12]}" in str(found.value)
    warned = mfv.Recipe.from_file(recipe)
    assert [diagnostic.code for diagnostic in warned.check()] == ["MFV6022"]
    assert warned.run().rows  # all the same
    (here / "s.mfv").write_text(HEAD + evaluated('load("lib/right.safetensors")'))
    mfv.Recipe.from_file(here / "s.mfv").pin()
    assert set(read_lock(here / "mfv.lock").pins) == {
        ("lib", "left"), ("lib/right.safetensors", None),
    }  # fmt: skip
    mfv.Recipe.from_file(here / "s.mfv").run(locked=True)


def test_locking_reads_the_whole_file(here: Path):
    path = put(here / "lib", "left")
    (here / "r.mfv").write_text(HEAD + evaluated('load("lib", "left")'))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(MfvError, match="does not match its hash"):
        mfv.Recipe.from_file(here / "r.mfv").pin()
    assert not (here / "mfv.lock").exists()
    with pytest.raises(MfvError) as found:
        checked("").pin()
    assert found.value.code == "MFV6023"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"version": 2, "loads": []}', '{"version": 0, "loads": []}',
     '{"version": 1}', '{"version": 1, "loads": 3}', '{"version": 1, "loads": [{"path": 1}]}',
     "[" * 100_000,
     '{"version": 1, "loads": [{"path": "a", "name": "b", "revision": 3, "content_sha256": "c"}]}'],
)  # fmt: skip
def test_a_lock_that_is_none_is_refused(here: Path, text: str):
    (here / "mfv.lock").write_text(text)
    (here / "r.mfv").write_text(HEAD)
    with pytest.raises(MfvError) as found:
        mfv.Recipe.from_file(here / "r.mfv")
    assert found.value.code == "MFV6021"


@pytest.mark.parametrize(("site", "word"), [("lm.attn.out", "attention"), ("lm.mlp", "mlp")])
def test_a_vector_is_written_where_its_file_says(here: Path, site: str, word: str):
    put(here / "lib", "left", site=site, layer=3)
    text = evaluated('load("lib", "left")').replace("layer = 2, ", "")
    (block,) = mfv.Recipe(HEAD + text).checked.blocks
    assert (block["site"], block["layer"]) == (word, 3)
