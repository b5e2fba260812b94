"""Outline, folds, colours and lenses."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.base.source import Span
from mfv_dsl.lsp.analysis import analyse, further
from mfv_dsl.lsp.highlighting import semantic_tokens
from mfv_dsl.lsp.lenses import RUN, lenses
from mfv_dsl.lsp.outline import folds, symbols
from mfv_dsl.lsp.positions import Lines
from tests.lsp.support import HEAD, RECIPES, USES, decoded


def test_symbols_and_folds():
    lines = Lines(USES)
    found = symbols(analyse(USES), lines)
    names = [symbol.name for symbol in found]
    assert names[:4] == ["flamingo", "shapes", "spatial", "defaults"]
    assert names[-1] == "less" and "vectors/mine" in names
    assert [child.name for child in found[3].children] == ["shots", "heads"]
    for symbol in found:
        assert symbol.range.start <= symbol.selection_range.start
        assert symbol.selection_range.end <= symbol.range.end
    text = "# a\n# b\nmfv 1\n" + HEAD[6:]
    assert [(f.start_line, f.end_line) for f in folds(analyse(text), Lines(text))] == [
        (0, 1), (6, 8),
    ]  # fmt: skip


def test_semantic_tokens():
    text = "# \U0001f600\n" + USES
    found = decoded(text, semantic_tokens(analyse(text), Lines(text)))
    assert ("steer", "variable") in found and ("pure", "function") in found
    assert ("left", "enumMember") in found and ("tiny", "class") in found
    assert ("r", "parameter") in found and ("zero", "event") in found
    assert ("on", "parameter") in found and ("on", "property") in found
    assert ("eval", "keyword") in found and ("less", "namespace") in found
    within = Span(text.index("eval zero"), text.index("tune tuned"))
    part = decoded(text, semantic_tokens(analyse(text), Lines(text), within))
    assert part == [("eval", "keyword"), ("zero", "event"), ("shots", "property")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_semantic_tokens_are_the_words_of_the_recipe(path: Path):
    text = path.read_text(encoding="utf-8")
    for word, _ in decoded(text, semantic_tokens(analyse(text), Lines(text))):
        assert word.isidentifier()


def test_lenses_count_steps_and_finished_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("MFV_HOME", str(tmp_path))
    analysis = analyse(USES)
    plan = further(analysis).plan
    assert plan is not None
    titles = {
        Lines(USES).line(lens.range.start.line).split()[1]: lens.command.title
        for lens in lenses(analysis, plan, Lines(USES))
    }
    assert titles["zero"] == "8 steps, 0 finished"
    assert set(titles) == {"zero", "tuned", "raw", "other", '"vectors/mine"'}
    for row in plan.rows:
        if row.eval == "zero":
            for key in (row.step, *plan[row.step].follows_from):
                file = tmp_path / "steps" / key[:2] / f"{key}.safetensors"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    again = lenses(analysis, plan, Lines(USES), "file:///a.mfv", run=True)
    assert again[0].command.title == "▷ run: 8 steps, all finished"
    assert (again[0].command.command, again[0].command.arguments) == (
        RUN, ["file:///a.mfv", "zero"],
    )  # fmt: skip
    assert lenses(analysis, None, Lines(USES)) == []
