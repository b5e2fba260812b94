"""Configurations, locks and results are read as tables are: in every text form, strictly, from
regular files, and what is wrong is an error with the file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mfv_dsl
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute import run_files
from mfv_dsl.library.lock import read_lock
from mfv_dsl.models.checkpoints import facts as checkpoint_facts
from mfv_dsl.models.checkpoints.layout import checkpoint_layout
from mfv_dsl.models.checkpoints.locate import weight_files
from mfv_dsl.models.tiny import constructor
from mfv_dsl.models.tiny import facts as tiny_facts
from mfv_dsl.models.vlm import folder as vlm_folder
from mfv_dsl.models.vlm.table_file import read_row

Read = Callable[[Path], Any]
LOCK = {"version": 1, "loads": []}
FLAMINGO = {"language": "lé", "vision": "v", "cross_attn_every_n_layers": 2}
INDEX = {"weight_map": {"a": "é.safetensors"}}
#: The file that is read, what it says, and by what, with the code of what goes wrong.
READERS: dict[str, tuple[str, Any, Read, str]] = {
    "the small Flamingo's": ("config.json", {"a": "é"}, tiny_facts.read_config, "MFV7202"),
    "a checkpoint's": (
        "config.json", {"a": "é"},
        lambda folder: checkpoint_facts.read_config(folder / "config.json"), "MFV7217",
    ),
    "a description": ("flamingo.json", FLAMINGO,
                      lambda folder: str(checkpoint_layout(str(folder)).language), "MFV7212"),
    "a checkpoint's index": ("model.safetensors.index.json", INDEX,
                             lambda folder: weight_files("language", folder)[1], "MFV7215"),
    "a transformers model's": ("config.json", {"a": "é"}, vlm_folder.read_config, "MFV7264"),
    "a transformers model's index": (
        "model.safetensors.index.json", INDEX,
        lambda folder: [file.name for file in vlm_folder._weight_files(folder)], "MFV7264",
    ),
    "a lock": ("mfv.lock", LOCK, lambda folder: read_lock(folder / "mfv.lock").pins, "MFV6021"),
    "results": ("results.json", {"rows": []},
                lambda folder: run_files.json_of(folder, "results.json"), "MFV6113"),
}  # fmt: skip


def refused(name: str, folder: Path) -> MfvError:
    file, _, read, code = READERS[name]
    with pytest.raises(MfvError) as caught:
        read(folder)
    assert caught.value.code == code
    assert file in str(caught.value) or "index" in file
    return caught.value


@pytest.mark.parametrize("name", READERS)
def test_every_text_form_is_read(name: str, tmp_path: Path):
    file, said, read, _ = READERS[name]
    text = json.dumps(said, indent=1, ensure_ascii=False)
    (tmp_path / file).write_text(text, encoding="utf-8")
    usual = read(tmp_path)
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        for end in ("\n", "\r\n", "\r"):
            (tmp_path / file).write_bytes(text.replace("\n", end).encode(encoding))
            assert read(tmp_path) == usual


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_sound_json_is_refused(name: str, tmp_path: Path):
    file = READERS[name][0]
    texts = {
        b'{"a": 1, "a": 2}': "there twice", b"[" * 200_000: "nested too deeply",
        b'{"a": "caf\xe9"}': "byte 0xe9", b'{"a": "\0"}': "NUL character", b"{": "is not JSON",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n": "git lfs pull",
    }  # fmt: skip
    for data, what in texts.items():
        (tmp_path / file).write_bytes(data)
        assert what in str(refused(name, tmp_path))
    for data in (b"[]", b"1", b"null", b'"x"') if name != "results" else ():
        (tmp_path / file).write_bytes(data)
        refused(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if "index" not in name])
def test_regular_files_alone_are_read(name: str, tmp_path: Path):
    file = tmp_path / READERS[name][0]
    if name != "a description":  # a folder without a description is another error
        os.mkfifo(file)
        assert "it is a pipe, not a file" in str(refused(name, tmp_path))
        file.unlink()
        file.symlink_to("/dev/zero")
        assert "it is a device, not a file" in str(refused(name, tmp_path))


def test_a_row_of_toml_in_every_form(tmp_path: Path):
    text = '# é\ntext = "model.language_model"\n'
    path = tmp_path / "row.TOML"
    path.write_text(text, encoding="utf-8")
    usual = read_row(path)
    for encoding in ("utf-8-sig", "utf-16"):
        for end in ("\r\n", "\r"):
            path.write_bytes(text.replace("\n", end).encode(encoding))
            assert read_row(path) == usual
    for data, what in ((b'text = "caf\xe9"', "byte 0xe9"), (b"text = " + b"[" * 50_000, "TOML"),
                       (b'text = "a"\ntext = "b"', "TOML")):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(MfvError, match=what) as caught:
            read_row(path)
        assert caught.value.code == "MFV7284" and str(path) in str(caught.value)


# -- values of every kind in a configuration ------------------------------------------------------
VALUES = (None, "5", [[1]], {"a": 1}, -1, 0, 1, 10**400, float("inf"))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a JSON value."""
    yield at
    inner = list(value) if isinstance(value, dict) else []
    for key in inner or (range(len(value)) if isinstance(value, list) else []):
        yield from places(value[key], (*at, key))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "file"),
    [("tiny", "config.json"), ("llava", "config.json"), ("llava", "processor_config.json")],
)
def test_a_configuration_of_any_values_is_read_or_refused(model: str, file: str, tmp_path: Path):
    bundled = Path(mfv_dsl.__file__).parent / "models" / model / "weights"
    folder = tmp_path / "model"
    shutil.copytree(bundled, folder)
    text = (bundled / file).read_text(encoding="utf-8")
    refused = set()
    for place in list(places(json.loads(text)))[1:]:
        for value in VALUES:
            config = json.loads(text)
            inner = config
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            (folder / file).write_text(json.dumps(config))
            try:
                facts = constructor.facts(str(folder))
            except MfvError as error:
                refused.add(error.code)
            else:
                assert min(facts.n_layers, facts.n_heads, facts.head_dim, facts.d_model) > 0
    codes = {"MFV7202", "MFV7241", "MFV7260", "MFV7261", "MFV7264", "MFV7267", "MFV7282"}
    assert refused <= codes and (refused or file != "config.json")
