"""Ways of asking for an answer: the first token, the whole name, what is generated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit

import mfv_dsl as mfv
from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.world import COLOURS, FAMILIAR_KINDS, SHAPES
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.execute.settings import Silence
from mfv_dsl.methods.answers import (
    answered_relations,
    begun_by,
    begun_with,
    measure_answers,
    name_tokens,
    object_names,
    relations_shown,
    require_distinct,
)
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.tiny.tokenizer import END_OF_CHUNK, IMAGE, PAD, UNKNOWN
from tests.conftest import small_flamingo
from tests.engine.support import enliven


def word_tokenizer() -> Tokenizer:
    """Names are two words and two tokens: ``red circle``."""
    special = (PAD, UNKNOWN, END_OF_CHUNK, IMAGE)
    words = (*special, "Q:", "A:", ".", *COLOURS, *SHAPES)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(r"Q:|A:|\.|[a-z]+"), "isolated"), WhitespaceSplit()]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


@pytest.fixture(scope="module")
def words() -> OpenFlamingo:
    """A Flamingo whose tokenizer splits names into words."""
    model = small_flamingo(tokenizer=word_tokenizer())
    enliven(model.model.lang_encoder, seed=4)
    head = model.model.lang_encoder.get_output_embeddings().weight
    head.data[:7] = 0  # it says colours and shapes rather than ends and stops
    return model


def injections(width: int) -> list[list[Edit]]:
    value = torch.randn(2, width, generator=torch.Generator().manual_seed(0))
    return [[], [Edit("lm.resid", 1, "add", 3 * value[0])], [Edit("lm.resid", 0, "add", value[1])]]


# -- the objects ----------------------------------------------------------------------------------
def test_objects_are_all_that_a_split_names(scenes: Scenes):
    names = object_names(scenes, "test")
    assert set(names) == set(FAMILIAR_KINDS) and list(names) == sorted(names)
    few = Scenes(relations=["left"], count=4)
    said = {kind for item in few.items("left", "test") for kind in item.neighbours.values()}
    assert set(object_names(few, "test")) == said
    assert len(said) > len({item.answer for item in few.items("left", "test")})


def test_first_tokens_that_coincide_are_named(words: OpenFlamingo, tiny: OpenFlamingo):
    names = ("red circle", "red square", "green ring", "blue ring", "blue cross")
    with pytest.raises(MfvError, match="4 of 5 objects begin with the same token") as caught:
        require_distinct(words, names)
    assert caught.value.code == "MFV5340"
    assert caught.value.notes == (
        "alike: red circle, red square", "alike: blue ring, blue cross",
    )  # fmt: skip
    assert set(require_distinct(words, names[1:4]).values()) == set(names[1:4])
    assert len(require_distinct(tiny, FAMILIAR_KINDS)) == len(FAMILIAR_KINDS)


def test_a_name_that_begins_another_ends_in_a_full_stop(words: OpenFlamingo):
    full_stop = words.tokenizer.token_to_id(".")
    assert {tokens[-1] for tokens in name_tokens(words, ("red", "red circle"))} == {full_stop}
    apart = name_tokens(words, ("red ring", "red circle"))
    assert [len(tokens) for tokens in apart] == [2, 2]


# -- whole names ----------------------------------------------------------------------------------
def test_full_is_first_among_the_objects_where_names_are_tokens(tiny: OpenFlamingo, scenes: Scenes):
    prompts = draw_prompts(scenes, "left", "test", 12, 1)
    batches = [tiny.batch(prompts[:7], scenes), tiny.batch(prompts[7:], scenes)]
    names = object_names(scenes, "test")
    tokens = tiny.first_tokens(names)
    variants = [[], [Edit("lm.resid", 3, "add", 20 * torch.randn(128))]]
    for edits, found in zip(
        variants, measure_answers(tiny, batches, variants, "full", names), strict=True
    ):
        logits = torch.cat([full_pass(tiny, batch, edits).logits for batch in batches])
        best = logits[:, tokens].argmax(-1).tolist()
        assert found.names == tuple(names[i] for i in best)
        answers = [prompt.query.answer for prompt in prompts]
        assert found.outcomes.correct.tolist() == [
            name == answer for name, answer in zip(found.names, answers, strict=True)
        ]
        p = logits.softmax(-1)[torch.arange(12), tiny.first_tokens(answers)]
        np.testing.assert_allclose(found.outcomes.p_answer, p.numpy(), atol=1e-6)


def longer(model: OpenFlamingo, prompt: Prompt, scenes: Scenes, token: int):
    batch = model.batch([prompt], scenes)
    return replace(
        batch,
        tokens=torch.cat([batch.tokens, torch.tensor([[token]])], 1),
        mask=torch.cat([batch.mask, torch.ones(1, 1, dtype=torch.long)], 1),
    )


@pytest.mark.slow
def test_full_compares_names_of_several_tokens(words: OpenFlamingo, scenes: Scenes):
    """p(colour) · p(shape | colour) from two full passes, the injection where the prompt ends."""
    prompts = draw_prompts(scenes, "above", "test", 3, 1)
    names = object_names(scenes, "test")
    batches = [words.batch(prompts, scenes)]
    first = measure_answers(words, batches, [[]], "full", names)[0]
    wanted: dict[int, str] = {}
    for row, prompt in enumerate(prompts):
        scores = []
        for name in names:
            colour, shape = words.answer_tokens([name])[0]
            value = injections(32)[1][0].value
            here = Edit("lm.resid", 1, "add", value)
            before = Edit("lm.resid", 1, "add", value, positions=(-2,))
            start = full_pass(words, words.batch([prompt], scenes), [here]).logits
            rest = full_pass(words, longer(words, prompt, scenes, colour), [before]).logits
            scores.append(float(start.softmax(-1)[0, colour] * rest.softmax(-1)[0, shape]))
        wanted[row] = names[int(np.argmax(scores))]
        found = measure_answers(words, batches, injections(32)[1:2], "full", names)[0]
        assert found.names[row] == wanted[row]
        answer = names.index(prompt.query.answer)
        assert found.outcomes.p_answer[row] == pytest.approx(scores[answer], rel=1e-4)
    assert tuple(wanted.values()) != first.names  # the injection matters
    with pytest.raises(MfvError, match="begin with the same token"):
        measure_answers(words, batches, [[]], "first", names)


# -- generation -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" tree.", "tree"), ("tree", "tree"), ("\ntree trunk .\nQ:", "tree trunk"),
        ("tree. Q", "tree"), ("tree trunks", "tree"), ("trees", None), ("a tree", None), ("", None),
        ("St. Bernard", "St. Bernard"),
    ],
)  # fmt: skip
def test_what_a_generation_begins_with(text: str, name: str | None):
    assert begun_with(text, ("tree", "tree trunk", "St. Bernard")) == name


def test_the_bundled_model_generates_what_its_first_token_begins(
    tiny: OpenFlamingo, scenes: Scenes
):
    prompts = draw_prompts(scenes, "right", "test", 16, 2)
    batches = [tiny.batch(prompts, scenes)]
    names = object_names(scenes, "test")
    (said,) = measure_answers(tiny, batches, [[]], "generate", names)
    (first,) = measure_answers(tiny, batches, [[]], "first", names)
    assert said.names == first.names
    assert said.outcomes.correct.tolist() == first.outcomes.correct.tolist()
    assert first.outcomes.accuracy > 0.8


def test_a_generation_is_right_if_it_says_the_answer(words: OpenFlamingo, scenes: Scenes):
    """Items are given the answers that greedy generation gives, or others."""
    prompts = draw_prompts(scenes, "left", "test", 6, 1)
    variants = injections(32)
    batch = words.batch(prompts, scenes)
    for edits in variants:
        said = [words.text(done.tokens).split() for done in generate(words, batch, 3, edits)]
        assert all(said)
        answers = [" ".join(text[:2]) if i % 2 else "red ring" for i, text in enumerate(said)]
        changed = [
            Prompt(prompt.demonstrations, replace(prompt.query, answer=answer))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        names = tuple(dict.fromkeys(answers))
        (found,) = measure_answers(
            words, [words.batch(changed, scenes)], [edits], "generate", names
        )
        assert found.outcomes.correct.tolist() == [
            text[:2] == answer.split() for text, answer in zip(said, answers, strict=True)
        ]
        assert found.outcomes.correct[1::2].all() and not found.outcomes.correct.all()


# -- relations ------------------------------------------------------------------------------------
def test_answers_are_told_apart_by_relation():
    objects = {"left": "ring", "right": "cross", "above": "ring"}
    prompts = [
        Prompt((), Item("i", "circle", "ring", "above", objects)),
        Prompt((), Item("j", "circle", "ring", "left", objects)),
        Prompt((), Item("k", "circle", "cross", "right", {})),  # a dataset without neighbours
    ]
    assert relations_shown(prompts, ("right", "left")) == ("right", "left", "above")
    relations = ("left", "right", "above")

    def places(*names: str | None) -> list[int]:
        return answered_relations(prompts, names, relations).tolist()

    assert places("ring", "ring", "cross") == [2, 0, 1]  # the relation asked for counts
    assert places("cross", "square", None) == [1, -1, -1]


# -- in a recipe ----------------------------------------------------------------------------------
HEAD = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, above], count=40)\n"


@pytest.mark.slow
def test_three_ways_agree_on_the_bundled_model(tmp_path):
    ways = ("first", "full", "generate")
    body = "".join(
        f"eval {way} {{ add = fv(each, heads={{L4H1, L3H7}}, trials=10), layer = [1, 5]\n"
        f"items = 20, answer = {way}\nshots = [0, 1] }}\n"
        for way in ways
    )
    rows = mfv.Recipe(HEAD + body).run(tmp_path).rows
    found = {
        way: [
            (row.relation, row.shots, row.layer, row.accuracy, row.difference, row.answers)
            for row in rows
            if row.eval == way
        ]
        for way in ways
    }
    assert found["first"] == found["full"] == found["generate"]
    assert len({row.accuracy for row in rows}) > 3


class Ear(Silence):
    """Remembers what was begun."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        self.heard.append(label)
        return super().begin(label, total)


@pytest.mark.slow
def test_coinciding_tokens_are_refused_before_anything_is_measured(
    words: OpenFlamingo, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """The plan is run on another real model, whose tokenizer splits names."""
    monkeypatch.setattr(models, "load", lambda *_, **__: words)
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    text = HEAD + (
        "eval a { answer = ANSWER, items = 5, on = [left] }\n"
        "heads h = {L1H0}\neval b { ablate = h, ablate_with = mean, items = 5, answer = full }\n"
        "defaults { correct_only = false, trials = 4 }\n"
    )
    ear = Ear()
    with pytest.raises(MfvError, match="alike: blue circle, blue cross"):
        mfv.Recipe(text.replace("ANSWER", "first")).run(tmp_path, ear)
    assert ear.heard == ["loading tiny"]
    more = "eval c { answer = generate, items = 40 }\n"
    text = text.replace("ANSWER, items = 5, on = [left]", "full, items = 40")
    result = mfv.Recipe(text + more).run(tmp_path)
    rows = [row for row in result.rows if row.eval != "b"]
    assert [row.n for row in rows] == [40, 40, 80] * 2
    shares = [sum(row.answers.values(), row.answers_other) for row in rows if row.answers]
    assert shares == pytest.approx([1.0] * len(shares))
    # each is its own zero-shot, asked in its own way
    assert {(row.difference, row.difference_low, row.difference_high) for row in rows} == {
        (0, 0, 0)
    }
    full, generated = (
        [result.values[row.step].conditions[0].outcomes.correct.tolist() for row in result.plan.rows
         if row.eval == name]
        for name in ("a", "c")
    )  # fmt: skip
    assert full != generated


def test_a_first_token_that_begins_several_objects_decides_all_the_same(tiny: OpenFlamingo):
    """As arXiv:2510.02528 scores: where first tokens tell objects apart the two ways agree, and
    where they do not the outcome is that of the token, and no object is named."""
    data = Scenes(relations=("left", "right"), count=6)
    batches = [tiny.batch(draw_prompts(data, "left", "test", 6, 4), data)]
    names = object_names(data, "test")
    (strict,) = measure_answers(tiny, batches, [()], "first", names)
    (loose,) = measure_answers(tiny, batches, [()], "first_token", names)
    assert loose.names == strict.names and (loose.outcomes.said == strict.outcomes.said).all()
    alike = [*names, "left p1", "left p2"]
    with pytest.raises(MfvError, match="MFV5340"):
        measure_answers(tiny, batches, [()], "first", alike)
    left = tiny.first_tokens(["left p1"])[0]
    begins = begun_by(tiny, alike, "first_token")
    assert left not in begins and set(begins.values()) == set(names)
