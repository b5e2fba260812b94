"""What is shown: escaped, whatever files and people say."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import mfv_dsl as mfv
from mfv_dsl.playground import shown
from mfv_dsl.playground.libraries import vectors_of
from mfv_dsl.playground.pictures import FromDataset
from mfv_dsl.playground.studio import Request, Settings, Studio

# gradio is imported where it is needed: else every process that only looks for tests would wait
if TYPE_CHECKING:
    from mfv_dsl.playground.handlers import Handlers


@pytest.fixture
def handlers(studio: Studio) -> Handlers:
    pytest.importorskip("gradio")
    from mfv_dsl.playground.handlers import Handlers

    return Handlers(studio)


EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


def test_a_card_says_what_a_file_says_and_nothing_of_it_is_markup(tmp_path: Path):
    vector = mfv.load_vector("vectors/flamingo-tiny", "left").vector
    for key in ("relation", "about", "source", "x_note", "license"):
        vector.save(tmp_path / f"of_{key}", {key: EVIL})
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    found = {one.name: one for one in vectors_of([str(tmp_path)])}
    for name, one in found.items():
        html = shown.card_html(one, name)
        assert "<img" not in html and "<script" not in html
        assert name == "broken" or "&lt;" in html
    assert found["broken"].trouble and shown.vector_row(found["broken"])[1] == "unreadable"


def test_a_card_has_results_and_lineage(studio: Studio):
    (tuned,) = [one for one in studio.vectors if one.name == "tuned_left"]
    html = shown.card_html(tuned, studio.call_for(tuned))
    for said in ("tuned(left)", "100 [96, 100]", "made of", "layer 4: H1", "created"):
        assert said in html


@pytest.mark.slow
def test_the_map_has_a_picture_and_its_numbers(studio: Studio):
    html = shown.map_html(*studio.cosines())
    assert "data:image/png" in html and html.count("1.000") == 21
    html = shown.map_html(["a", EVIL], [[1.0, math.nan], [math.nan, math.nan]])
    assert "<script" not in html and "nan" not in html.partition("<table")[2]
    assert "needed" in shown.map_html(["a"], [[1.0]]) and "needed" in shown.map_html([], [])


def test_bars_are_the_numbers(studio: Studio):
    outcome = studio.ask(Request(FromDataset("left", 1), "", "fv(left)", 1, tokens=2))
    html = shown.answers_html(outcome)
    for answer in outcome.effects.answers:
        assert f'data-p="{answer.before!r}"' in html and f'data-p="{answer.after!r}"' in html
    assert html.count("mfv-right") == 1 and "fv(left) at layer 1" in html
    rows = shown.curve_rows(outcome)
    assert len(rows) == 10 * len(outcome.effects.followed)
    assert rows[3]["probability"] == outcome.effects.followed[0].by_layer[3]
    evil = replace(outcome.effects.answers[0], word=EVIL)
    effects = replace(outcome.effects, answers=(evil,), texts=(EVIL, EVIL))
    html = shown.answers_html(replace(outcome, effects=effects))
    html += shown.texts_html(replace(outcome, effects=effects))
    assert "<img" not in html and "<script" not in html


@pytest.mark.slow
def test_answers_of_several_words_are_marked_by_their_first_token():
    studio = Studio.open(Settings('tiny("llava")', defaults={"heads": "{L2H6}", "trials": "4"}))
    outcome = studio.ask(Request(FromDataset("left", 1), "", "fv(left)", 1))
    html = shown.answers_html(outcome)
    likely = {answer.token for answer in outcome.effects.answers}
    expected = [relation for relation, token in outcome.tokens.items() if token in likely]
    assert expected and sorted(re.findall("<i>(.*?)</i>", html)) == sorted(expected)
    first = dict(zip(outcome.neighbours, outcome.tokens.values(), strict=True))
    assert first["left"] == studio.backend.first_tokens([outcome.neighbours["left"]])[0]


def test_tokens_of_one_word_have_lines_of_their_own(studio: Studio):
    outcome = studio.ask(Request(FromDataset("left", 1), "", "fv(left)", 1))
    followed = tuple(replace(one, word="red") for one in outcome.effects.followed)
    rows = shown.curve_rows(replace(outcome, effects=replace(outcome.effects, followed=followed)))
    places = {(row["answer"], row["layer"]) for row in rows}
    assert len(places) == len(rows) == 10 * len(followed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "kind"), [(10, "nominal"), (11, "quantitative"), (40, "quantitative")]
)
def test_layers_stand_in_their_order(studio: Studio, layers: int, kind: str):
    pytest.importorskip("gradio")
    from mfv_dsl.playground import handlers as handlers_module

    outcome = studio.ask(Request(FromDataset("left", 1), "", "fv(left)", 1))
    followed = tuple(
        replace(one, by_layer=(one.by_layer * 4)[:layers]) for one in outcome.effects.followed
    )
    effects = replace(outcome.effects, layers=tuple(range(layers)), followed=followed)
    curve, _ = handlers_module._curve(replace(outcome, effects=effects))
    assert curve.value["datatypes"]["layer"] == kind
    place = curve.value["columns"].index("layer")
    drawn = [row[place] for row in curve.value["data"]][:layers]
    assert drawn == sorted(drawn) and len(set(drawn)) == layers


@pytest.mark.slow
def test_a_fix_is_made_in_the_text(handlers: Handlers):
    mended = handlers.mend("fv(lft)\n + fv(rigt)", SimpleNamespace(index=1))
    assert mended == "fv(lft)\n + fv(right)"
    for number in (7, -1, "x", None):
        assert handlers.mend("fv(lft)", SimpleNamespace(index=number)) == "fv(lft)"


@pytest.mark.slow
def test_a_handler_that_fails_says_so_and_gives_nothing_else(handlers: Handlers):
    *rest, notice = handlers.from_dataset("lft", 1)
    assert len(rest) == 5 and "MFV7112" in notice
    *rest, notice = handlers.ask(None, "", "fv(left)", False, "many", 1, 0)
    assert len(rest) == 8 and "ValueError" in notice and "many" not in notice
    *rest, notice = handlers.upload("/nowhere/x.png", "")
    assert len(rest) == 5 and "FileNotFoundError" in notice and "nowhere" not in notice
    assert handlers.ask(None, "", "fv(left)", True, 0, 1, 0)[-1] == ""


@pytest.mark.slow
def test_a_number_that_is_too_large_is_the_largest(handlers: Handlers):
    assert handlers.from_dataset("left", 1e30)[0] == 2**31 - 1
    assert handlers.from_dataset("left", -5)[0] == 0
    assert handlers.from_dataset("left", None, 1)[0] == 1
