"""What is asked and what comes of it: the numbers of ``mfv ask``, whoever else is asking."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mfv_dsl as mfv
from mfv_dsl import inspection
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.engine.generation import generate
from mfv_dsl.inputs import read_vector
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.layer_effects import layer_effects
from mfv_dsl.methods.vectors import combine
from mfv_dsl.playground.copying import python_text, recipe_text
from mfv_dsl.playground.pictures import Drawn, FromDataset, png_of
from mfv_dsl.playground.studio import Ended, Outcome, Request, Settings, Studio
from tests.cases import one_quick

LEFT = FromDataset("left", 1)


def close(value: float | None) -> object:
    return pytest.approx(value, rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "layer", "scale", "own"),
    one_quick([
        ("fv(left)", None, 1.0, "native"), ("tuned_left", None, 0.5, 1),
        ("fv(left) - fv(right)", 2, -1.5, 2), ("random_like(fv(left))", None, 1.0, 3),
    ]),
)  # fmt: skip
def test_the_numbers_are_those_of_ask(
    studio: Studio, expression: str, layer: int | None, scale: float, own: int | str
):
    outcome = studio.ask(Request(LEFT, "", expression, layer, scale))
    text = "vectors/flamingo-tiny/tuned_left" if expression == "tuned_left" else expression
    vector = read_vector(text, **studio.defaults)
    question = inspection.about_item(studio.dataset, "left", 1)
    reply = inspection.ask(studio.backend, question, vector, layer, scale)
    assert outcome.layer == reply.layer == own and reply.after is not None
    before = {answer.word: answer.before for answer in outcome.effects.answers}
    after = {answer.word: answer.after for answer in outcome.effects.answers}
    assert {name: close(p) for name, p in reply.before}.items() <= before.items()
    assert {name: close(p) for name, p in reply.after}.items() <= after.items()
    assert max(after, key=lambda name: after[name] or 0) == reply.after[0][0]
    for number in outcome.effects.layers:  # each layer for itself, in one pass
        alone = inspection.ask(studio.backend, question, vector, number, scale, top=54).after
        for followed in outcome.effects.followed:
            assert followed.by_layer[number] == close(dict(alone or ())[followed.word])


def test_what_is_followed_are_the_objects_around_or_the_likeliest(studio: Studio):
    outcome = studio.ask(Request(LEFT, "", "fv(left)"))
    assert [one.word for one in outcome.effects.followed] == [*outcome.neighbours.values()]
    assert outcome.own == "left" and len(outcome.effects.layers) == 10
    alone = studio.ask(Request(Drawn(("red circle", *[""] * 15)), "", "fv(left)"))
    words = [one.word for one in alone.effects.followed]
    best = max(alone.effects.answers, key=lambda answer: answer.before)
    assert alone.effects.answers[0].word in words and best.word in words and not alone.own


@pytest.mark.slow
def test_texts_are_what_generation_gives(studio: Studio):
    outcome = studio.ask(Request(LEFT, "", "fv(left)", 1, 2.0, tokens=5))
    backend, question = studio.backend, outcome.question
    batch = backend.batch([question.prompt], question.dataset)
    edits = adding(read_vector("fv(left)", **studio.defaults).vector, 1, 2.0)
    plain = [generate(backend, batch, 5, each)[0].tokens for each in ((), edits)]
    assert list(outcome.effects.texts) == [backend.text(tokens) for tokens in plain]
    assert studio.ask(Request(LEFT)).effects.texts == ()


def test_without_a_vector_the_model_answers_as_it_is(studio: Studio):
    for text in ("", "fv(lft)"):
        outcome = studio.ask(Request(LEFT, "", text))
        assert outcome.layer is None and outcome.effects.layers == ()
        assert {answer.after for answer in outcome.effects.answers} == {None}
        assert bool(outcome.checked.diagnostics) == bool(text)


def test_a_state_that_is_no_number_is_nan_in_its_layer_alone(studio: Studio):
    vector = read_vector("fv(left)", **studio.defaults).vector
    question = inspection.about_item(studio.dataset, "left", 1)
    batch = studio.backend.batch([question.prompt], question.dataset)
    with pytest.raises(MfvError, match="MFV5370"):
        layer_effects(studio.backend, batch, vector, 1, 3e38)
    effects = layer_effects(studio.backend, batch, vector, 1, 1.0, follow=["red cross"])
    assert not any(map(math.isnan, effects.followed[0].by_layer))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(LEFT, "", "fv(left)", 10), "MFV5103"),
        (Request(LEFT, "", "fv(left)", -1), "MFV5119"),
        (Request(LEFT, "", "random_like(fv(left))", "native"), "MFV5305"),
        (Request(LEFT, "", "fv(left)", 1, 1e9), "MFV5413"),
        (Request(LEFT, "", "fv(left)", 1, math.nan), "MFV5413"),
        (Request(LEFT, tokens=10_000), "MFV5413"),
        (Request(LEFT, query="<image>"), "MFV7124"),
        (Request(FromDataset("lft", 1)), "MFV7112"),
        (Request(LEFT, "", 'load("vectors/flamingo-tiny", "lft")'), "MFV6001"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_and_the_next_request_is_answered(
    studio: Studio, request_: Request, code: str
):
    with pytest.raises(MfvError, match=code):
        studio.ask(request_)
    assert studio.ask(Request(LEFT)).effects.answers


def test_a_word_that_the_model_does_not_know_is_remarked(studio: Studio):
    assert studio.ask(Request(LEFT, query="zebra")).remarks == (
        "The model's tokenizer does not know: zebra.",
    )


@pytest.mark.slow
def test_long_expressions_are_not_taken_for_one_another(studio: Studio):
    more = " + tuned_right" * 100
    first, second = (studio.ask(Request(LEFT, "", f"{text}{more}", 1, 0.01))
                     for text in ("tuned_left", "20 * tuned_above"))  # fmt: skip
    assert first.checked.key != second.checked.key and numbers(first) != numbers(second)
    left, right = (read_vector(f"vectors/flamingo-tiny/tuned_{name}").vector
                   for name in ("left", "right"))  # fmt: skip
    question = inspection.about_item(studio.dataset, "left", 1)
    vector = combine([(1, left), (100, right)])
    reply = inspection.ask(studio.backend, question, vector, 1, 0.01)
    assert reply.after is not None
    after = {one.word: one.after for one in first.effects.answers}
    assert {word: after[word] for word, _ in reply.after} == {w: close(p) for w, p in reply.after}
    namespace: dict[str, Any] = {}
    exec(python_text(studio, first), namespace)
    assert namespace["reply"].after == [(word, close(p)) for word, p in reply.after]


@pytest.mark.slow
def test_a_vector_that_is_saved_anew_is_the_new_one(tmp_path: Path, studio: Studio):
    path = tmp_path / "mine"
    path.mkdir()
    left, right = (
        mfv.load_vector("vectors/flamingo-tiny", name).vector for name in ("left", "right")
    )
    left.save(path / "one")
    own = Studio.open(Settings(libraries=(str(path),)))
    before = own.ask(Request(LEFT, "", "one", 1))
    right.save(path / "one")
    after = own.ask(Request(LEFT, "", "one", 1))
    assert numbers(before) != numbers(after)
    again = studio.ask(Request(LEFT, "", 'load("vectors/flamingo-tiny", "right")', 1))
    assert numbers(after) == numbers(again)


# -- several at once ------------------------------------------------------------------------------
def numbers(outcome: Outcome) -> Sequence[object]:
    return outcome.effects.answers, outcome.effects.followed, outcome.effects.texts, outcome.layer


@pytest.mark.slow
def test_several_who_ask_at_once_get_what_each_gets_alone(studio: Studio):
    requests = [
        Request(FromDataset(relation, seed), "", expression, layer, scale, tokens=2)
        for relation, seed, expression, layer, scale in (
            ("left", 1, "fv(left)", 1, 1.0), ("left", 1, "fv(right)", 1, 1.0),
            ("left", 1, "", None, 1.0), ("above", 2, "tuned_above", None, -2.0),
            ("left", 1, "fv(left) - fv(right)", None, 1.0),
        )
    ]  # fmt: skip
    alone = [numbers(studio.ask(request)) for request in requests]
    assert len({str(each) for each in alone}) == len(requests)
    order = [number % len(requests) for number in range(50)]
    random.Random(0).shuffle(order)
    studio._computed.clear()  # vectors, too, are computed amid the others
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda number: numbers(studio.ask(requests[number])), order))
    assert together == [alone[number] for number in order]


def test_a_studio_that_is_closed_answers_nobody_any_more():
    closed = Studio.open(Settings())
    began: list[str] = []

    class Closes:
        """A listener that closes the studio as soon as work begins."""

        def begin(self, label: str, total: int) -> Callable[[int], None]:
            began.append(label)
            closed.close(patience=0)
            return lambda units: None

    with pytest.raises(Ended):
        closed.ask(Request(LEFT, "", "fv(left, trials=3, heads={L4H1}, seed=91)"), Closes())
    assert len(began) == 1
    with pytest.raises(Ended):
        closed.ask(Request(LEFT))


# -- opening --------------------------------------------------------------------------------------
def test_the_bundled_library_is_that_of_the_model(studio: Studio):
    assert studio.libraries == ("vectors/flamingo-tiny",) and len(studio.vectors) == 21
    llava = Studio.open(Settings(model='tiny("llava")'))
    assert llava.libraries == () and llava.names == {}
    outcome = llava.ask(Request(LEFT, "", "zeros()", 2))
    assert [one.before for one in outcome.effects.answers] == [
        close(one.after) for one in outcome.effects.answers
    ]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (Settings(model="tiny(3)"), "MFV3"), (Settings(dataset="scene"), "MFV2006"),
        (Settings(libraries=("nowhere",)), "MFV5350.*there is no library `nowhere`"),
        (Settings(libraries=("",)), "MFV5350"),
        (Settings(libraries=("no.safetensors",)), "MFV6001"),
        (Settings(libraries=("hf://org/repo",)), "mfv vectors pull"),
        (Settings(defaults={"trials": "many"}), "MFV"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_settings_is_said_at_once(settings: Settings, code: str):
    with pytest.raises((MfvError, RecipeError), match=code):
        Studio.open(settings)


def test_cosines_are_of_the_models_vectors(studio: Studio):
    names, cosines = studio.cosines()
    assert names[:2] == ["above", "above_left"] and len(cosines) == len(names) == 21
    assert all(row[number] == pytest.approx(1, abs=1e-5) for number, row in enumerate(cosines))


@pytest.mark.slow
def test_own_pictures_are_asked_about_with_all_that_is_known(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A dataset of files, whose splits and relations are its own."""
    lines = []
    for relation, own in (("left", "beside"), ("above", "over")):
        for item in studio.dataset.items(relation, "extract")[:8]:
            name = f"{item.image.replace('/', '-')}.png"
            picture = studio.dataset.pictures([item.image], 40)[0]
            (tmp_path / name).write_bytes(png_of(picture))
            lines.append({"image": name, "query": item.query, "answer": item.answer,
                          "relation": own, "split": "mine"})  # fmt: skip
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    own_studio = Studio.open(Settings(dataset='pairs("own.jsonl")'))
    vector = 'load("vectors/flamingo-tiny", "left")'
    outcome = own_studio.ask(Request(FromDataset("over", 3), "", vector, 2))
    assert outcome.own == "over" and outcome.effects.followed
    rows = mfv.Recipe(recipe_text(own_studio, outcome)).run("out", progress=False).rows
    (after,) = [row for row in rows if row.eval == "after" and row.relation]
    followed = outcome.effects.followed[list(outcome.neighbours).index("over")]
    assert after.mean_p_answer == close(followed.by_layer[2])
