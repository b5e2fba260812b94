"""The worked diffs of CONTRIBUTING.md apply to the tree as it is, and do what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mfv_dsl

ROOT = Path(__file__).parents[2]
#: sections of the page that have a diff, by their headings
SECTIONS = {
    match[1]: match[0]
    for match in re.finditer(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?^```diff\n(?:(?!^## ).)*",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        flags=re.M | re.S,
    )
}
#: what stands before the page's examples: small numbers
HEAD = """\
mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=20)
defaults { trials = 8, items = 8, heads = top(4, by=norm, on=[left], trials=8) }
"""
WEIGHTS = "weights"


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[section], flags=re.M | re.S)


def copy_of_the_package(folder: Path) -> Path:
    """Grammar, package and tests in ``folder``; weights, recipes and vectors are shared."""
    package = Path(mfv_dsl.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", WEIGHTS)
    shutil.copytree(package, folder / "mfv_dsl", ignore=ignored)
    for weights in package.rglob(WEIGHTS):
        (folder / "mfv_dsl" / weights.relative_to(package)).symlink_to(weights)
    for name in ("grammars", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("recipes", "vectors", "pyproject.toml", "docs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def apply(diff: str, folder: Path, *options: str) -> None:
    """``git apply`` in a folder that is in no repository."""
    done = subprocess.run(
        ["git", "apply", *options, "-"], input=diff, cwd=folder, text=True, capture_output=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def python(folder: Path, *arguments: str | Path) -> str:
    """What Python prints with the package of ``folder``."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_package(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that has all diffs, applied in the order of the page."""
    folder = copy_of_the_package(tmp_path_factory.mktemp("changed"))
    for section in SECTIONS:
        for diff in blocks(section, "diff"):
            apply(diff, folder)
    return folder


@pytest.fixture(scope="module")
def problems(changed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is wrong in each section; the examples of all are run as one recipe."""
    folder = tmp_path_factory.mktemp("examples")
    recipe = folder / "examples.mfv"
    recipe.write_text(HEAD + "".join("".join(blocks(name, "mfv")) for name in SECTIONS))
    script = changed / "tests" / "repository" / "worked_diffs.py"
    output: dict[str, str] = json.loads(python(changed, script, recipe, folder))
    return output


@pytest.mark.parametrize("section", SECTIONS)
def test_a_diff_applies_to_the_tree_as_it_is(section: str, pristine: Path):
    (diff,) = blocks(section, "diff")
    apply(diff, pristine, "--check")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_new_word_takes_two_files_at_most(section: str):
    (diff,) = blocks(section, "diff")
    files = re.findall(r"^\+\+\+ b/(\S+)", diff, flags=re.M)
    assert 1 <= len(files) <= 2
    places = {1: "One place:", 2: "Two places:"}
    assert places[len(files)] in SECTIONS[section]


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_keeps_its_promise(section: str, problems: dict[str, str]):
    assert problems[section] == ""


@pytest.mark.slow
def test_the_tests_find_the_new_words(changed: Path):
    """Golden keys stay, every new word is planned and performed, and imports keep their rules."""
    python(
        changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
        "tests/repository/test_imports.py", "tests/plan/test_golden_keys.py",
        "tests/plan/test_completeness.py", "tests/lang/test_codes.py",
    )  # fmt: skip
