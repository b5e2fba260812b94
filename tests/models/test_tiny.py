"""The bundled model: its files, its features, its prompts, and what loading it costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mfv_dsl.api import Recipe
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.world import KINDS, NOVEL_KINDS
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.tiny.constructor import LLAVA, facts, load, sources
from mfv_dsl.models.tiny.facts import WEIGHTS
from mfv_dsl.models.tiny.load import load_folder
from mfv_dsl.models.tiny.tokenizer import build_tokenizer
from tests.base.test_files import POINTER
from tools.tiny.sequences import IN_CONTEXT_RELATIONS, in_context, statements
from tools.tiny.train import GROUNDING_LAYERS, Running, Trainer

_STACK = """
import time
started = time.process_time()
import torch
from mfv_dsl.models.flamingo_classes import flamingo_classes
flamingo_classes()
print(time.process_time() - started)
"""
_LOAD = """
import time
started = time.process_time()
import mfv_dsl
mfv_dsl.load_model("tiny")
print(time.process_time() - started)
"""


def seconds(code: str) -> float:
    """CPU seconds that a fresh process reports."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.slow
def test_loading_costs_little_more_than_importing_the_stack():
    """torch, transformers, open_clip and open_flamingo alone take most of the time."""
    seconds(_LOAD)  # files into the page cache
    pairs = [(seconds(_STACK), seconds(_LOAD)) for _ in range(2)]  # in turns: under the same load
    stack, loading = map(min, zip(*pairs, strict=True))
    assert loading < 1.5 * stack, pairs


def test_the_model_is_small():
    assert (WEIGHTS / "model.safetensors").stat().st_size < 16e6
    assert facts().n_layers == 10
    assert "seed 0" in (WEIGHTS / "README.md").read_text()


def test_patch_tokens_are_taken_before_the_last_norm(tiny: OpenFlamingo, scenes: Scenes):
    """OpenFlamingo was trained on tokens before ``ln_post``; newer open_clip gives those after."""
    tower = tiny.model.vision_encoder
    pixels = tiny.preprocess(scenes.pictures([scenes.items("left", "test")[0].image], 40))
    with torch.no_grad():
        before = tower.transformer(tower._embeds(pixels))[:, 1:]
        seen = tower(pixels)[1]
        tower.final_ln_after_pool = False
        naive = tower(pixels)[1]
        tower.final_ln_after_pool = True
    torch.testing.assert_close(seen, before)
    assert not torch.allclose(naive, before, atol=0.1)


def test_every_kind_is_one_token(tiny: OpenFlamingo):
    assert len(set(tiny.first_tokens(KINDS))) == len(KINDS)
    for kind in KINDS:
        encoded = tiny.tokenizer.encode(f"<image>Q:red circle. A:{kind}.<|endofchunk|>\n")
        assert encoded.tokens == [
            "<image>", "Q:", "red circle", ".", "A:", kind, ".", "<|endofchunk|>",
        ]  # fmt: skip


def test_pictures_of_any_size_are_fitted(tiny: OpenFlamingo):
    big = Scenes(seed=1, count=10, size=200)
    pixels = tiny.preprocess(big.pictures([item.image for item in big.items("left", "test")], 40))
    assert pixels.shape == (10, 3, 40, 40)
    batch = tiny.batch(draw_prompts(big, "left", "test", 6, 3), big)
    correct = tiny.forward(batch).argmax(-1) == batch.answers
    assert correct.float().mean() >= 0.8  # drawn large, shrunk: the same scenes to the model


@pytest.mark.slow
def test_weights_that_do_not_fit_are_refused(tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    state = load_file(folder / "model.safetensors")
    taken = state.pop("perceiver.latents")
    save_file({**state, "stranger": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(MfvError) as found:
        load_folder(folder)
    assert "missing: perceiver.latents" in str(found.value)
    assert "unexpected: stranger" in str(found.value)
    save_file({**state, "perceiver.latents": taken}, folder / "model.safetensors")
    assert load_folder(folder).facts.d_model == 128


def test_a_folder_in_the_bundled_layout_is_a_model_known_by_its_content(tmp_path: Path):
    """What is loaded by its path is the same model as ``tiny()``, until its weights differ."""
    folder = tmp_path / "seed 1"
    shutil.copytree(WEIGHTS, folder)
    name = str(folder)
    assert facts(name).fingerprint == facts().fingerprint
    recipe = (
        "mfv 1\nmodel m = tiny({})\ndataset d = scenes()\neval e {{ shots = 0, on = [left] }}\n"
    )
    keys = [
        [step.key for step in Recipe(recipe.format(text), "r.mfv").plan().steps]
        for text in ("", f'"{folder}"')
    ]
    assert keys[0] == keys[1]
    assert sources(name) == {"checkpoint": {"folder": name}} and sources() == {}
    state = load_file(folder / "model.safetensors")
    state["perceiver.latents"] += 1
    save_file(state, folder / "model.safetensors")
    assert facts(name).fingerprint != facts().fingerprint
    model = load(name)
    assert model.facts.fingerprint == facts(name).fingerprint
    assert torch.equal(model.model.perceiver.latents, state["perceiver.latents"])
    llava = tmp_path / "llava"
    llava.symlink_to(LLAVA)
    assert facts(str(llava)).fingerprint == facts("llava").fingerprint


def test_what_is_no_model_in_the_bundled_layout_is_refused(tmp_path: Path):
    for name, code, said in (
        (str(tmp_path / "nowhere"), "MFV7275", "no such folder"),
        ("lava", "MFV7275", "did you mean `llava`?"),
        (str(tmp_path), "MFV7202", "config.json cannot be read"),
    ):
        with pytest.raises(MfvError) as found:
            facts(name)
        assert found.value.code == code and said in str(found.value)
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(POINTER)
    with pytest.raises(MfvError, match="git-LFS pointer .* `git lfs pull`") as found:
        facts(str(folder))
    assert found.value.code == "MFV7202" and str(weights) in str(found.value)
    weights.write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    config["language"]["hidden_size"] = 64
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MfvError, match="are not those of one model") as found:
        load(str(folder))
    assert found.value.code == "MFV7202"
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MfvError, match="tokenizer.json cannot be read"):
        facts(str(folder))


# -- what it is trained on ------------------------------------------------------------------------
def test_training_never_shows_in_context_what_the_card_says_it_never_saw():
    import numpy as np

    ids = build_tokenizer().get_vocab()
    words = {number: word for word, number in ids.items()}
    rng = np.random.default_rng(0)
    assert set(IN_CONTEXT_RELATIONS).isdisjoint({"above_right", "below_left"})
    for form in ("plain", "carry", "annotated"):
        batch = in_context(rng, ids, 40, form)
        said = {words[token] for token in batch.tokens.ravel()}
        assert not said & set(NOVEL_KINDS)
        for row, answers in zip(batch.tokens, batch.is_answer, strict=True):
            text = " ".join(words[token] for token in row)
            assert "above right" not in text and "below left" not in text
            assert answers.sum() == 5
    batch = statements(rng, ids, 40, {"relation": 1.0, "which": 1.0})
    said = {words[token] for token in batch.tokens.ravel()}
    assert set(NOVEL_KINDS) <= said


@pytest.mark.slow
def test_what_the_training_script_saves_is_a_model(tmp_path: Path):
    trainer = Trainer(tmp_path, seed=0)
    batch, running = in_context(trainer.rng, trainer.ids, 2, "plain"), Running()
    trainer.loss(batch, running).backward()
    assert set(running.values) == {f"plain{shot}" for shot in range(5)}
    trainer.save()
    trainer.pool.shutdown()
    model = load_folder(tmp_path)
    assert model.facts.n_layers == GROUNDING_LAYERS and model.facts.d_model == 128


def test_the_training_log_reaches_its_goals():
    log = [json.loads(line) for line in (WEIGHTS / "training_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == sorted(row["step"] for row in log)
    assert min(log[-1]["accuracy"][f"plain{shot}"] for shot in range(1, 5)) > 0.95
    assert "0 reading" in {row["stage"] for row in log}
