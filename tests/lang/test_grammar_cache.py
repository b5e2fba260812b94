"""The parser tables kept between processes: whatever is found there, recipes parse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from mfv_dsl.base.source import Source
from mfv_dsl.lang.parser import parse
parsed = parse(Source("mfv 1\\nmodel m = tiny()\\n"))
print(len(parsed.recipe.items), len(parsed.diagnostics))
"""


def parses(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True,
        env={"XDG_CACHE_HOME": str(home)},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, b"", b"nonsense", b"half"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: bytes | None):
    assert parses(tmp_path) == "1 0"
    (kept,) = (tmp_path / "mfv-dsl").iterdir()
    good = kept.read_bytes()
    if damage is not None:
        kept.write_bytes(good[: len(good) // 2] if damage == b"half" else damage)
    assert parses(tmp_path) == "1 0"
    assert parses(tmp_path) == "1 0"


@pytest.mark.slow
def test_without_a_place_to_keep_it(tmp_path: Path):
    (tmp_path / "mfv-dsl").write_text("a file where the folder would be")
    assert parses(tmp_path) == "1 0"
