"""What is copied from the page checks, runs and gives the page's numbers."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl import inspection
from mfv_dsl.playground import copying
from mfv_dsl.playground.pictures import Drawn, FromDataset, png_of, upload
from mfv_dsl.playground.studio import Outcome, Request, Settings, Studio
from tests.cases import one_quick

NOISE = upload(png_of(np.random.default_rng(0).integers(0, 255, (90, 130, 3), dtype=np.uint8)))
SCENE = Drawn(("red circle", "blue square", "", "", "green ring", *[""] * 11), seed=5)
REQUESTS = [
    Request(FromDataset("left", 7), "", "fv(left) - 0.5 * tuned_right", 3, 1.5),
    Request(FromDataset("above", 4), "", "fv(left)\n + fv(above)  # a sum", None, -0.3),
    Request(FromDataset("above", 4), "red cross", "fv(left, heads=top(3, on=[left]))"),
    Request(SCENE, "red circle", "fv(right) + random_like(fv(left))", 2, 2.0),
    Request(SCENE, "blue square", 'load("vectors/flamingo-tiny", "left")'),
    Request(NOISE, "red circle", "tuned_left"),
    Request(NOISE, "a thing of no name", ""),
]
NAMES = [f"{type(one.picture).__name__}-{number}" for number, one in enumerate(REQUESTS)]


def answers(outcome: Outcome) -> dict[str, str]:
    return {item.relation: item.answer for item in copying.items(outcome)}


@pytest.fixture(params=one_quick(REQUESTS), ids=NAMES)
def outcome(request: pytest.FixtureRequest, studio: Studio) -> Outcome:
    return studio.ask(request.param)


@pytest.mark.slow
def test_the_recipe_gives_the_numbers_of_the_page(
    studio: Studio, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name, content in copying.files(studio, outcome).items():
        Path(name).write_bytes(content)
    recipe = mfv.Recipe.from_file("recipe.mfv")
    assert recipe.check() == () and recipe.plan().warnings == ()
    rows = recipe.run("out", progress=False).rows
    followed = {one.word: one for one in outcome.effects.followed}
    shown = {one.word: one for one in outcome.effects.answers}
    seen = set()
    for row in rows:
        if not row.relation or row.mean_p_answer is None:
            continue
        word = answers(outcome)[row.relation]
        if row.eval == "before":
            p: float | None = (followed.get(word) or shown[word]).before
        elif row.eval == "by_layer":
            assert isinstance(row.layer, int)
            p = followed[word].by_layer[row.layer]
        elif word in shown:
            assert row.layer == outcome.layer and row.scale == outcome.request.scale
            p = shown[word].after
        else:
            continue
        assert row.mean_p_answer == pytest.approx(p, rel=1e-4, abs=1e-6), row
        seen.add(row.eval)
    assert seen == ({"before"} if outcome.layer is None else {"before", "after", "by_layer"})


def test_python_gives_the_numbers_of_the_page(
    studio: Studio, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, content in copying.files(studio, outcome).items():
        Path(name).write_bytes(content)
    names: dict[str, object] = {}
    exec(compile(Path("ask.py").read_text(encoding="utf-8"), "ask.py", "exec"), names)
    reply = names["reply"]
    assert isinstance(reply, inspection.Reply)
    before = {one.word: one.before for one in outcome.effects.answers}
    for name, p in reply.before:
        assert before[name] == pytest.approx(p, rel=1e-4, abs=1e-6)
    after = {one.word: one.after for one in outcome.effects.answers}
    for name, p in reply.after or ():
        assert after[name] == pytest.approx(p, rel=1e-4, abs=1e-6)
    assert (reply.after is None) == (outcome.layer is None)
    assert capsys.readouterr().out.startswith(f"{outcome.text}\nbefore: ")


def test_the_archive_holds_what_the_texts_need(studio: Studio):
    own = studio.ask(REQUESTS[0])
    drawn = studio.ask(REQUESTS[3])
    listed = []
    for outcome in (own, drawn):
        with zipfile.ZipFile(io.BytesIO(copying.archive(studio, outcome))) as archive:
            listed.append(archive.namelist())
    assert listed == [
        ["recipe.mfv", "ask.py"], ["recipe.mfv", "ask.py", "question.jsonl", "question.png"],
    ]  # fmt: skip
    assert copying.archive(studio, own) == copying.archive(studio, own)


@pytest.mark.slow
def test_the_page_of_another_model_and_dataset_is_copied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    studio = Studio.open(
        Settings('tiny("llava")', "scenes(relations=[left, above], seed=3, count=30)", None,
                 {"heads": "{L2H6}", "trials": "6", "seed": "5"})
    )  # fmt: skip
    outcome = studio.ask(Request(FromDataset("above", 2), "", "fv(above)", 1, 2.0))
    monkeypatch.chdir(tmp_path)
    Path("recipe.mfv").write_text(copying.recipe_text(studio, outcome), encoding="utf-8")
    rows = mfv.run("recipe.mfv", "out", progress=False).rows
    (after,) = [row for row in rows if row.eval == "after" and row.relation]
    word = studio.backend.text(studio.backend.first_tokens([outcome.neighbours["above"]])).strip()
    (followed,) = [one for one in outcome.effects.followed if one.word == word]
    assert after.mean_p_answer == pytest.approx(followed.by_layer[1], rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_defaults_of_the_vector_are_not_those_of_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    studio = Studio.open(
        Settings("tiny", "scenes", None, {"heads": "{L2H6}", "trials": "6", "shots": "2"})
    )
    outcome = studio.ask(Request(FromDataset("left", 3), "", "fv(left)", 1))
    monkeypatch.chdir(tmp_path)
    recipe = mfv.Recipe(copying.recipe_text(studio, outcome))
    assert recipe.check() == ()
    rows = recipe.run("out", progress=False).rows
    shown = {answer.word: answer for answer in outcome.effects.answers}
    (after,) = [row for row in rows if row.eval == "after" and row.relation]
    assert after.shots == 0
    assert after.mean_p_answer == pytest.approx(shown[outcome.neighbours["left"]].after, rel=1e-4)


@pytest.mark.slow
def test_what_is_copied_runs_from_the_command_line(studio: Studio, tmp_path: Path):
    outcome = studio.ask(REQUESTS[3])
    for name, content in copying.files(studio, outcome).items():
        (tmp_path / name).write_bytes(content)
    for command in (["-m", "mfv_dsl", "check", "recipe.mfv"], ["ask.py"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
