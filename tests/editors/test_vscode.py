"""The VS Code extension's own tests, run by node, and its package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mfv_dsl.lang.lexer import raw_tokens
from mfv_dsl.lsp.positions import Lines, units

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "editors" / "vscode"
RECIPES = [*sorted(ROOT.glob("recipes/*.mfv")), *sorted(ROOT.glob("tests/corpus/valid/*.mfv"))]
INSTALL_WITHIN = 180  # seconds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def npm() -> str:
    """The command npm, once the extension's packages are installed; skips where they cannot be."""
    command, node = shutil.which("npm"), shutil.which("node")
    if command is None or node is None:
        pytest.skip("node and npm are not installed")
    if not (EXTENSION / "node_modules" / ".package-lock.json").is_file():  # npm writes it last
        install = [command, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
        try:
            done = subprocess.run(
                install, cwd=EXTENSION, capture_output=True, text=True, timeout=INSTALL_WITHIN
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm ci takes more than {INSTALL_WITHIN} s")
        if done.returncode:
            pytest.skip(f"npm ci does not work here: {done.stderr.strip().splitlines()[-1:]}")
    return command


def tokens_by_line(path: Path) -> list[dict[str, object]]:
    """A recipe's lines with the kind, start and end of every token, in UTF-16 units."""
    text = path.read_bytes().decode("utf-8-sig")
    lines = Lines(text)
    rows: list[dict[str, object]] = [
        {"text": lines.line(number), "tokens": []} for number in range(len(lines.starts))
    ]
    for token in raw_tokens(text):
        if token.type == "NEWLINE":
            continue
        at = lines.position(token.start_pos or 0)
        found = rows[at.line]["tokens"]
        assert isinstance(found, list)
        found.append([token.type, at.character, at.character + units(str(token), "utf-16")])
    return rows


def test_the_extension(npm: str, tmp_path: Path):
    tokens = tmp_path / "tokens.json"
    tokens.write_text(
        json.dumps([{"name": path.name, "lines": tokens_by_line(path)} for path in RECIPES])
    )
    environment = {
        **os.environ,
        "MFV_COMMAND": json.dumps([sys.executable, "-m", "mfv_dsl"]),
        "MFV_TOKENS": str(tokens),
        "MFV_HOME": str(tmp_path / "store"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [npm, "test"], cwd=EXTENSION, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "# pass 6" in done.stdout and "# skipped 0" in done.stdout


def test_the_package(npm: str, tmp_path: Path):
    folder = tmp_path / "vscode"
    shutil.copytree(EXTENSION, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (folder / "node_modules").symlink_to(EXTENSION / "node_modules")
    done = subprocess.run(
        [npm, "run", "package"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with zipfile.ZipFile(folder / "mfv-dsl.vsix") as package:
        names = set(package.namelist())
        manifest = json.loads(package.read("extension/package.json"))
    for file in (manifest["main"], manifest["contributes"]["grammars"][0]["path"]):
        assert f"extension/{file.removeprefix('./')}" in names
    assert not any("node_modules" in name or "/test/" in name for name in names)
    bundle = folder / "dist" / "extension.js"
    node = shutil.which("node")
    assert node is not None
    subprocess.run([node, "--check", bundle], check=True, timeout=60)
