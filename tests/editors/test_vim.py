"""The syntax file, which Neovim reads too, in vim."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mfv_dsl.lang.lexer import raw_tokens
from mfv_dsl.lsp.positions import Lines

ROOT = Path(__file__).parents[2]
NEOVIM = ROOT / "editors" / "neovim"
VIM = shutil.which("vim") or ""
_GROUPS = {"STRING": "mfvString", "COMMENT": "mfvComment", "INT": "mfvNumber",
           "FLOAT": "mfvNumber", "HEAD": "mfvHead"}  # fmt: skip


def groups(text: str, places: list[tuple[int, int]], tmp_path: Path) -> list[str]:
    """The highlighting group of each place, a line and a byte column from 1."""
    recipe, out, script = tmp_path / "a.mfv", tmp_path / "out.json", tmp_path / "script.vim"
    recipe.write_text(text, encoding="utf-8")
    script.write_text(
        f"set nocompatible encoding=utf-8\nsyntax on\nedit {recipe}\n"
        "syntax clear\nunlet! b:current_syntax\n"
        f"source {NEOVIM}/syntax/mfv.vim\nsyntax sync fromstart\nlet found = [v:errmsg]\n"
        f"for [l, c] in {json.dumps(places)}\n"
        "  call add(found, synIDattr(synID(l, c, 1), 'name'))\nendfor\n"
        f"call writefile([json_encode(found)], '{out}')\nqall!\n"
    )
    subprocess.run([VIM, "-u", "NONE", "-es", "-S", script], timeout=60, stdin=subprocess.DEVNULL)
    error, *found = json.loads(out.read_text())
    assert error == ""
    return found


@pytest.fixture(scope="module", autouse=True)
def has_syntax() -> None:
    said = subprocess.run([VIM, "--version"], capture_output=True, text=True).stdout if VIM else ""
    if "+syntax" not in said or "+eval" not in said:
        pytest.skip("vim with syntax is not installed")


@pytest.mark.parametrize("name", ["quickstart", "tuning", "seeds"])
def test_tokens_have_their_groups(name: str, tmp_path: Path):
    text = (ROOT / "recipes" / f"{name}.mfv").read_text(encoding="utf-8")
    lines = Lines(text, "utf-8")
    tokens = [token for token in raw_tokens(text) if token.type in _GROUPS]
    places = [lines.position(token.start_pos or 0) for token in tokens]
    found = groups(text, [(at.line + 1, at.character + 1) for at in places], tmp_path)
    assert found == [_GROUPS[token.type] for token in tokens]


def test_words_are_told_apart(tmp_path: Path):
    text = "mfv 1\nheads h = top(3, by=aie)\neval heads { shots = 4 }\n"
    found = groups(
        text, [(1, 1), (2, 1), (2, 11), (2, 18), (2, 21), (3, 1), (3, 6), (3, 14)], tmp_path
    )
    control = (
        "vector v(r) = match r { left: fv(left), else: fv(r) }\ndefaults for tune { lr = 1 }\n"
    )
    places = [(1, 15), (1, 41), (2, 10)]
    assert groups(control, places, tmp_path) == ["mfvControl"] * 3
    assert groups('use "a.mfv" as c\n', [(1, 1), (1, 13)], tmp_path) == ["mfvItem", "mfvControl"]
    assert found == [
        "mfvItem", "mfvItem", "mfvFunction", "mfvAttribute", "mfvValue", "mfvItem", "mfvName",
        "mfvAttribute",
    ]  # fmt: skip
