"""Input that is wrong is told, with what to do about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub.errors import GatedRepoError
from safetensors.torch import load_file, save_file

import mfv_dsl
from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.vlm import constructor
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.folder import locate
from tests.models.vlm import zoo
from tests.models.vlm.test_passes import pictures, text
from tests.models.vlm.zoo import tokenizer

Checkpoint = Callable[[str], Path]


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A LLaVA that a test may break."""
    copied = tmp_path / "mine"
    shutil.copytree(checkpoint("llava"), copied)
    return copied


def refused(folder: Path | str, code: str, *words: str, check: bool = True) -> None:
    """Loading is refused with this error, and with ``check`` a recipe's check is too."""
    for run in (constructor.facts, _load) if check else (_load,):
        with pytest.raises(MfvError) as raised:
            run(str(folder))
        assert raised.value.code == code
        for word in words:
            assert word in str(raised.value)


def _load(path: str) -> VisionLanguageModel:
    return constructor.load(path, dtype="fp32", device="cpu")


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for name, value in changes.items():
        part, _, key = name.rpartition("__")
        (config[part] if part else config)[key] = value
    file.write_text(json.dumps(config))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


# -- what is no vision-language model -------------------------------------------------------------
def test_a_path_that_is_neither_a_folder_nor_a_name(tmp_path: Path):
    for path in (
        str(tmp_path / "absent"),
        "~/absent",
        "./absent",
        "name",
        "a/b/c",
        "a b/c",
        "a/b--c",
    ):
        refused(path, "MFV7262", "no folder", "Qwen/Qwen3-VL-4B-Instruct")


def test_a_folder_without_anything(tmp_path: Path):
    refused(tmp_path, "MFV7264", "config.json")


@pytest.mark.parametrize("content", ["{", "[]", '"llava"'])
def test_a_broken_configuration(content: str, folder: Path):
    (folder / "config.json").write_text(content)
    refused(folder, "MFV7264", "config.json")


def test_a_text_model(tmp_path: Path):
    config = transformers.Qwen2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=400, intermediate_size=32,
    )  # fmt: skip
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    tokenizer([], {}).save_pretrained(tmp_path)
    refused(tmp_path, "MFV7261", "`qwen2`", "docs/models.md")


@pytest.mark.parametrize("model_type", ["nonesuch", "", None, 3])
def test_an_unknown_model_type(model_type: Any, folder: Path):
    change_config(folder, model_type=model_type)
    refused(folder, "MFV7261", "docs/models.md")


def test_a_model_with_code_of_its_own(folder: Path):
    change_config(folder, model_type="molmo", auto_map={"AutoConfig": "configuration.MolmoConfig"})
    refused(folder, "MFV7265", "such code is not run")


def test_a_model_of_transformers_that_offers_code_too(folder: Path):
    """Repositories from before a model was in transformers still name their own code."""
    (folder / "evil.py").write_text("raise SystemExit('this was run')\n")
    change_config(folder, auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})
    assert _load(str(folder)).facts == constructor.facts(str(folder), dtype="fp32")


@pytest.mark.parametrize(("changes", "reason"), [
    ({"model_type": "qwen3_5"}, "linear attention"),
    ({"model_type": "gemma3n"}, "share keys and values"),
    ({"text_config__layer_types": ["linear_attention", "full_attention"]}, "linear attention"),
    ({"text_config__num_kv_shared_layers": 2}, "share keys and values"),
])  # fmt: skip
def test_architectures_that_are_refused(changes: dict[str, Any], reason: str, folder: Path):
    change_config(folder, **changes)
    refused(folder, "MFV7260", reason)


# -- configurations -------------------------------------------------------------------------------
def test_a_configuration_without_sizes(folder: Path):
    change_config(folder, text_config={"model_type": "phi9"})
    refused(folder, "MFV7267", "hidden_size: None")


def test_a_configuration_whose_text_model_is_no_object(folder: Path):
    change_config(folder, text_config="llama")
    refused(folder, "MFV7267", "text_config")


def test_sizes_that_are_not_those_of_the_weights(folder: Path):
    change_config(folder, text_config__num_hidden_layers=5)
    refused(folder, "MFV7272", "missing: model.language_model.layers.4", check=False)


def test_a_language_model_that_is_built_otherwise(folder: Path):
    """Its heads are not where the table has them."""
    text_config = {
        "model_type": "gpt_neox", "hidden_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 4, "vocab_size": 400, "intermediate_size": 64,
    }  # fmt: skip
    change_config(folder, text_config=text_config)
    model = transformers.AutoModelForImageTextToText.from_config(
        transformers.AutoConfig.from_pretrained(folder)
    )
    model.save_pretrained(folder)
    refused(folder, "MFV7261", "`gpt_neox`", "self_attn.o_proj", check=False)


@pytest.mark.slow
@pytest.mark.parametrize("language", [
    {"model_type": "granite", "residual_multiplier": 0.22}, {"model_type": "gemma2"},
])  # fmt: skip
def test_heads_that_do_not_write_into_the_stream_as_they_are(
    language: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A factor or a norm behind the projection, where the row has none: vectors would be others."""

    def built() -> tuple[Any, Any]:
        model, processor = zoo.llava()
        text_config = {**zoo.text(processor.tokenizer), **language}
        config = transformers.LlavaConfig(**{**model.config.to_dict(), "text_config": text_config})
        return transformers.LlavaForConditionalGeneration(config), processor

    monkeypatch.setitem(zoo.ZOO, "other", built)
    folder = zoo.save_checkpoint("other", tmp_path)
    refused(folder, "MFV7261", language["model_type"], "reach the residual stream", check=False)


# -- processors -----------------------------------------------------------------------------------
def test_missing_files_of_the_processor(folder: Path):
    for name in ("processor_config.json", "preprocessor_config.json"):
        (folder / name).unlink(missing_ok=True)
    refused(folder, "MFV7271", "processor", check=False)


def test_a_missing_tokenizer(folder: Path):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    refused(folder, "MFV7271", "processor", check=False)


def test_a_processor_of_another_model(folder: Path, checkpoint: Checkpoint):
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        shutil.copy(checkpoint("qwen3_vl") / name, folder)
    refused(folder, "MFV7271", "processor", "model", check=False)


def test_a_processor_that_knows_pictures_by_another_token(folder: Path):
    change_config(folder, image_token_index=5)
    refused(folder, "MFV7271", "by token 5", "where the weights come from", check=False)


# -- weights --------------------------------------------------------------------------------------
def test_missing_weights(folder: Path):
    (folder / "model.safetensors").unlink()
    refused(folder, "MFV7266", "model.safetensors missing", "safetensors")


def test_a_missing_shard(folder: Path):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors",
                            "b": "model-00002-of-00002.safetensors"}}  # fmt: skip
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "MFV7266", "model-00002-of-00002.safetensors missing")


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_names_nothing(index: str, folder: Path):
    (folder / "model.safetensors.index.json").write_text(index)
    refused(folder, "MFV7264", "names no weight files")


def test_a_link_of_git_lfs_in_place_of_weights(folder: Path):
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 4800000\n"
    )
    refused(folder, "MFV7266", "links of git-lfs", "git lfs pull")


def test_weights_that_are_cut_off(folder: Path):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(folder, "MFV7272", "cannot be loaded", check=False)


def test_weights_that_lack_parameters(folder: Path):
    change_weights(folder, lambda weights: weights.pop(_key(weights, "layers.1.mlp.up_proj")))
    refused(folder, "MFV7272", "layers.1.mlp.up_proj.weight", check=False)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers(number: float, folder: Path):
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights[_key(weights, "layers.2.self_attn.o_proj")][1, 2] = number

    change_weights(folder, spoil)
    refused(folder, "MFV7276", "layers.2.self_attn.o_proj.weight", check=False)


def _key(weights: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in weights if part in name and "vision" not in name)


# -- the Hub --------------------------------------------------------------------------------------
@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """A Hub that has nothing here, and answers with an error when it is asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def answers(error: Exception) -> None:
        def snapshot_download(path: str, *, local_files_only: bool, **_: Any) -> str:
            raise FileNotFoundError(path) if local_files_only else error

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)

    return answers


def test_a_repository_behind_a_licence(hub: Callable[[Exception], None]):
    error = GatedRepoError.__new__(GatedRepoError, "403 Client Error")
    hub(error)
    with pytest.raises(MfvError, match="granted access") as raised:
        locate("meta-llama/Llama-3.2-11B-Vision", download=True)
    assert raised.value.code == "MFV7263"
    assert "hf auth login" in str(raised.value)


def test_a_network_that_does_not_answer(hub: Callable[[Exception], None]):
    hub(ConnectionError("no route to host\nand more"))
    with pytest.raises(MfvError, match="cannot be fetched") as raised:
        locate("someone/model", download=True)
    assert raised.value.code == "MFV7263"
    assert "no route to host" in str(raised.value)
    assert "and more" not in str(raised.value)


# -- prompts --------------------------------------------------------------------------------------
def test_more_pictures_than_the_context_holds(tmp_path: Path, checkpoint: Checkpoint):
    shutil.copytree(checkpoint("llava"), tmp_path / "short")
    change_config(tmp_path / "short", text_config__max_position_embeddings=64)
    model = _load(str(tmp_path / "short"))
    with pytest.raises(MfvError, match="64") as raised:
        model.texts([text(model, 4)], [pictures(5)])
    assert raised.value.code == "MFV7244"
    assert "fewer demonstrations" in str(raised.value)


def test_answers_that_the_tokenizer_does_not_keep_apart(tmp_path: Path, checkpoint: Checkpoint):
    """Byte by byte nearly all names begin alike."""
    recipe = mfv_dsl.Recipe(
        f'mfv 1\nmodel m = hf("{checkpoint("llava")}", dtype=fp32, device=cpu)\n'
        "dataset shapes = scenes(relations=[left, right], count=4)\n"
        "eval plain { items = 2 }\n"
    )
    with pytest.raises(MfvError) as raised:
        recipe.run(tmp_path / "run")
    assert raised.value.code == "MFV5340"
