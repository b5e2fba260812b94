"""Step keys of known recipes, as they have always been.

A key decides which finished step is found again, so a key that changes by accident costs users
their store, and one that stays the same by accident gives them a wrong result.  A change on
purpose is written down by ``python -m tests.plan.test_golden_keys``; look at the difference.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import mfv_dsl as mfv

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden_keys"
#: Recipes whose plans do not depend on files of the user's.
RECIPES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
    for folder in (
        "recipes",
        "recipes/paper",
        "recipes/paper/qwen3-vl",
        "tests/corpus/plan",
        "tests/corpus/valid",
        "tests/golden",
    )
    for path in sorted((ROOT / folder).glob("*.mfv"))
    if path.stem not in ("several", "minimal")
}
SHOWN = 300  # a longer plan is kept as one hash


def keys_of(recipe: Path) -> str:
    """One line a step: the first half of its key, its operation and its label."""
    lines = [
        f"{step.key[:32]} {step.operation}: {step.label}\n"
        for step in mfv.Recipe.from_file(recipe).plan().steps
    ]
    if len(lines) > SHOWN:
        return f"{len(lines)} steps {hashlib.sha256(''.join(lines).encode()).hexdigest()}\n"
    return "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_step_keys_are_as_they_were(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)  # `load` in a recipe takes paths from the current folder
    assert keys_of(RECIPES[name]) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, path in RECIPES.items():
        (GOLDEN / f"{name}.txt").write_text(keys_of(path), encoding="utf-8")
