"""Vectors made of many others: files grow with the vectors, and too many are refused in time."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.methods.algebra import cosine
from mfv_dsl.report.vectors import provenance_tree
from tests.cli.support import mfv_command

HEAD = """mfv 1
model m = tiny()
dataset d = scenes()
defaults { trials = 2, shots = 1, heads = random(10, seed=0) }
"""
RELATIONS = ("left", "right", "above", "below", "above_left", "above_right", "below_left",
             "below_right")  # fmt: skip


def gram_schmidt(count: int) -> str:
    """The first relations' vectors, each without its part along those before it."""
    lines = [HEAD]
    for i, relation in enumerate(RELATIONS[:count]):
        text = f"fv({relation})"
        for j in range(i):
            text = f"reject({text}, from=o{j})"
        lines.append(f"vector o{i} = {text}\n")
    return "".join(lines)


def doubling(count: int) -> str:
    """Each vector made of the one before it, twice."""
    return (
        f"{HEAD}vector v0 = fv(left)\n"
        + "".join(f"vector v{i + 1} = reject(v{i}, from=v{i} + fv(right))\n" for i in range(count))
    )  # fmt: skip


@pytest.mark.slow
def test_orthogonal_vectors_of_eight_relations_have_small_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    names = ", ".join(f"o{i}" for i in range(8))
    result = mfv.Recipe(gram_schmidt(8) + f'save "gs" {{ vectors = [{names}] }}').run()
    for i, path in enumerate(result.saved):
        metadata = mfv.load_vector(path).metadata
        assert len(json.dumps(metadata)) < 20_000
        # of the fv and of all that stand before it: i of one relation less each
        assert i < 2 or len(metadata["ancestors"]) == (i + 1) * (i + 2) // 2 - 1
    first, last = (mfv.load_vector(result.saved[i]).vector for i in (0, 7))
    assert abs(cosine(first, last)) < 1e-5
    for path, count in ((result.saved[1], "1.0"), (result.saved[7], "1.2")):
        assert mfv.load_vector(path).metadata["format_version"] == count


@pytest.mark.slow
def test_vectors_that_are_used_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.mfv").write_text(doubling(40) + 'save "lib" { vectors = [v40] }')
    started = time.perf_counter()
    done = mfv_command("run", "r.mfv", "--quiet")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - started < 60
    metadata = mfv.load_vector("lib", "v40").metadata
    assert len(json.dumps(metadata)) < 40_000 and metadata["kind"] == "composed"
    shown = mfv_command("vectors", "show", "lib/v40").stdout
    assert len(shown.splitlines()) < 400 and "(see above)" in shown
    # a vector that is made of loaded ones repeats what their files say, once
    again = HEAD + 'vector w = load("lib", "v40") + normalize(load("lib", "v40"))\n'
    result = mfv.Recipe(again + 'save "lib" { vectors = [w] }', "again").run()
    made = mfv.load_vector(result.saved[0]).metadata
    assert len(json.dumps(made)) < 60_000
    assert {parent.get("source") for parent in made["ancestors"]} >= {"lib/v40"}


@pytest.mark.slow
def test_too_many_vectors_for_a_file_are_refused_before_anything_is_run():
    drawn = [f"fv(left, seed={seed}, heads=all())" for seed in range(360)]
    parts = "".join(f"vector p{k} = {' + '.join(drawn[90 * k : 90 * k + 90])}\n" for k in range(4))
    recipe = f'{HEAD}{parts}vector huge = p0 + p1 + p2 + p3\nsave "x" {{ vectors = [p0, huge] }}'
    with pytest.raises(MfvError) as raised:
        mfv.Recipe(recipe).plan()
    assert raised.value.code == "MFV6073" and "`huge`" in raised.value.message
    assert "vector huge" in str(raised.value)
    assert mfv.Recipe(recipe.replace("[p0, huge]", "[p0, p1, p2, p3]")).plan().saves


def test_plans_of_shared_vectors_are_small():
    recipe = mfv.Recipe(
        doubling(60) + 'save "x" { vectors = [v60] }\neval e { add = v60, layer = 1 }'
    )
    plan = recipe.plan()
    assert len(plan.steps) < 150 and len(json.dumps(plan.to_json())) < 200_000
    assert len(plan.saves[0].vectors[0].expression) < 100


@pytest.mark.slow
def test_a_deep_lineage_is_shown():
    parent = {"name": "v", "hash": "0" * 64, "coefficient": None, "kind": "composed"}
    ancestors = [{"name": "v", "hash": "0" * 64}]
    ancestors += [{"name": f"v{i}", "hash": "0" * 64, "parents": [[i, 1.0]]} for i in range(500)]
    metadata = {
        "name": "v", "kind": "composed", "expression": "v",
        "model": {"d_model": 4, "fingerprint": "f"},
        "site": "lm.resid", "bias": "none", "created": "", "content_sha256": "",
        "parents": [{**parent, "ancestor": 500}], "ancestors": ancestors,
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=100)
    console.print(provenance_tree(metadata))
    assert len(console.file.getvalue().splitlines()) < 3000
