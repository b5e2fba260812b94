"""Edits at other tokens than the last: held against plain hooks on the models' own calls, one
prompt at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import IMAGES, Edit, Read, Span
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.prefix import encode_prefix, full_passes
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.engine.trace import tracing
from mfv_dsl.methods.analogy import measure_blends
from mfv_dsl.methods.answers import measure_answers
from mfv_dsl.methods.evaluation import measure, measure_many
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.vlm.load import load_folder
from tests.cases import one_quick
from tests.engine.plain_hooks import LAYER, POSITIONS, Plain, at, case, prompts_of
from tests.models.vlm.test_passes import batch_of, pictures
from tests.models.vlm.test_passes import text as text_of
from tests.models.vlm.test_prompts import Pictures, with_form
from tests.models.vlm.zoo import save_checkpoint


@pytest.fixture(params=["flamingo", "llava"])
def plain(request: pytest.FixtureRequest, scenes: Scenes) -> Plain:
    return Plain(request.param, scenes)


# -- against plain hooks ---------------------------------------------------------------------------
@pytest.mark.parametrize("site", one_quick(["lm.resid", "lm.attn", "lm.attn.out", "lm.mlp"]))
@pytest.mark.parametrize("name", POSITIONS)
def test_a_batch_is_what_a_plain_hook_gives_for_each_prompt(plain: Plain, site: str, name: str):
    edit, change = case(plain, site)
    prompts = prompts_of(plain.scenes)
    batch = plain.model.batch(prompts, plain.scenes)
    edited = full_pass(plain.model, batch, [at(edit, POSITIONS[name])]).logits
    unedited = full_pass(plain.model, batch).logits
    for row, prompt in enumerate(prompts):
        wanted = plain.logits(prompt, change, site, name)
        torch.testing.assert_close(edited[row], wanted, atol=2e-4, rtol=1e-4)
        assert float((wanted - unedited[row]).abs().max()) > 1e-2  # else nothing is shown


@pytest.mark.parametrize("name", one_quick(["all", "images", "{query}"]))
def test_scores_of_many_variants_are_those_of_their_own_passes(plain: Plain, name: str):
    edit, change = case(plain, "lm.resid")
    prompts = prompts_of(plain.scenes)
    batch = plain.model.batch(prompts, plain.scenes)
    variants = [[], [at(edit, POSITIONS[name])], [edit, at(case(plain, "lm.attn")[0], None)]]
    scores = full_passes(plain.model, batch).scores(variants)
    for number, variant in enumerate(variants):
        log_p = full_pass(plain.model, batch, variant).logits.log_softmax(-1)
        wanted = log_p.gather(1, batch.answers[:, None])[:, 0]
        torch.testing.assert_close(scores.log_p[:, number], wanted, atol=1e-5, rtol=1e-5)
    for row, prompt in enumerate(prompts):
        log_p = plain.logits(prompt, change, "lm.resid", name).log_softmax(-1)
        assert scores.log_p[row, 1] == pytest.approx(float(log_p[batch.answers[row]]), abs=2e-4)


def test_the_last_token_by_full_passes_is_the_last_token_behind_a_prefix(plain: Plain):
    batch = plain.model.batch(prompts_of(plain.scenes), plain.scenes)
    variants = [[], [case(plain, "lm.resid")[0]], [case(plain, "lm.attn")[0]]]
    apart = full_passes(plain.model, batch).scores(variants)
    shared = encode_prefix(plain.model, batch).scores(variants)
    torch.testing.assert_close(apart.log_p, shared.log_p, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all", "images", "Q:"])
def test_answers_of_several_tokens_are_edited_in_the_prompt_alone(plain: Plain, name: str):
    """A greedy generation and the scores of whole names, by hand: everything is run anew for each
    token, and only the prompt's tokens are changed."""
    edit, change = case(plain, "lm.resid")
    variant = [at(edit, POSITIONS[name])]
    model, prompts = plain.model, prompts_of(plain.scenes, (1, 0))
    batch = model.batch(prompts, plain.scenes)
    prefix = full_passes(model, batch)
    generated = continue_greedily(prefix, [variant], 3).tokens[0]
    names = [(7, 8), (7, 9, 5), (20,)]
    log_p = sequence_log_p(model, batch, names, variant)
    likeliest = likeliest_sequences(prefix, names, np.array([1, 1]), [variant])
    for row, prompt in enumerate(prompts):
        said: list[int] = []
        for _ in range(3):
            logits = plain.logits(prompt, change, "lm.resid", name, said)
            logits[sorted(model.banned_tokens)] = -torch.inf
            token = int(logits.argmax())
            if token in model.end_tokens:
                break
            said.append(token)
        assert list(generated[row]) == said
        for number, sequence in enumerate(names):
            total = 0.0
            for length, token in enumerate(sequence):
                logits = plain.logits(prompt, change, "lm.resid", name, sequence[:length])
                logits[sorted(model.banned_tokens)] = -torch.inf
                total += float(logits.log_softmax(-1)[token])
            assert float(log_p[row, number]) == pytest.approx(total, abs=1e-3)
        assert likeliest.best[row, 0] == int(log_p[row].argmax())
        assert likeliest.target_log_p[row, 0] == pytest.approx(float(log_p[row, 1]))


@pytest.mark.parametrize("how", one_quick(["first_token", "full", "generate"], "full"))
def test_all_ways_of_asking_take_them(plain: Plain, how: str):
    """And other batches than the one at hand: two, in parts of one prompt each."""
    model, scenes = plain.model, plain.scenes
    prompts = prompts_of(scenes, (1, 0, 2))
    edit = at(case(plain, "lm.resid")[0], Span("{query}"))
    names = sorted({name for p in prompts for name in (p.query.answer, p.query.query)})
    whole = [model.batch(prompts, scenes)]
    (together,) = measure_answers(model, whole, [[edit]], how, names, full_passes)
    each = [model.batch([prompt], scenes) for prompt in prompts]
    (apart,) = measure_answers(model, each, [[edit]], how, names, full_passes)
    assert together.names == apart.names
    np.testing.assert_allclose(together.outcomes.p_answer, apart.outcomes.p_answer, atol=1e-5)


def test_measuring_and_blending_take_them(plain: Plain):
    model, scenes = plain.model, plain.scenes
    prompts = prompts_of(scenes, (0, 0, 0))
    batch = model.batch(prompts, scenes)
    edit = at(case(plain, "lm.resid")[0], Span("{query}"))
    (outcomes,) = measure_many(model, [batch], [[edit]], full_passes)
    np.testing.assert_allclose(
        outcomes.p_answer, measure(model, [batch], [edit]).p_answer, atol=1e-6
    )
    other = at(Edit("lm.resid", LAYER, "add", -0.5 * edit.value), edit.positions)
    (blend,) = measure_blends(model, [(batch, batch)], [[[edit], [other]]], full_passes)
    p = [measure(model, [batch], [one]).p_answer for one in (edit, other)]
    np.testing.assert_allclose(blend.weights[:, 0], p[0] / (p[0] + p[1]), atol=1e-4)
    for row, prompt in enumerate(prompts):
        value = blend.weights[row, 0] * edit.value + blend.weights[row, 1] * other.value
        one = Edit("lm.resid", LAYER, "add", value.float(), positions=edit.positions)
        alone = measure(model, [model.batch([prompt], scenes)], [one])
        assert blend.outcomes.p_answer[row] == pytest.approx(alone.p_answer[0], abs=1e-4)


def test_values_of_their_own_go_to_their_prompts(plain: Plain):
    model, scenes = plain.model, plain.scenes
    prompts = prompts_of(scenes)
    batch, values = model.batch(prompts, scenes), torch.randn(3, model.facts.d_model)
    for positions in (None, IMAGES, Span("Q:")):
        edit = Edit("lm.resid", LAYER, "add", values, positions=positions)
        together = full_pass(model, batch, [edit]).logits
        for row, prompt in enumerate(prompts):
            own = Edit("lm.resid", LAYER, "add", values[row], positions=positions)
            alone = full_pass(model, model.batch([prompt], scenes), [own]).logits
            torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("operation", ["add", "replace", "scale", "project_out"])
def test_every_operation_at_all_tokens(plain: Plain, operation: Any):
    """As if every position were named."""
    model = plain.model
    batch = model.batch(prompts_of(plain.scenes), plain.scenes)
    value, length = torch.randn(2, model.facts.head_dim), batch.tokens.shape[1]
    readings = []
    for positions in (None, tuple(range(-length, 0))):
        edit = Edit("lm.attn", LAYER, operation, value, (2, 0), positions)
        read = Read("lm.attn", LAYER, None)
        readings.append(full_pass(model, batch, [edit], [read]).readings[0])
    assert torch.equal(*readings)


# -- other architectures ---------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "gemma3", "paligemma", "mllama", "idefics"])
def test_other_architectures(name: str, tmp_path_factory: pytest.TempPathFactory):
    """Small ones of random weights: padded rows are what each is alone, and what a plain hook on
    the model's own layer gives."""
    model = load_folder(save_checkpoint(name, tmp_path_factory.mktemp(name)), name, dtype="fp32",
                        device="cpu")  # fmt: skip
    value = torch.randn(model.facts.d_model, generator=torch.Generator().manual_seed(1))
    shots = (2, 0, 1)
    batch = batch_of(model, shots)
    said = [[model.tokenizer.decode([int(token)]).strip() for token in row] for row in batch.tokens]
    masks = {
        None: batch.mask.bool(),
        IMAGES: batch.tokens == model.image_token,
        Span("Q:table"): torch.zeros_like(batch.tokens, dtype=torch.bool),
    }
    for row, texts in enumerate(said):  # the query is the last line, and begins with its `Q`
        first = max(place for place, text in enumerate(texts) if text in ("Q", "Q:"))
        last = max(place for place, text in enumerate(texts) if text == ".") - 1
        assert first < last
        masks[Span("Q:table")][row, first : last + 1] = True
    for positions, mask in masks.items():
        edit = Edit("lm.resid", 1, "add", value, positions=positions)

        def added(_: Any, __: Any, out: Any, mask: torch.Tensor = mask) -> Any:
            more = mask[..., None] * value
            return (out[0] + more, *out[1:]) if isinstance(out, tuple) else out + more

        together = full_pass(model, batch, [edit]).logits
        with tracing() as touches:
            full_pass(model, batch, [edit])
        assert len(touches) == int(mask.sum())
        handle = model.layers[1].register_forward_hook(added)
        try:
            by_hand = model.forward(batch)
        finally:
            handle.remove()
        torch.testing.assert_close(together, by_hand, atol=1e-5, rtol=1e-5)
        assert float((by_hand - model.forward(batch)).abs().max()) > 1e-3
        for row, k in enumerate(shots):
            single = model.texts([text_of(model, k)], [pictures(k + 1, row)])
            alone = full_pass(model, single, [edit]).logits[0]
            torch.testing.assert_close(together[row], alone, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["chat", "plain"])
@pytest.mark.parametrize("name", ["ant", "end", "assistant", "A", "table"])
def test_a_name_is_where_the_prompt_asks_about_it(
    name: str, form: str, tmp_path_factory: pytest.TempPathFactory
):
    """And not where its letters happen to stand behind that, as those of `ant` in `assistant`."""
    folder = save_checkpoint("qwen3_vl", tmp_path_factory.mktemp("qwen"))
    model = with_form(load_folder(folder, "qwen", dtype="fp32", device="cpu"), form)
    prompts = [Prompt((), Item("1", name, "plate", "left"))]
    batch = model.batch(prompts, Pictures())
    said = [model.tokenizer.decode([int(token)]) for token in batch.tokens[0]]
    colon = max(n for n, text in enumerate(said) if text in ("Q:", "Q") and said[n - 1][:1] == "<")
    asked = said[colon + (1 if said[colon] == "Q:" else 2) :]
    length = next(n for n in range(1, len(asked)) if "".join(asked[:n]) == name)
    for span, more in (("{query}", 0), ("{query}.", 1)):
        edit = Edit("lm.resid", 1, "add", torch.ones(model.facts.d_model), positions=Span(span))
        with tracing() as touches:
            full_pass(model, batch, [edit])
        first = len(said) - len(asked)
        assert [touch.token for touch in touches] == [*range(first, first + length + more)]


# -- what cannot be done ---------------------------------------------------------------------------
def test_a_prompt_without_the_text_is_refused(plain: Plain):
    batch = plain.model.batch(prompts_of(plain.scenes), plain.scenes)
    edit = at(case(plain, "lm.resid")[0], Span("Q: left"))
    runs: list[Callable[[], Any]] = [
        lambda: full_pass(plain.model, batch, [edit]),
        lambda: generate(plain.model, batch, 1, [edit]),
        lambda: sequence_log_p(plain.model, batch, [(7,)], [edit]),
    ]
    for run in runs:
        with pytest.raises(MfvError, match="no `Q: left` in the query `Q:") as raised:
            run()
        assert raised.value.code == "MFV5121"


def test_a_text_without_a_picture_is_refused(plain: Plain):
    batch = plain.model.texts(["Q:red circle. A:"], [[]])
    with pytest.raises(MfvError, match="no token of a picture") as raised:
        full_pass(plain.model, batch, [at(case(plain, "lm.resid")[0], IMAGES)])
    assert raised.value.code == "MFV5121"


def test_texts_of_ones_own_have_texts_to_write_to(plain: Plain):
    """The last time that it stands there, and not in a demonstration."""
    picture = plain.scenes.pictures(prompts_of(plain.scenes)[0].images[:1], 40)[0]
    text = "<image>Q:red circle. A:blue ring.\n<image>Q:blue ring. A:"
    if plain.is_flamingo:
        text = text.replace("\n", "<|endofchunk|>")
    batch = plain.model.texts([text], [[picture, picture]])
    edit = at(case(plain, "lm.resid")[0], Span("blue ring"))
    with tracing() as touches:
        full_pass(plain.model, batch, [edit])
    length = int(batch.mask.sum())
    assert [touch.token - length for touch in touches] == [-3]
    with pytest.raises(MfvError, match="no `{query}` in the query"):
        full_pass(plain.model, batch, [at(edit, Span("{query}"))])


def test_the_shared_prefix_refuses_them(plain: Plain):
    batch = plain.model.batch(prompts_of(plain.scenes), plain.scenes)
    for positions in (None, IMAGES, Span("Q:"), torch.ones(batch.tokens.shape, dtype=torch.bool)):
        with pytest.raises(MfvError) as raised:
            encode_prefix(plain.model, batch).scores([[at(case(plain, "lm.resid")[0], positions)]])
        assert raised.value.code == "MFV5106"


def test_generated_tokens_have_none_of_them(plain: Plain):
    batch = plain.model.batch(prompts_of(plain.scenes), plain.scenes)
    for positions in (IMAGES, Span("Q:")):
        with pytest.raises(MfvError) as raised:
            edit = at(case(plain, "lm.resid")[0], positions)
            generate(plain.model, batch, 2, [edit], everywhere=True)
        assert raised.value.code == "MFV5107"


def test_a_word_that_is_no_position(plain: Plain):
    with pytest.raises(ArgumentError, match="IMAGES or a Span"):
        at(case(plain, "lm.resid")[0], "image")  # type: ignore[arg-type]


def test_texts_that_are_not_known_are_refused(plain: Plain):
    batch = plain.model.batch(prompts_of(plain.scenes), plain.scenes)
    edit = at(case(plain, "lm.resid")[0], Span("Q:"))
    values = {f: getattr(batch, f) for f in batch.__dataclass_fields__}
    for queries in ((), tuple("another Q:" for _ in batch.queries)):
        other: PromptBatch = type(batch)(**{**values, "queries": queries})
        with pytest.raises(MfvError) as raised:
            full_pass(plain.model, other, [edit])
        assert raised.value.code == "MFV5122"
