"""Edits at other tokens than the last: held against plain hooks on the models' own calls, one
prompt at a time; and where tokens and texts belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import pad

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.token_texts import tokens_of
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import IMAGES, LAST, Edit, Positions, Read, Span
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.prefix import encode_prefix, full_passes
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.engine.trace import tracing
from mfv_dsl.methods.analogy import measure_blends
from mfv_dsl.methods.answers import measure_answers
from mfv_dsl.methods.evaluation import measure, measure_many
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.vlm.load import load_folder
from tests.models.vlm.test_passes import batch_of, pictures
from tests.models.vlm.test_passes import text as text_of
from tests.models.vlm.zoo import save_checkpoint

LAYER = 1
#: The text of each position that is one, and the places of its tokens in `Q : name . A :`, counted
#: from the end, of models whose tokens are `Q:`, the name, `.` and `A:`.
TEXTS = {"Q:": (-4,), "{query}": (-3,), ". A": (-2, -1), "{query}. A:": (-3, -2, -1)}
POSITIONS: dict[str, Positions] = {
    "last": LAST, "all": None, "images": IMAGES, **{text: Span(text) for text in TEXTS},
}  # fmt: skip


@lru_cache
def bundled(name: str) -> Any:
    return mfv.load_model("tiny" if name == "flamingo" else 'tiny("llava")')


def prompts_of(scenes: Scenes, shots: Sequence[int] = (2, 0, 1)) -> list[Prompt]:
    """Prompts of different lengths, about different objects."""
    relations = ("left", "above", "right", "below")
    return [
        draw_prompts(scenes, relations[n % 4], "test", 4, k)[n % 4] for n, k in enumerate(shots)
    ]


def tokens_at(name: str, tokens: torch.Tensor, image: int) -> list[int]:
    """The places in one prompt's ``tokens`` that a position means, as it is documented."""
    length = len(tokens)
    if name == "last":
        return [length - 1]
    if name == "all":
        return list(range(length))
    if name == "images":
        return [place for place in range(length) if tokens[place] == image]
    return [length + place for place in TEXTS[name]]


class Plain:
    """A bundled model called as its own library calls it, with a plain hook of PyTorch on it."""

    def __init__(self, name: str, scenes: Scenes) -> None:
        self.model, self.scenes, self.is_flamingo = bundled(name), scenes, name == "flamingo"
        whole = self.model.model
        layers = whole.lang_encoder.gpt_neox.layers if self.is_flamingo else (
            whole.model.language_model.layers
        )  # fmt: skip
        block = layers[LAYER]
        decoder = block.decoder_layer if self.is_flamingo else block
        attention = decoder.attention.dense if self.is_flamingo else decoder.self_attn.o_proj
        self.modules = {
            "lm.resid": block, "lm.attn": attention, "lm.attn.out": attention, "lm.mlp": decoder.mlp
        }  # fmt: skip
        self.image = whole.media_token_id if self.is_flamingo else whole.config.image_token_id

    def inputs(self, prompt: Prompt, more: Sequence[int] = ()) -> dict[str, torch.Tensor]:
        """What the library's own call takes for one prompt, with tokens behind it."""
        model, behind = self.model, torch.tensor([list(more)], dtype=torch.long)
        pictures = self.scenes.pictures(prompt.images, 40)
        text = model.template.text(prompt)
        if self.is_flamingo:
            tokens = torch.cat([torch.tensor([model.tokenizer.encode(text).ids]), behind], 1)
            pixels = model.preprocess(pictures)[None, :, None]
            mask = torch.ones_like(tokens)
            return {"vision_x": pixels, "lang_x": tokens, "attention_mask": mask}
        images = [Image.fromarray(picture) for picture in pictures]
        made = model.processor(text=[text], images=[images], return_tensors="pt")
        tokens = torch.cat([made["input_ids"], behind], 1)
        return {"pixel_values": made["pixel_values"], "input_ids": tokens,
                "attention_mask": torch.ones_like(tokens)}  # fmt: skip

    @torch.no_grad()
    def logits(
        self, prompt: Prompt, change: Callable[[torch.Tensor], torch.Tensor], site: str, name: str,
        more: Sequence[int] = (),
    ) -> torch.Tensor:  # fmt: skip
        """Of the next token behind one prompt, with ``change`` made to some of its tokens."""
        inputs = self.inputs(prompt, more)
        tokens = inputs["lang_x" if self.is_flamingo else "input_ids"][0]
        places = tokens_at(name, tokens[: len(tokens) - len(more)], self.image)

        def changed(states: torch.Tensor) -> torch.Tensor:
            states = states.clone()
            states[0, places] = change(states[0, places])
            return states

        def behind(_: Any, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (changed(output[0]), *output[1:])
            return changed(output)

        module = self.modules[site]
        if site == "lm.attn":
            handle = module.register_forward_pre_hook(lambda _, given: (changed(given[0]),))
        else:
            handle = module.register_forward_hook(behind)
        try:
            result: torch.Tensor = self.model.model(**inputs).logits[0, -1]
        finally:
            handle.remove()
        return result


@pytest.fixture(params=["flamingo", "llava"])
def plain(request: pytest.FixtureRequest, scenes: Scenes) -> Plain:
    return Plain(request.param, scenes)


def case(plain: Plain, site: str) -> tuple[Edit, Callable[[torch.Tensor], torch.Tensor]]:
    """An edit at the last token of LAYER, and the same by hand; large enough to matter."""
    facts = plain.model.facts
    generator = torch.Generator().manual_seed(3)
    if site != "lm.attn":
        value = 6 * torch.randn(facts.d_model, generator=generator)
        return Edit(site, LAYER, "add", value), lambda states: states + value
    value = 20 * torch.randn(2, facts.head_dim, generator=generator)

    def replaced(states: torch.Tensor) -> torch.Tensor:
        heads = states.reshape(len(states), facts.n_heads, facts.head_dim).clone()
        heads[:, [3, 1]] = value
        return heads.reshape(states.shape)

    return Edit(site, LAYER, "replace", value, heads=(3, 1)), replaced


def at(edit: Edit, positions: Positions) -> Edit:
    return Edit(edit.site, edit.layer, edit.operation, edit.value, edit.heads, positions)


# -- against plain hooks ---------------------------------------------------------------------------
@pytest.mark.parametrize("site", ["lm.resid", "lm.attn", "lm.attn.out", "lm.mlp"])
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


@pytest.mark.parametrize("name", ["all", "images", "{query}"])
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


@pytest.mark.parametrize("how", ["first_token", "full", "generate"])
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
@pytest.mark.parametrize("name", ["qwen3_vl", "llava", "gemma3", "paligemma", "mllama", "idefics"])
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


def test_texts_that_are_not_known_are_refused(plain: Plain):
    batch = plain.model.batch(prompts_of(plain.scenes), plain.scenes)
    edit = at(case(plain, "lm.resid")[0], Span("Q:"))
    values = {f: getattr(batch, f) for f in batch.__dataclass_fields__}
    for queries in ((), tuple("another Q:" for _ in batch.queries)):
        other: PromptBatch = type(batch)(**{**values, "queries": queries})
        with pytest.raises(MfvError) as raised:
            full_pass(plain.model, other, [edit])
        assert raised.value.code == "MFV5122"


# -- calls of one's own ----------------------------------------------------------------------------
@contextmanager
def padded(plain: Plain, side: str) -> Iterator[tuple[list[Prompt], dict[str, torch.Tensor]]]:
    """Two prompts in one call of the library's, padded on a side."""
    prompts = prompts_of(plain.scenes, (1, 0))
    rows = [plain.inputs(prompt) for prompt in prompts]
    key = "lang_x" if plain.is_flamingo else "input_ids"
    longest = max(row[key].shape[1] for row in rows)
    filling = plain.model.pad_token if plain.is_flamingo else plain.model.tokenizer.pad_token_id
    for name, filler in ((key, filling), ("attention_mask", 0)):
        for row in rows:
            more = torch.full((1, longest - row[name].shape[1]), filler)
            parts = [more, row[name]] if side == "left" else [row[name], more]
            row[name] = torch.cat(parts, 1)
    call = {name: torch.cat([row[name] for row in rows]) for name in (key, "attention_mask")}
    if plain.is_flamingo:
        most = max(row["vision_x"].shape[1] for row in rows)
        call["vision_x"] = torch.cat([
            pad(row["vision_x"], (0,) * 8 + (0, most - row["vision_x"].shape[1]))
            for row in rows
        ])  # fmt: skip
    else:
        call["pixel_values"] = torch.cat([row["pixel_values"] for row in rows])
    yield prompts, call


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["last", "all", "images"])
def test_edits_of_ones_own_calls(plain: Plain, name: str, side: str):
    edit, change = case(plain, "lm.resid")
    with padded(plain, side) as (prompts, call):
        bound = HookPlan.of(plain.model.model, [at(edit, POSITIONS[name])])
        positions = {}
        if not plain.is_flamingo:
            positions["position_ids"] = (call["attention_mask"].cumsum(-1) - 1).clamp_min(0)
        with torch.no_grad(), bound.attach():
            logits = plain.model.model(**call, **positions).logits
    lengths = call["attention_mask"].sum(-1).tolist()
    for row, prompt in enumerate(prompts):
        if plain.is_flamingo and side == "left" and row == 1:
            continue  # its own call counts positions from the padding
        wanted = plain.logits(prompt, change, "lm.resid", name)
        end = -1 if side == "left" else lengths[row] - 1
        torch.testing.assert_close(logits[row, end], wanted, atol=2e-4, rtol=1e-4)


def test_a_generation_of_ones_own_is_edited_at_its_pictures(scenes: Scenes):
    """New tokens are no pictures, and are left as they are."""
    plain = Plain("llava", scenes)
    edit, change = case(plain, "lm.resid")
    (prompt,) = prompts_of(scenes, (1,))
    inputs = plain.inputs(prompt)
    with torch.no_grad(), HookPlan.of(plain.model, [at(edit, IMAGES)]).attach() as hooks:
        tokens = plain.model.model.generate(**inputs, max_new_tokens=2, do_sample=False)
    said = tokens[0, inputs["input_ids"].shape[1] :].tolist()
    assert said[0] == int(plain.logits(prompt, change, "lm.resid", "images").argmax())
    if len(said) > 1:
        assert said[1] == int(plain.logits(prompt, change, "lm.resid", "images", said[:1]).argmax())
    assert sum(hooks.firings.values()) == 1


def test_what_calls_do_not_tell(plain: Plain):
    edit = case(plain, "lm.resid")[0]
    with pytest.raises(MfvError, match='tokens of "Q:"') as raised:
        HookPlan.of(plain.model.model, [at(edit, Span("Q:"))])
    assert raised.value.code == "MFV5123"
    with pytest.raises(MfvError) as raised:  # hooks without a prompt
        Hooks(plain.model.model, plain.model.sites, [at(edit, IMAGES)])
    assert raised.value.code == "MFV5123"
    from transformers import GPT2Config, GPT2LMHeadModel

    words = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=9, n_positions=8))
    with pytest.raises(MfvError, match="does not name them") as raised:
        HookPlan.of(words, [Edit("lm.resid", 0, "add", torch.ones(32), positions=IMAGES)])
    assert raised.value.code == "MFV5123"


def test_calls_without_ids_or_pictures(scenes: Scenes):
    plain = Plain("llava", scenes)
    edit = at(case(plain, "lm.resid")[0], IMAGES)
    inner = plain.model.model.model.language_model
    states = torch.randn(1, 4, plain.model.facts.d_model)
    with (
        pytest.raises(MfvError, match="stand for pictures is not known"), torch.no_grad(),
        HookPlan.of(plain.model, [edit]).attach(),
    ):  # fmt: skip
        inner(inputs_embeds=states)
    with (
        pytest.raises(MfvError, match="no call had a token of a picture"), torch.no_grad(),
        HookPlan.of(plain.model, [edit]).attach(),
    ):  # fmt: skip
        plain.model.model(input_ids=torch.tensor([[5, 6, 7]]))


# -- tokens and texts ------------------------------------------------------------------------------
SAID = {0: b"<s>", 1: b"Q", 2: b":", 3: b"\n", 4: b" blue", 5: b" cup", 6: b".", 7: b"\xc3",
        8: b"\xa9", 9: b"A:"}  # fmt: skip
TEXT = "Q:\n blue cup.\u00e9A:"


def surface(tokens: Sequence[int]) -> str:
    """As a byte-level tokenizer decodes: of a character that is not whole it gives a mark."""
    return b"".join(SAID[token] for token in tokens).decode(errors="replace")


def without_blanks(tokens: Sequence[int]) -> str:
    """As a tokenizer decodes that gives blanks of its own."""
    return surface(tokens).replace("\n", "").replace(" ", "  ") + " "


@pytest.mark.parametrize("decode", [surface, without_blanks])
@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ("Q", [1]), ("Q:", [1, 2]), (":\n blue", [2, 3, 4]), ("blue", [4]), ("ue c", [4, 5]),
        ("blue cup", [4, 5]), ("cup.", [5, 6]), ("\u00e9", [7, 8]), (".\u00e9", [6, 7, 8]),
        ("\u00e9A", [7, 8, 9]),
    ],
)  # fmt: skip
def test_the_tokens_that_hold_a_text(decode: Any, wanted: str, places: list[int]):
    start = TEXT.index(wanted)
    found = tokens_of(decode, range(10), TEXT, start, start + len(wanted))
    assert found is not None and list(found) == places


def test_tokens_that_say_something_else():
    assert tokens_of(surface, range(10), TEXT.replace("blue", "red"), 0, 2) is None
    assert tokens_of(surface, range(9), TEXT, 0, 2) is None
    assert tokens_of(surface, range(10), " ", 0, 1) is None
