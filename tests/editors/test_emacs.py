"""The mode for recipes, in Emacs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODE = ROOT / "editors" / "emacs" / "mfv-mode.el"
EMACS = shutil.which("emacs")

pytestmark = [
    pytest.mark.skipif(EMACS is None, reason="emacs is not installed"), pytest.mark.slow,
]  # fmt: skip


def emacs(*arguments: str | Path) -> str:
    assert EMACS is not None
    command = [EMACS, "-Q", "--batch", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_words_have_their_faces_and_lines_their_indent(tmp_path: Path):
    recipe, script = tmp_path / "a.mfv", tmp_path / "script.el"
    text = (ROOT / "recipes" / "quickstart.mfv").read_text(encoding="utf-8")
    recipe.write_text(
        f'{text}vector v(r) = match r {{ left: fv(r), else: fv(left) }}\nuse "x.mfv" as c\n'
    )
    words = ["tiny(", "# Some", "heads spatial", "by=", "aie", "0..9", '"vectors', "match r",
             "else:", "as c"]  # fmt: skip
    rows = "\n".join(
        f'(goto-char (point-min)) (search-forward {_quoted(word)}) (message "face %s" '
        "(get-text-property (match-beginning 0) 'face))"
        for word in words
    )
    script.write_text(
        f'(load "{MODE}")\n(find-file "{recipe}")\n(message "mode %s" major-mode)\n'
        f"(font-lock-ensure)\n{rows}\n"
        '(goto-char (point-min)) (search-forward "shots  = 4") (beginning-of-line)\n'
        "(delete-horizontal-space) (mfv-mode-indent-line)\n"
        '(message "indent %d" (current-indentation))\n'
        '(search-forward "}") (beginning-of-line) (mfv-mode-indent-line)\n'
        '(message "indent %d" (current-indentation))\n'
    )
    said = emacs("-l", script)
    assert "mode mfv-mode" in said
    faces = re.findall(r"face (?:font-lock-)?(\S+?)(?:-face)?$", said, flags=re.M)
    assert faces == [
        "function-name", "comment-delimiter", "keyword", "variable-name", "constant", "constant",
        "string", "keyword", "keyword", "keyword",
    ]  # fmt: skip
    assert re.findall(r"indent (\d+)", said) == ["2", "0"]


def test_the_mode_compiles_without_a_warning(tmp_path: Path):
    copy = tmp_path / MODE.name
    shutil.copy(MODE, copy)
    said = emacs("-f", "batch-byte-compile", copy)
    assert "mfv-mode.el:" not in said
    assert copy.with_suffix(".elc").exists()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
