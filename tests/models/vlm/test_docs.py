"""What docs/models.md says is so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import mfv_dsl
from mfv_dsl.lang.constructors import MODELS
from mfv_dsl.models.vlm.architectures import ARCHITECTURES
from mfv_dsl.models.vlm.load import load_folder
from tests.models.vlm import zoo
from tests.models.vlm.table import PAGE, rewritten
from tests.models.vlm.test_passes import batch_of, differences

TEXT = PAGE.read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.M | re.S)


def block_with(words: str) -> Any:
    """The page's only block of Python with these words, compiled."""
    (block,) = [block for block in PYTHON if words in block]
    return compile(block, str(PAGE), "exec")


def test_the_table_is_that_of_the_code():
    assert rewritten(TEXT) == TEXT, "run: python -m tests.models.vlm.table"


def test_its_model_lines_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (row,) = re.findall(r"^```toml\n# (\S+)\n(.*?)^```", TEXT, flags=re.M | re.S)
    (tmp_path / row[0]).write_text(row[1])
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^model \w+ = hf.*", TEXT, flags=re.M)
    assert len(lines) == 5
    for line in lines:
        mfv_dsl.Recipe(f"mfv 1\n{line}\n")


def test_its_command_can_be_planned():
    (command,) = re.findall(r"`mfv run (quickstart .*)`", TEXT)
    name, option, profile = shlex.split(command)
    assert option == "--profile"
    recipe = mfv_dsl.Recipe.from_file(name, profile=profile)
    assert recipe.checked.models["flamingo"].arguments == {"name": "llava"}
    assert recipe.plan().rows


def test_it_names_every_option():
    (entry,) = [entry for entry in MODELS if entry.name == "hf"]
    rows = re.findall(r"^\| `(\w+)` \| [^|]*`?(\w+)`? \|", TEXT, flags=re.M)
    named = {name for name, _ in rows} - set(ARCHITECTURES)
    assert named >= {parameter.name for parameter in entry.parameters} - {"path"}


@pytest.fixture
def table_as_it_was() -> Iterator[None]:
    rows = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()  # type: ignore[attr-defined]
    ARCHITECTURES.update(rows)  # type: ignore[attr-defined]


def vipllava() -> tuple[Any, Any]:
    words = zoo.tokenizer([], {"image_token": "<image>"})
    config = transformers.VipLlavaConfig(
        vision_config=zoo._CLIP, text_config={"model_type": "llama", **zoo.text(words)},
        image_token_index=words.image_token_id, vision_feature_layers=[-2, -1], image_seq_length=16,
    )  # fmt: skip
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    processor = transformers.LlavaProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    return transformers.VipLlavaForConditionalGeneration(config), processor


@pytest.mark.slow
def test_the_row_that_is_added(
    table_as_it_was: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(zoo.ZOO, "vipllava", vipllava)
    folder = zoo.save_checkpoint("vipllava", tmp_path)
    exec(block_with("vipllava"), {})
    model = load_folder(folder, "vipllava", "fp32", "cpu")
    difference, effect = differences(model, batch_of(model, (2, 0, 1)))
    assert difference < 1e-5 < effect


@pytest.mark.slow
def test_edits_in_a_model_of_ones_own(tmp_path: Path):
    names: dict[str, Any] = {}
    exec(block_with("ModulePaths"), names)
    recipe = mfv_dsl.Recipe(
        "mfv 1\nmodel m = tiny()\ndataset shapes = scenes(relations=[left], count=20)\n"
        "defaults { trials = 4, heads = top(4) }\neval raw { add = fv(left), layer = 1 }\n"
    )
    loaded = names["loaded"]
    picture = np.zeros((40, 40, 3), dtype=np.uint8)
    batch = loaded.texts(["<image>Q:red circle. A:"], [[picture]])
    before = loaded.forward(batch)
    with recipe.plan().attach(names["model"], "raw", "left", layer=1, sites=names["sites"]):
        after = loaded.forward(batch)
    assert not torch.allclose(before, after)
    assert torch.equal(before, loaded.forward(batch))


def test_edits_of_pictures():
    names: dict[str, Any] = {}
    exec(block_with("edit_pictures"), names)
    assert names["places"].shape == (1, 17, names["model"].sites["vision"].width)
    again = names["model"].forward(names["batch_without"])
    torch.testing.assert_close(names["blind"], again)
    assert not torch.allclose(again, names["model"].forward(names["batch"]))


def test_what_it_names_is_there():
    root = PAGE.parents[1]
    for path in re.findall(r"`((?:mfv_dsl|tests)/[\w/.]+)`", TEXT):
        assert (root / path).exists(), path
    for code in set(re.findall(r"MFV\d{4}", TEXT)):
        assert (root / "mfv_dsl" / "lang" / "pages" / f"{code}.md").exists()
