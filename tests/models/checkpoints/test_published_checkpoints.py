"""The table of published checkpoints, and what follows from names and folders alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mfv_dsl import Recipe
from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.checkpoints.facts import facts
from mfv_dsl.models.checkpoints.layout import checkpoint_layout
from mfv_dsl.models.checkpoints.published_checkpoints import KNOWN, PublishedCheckpoint, memory
from mfv_dsl.models.flamingo_classes import clip_builders, flamingo_classes
from mfv_dsl.models.mpt import mpt_class, mpt_config
from tests.models.checkpoints.support import MOSAIC, MPT, write_json

NAMES = sorted(KNOWN)
RPJ = "openflamingo/OpenFlamingo-4B-vitl-rpj3b"
#: Sizes in GB as the hub lists them: checkpoint.pt, the language model's weights (of MPT-7B its
#: 6.65 billion parameters in float32), CLIP.
LISTED = {
    "openflamingo/OpenFlamingo-3B-vitl-mpt1b": (4.19, 5.25, 1.71),
    "openflamingo/OpenFlamingo-3B-vitl-mpt1b-langinstruct": (4.19, 5.25, 1.71),
    "openflamingo/OpenFlamingo-4B-vitl-rpj3b": (5.01, 5.69, 1.71),
    "openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstruct": (4.87, 5.69, 1.71),
    "openflamingo/OpenFlamingo-9B-vitl-mpt7b": (5.54, 26.6, 1.71),
}


def built(known: PublishedCheckpoint) -> torch.nn.Module:
    """The model of this shape out of the real classes, without memory for its weights."""
    of, language, vision = flamingo_classes(), known.language, known.vision
    with torch.device("meta"):
        tower = clip_builders().build_vision_tower(
            vision.output,
            {"image_size": vision.image_size, "patch_size": vision.patch_size,
             "width": vision.width, "layers": vision.layers},
            vision.quick_gelu,
        )  # fmt: skip
        if language.model_type == "gpt_neox":
            model = of.GPTNeoXForCausalLM(of.GPTNeoXConfig(
                vocab_size=known.vocabulary, hidden_size=language.d_model,
                num_hidden_layers=language.n_layers, num_attention_heads=language.n_heads,
                intermediate_size=4 * language.d_model,
            ))  # fmt: skip
        else:
            sizes = {"d_model": language.d_model, "n_layers": language.n_layers,
                     "n_heads": language.n_heads, "vocab_size": known.vocabulary}  # fmt: skip
            config = {**(MPT if language.model_type == "mpt" else MOSAIC), **sizes}
            model = mpt_class(config)(mpt_config(config))
        of.extend_instance(model, of.FlamingoLMMixin)
        kind = "gpt_neox.layers" if language.model_type == "gpt_neox" else "transformer.blocks"
        model.set_decoder_layers_attr_name(kind)
        return of.Flamingo(SimpleNamespace(visual=tower), model, 0, 1, vis_dim=vision.width,
                           cross_attn_every_n_layers=known.every)  # fmt: skip


@pytest.mark.parametrize("name", [NAMES[0], NAMES[2], NAMES[4]])
def test_parameters_are_those_of_the_real_classes(name: str):
    known = KNOWN[name]
    model = built(known)
    assert sum(parameter.numel() for parameter in model.parameters()) == known.parameters
    language = model.lang_encoder
    trained = [*model.perceiver.parameters(), *language.gated_cross_attn_layers.parameters()]
    trained += {language.get_input_embeddings().weight, language.get_output_embeddings().weight}
    assert sum(parameter.numel() for parameter in trained) == known.trained


@pytest.mark.parametrize("name", NAMES)
def test_sizes_to_fetch_are_about_those_listed(name: str):
    found = [size / 1e9 for size in KNOWN[name].download.values()]
    assert found == pytest.approx(LISTED[name], rel=0.03)


def test_memory_grows_with_model_and_precision():
    sizes = [memory(KNOWN[name], "bf16") for name in (NAMES[0], NAMES[2], NAMES[4])]
    assert sizes == sorted(sizes)
    for name in NAMES:
        assert memory(KNOWN[name], "fp32") == 2 * memory(KNOWN[name], "bf16")
        assert memory(KNOWN[name], "bf16") > 2 * KNOWN[name].parameters


# -- facts ----------------------------------------------------------------------------------------
def test_facts_of_a_published_checkpoint_need_no_file():
    known = facts(RPJ)
    assert (known.n_layers, known.n_heads, known.head_dim, known.d_model) == (32, 32, 80, 2560)
    assert (known.precision, known.family) == ("bf16", "gpt_neox")
    assert len({facts(name).fingerprint for name in NAMES}) == len(NAMES)
    assert facts(f"models/{RPJ.partition('/')[2]}").d_model == 2560  # a folder called like it


def test_facts_load_nothing_heavy():
    program = f"""
import sys
from mfv_dsl.models.checkpoints.facts import facts
assert facts({RPJ!r}).n_layers == 32
print(*{{"torch", "transformers", "huggingface_hub", "numpy"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_facts_of_a_folder_come_from_its_files(neox: Path, mosaic: Path):
    known = facts(str(neox), dtype="fp32")
    assert (known.n_layers, known.n_heads, known.head_dim, known.d_model) == (4, 4, 8, 32)
    assert known.identity == known.fingerprint
    assert facts(str(mosaic)).family == "mosaic_gpt"


def test_a_fingerprint_follows_the_content_and_nothing_else(neox: Path, tmp_path: Path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(neox, folder)
    same = facts(str(neox)).fingerprint
    assert facts(str(folder)).fingerprint == same
    assert facts(str(folder), dtype="fp16", device="cpu").fingerprint == same
    seen = {same}
    for name in ("checkpoint.pt", "language/model.safetensors", "language/tokenizer.json",
                 "vision/open_clip_model.safetensors"):  # fmt: skip
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        seen.add(facts(str(folder)).fingerprint)
    write_json(folder / "flamingo.json", {"language": "language", "vision": "vision",
                                          "cross_attn_every_n_layers": 4})  # fmt: skip
    seen.add(facts(str(folder)).fingerprint)
    assert len(seen) == 6


def test_large_files_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neox: Path):
    """The size, the first, the last and evenly spaced blocks count."""
    from mfv_dsl.base import files as module

    monkeypatch.setattr(module, "_WHOLE", 100)
    monkeypatch.setattr(module, "_BLOCKS", 3)
    monkeypatch.setattr(module, "_BLOCK", 10)
    folder = tmp_path / "sampled"
    shutil.copytree(neox, folder)
    path = folder / "checkpoint.pt"
    size = path.stat().st_size

    def changed(at: int) -> bool:
        before = facts(str(folder)).fingerprint
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
        return facts(str(folder)).fingerprint != before

    assert changed(0) and changed(size - 1) and changed((size - 10) // 2)
    assert not changed(size // 4)


def test_precision_is_part_of_every_key_and_of_no_fingerprint(neox: Path):
    def steps(dtype: str) -> set[str]:
        text = (
            f'mfv 1\nmodel m = openflamingo("{neox}", dtype={dtype})\n'
            "dataset d = scenes(relations=[left, right])\n"
            "eval raw { add = fv(each, heads={L1H1}), layer = 2 }\n"
        )
        made = Recipe(text).plan()
        return {step.key for step in made.steps if step.model is not None}

    assert not steps("bf16") & steps("fp32")
    assert steps("bf16") == steps("bf16")


def test_what_a_plan_says_of_an_mpt(mpt: Path):
    from mfv_dsl.plan.explain import explain_plan

    text = (
        f'mfv 1\nmodel m = openflamingo("{mpt}")\ndataset d = scenes(relations=[left, right])\n'
        "eval raw { add = fv(left, heads={L1H1}), layer = 2 }\n"
    )
    notes = explain_plan(Recipe(text).plan(), ())
    assert any("lang_encoder.transformer.blocks.{layer}" in note.writes for note in notes)


# -- names and folders ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("openflamingo/OpenFlamingo-4B-vitl-rpj3", RPJ),
        ("openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstrukt", f"{RPJ}-langinstruct"),
        ("OpenFlamingo-9B-vitl-mpt-7b", "openflamingo/OpenFlamingo-9B-vitl-mpt7b"),
        ("llava", None),
    ],
)
def test_an_unknown_name_lists_the_known(path: str, near: str | None):
    with pytest.raises(MfvError) as found:
        facts(path)
    assert found.value.code == "MFV7210"
    said = str(found.value)
    assert all(name in said for name in NAMES) and "flamingo.json" in said
    assert (f"did you mean `{near}`?" in said) == (near is not None)


def test_a_folder_says_what_is_in_it(tmp_path: Path):
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    with pytest.raises(MfvError, match=r"has no flamingo.json") as found:
        checkpoint_layout(str(tmp_path))
    assert found.value.code == "MFV7211"
    named = tmp_path / "OpenFlamingo-4B-vitl-rpj3b"
    named.mkdir()
    made = checkpoint_layout(str(named))
    assert made.publication is KNOWN[RPJ] and made.checkpoint == named
    assert str(made.language) == "togethercomputer/RedPajama-INCITE-Base-3B-v1"
    (named / "language").mkdir()
    assert checkpoint_layout(str(named)).language == named / "language"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{", "it is not JSON"),
        ("[1]", "something else than"),
        ('{"language": "l", "vision": "v"}', "something else than"),
        ('{"language": "l", "vision": "v", "cross_attn_every_n_layers": 2, "x": 1}', "something"),
        ('{"language": "l", "vision": "v", "cross_attn_every_n_layers": 0}', "no number of layers"),
        ('{"language": 3, "vision": "v", "cross_attn_every_n_layers": 2}', "language is 3"),
    ],
)
def test_a_description_that_cannot_be_used(tmp_path: Path, said: str, why: str):
    (tmp_path / "flamingo.json").write_text(said)
    with pytest.raises(MfvError, match=why) as found:
        checkpoint_layout(str(tmp_path))
    assert found.value.code == "MFV7212"


def test_parts_of_a_folder_are_folders_or_repositories(tmp_path: Path):
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    settings = {"language": "here/deeper", "vision": "owner/name", "cross_attn_every_n_layers": 1}
    (tmp_path / "flamingo.json").write_text(json.dumps(settings))
    made = checkpoint_layout(str(tmp_path))
    assert made.language == tmp_path / "here" / "deeper"
    assert str(made.vision) == "owner/name" and made.publication is None


def test_a_mistake_in_a_recipe_is_shown_at_its_place():
    text = 'mfv 1\nmodel m = openflamingo("openflamingo/OpenFlamingo-4B")\ndataset d = scenes()\n'
    with pytest.raises(MfvError) as found:
        Recipe(text + "eval few { shots = 4 }\n", "r.mfv")
    said = str(found.value)
    assert (
        "error[MFV7210]: there is no OpenFlamingo checkpoint openflamingo/OpenFlamingo-4B" in said
    )
    assert "--> r.mfv:2:24" in said
