"""A step that fails costs what follows from it, and nothing else."""

from __future__ import annotations

import errno
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.execute.store import default_store

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=30)
defaults { heads = {L3H1}, trials = 4, shots = 1, items = 6, layer = 2 }
eval plain { }
eval raw { add = fv(each) }
save "SAVED" { vectors = [fv(each)] }
"""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Means of `left` fail with the error that is given."""
    real = PERFORM["activations"]

    def fail_with(error: Exception) -> None:
        def fails(session: Any, step: Any, inputs: Any) -> Any:
            if step.parameters["relation"] == "left":
                raise error
            return real(session, step, inputs)

        monkeypatch.setitem(PERFORM, "activations", fails)

    return fail_with


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "home"))


def run(tmp_path: Path) -> Any:
    return mfv.Recipe(RECIPE.replace("SAVED", str(tmp_path / "saved"))).run(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MfvError("MFV7113", "a picture is broken"), "MFV7113", "a picture is broken"),
        (torch.OutOfMemoryError("no more"), "MFV5377", "memory ran out"),
        (ZeroDivisionError("by nothing"), "MFV5900", "ZeroDivisionError: by nothing"),
    ],
)
def test_it_costs_its_own_rows_and_is_not_kept(tmp_path, failing, error, code, words):
    failing(error)
    result = run(tmp_path)
    assert result.failed
    for row in result.rows:
        lost = row.eval == "raw" and row.relation != "right"
        assert (row.accuracy is None) == lost and bool(row.error) == lost
        if lost:
            assert row.error["code"] == code and words in row.error["message"]
    assert [path.name for path in result.saved] == ["right.safetensors"]
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    texts = [note["text"] for note in written["notes"]]
    assert any("raw has no numbers in 1 conditions" in text and words in text for text in texts)
    assert any(text.startswith("left was not made.") for text in texts)
    assert all("None" not in text for text in texts)
    step = next(s for s in result.plan.steps if s.operation == "activations"
                and s.parameters["relation"] == "left")  # fmt: skip
    assert step.key not in default_store() and step.key in result.failures


@pytest.mark.slow
def test_what_failed_is_made_when_it_can_be(tmp_path, failing, monkeypatch):
    failing(MfvError("MFV7113", "a picture is broken"))
    run(tmp_path)
    monkeypatch.undo()
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "home"))
    again = run(tmp_path)
    assert not again.failed and again.cached >= 3 and len(again.saved) == 2


def test_where_nothing_else_came_out_it_is_an_error(tmp_path, failing):
    failing(MfvError("MFV7113", "a picture is broken"))
    text = RECIPE[: RECIPE.index("eval plain")] + "eval raw { add = fv(left), on = [left] }"
    with pytest.raises(MfvError, match="a picture is broken"):
        mfv.Recipe(text).run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fails_ends_the_run(tmp_path, failing):
    failing(OSError(errno.ENOSPC, "No space left on device", "some/file"))
    with pytest.raises(MfvError) as caught:
        run(tmp_path)
    assert caught.value.code == "MFV6120" and "some/file" in caught.value.message
    assert not (tmp_path / "out").exists() and not (tmp_path / "saved").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_saved_into_costs_no_other(tmp_path, monkeypatch):
    from mfv_dsl.execute import run as module

    real = module.write_library

    def write(item: Any, *arguments: Any, **options: Any) -> Any:
        if item.folder.endswith("one"):
            raise OSError(errno.EROFS, "Read-only file system", item.folder)
        return real(item, *arguments, **options)

    monkeypatch.setattr(module, "write_library", write)
    body = "".join(f'save "{tmp_path}/{name}" {{ vectors = [fv(left)] }}\n' for name in
                   ("one", "two"))  # fmt: skip
    result = mfv.Recipe(RECIPE[: RECIPE.index("save")] + body).run(tmp_path / "out")
    assert [path.parent.name for path in result.saved] == ["two"]
    assert result.failed and [error.code for error in result.unsaved] == ["MFV6121"]
    assert all(row.accuracy is not None for row in result.rows)


@pytest.mark.slow
def test_of_an_eval_only_the_conditions_that_need_it_fail(tmp_path, monkeypatch):
    real = PERFORM["random_like"]

    def fails(session: Any, step: Any, inputs: Any) -> Any:
        if step.parameters["seed"] == 7:
            raise MfvError("MFV5304", "nothing is like it")
        return real(session, step, inputs)

    monkeypatch.setitem(PERFORM, "random_like", fails)
    head = RECIPE[: RECIPE.index("eval plain")]
    text = head + "eval e { add = [fv(left), random_like(fv(left), seed=7)], on = [left] }\n"
    result = mfv.Recipe(text).run(tmp_path / "out")
    assert [bool(row.error) for row in result.rows] == [False, True]
    assert "nothing is like it" in result.rows[1].error["message"] and result.rows[0].n == 6
    step = next(step for step in result.plan.steps if step.operation == "evaluate")
    assert step.key not in default_store()
    alone = head + "eval e { add = random_like(fv(left), seed=7), on = [left] }\n"
    with pytest.raises(MfvError, match="nothing is like it"):
        mfv.Recipe(alone).run(tmp_path / "other")


def test_no_heads_left_costs_one_control(tmp_path):
    head = RECIPE[: RECIPE.index("eval plain")]
    text = (
        head + "heads none = {L3H1} - {L3H1}\neval e { ablate = none, on = [left] }\neval f { }\n"
    )
    result = mfv.Recipe(text).run(tmp_path / "out")
    errors = {row.eval: row.error for row in result.rows if row.error}
    assert list(errors) == ["e"] and errors["e"]["code"] == "MFV5307"


def test_a_broken_picture_costs_the_relation_that_shows_it(tmp_path):
    lines = []
    for relation in ("left", "right"):
        for number in range(4):
            image = f"{relation}{number}.png"
            Image.new("RGB", (60, 60), (60 * number, 0, 0)).save(tmp_path / image)
            lines.append({"image": image, "query": "red circle", "answer": f"{relation} {number}",
                          "relation": relation, "split": "test"})  # fmt: skip
    (tmp_path / "left2.png").write_bytes((tmp_path / "left2.png").read_bytes()[:60])
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = f'mfv 1\nmodel m = tiny()\ndataset d = pairs("{tmp_path}/p.jsonl")\n'
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that the tokenizer does not know
        result = mfv.Recipe(text + "eval e { items = 4, answer = first_token }").run(tmp_path / "o")
    errors = {row.relation: row.error.get("message", "") for row in result.rows if row.error}
    assert set(errors) >= {"left"} and "right" not in errors and "left2.png" in errors["left"]
    assert next(row for row in result.rows if row.relation == "right").n == 4
