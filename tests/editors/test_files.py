"""The editors' files are what the registry makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfv_dsl.lang.entries import FUNCTION, ITEM
from tools.editors.__main__ import EDITORS, files

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path):
    assert path.read_text(encoding="utf-8") == files()[path], "run python -m tools.editors"


def test_every_word_is_in_every_editors_file():
    for path in files():
        text = path.read_text(encoding="utf-8")
        words = [*ITEM] if path.name in ("mfv.json", "LICENSE") else [*ITEM, *FUNCTION]
        assert path.name == "LICENSE" or all(word in text for word in words), path


def test_the_extension_pins_what_it_is_made_of():
    manifest = json.loads((EDITORS / "vscode" / "package.json").read_text(encoding="utf-8"))
    lock = (EDITORS / "vscode" / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(lock)["packages"]
    for name, version in {**manifest["dependencies"], **manifest["devDependencies"]}.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert '"resolved"' not in lock


@pytest.mark.slow
def test_the_conversation_in_the_docs_is_what_is_said(monkeypatch):
    from docs.make_editors import PAGE, conversation

    assert conversation() in PAGE.read_text(encoding="utf-8"), "run python -m docs.make_editors"
