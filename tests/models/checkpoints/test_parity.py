"""Our loader against open_flamingo's own factory, on the same files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import layer_norm, linear, pad

from mfv_dsl.models.checkpoints.language import load_language
from mfv_dsl.models.checkpoints.load import load_checkpoint as load
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.models.checkpoints.support import as_of_2023, by_factory, old_buffers, write_checkpoint

TEXTS = [
    "<image>Q:red circle. A:blue square.<|endofchunk|>\n<image>Q:the ring. A:",
    "<image>Q:a green star. A:",
    "<image>Q:x. A:y.<|endofchunk|>\n<image>Q:z. A:heart.<|endofchunk|>\n<image>Q:red    mug. A:",
]
IMAGES = [2, 1, 3]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((40, 31), (28, 28), (70, 90))]


def direct(folder: Path) -> tuple[Any, Any, Any]:
    """The factory's model with the checkpoint loaded the documented way, and its tower giving the
    features of then."""
    every = json.loads((folder / "flamingo.json").read_text())["cross_attn_every_n_layers"]
    model, transform, tokenizer = by_factory(folder, every)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    if "lang_encoder.embed_out.weight" in state:  # transformers' name for it changed
        state["lang_encoder.lm_head.weight"] = state.pop("lang_encoder.embed_out.weight")
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not [name for name in unexpected if "attention." not in name]
    assert not [name for name in missing if name.startswith("perceiver")]
    model.vision_encoder.final_ln_after_pool = True
    return model, transform, tokenizer


def direct_logits(made: tuple[Any, Any, Any], pictures: list[np.ndarray]) -> torch.Tensor:
    """Logits of the tokens after ``TEXTS``, in one batch padded on the left."""
    model, transform, tokenizer = made
    tokenizer.padding_side = "left"
    words = tokenizer(TEXTS, return_tensors="pt", padding=True)
    vision = torch.zeros(len(TEXTS), max(IMAGES), 1, 3, 28, 28)
    for row, count in enumerate(IMAGES):
        for i in range(count):
            vision[row, i, 0] = transform(Image.fromarray(pictures[i]))
    with torch.no_grad():
        output = model(vision, words["input_ids"], words["attention_mask"])
    return output.logits[:, -1]


def our_logits(model: OpenFlamingo, pictures: list[np.ndarray]) -> torch.Tensor:
    with torch.no_grad():
        return model.forward(model.texts(TEXTS, [pictures[:count] for count in IMAGES]))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [40, -20], ids=["shrunk", "grown"])
def test_gpt_neox_gives_the_factorys_logits(tmp_path: Path, pictures, rows: int):
    """The vocabulary is cut to the tokenizer's, or grown to it."""
    folder = write_checkpoint(tmp_path, "gpt_neox", extra_rows=rows)
    ours = load(str(folder), "fp32", "cpu")
    made = direct(folder)
    vectors = our_logits(ours, pictures)
    assert vectors.shape == (3, len(made[2]))
    assert vectors.std() > 0.1
    torch.testing.assert_close(vectors, direct_logits(made, pictures), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_images_matter_and_each_texts_own(neox: Path, pictures):
    ours = load(str(neox), "fp32", "cpu")
    usual = our_logits(ours, pictures)
    other = our_logits(ours, [pictures[0], pictures[1], pictures[0]])
    assert torch.equal(usual[1], other[1])  # does not see the third picture
    assert (usual[2] - other[2]).abs().max() > 1e-3


@pytest.mark.slow
def test_files_as_they_were_published(neox: Path, tmp_path: Path, pictures):
    """Pickled shards in half precision with buffers of old; the training form of the checkpoint."""
    folder = tmp_path / "old"
    shutil.copytree(neox, folder)
    as_of_2023(folder / "language", shards=3)
    state = torch.load(neox / "checkpoint.pt", weights_only=True)
    state |= old_buffers("lang_encoder.gpt_neox.layers.{}.decoder_layer.attention")
    state = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"step": 7}},
               folder / "checkpoint.pt")  # fmt: skip
    found = our_logits(load(str(folder), "fp32", "cpu"), pictures)
    expected = our_logits(load(str(neox), "fp32", "cpu"), pictures)
    assert 0 < (found - expected).abs().max() < 0.01  # by the rounding to half precision
    torch.save({name.removeprefix("module."): t for name, t in state.items()},
               folder / "checkpoint.pt")  # fmt: skip
    torch.testing.assert_close(our_logits(load(str(folder), "fp32", "cpu"), pictures), found)
    assert torch.equal(
        direct_logits(direct(folder), pictures).argmax(-1), found.argmax(-1)
    )  # the factory reads these too


@pytest.mark.slow
def test_rows_that_no_file_has_are_the_mean(tmp_path: Path):
    folder = write_checkpoint(tmp_path, "gpt_neox", extra_rows=-20)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    del state["lang_encoder.embed_out.weight"]
    torch.save(state, folder / "checkpoint.pt")
    head = load(str(folder), "fp32", "cpu").model.lang_encoder.get_output_embeddings().weight
    known, new = head[:-23], head[-23:]
    torch.testing.assert_close(new, known.mean(0).expand_as(new))
    again = load(str(folder), "fp32", "cpu").model.lang_encoder.get_output_embeddings().weight
    assert torch.equal(head, again)


def test_todays_tokenizer_class_would_not_fit_the_published_embeddings(neox: Path):
    """GPT-NeoX's class brings a token for padding since transformers 5, so the factory adds one
    token fewer than it did; the loader goes by what the files say."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(neox / "language")
    assert tokenizer.pad_token == "<|padding|>"
    ours = load(str(neox), "fp32", "cpu")
    assert ours.tokenizer.get_vocab_size() == len(tokenizer) + 3
    assert ours.tokenizer.id_to_token(ours.pad_token) == "<PAD>"
    text = "Q: the blue    ring's é, 12 hearts. A:"
    assert ours.tokenizer.encode(text).ids == tokenizer(text)["input_ids"]


# -- MPT ------------------------------------------------------------------------------------------
def mpt_logits(state: dict[str, torch.Tensor], tokens: torch.Tensor, normed: bool) -> torch.Tensor:
    """An MPT of four layers and four heads written out, from either kind's weights."""

    def weight(*names: str) -> torch.Tensor:
        return next(state[f"transformer.{name}.weight"] for name in names
                    if f"transformer.{name}.weight" in state)  # fmt: skip

    def norm(x: torch.Tensor, *names: str) -> torch.Tensor:
        return layer_norm(x, x.shape[-1:], weight(*names))

    length, heads = tokens.shape[1], 4
    distance = torch.arange(length) - torch.arange(length)[:, None]
    slopes = 2.0 ** -(8 / heads * torch.arange(1, heads + 1))
    bias = (slopes[:, None, None] * distance).masked_fill(distance > 0, -torch.inf)
    x = weight("wte")[tokens]
    for i in range(4):
        block = f"blocks.{i}"
        y = linear(norm(x, f"{block}.norm_1", f"{block}.ln_1"), weight(f"{block}.attn.Wqkv"))
        query, key, value = y.chunk(3, -1)
        if normed:
            query, key = norm(query, f"{block}.attn.q_ln"), norm(key, f"{block}.attn.k_ln")
        query, key, value = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias
        seen = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = x + linear(seen, weight(f"{block}.attn.out_proj"))
        y = norm(x, f"{block}.norm_2", f"{block}.ln_2")
        y = nn.functional.gelu(linear(y, weight(f"{block}.ffn.up_proj", f"{block}.mlp.mlp_up")))
        x = x + linear(y, weight(f"{block}.ffn.down_proj", f"{block}.mlp.mlp_down"))
    return linear(norm(x, "norm_f", "ln_f"), weight("wte"))


@pytest.mark.parametrize("kind", ["mpt", "mosaic"])
def test_mpt_loads_as_its_own_code_computes_it(kind: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(kind)
    state = torch.load(folder / "language" / "pytorch_model.bin", weights_only=True)
    rows = len(state["transformer.wte.weight"])
    model = load_language(folder / "language", torch.float32, rows).eval()
    model.gated_cross_attn_layers = None
    tokens = torch.randint(0, rows, (2, 9), generator=torch.Generator().manual_seed(1))
    expected = mpt_logits(state, tokens, normed=kind == "mosaic")
    plain = type(model).__mro__[2]  # without open_flamingo's mixin, which waits for pictures
    model.__class__ = plain
    with torch.no_grad():
        found = model(tokens).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.1


@pytest.mark.slow
def test_mpt_7b_gives_the_factorys_logits(mpt: Path, pictures):
    """transformers has a class of its own for MPT-7B, so the factory still makes that one."""
    made = direct(mpt)
    ours = load(str(mpt), "fp32", "cpu")
    torch.testing.assert_close(
        our_logits(ours, pictures), direct_logits(made, pictures), atol=1e-5, rtol=0
    )
    language = ours.model.lang_encoder
    assert language.get_output_embeddings().weight is language.get_input_embeddings().weight


@pytest.mark.slow
def test_mpt_1b_runs_and_the_embeddings_stay_tied(mosaic: Path, pictures):
    ours = load(str(mosaic), "fp32", "cpu")
    language = ours.model.lang_encoder
    assert language.get_output_embeddings().weight is language.get_input_embeddings().weight
    state = torch.load(mosaic / "checkpoint.pt", weights_only=True)
    assert torch.equal(
        language.get_input_embeddings().weight, state["lang_encoder.transformer.wte.weight"]
    )
    logits = our_logits(ours, pictures)
    alone = [
        ours.forward(ours.texts([text], [pictures[:count]]))
        for text, count in zip(TEXTS, IMAGES, strict=True)
    ]
    torch.testing.assert_close(logits, torch.cat(alone), atol=1e-5, rtol=0)


# -- precision ------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "atol"), [("bf16", 0.1), ("fp16", 0.01)])
def test_other_precisions_are_the_same_model(neox: Path, pictures, dtype: str, atol: float):
    whole = load(str(neox), "fp32", "cpu")
    model = load(str(neox), dtype, "cpu")
    kinds = {parameter.dtype for parameter in model.model.parameters()}
    assert kinds == {torch.bfloat16 if dtype == "bf16" else torch.float16}
    rounded = {name: p.to(kinds.copy().pop()) for name, p in whole.model.named_parameters()}
    assert all(torch.equal(p, rounded[name]) for name, p in model.model.named_parameters())
    found, expected = our_logits(model, pictures).float(), our_logits(whole, pictures)
    assert (found - expected).abs().max() < atol
    assert model.facts.fingerprint == whole.facts.fingerprint
    assert model.facts.identity != whole.facts.identity


@pytest.mark.slow
def test_prompts_are_padded_with_the_pad_token(neox: Path, pictures):
    ours = load(str(neox), "fp32", "cpu")
    batch = ours.texts(TEXTS, [pictures[:count] for count in IMAGES])
    assert (batch.tokens[1] == ours.pad_token).sum() == (batch.mask[1] == 0).sum() > 0
    assert torch.equal(
        pad(batch.mask, (1, 0)).diff(dim=1).clamp_min(0).sum(1), torch.ones(3).long()
    )
