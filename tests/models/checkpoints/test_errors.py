"""What is said when a checkpoint's files are missing, broken, or do not belong together."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.checkpoints.load import load_checkpoint as load
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN
from mfv_dsl.models.devices import devices
from tests.base.test_files import POINTER
from tests.models.checkpoints.support import as_of_2023, write_gpt_neox, write_json

RPJ = "openflamingo/OpenFlamingo-4B-vitl-rpj3b"
State = dict[str, torch.Tensor]


@pytest.fixture
def folder(neox: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may break."""
    copied = tmp_path / "mine"
    shutil.copytree(neox, copied)
    return copied


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    return cache


def refused(folder: Path, code: str) -> str:
    with pytest.raises(MfvError) as found:
        load(str(folder), "fp32", "cpu")
    assert found.value.code == code
    return str(found.value)


def changed(folder: Path, change: Callable[[State], object]) -> None:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "checkpoint.pt")


# -- weights --------------------------------------------------------------------------------------
def test_every_misfit_is_listed(folder: Path):
    def change(state: State) -> None:
        del state["perceiver.latents"]
        state["stranger"] = torch.zeros(2)
        state["perceiver.norm.weight"] = torch.zeros(3)

    changed(folder, change)
    said = refused(folder, "MFV7216")
    assert "missing, 1:\n          perceiver.latents\n" in said
    assert "left over, 1:\n          stranger\n" in said
    assert "perceiver.norm.weight: (3,) in the file, (32,) in the model" in said


def test_twenty_are_shown_of_many(folder: Path):
    changed(folder, lambda state: [state.pop(name) for name in [*state] if "perceiver" in name])
    said = refused(folder, "MFV7216")
    (count,) = re.findall(r"missing, (\d+):", said)
    assert int(count) > 50 and said.count("perceiver.") == 20 and "…" in said


def test_cross_attention_at_other_layers(folder: Path):
    write_json(folder / "flamingo.json", {"language": "language", "vision": "vision",
                                          "cross_attn_every_n_layers": 1})  # fmt: skip
    assert "layers.0.gated_cross_attn_layer.attn_gate" in refused(folder, "MFV7216")


def test_only_buffers_of_old_are_ignored(folder: Path):
    place = "lang_encoder.gpt_neox.layers.0.decoder_layer.attention"
    changed(folder, lambda state: state.update({f"{place}.masked_bias": torch.tensor(-1e9)}))
    assert load(str(folder), "fp32", "cpu")
    changed(folder, lambda state: state.update({f"{place}.dense.weight": torch.zeros(32, 32)}))
    assert f"left over, 1:\n          {place}.dense.weight" in refused(folder, "MFV7216")


def test_a_language_model_without_some_of_its_weights(folder: Path):
    as_of_2023(folder / "language")
    state = torch.load(folder / "language" / "pytorch_model.bin", weights_only=True)
    del state["gpt_neox.layers.1.attention.dense.weight"]
    state["gpt_neox.extra.weight"] = torch.zeros(1)
    torch.save(state, folder / "language" / "pytorch_model.bin")
    said = refused(folder, "MFV7216")
    assert "missing, 1:\n          gpt_neox.layers.1.attention.dense.weight\n" in said
    assert "left over, 1:\n          gpt_neox.extra.weight\n" in said


def test_another_language_model(folder: Path):
    write_gpt_neox(folder / "language", 378, hidden_size=64)
    said = refused(folder, "MFV7216")
    assert "embed_in.weight: (341, 32) in the file, (341, 64) in the model" in said


def test_a_language_model_of_other_sizes_than_it_says(folder: Path):
    config = folder / "language" / "config.json"
    config.write_text(
        config.read_text().replace('"intermediate_size": 128', '"intermediate_size": 48')
    )
    said = refused(folder, "MFV7216")
    assert "misshapen, 12:" in said and "missing" not in said
    assert "mlp.dense_h_to_4h.bias: (128,) in the file, (48,) in the model" in said


def test_clip_without_its_image_tower(folder: Path):
    from safetensors.torch import load_file, save_file

    path = folder / "vision" / "open_clip_model.safetensors"
    state = {name: t for name, t in load_file(path).items() if name != "visual.conv1.weight"}
    save_file(state, path)
    assert "missing, 1:\n          conv1.weight" in refused(folder, "MFV7216")


# -- files ----------------------------------------------------------------------------------------
class _Evil:
    ran = False

    def __reduce__(self):
        return _run, ()


def _run() -> None:
    _Evil.ran = True


@pytest.mark.parametrize("name", ["checkpoint.pt", "language/pytorch_model.bin"])
def test_a_pickle_with_code_is_refused_and_not_run(folder: Path, name: str):
    if name.startswith("language"):
        as_of_2023(folder / "language")
    torch.save({"perceiver.latents": _Evil()}, folder / name)
    said = refused(folder, "MFV7215")
    assert not _Evil.ran
    assert str(folder / Path(name).parent) in said
    assert "reading it would call tests.models.checkpoints.test_errors._run" in said
    assert "weights_only" not in said  # torch's own message says how to run it all the same


@pytest.mark.slow
def test_files_that_are_no_weights(folder: Path):
    path = folder / "checkpoint.pt"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<!DOCTYPE html>", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        assert str(path) in refused(folder, "MFV7215")
    torch.save([torch.zeros(2)], path)
    assert "holds no tensors by name" in refused(folder, "MFV7215")


@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "language/model.safetensors", "vision/open_clip_model.safetensors"]
)
def test_a_pointer_of_git_lfs_in_the_weights_place_is_named(folder: Path, name: str):
    (folder / name).write_bytes(POINTER)
    said = refused(folder, "MFV7215")
    assert str(folder / name) in said and "git-LFS pointer" in said and "git lfs pull" in said


def test_damaged_configurations(folder: Path):
    for name, code in (("language/tokenizer.json", "MFV7217"), ("language/config.json", "MFV7217"),
                       ("vision/open_clip_config.json", "MFV7217")):  # fmt: skip
        whole = (folder / name).read_text()
        for broken in (whole[: len(whole) // 2], "[]"):
            (folder / name).write_text(broken)
            assert name in refused(folder, code)
        (folder / name).write_text(whole)


def test_a_language_model_of_another_family(folder: Path):
    write_json(folder / "language" / "config.json", {"model_type": "llama"})
    assert "`llama`" in refused(folder, "MFV7241")
    write_json(folder / "language" / "config.json", {"model_type": "gpt_neox"})
    with pytest.raises(MfvError, match="does not give its sizes"):
        from mfv_dsl.models.checkpoints.facts import facts

        facts(str(folder))


# -- missing files --------------------------------------------------------------------------------
def test_all_missing_files_are_named_at_once(folder: Path):
    for name in ("checkpoint.pt", "language/tokenizer.json", "language/model.safetensors",
                 "vision/open_clip_model.safetensors"):  # fmt: skip
        (folder / name).unlink()
    said = refused(folder, "MFV7213")
    assert f"checkpoint: checkpoint.pt\n          looked for in {folder}\n" in said
    assert "language: tokenizer.json, model.safetensors\n" in said
    assert "vision: open_clip_model.safetensors\n" in said
    assert "put them there" in said


def test_missing_shards(folder: Path):
    as_of_2023(folder / "language", shards=3)
    (folder / "language" / "pytorch_model-00002-of-00003.bin").unlink()
    assert "language: pytorch_model-00002-of-00003.bin\n" in refused(folder, "MFV7213")
    (folder / "language" / "pytorch_model.bin.index.json").write_text("{}")
    assert "is no index of weight files" in refused(folder, "MFV7215")


def test_how_to_fetch_a_published_checkpoint(empty_cache: Path, tmp_path: Path):
    said = refused(Path(RPJ), "MFV7213")
    assert "checkpoint: checkpoint.pt (about 4.9 GB)" in said
    assert f"looked for in the cache ({empty_cache})" in said
    assert f"hf download {RPJ} checkpoint.pt --revision {KNOWN[RPJ].revision}\n" in said
    assert "hf download togethercomputer/RedPajama-INCITE-Base-3B-v1 config.json" in said
    assert "open_clip_config.json open_clip_model.safetensors\n" in said
    assert "mfv run RECIPE --download" in said
    mine = tmp_path / RPJ.partition("/")[2]
    assert f"--revision {KNOWN[RPJ].revision} --local-dir {mine}\n" in refused(mine, "MFV7213")


@pytest.mark.slow
def test_what_is_typed_to_fetch_is_understood_by_the_hubs_command():
    """Every option in the messages is one of ``hf download``."""
    import subprocess
    import sys

    command = Path(sys.executable).with_name("hf")
    done = subprocess.run([command, "download", "--help"], capture_output=True, text=True)
    assert "--revision" in done.stdout and "--local-dir" in done.stdout


# -- arguments ------------------------------------------------------------------------------------
def test_a_precision_that_is_none(neox: Path):
    with pytest.raises(MfvError, match="there is no dtype 'float32'") as found:
        load(str(neox), "float32")
    assert found.value.code == "MFV7220"


def test_devices():
    assert devices(None) == devices("cpu") == [torch.device("cpu")]
    assert len(devices("auto")) == 1
    gpus = torch.cuda.device_count()
    for name in (f"cuda:{gpus}", "toaster", "meta", *(["balanced", "cuda"] if not gpus else [])):
        with pytest.raises(MfvError, match=f"cannot run on {name}") as found:
            devices(name)
        assert found.value.code == "MFV7219"
        assert "have cpu" in str(found.value)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers(number: float, folder: Path):
    changed(folder, lambda state: state["perceiver.latents"][0].fill_(number))
    assert "not all numbers: perceiver.latents" in refused(folder, "MFV7276")
