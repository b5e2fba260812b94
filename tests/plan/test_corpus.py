"""The plans of ``tests/corpus/plan``, word for word.

``python -m tests.plan.test_corpus`` rewrites what is expected.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.plan.explain import explain_plan, plan_text

CORPUS = sorted((Path(__file__).parents[1] / "corpus" / "plan").glob("*.mfv"))


def shown(recipe: Path) -> str:
    """The plan as text; hashes, which change when the bundled model is trained anew, are cut."""
    plan = mfv.Recipe(recipe.read_text(), recipe.name).plan()
    return re.sub(r"\b[0-9a-f]{12}\b", "…", plan_text(plan, explain_plan(plan, ())))


@pytest.mark.parametrize("recipe", CORPUS, ids=lambda path: path.stem)
def test_plan(recipe: Path):
    assert shown(recipe) == recipe.with_suffix(".txt").read_text()


if __name__ == "__main__":
    for path in CORPUS:
        path.with_suffix(".txt").write_text(shown(path))
