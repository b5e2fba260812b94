"""`## …` in a recipe: in the plan, in the results, in the files of vectors and on their card."""

from __future__ import annotations

import json

import pytest

import mfv_dsl as mfv
from mfv_dsl.execute.rows import Results
from mfv_dsl.library.folder import CARD, Library
from mfv_dsl.plan.explain import explain_plan, plan_text

TEXT = """mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right], count=60)
## From right
## to left.
vector steer = fv(left, heads={L1H1}, trials=3) - fv(right, heads={L1H1}, trials=3)
## How well it does.
eval raw {
  add = steer
  ## below the middle
  layer = 2
  items = 3
}
save "library" { vectors = [steer] }
"""
DOCS = {
    "steer": "From right\nto left.",
    "raw": "How well it does.",
    "raw.layer": "below the middle",
}


@pytest.mark.slow
def test_what_comments_say_is_shown_and_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    recipe = mfv.Recipe(TEXT)
    plan = recipe.plan()
    assert plan.docs == DOCS
    lines = plan_text(plan, explain_plan(plan, finished=())).splitlines()
    assert lines[2:5] == [
        "steer: From right to left.", "raw: How well it does.", "raw.layer: below the middle",
    ]  # fmt: skip
    result = recipe.run()
    data = json.loads((result.folder / "results.json").read_text())
    assert data["docs"] == DOCS
    assert Results.of_json(data).docs == DOCS
    library = Library(tmp_path / "library")
    assert "From right to left." in (library.root / CARD).read_text()
    assert mfv.load_vector(library.path("steer")).metadata["about"] == DOCS["steer"]


def test_a_comment_changes_no_key():
    plain = "\n".join(line for line in TEXT.split("\n") if "##" not in line)
    keys = [[step.key for step in mfv.Recipe(text).plan().steps] for text in (TEXT, plain)]
    assert keys[0] == keys[1]
    assert mfv.Recipe(plain).plan().docs == {}
