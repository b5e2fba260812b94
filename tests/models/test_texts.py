"""Texts of a user's own: batches of different numbers of images, errors, generation."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import ByteLevelBPETokenizer

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.template import OPENFLAMINGO
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate, generate_texts
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.answers import require_distinct
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.engine.support import drawn, lively_flamingo, lively_mpt

TEXTS = [
    "<image>Q:red circle. A:",
    "<image>Q:red circle. A:blue square.<|endofchunk|>\n<image>Q:green star. A:",
    "where left above p1",
    "<image><image>which p3",
]
BLANK = np.zeros((40, 40, 3), np.uint8)


@pytest.fixture(scope="module", params=[lively_flamingo, lively_mpt], ids=["neox", "mpt"])
def model(request: pytest.FixtureRequest) -> OpenFlamingo:
    return request.param(4, 4, 32, 2)


@pytest.fixture(scope="module")
def pictures(scenes: Scenes) -> list[np.ndarray]:
    return scenes.pictures([item.image for item in scenes.items("left", "test")[:5]], 40)


@pytest.fixture(scope="module")
def images(pictures: list[np.ndarray]) -> list[list[np.ndarray]]:
    return [[pictures[0]], pictures[1:3], [], [pictures[0], pictures[3]]]


def own_logits(model: OpenFlamingo, ids: list[int], images: list[np.ndarray]) -> torch.Tensor:
    """Of the token after ``ids`` by ``Flamingo.forward``, (vocabulary,); without images it is
    given a blank one, which no text refers to."""
    pixels = model.preprocess(images or [BLANK])
    tokens = torch.tensor([ids])
    with torch.no_grad():
        done = model.model(
            vision_x=pixels[None, :, None], lang_x=tokens, attention_mask=torch.ones_like(tokens)
        )
    return done.logits[0, -1]


def own_logits_of(model: OpenFlamingo, text: str, images: list[np.ndarray]) -> torch.Tensor:
    return own_logits(model, model.tokenizer.encode(text).ids, images)


# -- batches --------------------------------------------------------------------------------------
def test_a_batch_of_texts_gives_what_flamingos_own_forward_gives_for_each(
    model: OpenFlamingo, images: list[list[np.ndarray]]
):
    """With one image, two, none, and two side by side."""
    batch = model.texts(TEXTS, images)
    assert len(batch) == 4 and batch.prompts == () and batch.answers is None
    found = full_pass(model, batch).logits
    for row, (text, shown) in enumerate(zip(TEXTS, images, strict=True)):
        wanted = own_logits_of(model, text, shown)
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=1e-4)


def test_the_prefix_engine_takes_them(model: OpenFlamingo, images: list[list[np.ndarray]]):
    batch = model.texts(TEXTS, images)
    edits = [
        Edit("lm.resid", 1, "add", drawn(32)),
        Edit("xattn", 1, "scale", torch.zeros(())),
    ]
    found = encode_prefix(model, batch).scores([edits], torch.zeros(4, dtype=torch.long))
    wanted = full_pass(model, batch, edits).logits.softmax(-1)[:, 0]
    torch.testing.assert_close(found.p[:, 0], wanted, atol=1e-5, rtol=1e-4)
    with pytest.raises(MfvError, match="nothing to score"):
        encode_prefix(model, batch).scores([edits])


def test_a_batch_without_any_image(model: OpenFlamingo):
    texts = ["where left", "Q:red circle. A:"]
    found = full_pass(model, model.texts(texts, [[], []])).logits
    for row, text in enumerate(texts):
        wanted = own_logits_of(model, text, [])
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=1e-4)


def test_texts_of_prompts_make_the_same_batch(model: OpenFlamingo, scenes: Scenes):
    prompts = draw_prompts(scenes, "left", "test", 3, 2)
    batch = model.batch(prompts, scenes)
    again = model.texts(
        [OPENFLAMINGO.text(prompt) for prompt in prompts],
        [scenes.pictures(prompt.images, 40) for prompt in prompts],
        [prompt.query.answer for prompt in prompts],
    )
    for part in ("tokens", "mask", "media", "answers"):
        torch.testing.assert_close(getattr(again, part), getattr(batch, part))


def test_arrays_pil_images_and_files_are_the_same_to_it(
    model: OpenFlamingo, pictures: list[np.ndarray], tmp_path: Path
):
    Image.fromarray(pictures[0]).save(tmp_path / "one.png")
    ways: list[Any] = [
        pictures[0], Image.fromarray(pictures[0]), tmp_path / "one.png", str(tmp_path / "one.png"),
    ]  # fmt: skip
    media = model.texts(["<image>Q:"] * 4, [[way] for way in ways]).media
    for other in media[1:]:  # rows of a batch may be added up in different orders
        torch.testing.assert_close(other, media[0], atol=1e-5, rtol=1e-5)
    grey = model.texts(["<image>Q:"], [[Image.fromarray(pictures[0]).convert("L")]]).media
    assert (grey - media[:1]).abs().max() > 0.01


# -- errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("texts", "images", "code", "says", "helps"),
    [
        ([], [], "MFV7242", "no list of texts", "one list of images for each"),
        ("<image>", [[BLANK]], "MFV7242", "no list of texts", "one list of images for each"),
        (["Q:", "A:"], [[]], "MFV7242", "2 texts and 1 lists", "empty for a text without"),
        (["<image>"], [BLANK], "MFV7242", "images[0] is of type ndarray", "one list of images"),
        (["Q:", ""], [[], []], "MFV7242", "texts[1] is empty", "write something"),
        (
            ["Q:", "<image>Q:"], [[], [BLANK] * 3], "MFV7243",
            "texts[1] has 1 `<image>` mark and 3 images", "or leave 2 out",
        ),
        (
            ["<image><image>Q:"], [[BLANK]], "MFV7243",
            "texts[0] has 2 `<image>` marks and 1 image", "give 1 more",
        ),
        (
            ["<image>Q:"], [[]], "MFV7243",
            "texts[0] has 1 `<image>` mark and no images", "take 1 `<image>` out",
        ),
        (["Q:"], [[BLANK]], "MFV7243", "texts[0] has no `<image>` marks and 1 image", "leave 1"),
        (
            ["Q:", "<image>Q:" * 300], [[], [BLANK] * 300], "MFV7244",
            "texts[1] (images: 300) is 600 tokens long", "fewer demonstrations",
        ),
        (["<image>"], [["none.png"]], "MFV7245", "images[0][0] cannot be read", ""),
        (
            ["<image>"], [[BLANK.astype(float)]], "MFV7245",
            "images[0][0] is an array of float64 with shape (40, 40, 3)", "of uint8",
        ),
        (
            ["Q:", "<image>"], [[], [BLANK[..., 0]]], "MFV7245",
            "images[1][0] is an array of uint8 with shape (40, 40)", "(height, width, 3)",
        ),
        (["<image>"], [[7]], "MFV7245", "images[0][0] is of type int", "a file's path"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_row(
    model: OpenFlamingo, texts: Any, images: Any, code: str, says: str, helps: str
):
    with pytest.raises(MfvError) as found:
        model.texts(texts, images)
    (diagnostic,) = found.value.diagnostics
    assert diagnostic.code == code
    assert says in diagnostic.message
    assert helps in (diagnostic.help or "")


def test_answers_for_other_texts_are_refused(model: OpenFlamingo):
    with pytest.raises(MfvError, match="there are 2 texts and 1 answers"):
        model.texts(["A:", "A:"], [[], []], ["p1"])


def test_prompts_that_are_too_long_are_refused(model: OpenFlamingo, scenes: Scenes):
    long = draw_prompts(scenes, "left", "test", 1, 2)[0]
    many = type(long)(long.demonstrations * 50, long.query)
    with pytest.raises(MfvError, match=r"prompts\[1\] \(images: 101\) is \d+ tokens long"):
        model.batch([long, many], scenes)


# -- generation -----------------------------------------------------------------------------------
def by_hand(model: OpenFlamingo, text: str, images: list[np.ndarray], most: int) -> tuple[int, ...]:
    """Greedily, without a cache: ``Flamingo.forward`` over the whole text again and again."""
    before = model.tokenizer.encode(text).ids
    said: list[int] = []
    while len(said) < most:
        logits = own_logits(model, before + said, images)
        logits[list(model.banned_tokens)] = -torch.inf
        token = int(logits.argmax())
        if token in model.end_tokens:
            break
        said.append(token)
    return tuple(said)


def test_greedy_is_flamingos_own_forward_step_by_step(
    model: OpenFlamingo, images: list[list[np.ndarray]]
):
    wanted = [by_hand(model, *row, 6) for row in zip(TEXTS, images, strict=True)]
    found = generate(model, model.texts(TEXTS, images), 6)
    assert [one.tokens for one in found] == wanted
    assert generate_texts(model, TEXTS, images, 6) == [model.text(tokens) for tokens in wanted]
    assert any(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("edited", [False, True])
def test_texts_together_say_what_each_says_alone(
    model: OpenFlamingo, images: list[list[np.ndarray]], beams: int, edited: bool
):
    edits = [Edit("lm.resid", 2, "add", 3 * drawn(32))] if edited else []
    how: dict[str, Any] = {"beams": beams, "edits": edits, "everywhere": edited}
    together = generate_texts(model, TEXTS, images, 5, **how)
    alone = [
        generate_texts(model, [text], [shown], 5, **how)[0]
        for text, shown in zip(TEXTS, images, strict=True)
    ]
    assert together == alone
    if edited:
        assert together != generate_texts(model, TEXTS, images, 5, beams=beams)


def test_a_loaded_model_generates_texts():
    loaded = mfv.load_model("tiny")
    question = ["<image>Q:red circle. A:"], [[np.full((40, 40, 3), 90, np.uint8)]]
    assert loaded.generate(*question, 3) == generate_texts(loaded, *question, 3)


def test_more_than_the_context_cannot_be_generated(model: OpenFlamingo):
    with pytest.raises(MfvError, match=r"\(new tokens: 600\) is 602 tokens long"):
        generate_texts(model, ["where left"], [[]], 600)
    batch = model.texts(["where " * model.max_positions], [[]])
    with pytest.raises(MfvError, match=f"is {model.max_positions + 1} tokens long"):
        for beams in (1, 2):
            generate(model, batch, 50, beams=beams)


# -- answers that begin alike ---------------------------------------------------------------------
def test_names_that_begin_alike_are_found(tiny: OpenFlamingo):
    names = ["red circle", "left p1", "p3", "left p2"]
    assert len(require_distinct(tiny, ["red circle", "left p1", "p3"])) == 3
    with pytest.raises(MfvError) as found:
        require_distinct(tiny, names)
    (diagnostic,) = found.value.diagnostics
    assert diagnostic.code == "MFV5340"
    assert diagnostic.notes == ("alike: left p1, left p2",)
    assert "answer = full" in (diagnostic.help or "")


def test_names_in_a_byte_level_tokenizer(model: OpenFlamingo):
    """As GPT-NeoX's: a name is behind `A:` without a space, so its first token has none either."""
    bytes_pairs = ByteLevelBPETokenizer()
    words = ["Q:red circle. A:redwood. red square", "A:blue star blueberry black"] * 50
    bytes_pairs.train_from_iterator(words, vocab_size=400, show_progress=False)
    other = copy.copy(model)
    other.tokenizer = bytes_pairs._tokenizer
    token, same, *others = other.first_tokens(["red circle", "red square", "blue star", "square"])
    assert token == same and token not in others
    assert other.text([token]) == "red"
    assert token == other.tokenizer.encode("red").ids[0] != other.tokenizer.encode(" red").ids[0]
