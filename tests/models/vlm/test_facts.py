"""Facts of models without torch and without weights, and where their files are looked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import mfv_dsl
from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.tiny import constructor as tiny
from mfv_dsl.models.vlm import constructor
from mfv_dsl.models.vlm.architectures import ARCHITECTURES
from mfv_dsl.models.vlm.facts import (
    _TEXT,
    CROSS_LAYERS,
    DEFAULTS,
    _kv_heads,
    facts_of,
    known_facts,
    layers_without_heads,
    sizes,
)
from mfv_dsl.models.vlm.folder import locate
from mfv_dsl.models.vlm.grids import features
from mfv_dsl.models.vlm.known import KNOWN
from mfv_dsl.models.vlm.load import load_folder
from tests.cli.support import mfv_command
from tests.models.vlm.published import LARGE, PUBLISHED
from tests.models.vlm.test_passes import batch_of

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
NAME = "someone/small-llava"
RECIPE = """\
mfv 1
model m = hf("{path}")
dataset shapes = scenes(relations=[left, right])
eval raw {{
  add = fv(each)
  layer = 1..2
}}
"""
Checkpoint = Callable[[str], Path]
#: What published models are called -> their configuration here.
NAMES = {
    "Qwen/Qwen3-VL-2B-Instruct": "Qwen3-VL-2B", "Qwen/Qwen3-VL-4B-Instruct": "Qwen3-VL-4B",
    "Qwen/Qwen3-VL-8B-Instruct": "Qwen3-VL-8B", "Qwen/Qwen3-VL-32B-Instruct": "Qwen3-VL-32B",
    "Qwen/Qwen2-VL-2B-Instruct": "Qwen2-VL-2B", "Qwen/Qwen2.5-VL-3B-Instruct": "Qwen2.5-VL-3B",
    "Qwen/Qwen2.5-VL-7B-Instruct": "Qwen2.5-VL-7B",
    "Qwen/Qwen2.5-VL-72B-Instruct": "Qwen2.5-VL-72B", "llava-hf/llava-1.5-7b-hf": "llava-1.5-7b",
    "google/gemma-3-4b-it": "gemma-3-4b", "google/gemma-3-12b-it": "gemma-3-12b",
    "google/gemma-3-27b-it": "gemma-3-27b", "HuggingFaceTB/SmolVLM-256M-Instruct": "SmolVLM-256M",
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": "SmolVLM2-500M",
    "meta-llama/Llama-3.2-11B-Vision-Instruct": "Llama-3.2-11B-Vision",
    "OpenGVLab/InternVL3-1B-hf": "InternVL3-1B",
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": "Mistral-Small-3.1",
}  # fmt: skip


# -- sizes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults_are_those_of_transformers(kind: str):
    config = CONFIG_MAPPING[kind]()
    hidden, layers, heads, kv, head_dim = DEFAULTS[kind]
    assert (hidden, layers, heads) == (
        config.hidden_size, config.num_hidden_layers, config.num_attention_heads
    )  # fmt: skip
    assert (kv or heads) == getattr(config, "num_key_value_heads", heads)
    assert (head_dim or hidden // heads) == (getattr(config, "head_dim", None) or hidden // heads)
    # whether the default is a number or the quotient shows in a wider model
    wider = CONFIG_MAPPING[kind](hidden_size=hidden * 2)
    quotient = wider.hidden_size // heads
    assert (head_dim or quotient) == (getattr(wider, "head_dim", None) or quotient)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_text_models_of_architectures_are_those_of_transformers(kind: str):
    assert CONFIG_MAPPING[kind]().get_text_config().model_type == _TEXT[kind]


def test_the_layers_without_self_attention_are_those_of_transformers():
    config = CONFIG_MAPPING["mllama"]()
    row = ARCHITECTURES["mllama"]
    assert layers_without_heads({"model_type": "mllama"}, row) == CROSS_LAYERS
    assert list(CROSS_LAYERS) == config.get_text_config().cross_attention_layers
    for listed, expected in (([1, 3, 40], (1, 3)), ([], ())):
        text_config = {"cross_attention_layers": listed}
        assert (
            layers_without_heads({"model_type": "mllama", "text_config": text_config}, row)
            == expected
        )
    assert layers_without_heads({"model_type": "llava"}, ARCHITECTURES["llava"]) == ()
    with pytest.raises(MfvError, match="no list of layers") as raised:
        layers_without_heads({"model_type": "mllama", "cross_attention_layers": "1, 3"}, row)
    assert raised.value.code == "MFV7267"


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_of_published_configurations(name: str):
    config, expected = PUBLISHED[name]
    assert sizes(config) == expected


def built(config: dict[str, Any], folder: Path) -> Any:
    """The model without weights."""
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))


def true_sizes(model: Any, model_type: str) -> tuple[int, int, int, int]:
    """As the modules have them."""
    layers = model.get_submodule(ARCHITECTURES[model_type].text).layers
    projection = next(layer.self_attn.o_proj for layer in layers if hasattr(layer, "self_attn"))
    heads = model.config.get_text_config().num_attention_heads
    return len(layers), heads, projection.in_features // heads, projection.out_features


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PUBLISHED, *LARGE])
def test_sizes_are_those_of_the_modules(name: str, tmp_path: Path):
    """So are parameters and keys and values of known models, on which memory depends."""
    config, expected = (PUBLISHED | LARGE)[name]
    model, model_type = built(config, tmp_path), config["model_type"]
    assert true_sizes(model, model_type) == sizes(config) == expected
    path = next((path for path, known in NAMES.items() if known == name), None)
    if path is None:
        return
    layer = model.get_submodule(ARCHITECTURES[model_type].text).layers[0]
    facts = known_facts(path, None, "bf16", "plain")
    assert facts.kv_width == layer.self_attn.k_proj.out_features
    parameters = sum(each.numel() for each in model.parameters())
    output = model.get_output_embeddings().weight.numel()  # some weights have it of its own
    known = KNOWN[path].parameters
    assert min(abs(parameters - known), abs(parameters + output - known)) < 0.02 * known
    layers = model.get_submodule(ARCHITECTURES[model_type].text).layers
    matrices = (each.weight for each in layers.modules() if isinstance(each, torch.nn.Linear))
    assert sum(matrix.numel() for matrix in matrices) == KNOWN[path].in_layers


def test_what_is_known_of_published_models_is_what_their_configurations_say():
    assert KNOWN.keys() - NAMES.keys() == {"llava-hf/llava-1.5-13b-hf"}
    for path, name in NAMES.items():
        known, (config, shape) = KNOWN[path], (PUBLISHED | LARGE)[name]
        assert (known.n_layers, known.n_heads, known.head_dim, known.d_model) == shape
        assert known.model_type == config["model_type"]
        assert (_kv_heads(config) or known.n_heads) == known.kv_heads
        longest = {"size": {"longest_edge": 1540}} if known.model_type == "mistral3" else {}
        counted = features(config, longest, ARCHITECTURES[known.model_type], None, 1)
        assert known.picture_tokens == counted or known.model_type.startswith("qwen")


@pytest.mark.parametrize(("name", "patch", "bounds", "tokens"), [
    ("Qwen/Qwen3-VL-4B-Instruct", 16, (65536, 16777216), 196),
    ("Qwen/Qwen2.5-VL-3B-Instruct", 14, (3136, 12845056), 256),
])  # fmt: skip
def test_pictures_of_the_papers_size_in_qwens_models(
    name: str, patch: int, bounds: tuple[int, int], tokens: int, tmp_path: Path
):
    """256 * 28 * 28 pixels are 256 tokens of 28 pixels a side, and 196 of 32; a picture is the same
    numbers as by the official code, which names the bounds when the processor is loaded."""
    pixels = 256 * 28 * 28
    assert known_facts(name, None, "bf16", "official", pixels).picture_tokens == tokens
    config, row = PUBLISHED[NAMES[name]][0], ARCHITECTURES[KNOWN[name].model_type]
    assert features(config, {}, row, pixels, 1) == tokens
    published = {"size": dict(zip(("shortest_edge", "longest_edge"), bounds, strict=True)),
                 "patch_size": patch, "temporal_patch_size": 2, "merge_size": 2,
                 "image_processor_type": "Qwen2VLImageProcessorFast"}  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(published))
    picture = np.random.default_rng(0).integers(0, 255, (800, 800, 3), dtype=np.uint8)
    ours = AutoImageProcessor.from_pretrained(tmp_path)
    ours.size = {"shortest_edge": pixels, "longest_edge": pixels}
    official = AutoImageProcessor.from_pretrained(tmp_path, min_pixels=pixels, max_pixels=pixels)
    shown, expected = (each(images=[picture], return_tensors="pt") for each in (ours, official))
    assert int(shown["image_grid_thw"].prod()) // 4 == tokens
    assert torch.equal(shown["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize("config", [
    {"model_type": "llava", "text_config": {"model_type": "phi9"}},
    {"model_type": "llava", "text_config": {"model_type": "llama", "hidden_size": "4096"}},
    {"model_type": "llava", "text_config": {"model_type": "llama", "num_hidden_layers": 0}},
    {"model_type": "llava", "text_config": {"model_type": "llama", "head_dim": "wide"}},
])  # fmt: skip
def test_sizes_that_are_missing_are_an_error(config: dict[str, Any]):
    with pytest.raises(MfvError) as raised:
        sizes(config)
    assert raised.value.code == "MFV7267"


@pytest.mark.slow
def test_facts_need_no_torch(checkpoint: Checkpoint):
    program = (
        "import sys\nfrom mfv_dsl.models.vlm.constructor import facts\n"
        f"print(facts({str(checkpoint('llava'))!r}).n_heads, facts('Qwen/Qwen3-VL-4B-Instruct')"
        ".n_heads, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout.split() == ["4", "32", "False", "False"], answer.stderr


# -- recipes without files ------------------------------------------------------------------------
@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def recipe(path: str, folder: Path) -> str:
    file = folder / "recipe.mfv"
    file.write_text(RECIPE.format(path=path))
    return str(file)


def test_a_published_model_is_checked_and_planned_without_its_files(cache: Path, tmp_path: Path):
    file = recipe("Qwen/Qwen3-VL-4B-Instruct", tmp_path)
    assert mfv_command("check", file).returncode == 0
    plan = mfv_command("plan", file)
    assert plan.returncode == 0, plan.stderr
    assert "36 layers × 32 heads of 128, d = 2560" in plan.stdout


def test_a_layer_that_it_does_not_have_is_found(cache: Path, tmp_path: Path):
    file = tmp_path / "recipe.mfv"
    file.write_text(RECIPE.format(path="Qwen/Qwen3-VL-4B-Instruct").replace("1..2", "35..36"))
    answer = mfv_command("check", str(file))
    assert answer.returncode == 1
    assert "36" in answer.stderr + answer.stdout


def test_a_plan_of_an_unknown_model_says_what_to_do(cache: Path, tmp_path: Path):
    file = recipe(NAME, tmp_path)
    assert mfv_command("check", file).returncode == 0
    plan = mfv_command("plan", file)
    assert plan.returncode != 0
    assert "MFV5001" in plan.stderr
    assert "--download" in plan.stderr


# -- the Hub's cache ------------------------------------------------------------------------------
def cached(cache: Path, folder: Path, commit: str = COMMIT, ref: str | None = "main") -> Path:
    """A snapshot in the layout of the Hub's cache."""
    repository = cache / f"models--{NAME.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    if ref is not None:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    return snapshot


def test_a_model_in_the_cache_is_found_offline(cache: Path, checkpoint: Checkpoint):
    snapshot = cached(cache, checkpoint("llava"))
    assert locate(NAME) == snapshot
    assert constructor.facts(NAME) == constructor.facts(NAME, revision="main")
    assert models.sources("hf", path=NAME) == {"checkpoint": {"repository": NAME, "commit": COMMIT}}
    model = models.load("hf", path=NAME, dtype="fp32", device="cpu")
    assert model.facts == constructor.facts(NAME, dtype="fp32")


def test_a_revision_is_pinned(cache: Path, checkpoint: Checkpoint):
    cached(cache, checkpoint("llava"))
    pinned = cached(cache, checkpoint("qwen3_vl"), OTHER, ref=None)
    assert locate(NAME, revision=OTHER) == pinned
    assert constructor.facts(NAME, revision=OTHER).family == "qwen3_vl"
    assert constructor.facts(NAME).family == "llava"
    source = models.sources("hf", path=NAME, revision=OTHER)["checkpoint"]
    assert source["commit"] == OTHER


def test_a_folder_has_no_commit(checkpoint: Checkpoint):
    folder = str(checkpoint("llava"))
    assert models.sources("hf", path=folder) == {"checkpoint": {"folder": folder}}


def test_a_single_snapshot_is_the_main_branch_where_the_cache_does_not_say(
    cache: Path, checkpoint: Checkpoint
):
    snapshot = cached(cache, checkpoint("llava"), ref=None)
    assert locate(NAME) == locate(NAME, revision="main") == snapshot
    assert constructor.facts(NAME).family == "llava"
    with pytest.raises(MfvError, match="does not have its revision `v2` whole"):
        locate(NAME, revision="v2")
    cached(cache, checkpoint("qwen3_vl"), OTHER, ref="main")
    assert locate(NAME).name == OTHER  # now it says


def test_of_several_snapshots_none_is_taken_unless_named(cache: Path, checkpoint: Checkpoint):
    cached(cache, checkpoint("llava"), ref=None)
    cached(cache, checkpoint("qwen3_vl"), OTHER, ref=None)
    with pytest.raises(MfvError) as raised:
        locate(NAME)
    assert raised.value.code == "MFV7263"
    listed = ", ".join(sorted((COMMIT, OTHER)))
    assert f"does not have its revision `main` whole; it has {listed}" in str(raised.value)
    assert constructor.facts(NAME) is None
    assert constructor.facts(NAME, revision=OTHER).family == "qwen3_vl"


def test_a_snapshot_without_weights_is_not_there(cache: Path, checkpoint: Checkpoint):
    (cached(cache, checkpoint("llava")) / "model.safetensors").unlink()
    with pytest.raises(MfvError, match="not on this machine") as raised:
        locate(NAME)
    assert "without model.safetensors" in str(raised.value)


def test_nothing_is_asked_of_the_network_for_what_is_here(
    cache: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    snapshot = cached(cache, checkpoint("llava"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    assert locate(NAME, download=True) == snapshot


def test_with_download_a_known_model_is_fetched_before_it_is_planned(
    cache: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    """Else its steps would be stored under another fingerprint than that of its files."""
    name = "Qwen/Qwen3-VL-4B-Instruct"
    before = mfv_dsl.Recipe(RECIPE.format(path=name))
    assert before.checked.models["m"].facts.n_layers == 36

    def snapshot_download(path: str, *, local_files_only: bool, **_: Any) -> str:
        folder = cache / "snapshots" / COMMIT
        if local_files_only and not folder.exists():
            raise FileNotFoundError(path)
        if not folder.exists():
            shutil.copytree(checkpoint("qwen3_vl"), folder)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    after = before.with_models()
    assert after.checked.models["m"].facts.n_layers == 4


# -- files ----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_sharded_weights(checkpoint: Checkpoint, tmp_path: Path):
    whole = models.load("hf", path=str(checkpoint("llava")), dtype="fp32", device="cpu")
    whole.model.save_pretrained(tmp_path, max_shard_size="100KB")
    whole.processor.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    sharded = models.load("hf", path=str(tmp_path), dtype="fp32", device="cpu")
    batch = batch_of(whole)
    assert torch.equal(sharded.forward(batch), whole.forward(batch))
    assert sharded.facts.fingerprint != whole.facts.fingerprint  # it is of files


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tokens"), [("qwen3_vl", 4), ("qwen2_5_vl", 4)])
def test_pixels_bring_every_picture_to_one_size(name: str, tokens: int, checkpoint: Any):
    """Pictures of different sizes take as many tokens each, and the number is in the identity."""
    pixels = tokens * {"qwen3_vl": 32 * 32, "qwen2_5_vl": 28 * 28}[name]
    model = load_folder(checkpoint(name), name, dtype="fp32", device="cpu", pixels=pixels)
    mark = model.architecture.mark
    for side in (40, 200):
        batch = model.texts([f"{mark}Q:"], [[np.zeros((side, side, 3), np.uint8)]])
        assert int((batch.tokens == model.image_token).sum()) == tokens
    usual = facts_of(checkpoint(name), name, "fp32", "plain")
    assert model.facts.fingerprint == f"{usual.fingerprint}:{pixels}px"


def test_pixels_are_for_models_that_take_any_size(checkpoint: Any):
    with pytest.raises(MfvError, match="pictures of one size") as raised:
        facts_of(checkpoint("llava"), "l", "fp32", "plain", pixels=4096)
    assert (raised.value.code, raised.value.argument) == ("MFV7280", "pixels")


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
             "processor_config.json", "special_tokens_map.json", "generation_config.json"]
)  # fmt: skip
def test_files_of_prompts_are_in_the_identity_and_vectors_stay(
    name: str, checkpoint: Callable[[str], Path], tmp_path: Path
):
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "model")
    usual = constructor.facts(str(folder))
    assert usual is not None
    (folder / "README.md").write_text("a card")
    assert constructor.facts(str(folder)) == usual
    path = folder / name
    path.write_bytes((path.read_bytes() if path.exists() else b"{}") + b"\n")
    changed = constructor.facts(str(folder))
    assert changed is not None and changed.identity != usual.identity
    assert changed.fingerprint == usual.fingerprint


def test_the_bundled_models_keep_their_identity():
    for name in ("flamingo", "llava"):
        about = tiny.facts(name)
        assert about.inputs == "" and about.identity == about.fingerprint
