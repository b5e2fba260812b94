"""Questions with options asked of transformers' models, held to full passes on single prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.asked import by_letter, by_text, yes_or_no
from mfv_dsl.data.choices import Choice
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.prefix import full_passes
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.execute.session import batched
from mfv_dsl.methods.choices import measure_choices
from mfv_dsl.models.vlm.backend import VisionLanguageModel

Loaded = Callable[[str], VisionLanguageModel]
SCENES = Scenes()
ASKED = Choice(("The ring is left of it", "It is above", "Neither"), 1, "Where is the ring?")


def questions(choices: list[Choice], shots: int = 0) -> list[Prompt]:
    """Prompts of scenes, each asked a question with options in place of its own."""
    prompts = draw_prompts(SCENES, "left", "test", len(choices), shots)
    return [
        Prompt(
            tuple(replace(item, choice=choice) for item in prompt.demonstrations),
            replace(prompt.query, choice=choice),
        )
        for prompt, choice in zip(prompts, choices, strict=True)
    ]


def next_log_p(backend: VisionLanguageModel, prompt: Prompt, edits: list[Edit]) -> np.ndarray:
    """The next token's log-probabilities, by a full pass on the prompt alone."""
    with torch.no_grad():
        logits = full_pass(backend, backend.batch([prompt], SCENES), edits).logits[0]
    return logits.double().log_softmax(-1).numpy()


def first_tokens(backend: VisionLanguageModel, *words: str) -> set[int]:
    """The first tokens of words, with a blank before and without; not the blank alone, with which
    this tokenizer begins every word."""
    spelled = [f"{blank}{word}" for word in words for blank in ("", " ")]
    tokens = {backend.tokenizer.encode(w, add_special_tokens=False)[0] for w in spelled}
    return tokens - {backend.tokenizer.encode(" ", add_special_tokens=False)[0]}


@pytest.mark.slow
def test_letters_are_averaged_over_all_turns(loaded: Loaded):
    known = loaded("qwen2_vl")
    backend = VisionLanguageModel(
        known.model, known.processor, known.architecture, known.facts, "turns"
    )
    prompts = questions([ASKED, Choice(("yes", "no"), 0, "Is it?"), ASKED], shots=1)
    edit = Edit("lm.resid", 1, "add", 3 * torch.randn(64, generator=torch.manual_seed(0)))
    variants: list[list[Edit]] = [[], [edit]]
    answers = measure_choices(
        backend, lambda asked: batched(backend, SCENES, asked, 4), prompts, variants, "choice"
    )
    by_passes = measure_choices(
        backend, lambda asked: batched(backend, SCENES, asked, 4), prompts, variants, "choice",
        full_passes,
    )  # fmt: skip
    for edits, answer, other in zip(variants, answers, by_passes, strict=True):
        found = answer.outcomes.choices
        assert found is not None and other.outcomes.choices is not None
        np.testing.assert_allclose(found.p, other.outcomes.choices.p, atol=1e-5)
        np.testing.assert_allclose(found.text_log_p, other.outcomes.choices.text_log_p, atol=1e-4)
        for i, prompt in enumerate(prompts):
            options = prompt.query.choice.options  # type: ignore[union-attr]
            n = len(options)
            p, mass = np.zeros(n), 0.0
            for turn in range(n):
                log_p = next_log_p(backend, by_letter(prompt, turn), edits)
                own = np.array(
                    [
                        np.exp(log_p[list(first_tokens(backend, letter))]).sum()
                        for letter in "ABC"[:n]
                    ]
                )
                mass += own.sum() / n
                p += np.roll(own / own.sum(), turn) / n
            np.testing.assert_allclose(found.p[i, :n], p, atol=1e-5)
            assert (found.p[i, n:] == 0).all()
            assert found.said[i] == pytest.approx(mass, rel=1e-3)
            tokens = backend.answer_tokens(list(options), whole=True)
            batch = backend.batch([by_text(prompt)], SCENES)
            log_p = sequence_log_p(backend, batch, tokens, edits)[0].numpy()
            np.testing.assert_allclose(found.text_log_p[i, :n], log_p, atol=1e-4)
            assert found.text_tokens[i, :n].tolist() == list(map(len, tokens))
            assert answer.names[i] == options[int(p.argmax())]
    assert not np.allclose(answers[0].outcomes.p_answer, answers[1].outcomes.p_answer)


@pytest.mark.slow
def test_a_liking_for_one_letter_decides_nothing(loaded: Loaded):
    """A model that always says A chooses by letter in order the first option; over all turns every
    option is as likely."""
    backend = loaded("qwen2_vl")
    prompts = questions([ASKED, Choice(("one", "two", "three"), 2, "Which?")])
    a = min(first_tokens(backend, "A"))
    toward = backend.model.get_output_embeddings().weight[a].detach()
    edit = Edit("lm.resid", 3, "replace", 1000 * toward / toward.norm())
    (answer,) = measure_choices(
        backend, lambda asked: batched(backend, SCENES, asked), prompts, [[edit]], "choice"
    )
    found = answer.outcomes.choices
    assert found is not None and found.in_order.tolist() == [0, 0]
    np.testing.assert_allclose(found.p, 1 / 3, atol=1e-3)


@pytest.mark.slow
def test_yes_and_no_are_compared_in_all_spellings(loaded: Loaded):
    backend = loaded("gemma3")
    prompts = questions([Choice(("yes", "no"), 0, "Is it?"), Choice(("No", "Yes"), 1, "Has it?")])
    (answer,) = measure_choices(
        backend, lambda asked: batched(backend, SCENES, asked), prompts, [[]], "yes_no"
    )
    found = answer.outcomes.choices
    assert found is not None
    only = {w: list(first_tokens(backend, w, w.title(), w.upper())) for w in ("yes", "no")}
    for i, prompt in enumerate(prompts):
        log_p = next_log_p(backend, yes_or_no(prompt), [])
        yes, no = (np.exp(log_p[only[word]]).sum() for word in ("yes", "no"))
        assert answer.outcomes.p_answer[i] == pytest.approx(yes / (yes + no), rel=1e-4)
    assert answer.names[0] in ("yes", "no") and answer.names[1] in ("Yes", "No")
    with pytest.raises(MfvError, match="are not yes and no") as error:
        measure_choices(
            backend, lambda asked: batched(backend, SCENES, asked), questions([ASKED]), [[]],
            "yes_no",
        )  # fmt: skip
    assert error.value.code == "MFV5711"


@pytest.mark.slow
def test_a_recipe_asks_by_letter(checkpoint: Callable[[str], Path], tmp_path: Path):
    """Demonstrations, vectors, other tokens and comparisons go with letters."""
    result = mfv.Recipe(f"""mfv 1
model m = hf("{checkpoint("qwen2_vl").as_posix()}", dtype=fp32, device=cpu)
dataset d = scenes(relations=[left, right])
defaults {{ answer = choice, items = 3 }}
eval zero {{ metrics = [accuracy, chance, letter_accuracy, text_accuracy] }}
eval few {{ shots = 1, against = zero }}
eval raw {{
  add = [mean(states(each, layer=1, trials=4)), mean(states(left, layer=1, trials=4))]
  layer = [1, 2], choose = [add, layer], against = zero
}}
eval everywhere {{
  project_out = mean(states(left, layer=1, trials=4)), layer = 1, position = all, on = [left]
}}
""").run(tmp_path / "run")
    rows = {(row.eval, row.relation): row for row in result.rows}
    assert not any(row.error for row in result.rows)
    zero = rows["zero", None]
    assert zero.chance == 0.25 and None not in (zero.letter_accuracy, zero.text_accuracy)
    assert zero.p_said is not None and 0 < zero.p_said < 1
    lines = result.to_pandas("options")
    shares = lines.groupby(["eval", "relation", "image"])["p"].sum()
    np.testing.assert_allclose(shares, 1, atol=1e-6)
    assert len(lines) == 4 * (3 * 3 * 2 + 3)
