"""Questions with options: what is asked, and what a tokenizer cannot tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.asked import by_letter, by_text
from mfv_dsl.data.choices import Choice
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.execute.session import batched
from mfv_dsl.methods.answers import measure_answers, object_names
from mfv_dsl.methods.choices import measure_choices
from mfv_dsl.methods.outcomes import selected
from mfv_dsl.models.openflamingo import OpenFlamingo

SCENES = Scenes()


@pytest.mark.slow
def test_the_objects_around_by_their_names(tiny: OpenFlamingo):
    """Names of one token: of the objects around the likeliest is chosen, as `full` compares all."""
    prompts = draw_prompts(SCENES, "left", "test", 12, 4)
    (answer,) = measure_choices(
        tiny, lambda asked: batched(tiny, SCENES, asked), prompts, [[]], "choice_text"
    )
    found = answer.outcomes.choices
    assert found is not None and (found.counts == 4).all() and (found.text_tokens == 1).all()
    names = object_names(SCENES, "test")
    (full,) = measure_answers(tiny, batched(tiny, SCENES, prompts), [()], "full", names)
    np.testing.assert_allclose(
        np.exp(found.text_log_p[np.arange(12), found.right]), full.outcomes.p_answer, rtol=1e-4
    )
    np.testing.assert_allclose(
        found.p, np.exp(found.text_log_p) / np.exp(found.text_log_p).sum(1, keepdims=True),
        rtol=1e-6,
    )  # fmt: skip
    assert answer.outcomes.accuracy > 0.8
    assert found.by_letter is None and (found.by_text == found.chosen).all()
    few = selected(answer.outcomes, np.array([3, 1]))
    assert few.choices is not None and few.choices.p.shape == (2, 4)


def test_what_a_tokenizer_cannot_tell_apart_is_refused(tiny: OpenFlamingo):
    prompts = draw_prompts(SCENES, "left", "test", 2, 0)

    def asked(choice: Choice | None, how: str) -> MfvError:
        own = [Prompt((), replace(prompt.query, choice=choice)) for prompt in prompts]
        with pytest.raises(MfvError) as error:
            measure_choices(tiny, lambda asked: batched(tiny, SCENES, asked), own, [[]], how)
        return error.value

    assert asked(prompts[0].query.choice, "choice").code == "MFV5712"
    assert asked(Choice(("yes", "no"), 0), "yes_no").code == "MFV5712"
    assert asked(Choice(("one", "two"), 0), "choice_text").code == "MFV5713"
    assert asked(None, "choice_text").code == "MFV5710"


def test_questions_as_they_are_written():
    item = Item("1.png", "cup", "lamp", "left", choice=Choice(("a", "b", "c"), 2, "Which?\nSay."))
    prompt = Prompt((item,), item)
    asked = by_letter(prompt, 1)
    lines = ["Which?", "Say.", "A. b", "B. c", "C. a"]
    assert asked.query.query.split("\n")[:-1] == lines and asked.query.answer == "B"
    assert asked.demonstrations[0].answer == "B" and asked.whole
    assert by_text(prompt).query.query == "Which?\nSay." and by_text(prompt).whole
    named = by_text(Prompt((), replace(item, choice=Choice(("a", "lamp"), 1))))
    assert named.query.query == "cup" and not named.whole
