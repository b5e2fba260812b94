"""More items, trials or demonstrations than a dataset has are said before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.execute.run import run_plan

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above], count=30)
defaults { trials = 5, shots = 1, heads = {L3H1} }
"""


def errors(body: str, *overrides: str, profile: str | None = None) -> list[tuple[str, str]]:
    """Codes and the marked texts of what a plan is refused for."""
    plan = mfv.Recipe(HEAD + body, "r.mfv", overrides, profile=profile).plan()
    return [(d.code, d.source.text[d.span.start : d.span.end]) for d in plan.errors]


@pytest.mark.parametrize(
    ("body", "code", "marked"),
    [
        ("eval e { items = 31 }", "MFV7110", "31"),
        ("eval e { items = 30, shots = 30 }", "MFV7111", "30"),
        ("eval e { items = 30, shots = [0, 29, 31] }", "MFV7111", "[0, 29, 31]"),
        ("eval e { items = 9, correct_with = 40 }", "MFV7111", "40"),
        ("eval e { items = 9, add = fv(left, trials=31), layer = 1 }", "MFV7110", "31"),
        ("eval e { items = 9, ablate = top(3, trials=44) }", "MFV7110", "44"),
        ("heads h = top(3, shots=30)\neval e { items = 9, ablate = h }", "MFV7111", "30"),
        ("eval e { items = 9, classify = top(3, trials=5), examples = 44 }", "MFV7110", "44"),
        ("tune t { start = random, layer = 1, items = 31, select_items = 3 }", "MFV7110", "31"),
        ("tune t { start = random, layer = 1, items = all, select_items = 99 }", "MFV7110", "99"),
        ("eval e { }", "MFV7110", "eval e"),
    ],
)  # fmt: skip
def test_each_is_marked_where_it_is_written(body: str, code: str, marked: str):
    assert errors(body) == [(code, marked)]


def test_what_there_is_can_be_asked_for():
    assert errors("eval e { items = 30, shots = 29 }\ntune t { start = random, layer = 1, "
                  "items = all, select_items = 30 }\neval f { items = 30, choose = [layer], "
                  "add = fv(each, trials=30), layer = [1, 2] }") == []  # fmt: skip


def test_all_blocks_are_told_at_once_each_attribute_once():
    body = "eval a { items = 99 }\neval b { items = 98, shots = 97 }\neval c { items = 3 }"
    assert [marked for _, marked in errors(body)] == ["99", "98", "97"]


def test_it_is_told_in_the_option_and_in_the_profile():
    assert errors("eval e { items = 3 }", "e.items=77") == [("MFV7110", "77")]
    body = "eval e { items = 3 }\nprofile large { e.items = 78 }"
    assert errors(body) == [] and errors(body, profile="large") == [("MFV7110", "78")]


def test_check_finds_it_with_every_profile(tmp_path: Path):
    file = tmp_path / "r.mfv"
    file.write_text(HEAD + "eval e { items = 3 }\nprofile large { e.items = 78 }")
    (found,) = (d for d in mfv.Recipe.findings(file) if d.severity == "error")
    assert found.code == "MFV7110" and "test split has 30 items" in found.message
    more = mfv.Recipe.findings(file, ["defaults.trials=900"], "large")
    assert "MFV7110" in {d.code for d in more}


@pytest.mark.slow
def test_it_is_not_run(tmp_path: Path):
    recipe = mfv.Recipe(HEAD + "eval fine { items = 3 }\neval e { items = 31 }")
    for run in (
        lambda: recipe.run(tmp_path / "out"),
        lambda: run_plan(recipe.plan(), "", tmp_path / "out", name="r", origin={}),
    ):
        with pytest.raises(RecipeError, match="31 prompts of `left` asked for"):
            run()
    assert list(tmp_path.iterdir()) == []
    assert len(recipe.run(tmp_path / "out", only=["fine"]).rows) == 4


def test_images_of_files_are_counted_apart_from_items(tmp_path: Path):
    from PIL import Image

    lines = []
    for number in range(12):
        image = f"{number % 3}.png"
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / image)
        lines.append({"image": image, "query": f"cup {number}", "answer": f"fork {number}",
                      "relation": "left", "split": "test"})  # fmt: skip
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    head = f'mfv 1\nmodel m = tiny()\ndataset d = pairs("{tmp_path}/p.jsonl")\n'
    assert not mfv.Recipe(head + "eval e { items = 12, shots = 2 }").plan().errors
    (error,) = mfv.Recipe(head + "eval e { items = 12, shots = 3 }").plan().errors
    assert error.code == "MFV7111" and "`left` has 3 in its test split" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "eval e { items = 99999999999 }", "eval e { shots = 99999999999 }",
        "eval e { seed = 99999999999999999999 }",
        "tune t { start = random, layer = 1, epochs = 1000000000000 }",
    ],
)  # fmt: skip
def test_numbers_that_nobody_means_are_refused(text: str):
    with pytest.raises(RecipeError) as caught:
        mfv.Recipe(HEAD + text)
    assert caught.value.code == "MFV4003" and " at most" in str(caught.value)


@pytest.mark.parametrize("argument", ["count=999999999", "size=999999996"])
def test_a_dataset_that_no_memory_holds_is_refused(argument: str):
    with pytest.raises(RecipeError):
        mfv.Recipe(f"mfv 1\ndataset d = scenes({argument})\n")
