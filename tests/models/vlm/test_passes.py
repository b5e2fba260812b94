"""Every architecture: copies of the last token against full passes, and against transformers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.exactness import check_exact, largest_difference
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate, generate_texts
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix import FullPasses, Prefix, encode_prefix
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.batch import VlmBatch
from mfv_dsl.models.vlm.load import load_folder
from tests.models.vlm.zoo import ZOO

QUICK = ("llava", "qwen3_vl", "gemma3")
ARCHITECTURES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ZOO
]
Loaded = Callable[[str], VisionLanguageModel]


def pictures(n: int, seed: int = 0, sizes: tuple[tuple[int, int], ...] = ((56, 56),)) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (*sizes[i % len(sizes)], 3), dtype=np.uint8) for i in range(n)]


def text(model: VisionLanguageModel, shots: int) -> str:
    mark = model.architecture.mark
    return f"{mark}Q:mug. A: plate.\n" * shots + f"{mark}Q:table. A:"


def batch_of(
    model: VisionLanguageModel, shots: tuple[int, ...] = (2, 1), sizes: Any = ((56, 56),)
) -> VlmBatch:
    """Prompts of different lengths, so that the shorter ones are padded."""
    images = [pictures(k + 1, seed, sizes) for seed, k in enumerate(shots)]
    return model.texts([text(model, k) for k in shots], images, ["plate"] * len(shots))


def in_double(model: VisionLanguageModel) -> VisionLanguageModel:
    """The same model in float64."""
    return VisionLanguageModel(
        copy.deepcopy(model.model).double(), model.processor, model.architecture, model.facts,
        model.form.name,
    )  # fmt: skip


def edits(model: VisionLanguageModel) -> Iterator[Edit]:
    """An edit at every site of the last token, in its first, a middle and its last layer."""
    generator = torch.Generator().manual_seed(1)
    for name, site in model.sites.items():
        if site.of_pictures:
            continue
        shape = (site.width,) if site.heads is None else (site.heads, site.width)
        for layer in site.layers[:: max(1, len(site.layers) - 2)]:
            yield Edit(name, layer, "add", torch.randn(shape, generator=generator))
    site = model.sites["lm.attn"]
    for layer in site.layers:
        value = torch.randn(1, site.width, generator=generator)
        yield Edit("lm.attn", layer, "replace", value, heads=(layer % 4,))


def differences(model: VisionLanguageModel, batch: VlmBatch) -> tuple[float, float]:
    """The largest difference between copies and full passes over all edits, and the largest effect
    that an edit has."""
    variants = [[], *([edit] for edit in edits(model))]
    with torch.no_grad():
        scores = encode_prefix(model, batch).scores(variants)
        passes = torch.stack(
            [
                full_pass(model, batch, variant).logits.log_softmax(-1)
                .gather(1, batch.answers[:, None])[:, 0]
                for variant in variants
            ], dim=1,
        )  # fmt: skip
    effect = (passes[:, 1:] - passes[:, :1]).abs().max()
    return float((scores.log_p - passes).abs().max()), float(effect)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_copies_equal_full_passes_at_every_site(name: str, loaded: Loaded):
    model = loaded(name)
    difference, effect = differences(model, batch_of(model, (2, 0, 1)))
    assert difference < 1e-5
    assert effect > 0.05  # else the comparison shows nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_and_in_double_precision_to_its_rounding(name: str, loaded: Loaded):
    model = in_double(loaded(name))
    assert differences(model, batch_of(model))[0] < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shots", [((2, 0, 1), (1,), (0, 2)), ((1,), (1,)), ((1, 1, 1),) * 2])
def test_vectors_added_to_several_batches_at_once(
    name: str, shots: tuple[tuple[int, ...], ...], loaded: Loaded
):
    """Also where the batches have the same shape, so that no size tells prompts from the rest."""
    model = loaded(name)
    prefixes = [encode_prefix(model, batch_of(model, numbers)) for numbers in shots]
    generator = torch.Generator().manual_seed(1)
    for layer in (0, model.facts.n_layers - 2):
        vectors = [torch.randn(model.facts.d_model, generator=generator) for _ in prefixes]
        with torch.no_grad():
            edits = [[Edit("lm.resid", layer, "add", vector)] for vector in vectors]
            found = Injection(prefixes).log_p(edits)
            wanted = [
                prefix.scores([own]).log_p[:, 0]
                for prefix, own in zip(prefixes, edits, strict=True)
            ]
        torch.testing.assert_close(found, torch.cat(wanted), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llava", pytest.param("qwen3_vl", marks=pytest.mark.slow)])
def test_they_take_one_pass(name: str, loaded: Loaded):
    model = loaded(name)
    prefixes = [encode_prefix(model, batch_of(model, numbers)) for numbers in ((2, 1), (0,))]
    injection, vector = Injection(prefixes), torch.zeros(model.facts.d_model)
    edits = [[Edit("lm.resid", 1, "add", vector)]] * 2
    injection.log_p(edits)
    rows: list[int] = []
    handle = model.layers[-1].register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        injection.log_p(edits)
    finally:
        handle.remove()
    assert rows == [3]


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "mistral3", "internvl", "smolvlm"])
@pytest.mark.slow
def test_pictures_of_mixed_sizes(name: str, loaded: Loaded):
    model = loaded(name)
    batch = batch_of(model, (2, 1), ((56, 56), (56, 112), (112, 60)))
    assert differences(model, batch)[0] < 1e-5


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_model_sees_what_its_own_processor_gives_it(name: str, loaded: Loaded):
    """Pictures that were encoded beforehand give the logits of transformers' own call."""
    model = loaded(name)
    shots = (2, 1)
    batch = batch_of(model, shots)
    shown = [pictures(k + 1, seed) for seed, k in enumerate(shots)]
    inputs = dict(model.inputs.processed([text(model, k) for k in shots], shown))
    inputs.pop("labels", None)
    with torch.no_grad():
        own = model.model(**inputs).logits[:, -1].log_softmax(-1)
        ours = model.forward(batch).log_softmax(-1)
    assert float((own - ours).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_generation_is_the_models_own(name: str, loaded: Loaded):
    model = loaded(name)
    images, prompt = pictures(3), text(model, 2)
    inputs = dict(model.inputs.processed([prompt], [images]))
    inputs.pop("labels", None)
    with torch.no_grad():
        own = model.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    tokens = own[0, inputs["input_ids"].shape[1] :].tolist()
    (ours,) = generate_texts(model, [prompt], [images], max_new_tokens=6)
    ends = [tokens.index(end) for end in model.end_tokens if end in tokens]
    assert ours == model.text(tokens[: min(ends, default=len(tokens))])


@pytest.mark.parametrize("name", ["llava", pytest.param("qwen3_vl", marks=pytest.mark.slow),
                                  pytest.param("gemma3", marks=pytest.mark.slow)])  # fmt: skip
def test_gradients_equal_those_of_full_passes(name: str, loaded: Loaded):
    model = in_double(loaded(name))
    batch = batch_of(model)
    added = torch.zeros(model.facts.d_model, dtype=torch.float64, requires_grad=True)
    edit = Edit("lm.resid", 1, "add", added)
    scores = encode_prefix(model, batch).scores([[edit]])
    (replayed,) = torch.autograd.grad(scores.log_p.sum(), added)
    output = full_pass(model, batch, [edit]).logits.log_softmax(-1)
    (passed,) = torch.autograd.grad(output.gather(1, batch.answers[:, None]).sum(), added)
    assert float(passed.abs().max()) > 1e-3
    torch.testing.assert_close(replayed, passed, atol=1e-10, rtol=1e-8)


def test_readings_of_copies_are_those_of_full_passes(loaded: Loaded):
    model = loaded("qwen3_vl")
    batch, read = batch_of(model), Read("lm.attn", 2)
    (chunk,) = encode_prefix(model, batch).run([[]], reads=[read])
    reading = full_pass(model, batch, reads=[read]).readings[0]
    torch.testing.assert_close(chunk.readings[0], reading, atol=1e-5, rtol=1e-4)


def test_the_model_is_put_back_as_it_was(loaded: Loaded):
    model = loaded("llava")
    batch = batch_of(model)
    before = model.forward(batch)
    encode_prefix(model, batch).scores([[]])
    assert model.layers[0].self_attn.config._attn_implementation in ("sdpa", "eager")
    assert torch.equal(model.forward(batch), before)


# -- what is not exact ----------------------------------------------------------------------------
def test_a_prompt_that_sees_itself_is_run_by_full_passes(loaded: Loaded):
    model = loaded("paligemma")
    assert not model.facts.shares_prefix
    assert isinstance(encode_prefix(model, batch_of(model)), FullPasses)


def test_full_passes_take_a_vector_for_each_prompt(loaded: Loaded):
    """As a tuning's off-task prompts and several vectors trained together have them."""
    model = loaded("paligemma")
    prefix = encode_prefix(model, batch_of(model, (2, 0, 1)))
    values = torch.randn(3, model.facts.d_model, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = prefix.edited(Edit("lm.resid", 1, "add", values)).log_p
        for row, value in enumerate(values):
            alone = prefix.edited(Edit("lm.resid", 1, "add", value)).log_p
            torch.testing.assert_close(together[row], alone[row])


@pytest.mark.slow
def test_a_model_that_replays_wrongly_is_refused(checkpoint: Any):
    """PaliGemma taken for a model with causal prompts."""
    model = load_folder(checkpoint("paligemma"), "p", dtype="fp32", device="cpu")
    model.facts = type(model.facts)(**{**vars(model.facts), "shares_prefix": True})
    assert largest_difference(model, batch_of(model)) > 0.005
    with pytest.raises(MfvError, match="not exact") as raised:
        encode_prefix(model, batch_of(model))
    assert raised.value.code == "MFV7274"


@pytest.mark.slow
def test_a_model_is_checked_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch):
    model = loaded("llava")
    check_exact(model, batch_of(model))
    model.is_exact = False
    assert isinstance(encode_prefix(model, batch_of(model)), Prefix)
    assert model.is_exact
    monkeypatch.setattr("mfv_dsl.engine.prefix.check_exact", lambda *_: pytest.fail("again"))
    encode_prefix(model, batch_of(model))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_passes_the_check(dtype: str, checkpoint: Any):
    model = load_folder(checkpoint("qwen3_vl"), "q", dtype=dtype, device="cpu")
    batch = batch_of(model)
    check_exact(model, batch)
    assert batch.dtype == model.model.dtype != torch.float32


# -- tokens behind the last one -------------------------------------------------------------------
#: Names of several tokens, some of which begin alike, and one that begins another.
SEQUENCES = [(70, 71), (70, 72, 80), (70, 72, 81), (75,), (76, 70, 70, 70), (76, 70)]


def further_differences(model: VisionLanguageModel, batch: VlmBatch) -> float:
    """The largest difference of an answer's log-probability between branches and passes of their
    own over all edits; the likeliest answers and generations are compared, too."""
    variants = [[], *([edit] for edit in edits(model))][::3]
    targets, rows = np.arange(len(batch)) * 2 % len(SEQUENCES), np.arange(len(batch))
    prefix = encode_prefix(model, batch)
    found = likeliest_sequences(prefix, SEQUENCES, targets, variants)
    generated = continue_greedily(prefix, variants[:4], 4)
    largest = 0.0
    for number, variant in enumerate(variants):
        log_p = sequence_log_p(model, batch, SEQUENCES, variant).numpy()
        assert found.best[:, number].tolist() == log_p.argmax(1).tolist()
        difference = np.abs(log_p[rows, targets] - found.target_log_p[:, number])
        largest = max(largest, float(difference.max()))
    for number, variant in enumerate(variants[:4]):
        wanted = [generation.tokens for generation in generate(model, batch, 4, variant)]
        assert generated.tokens[number] == wanted
    return largest


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_answers_behind_a_shared_prefix_are_those_of_passes_of_their_own(name: str, loaded: Loaded):
    """Gemma 3's window is shorter than these prompts."""
    model = loaded(name)
    batch = batch_of(model, (2, 0, 1))
    assert further_differences(model, batch) < 1e-5
    assert further_differences(in_double(model), batch_of(in_double(model))) < 1e-9


def test_a_model_that_goes_on_wrongly_is_refused(loaded: Loaded, monkeypatch: pytest.MonkeyPatch):
    """Further tokens that are taken for the last one's neighbours, a place too early."""
    model = loaded("llava")
    batch = batch_of(model)
    assert largest_difference(model, batch) < 1e-4

    def misplaced(self: Any, part: VlmBatch, branches: Any, tokens: torch.Tensor) -> torch.Tensor:
        early = dataclasses.replace(part, positions=part.positions - 1)
        return further(self, early, branches, tokens)

    further = VisionLanguageModel._further
    monkeypatch.setattr(VisionLanguageModel, "_further", misplaced)
    with pytest.raises(MfvError, match="not exact"):
        check_exact(model, batch)
