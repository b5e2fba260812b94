"""Highlighting by Pygments."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pygments.token import Comment, Error, Keyword, Name, Whitespace

from mfv_dsl.lang.lexer import raw_tokens
from mfv_dsl.pygments_lexer import MfvLexer

ROOT = Path(__file__).parents[2]
RECIPES = [*sorted(ROOT.glob("recipes/*.mfv")), *sorted(ROOT.glob("tests/corpus/valid/*.mfv"))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_tokens_are_those_of_the_language(path: Path):
    text = path.read_bytes().decode("utf-8")
    found = list(MfvLexer().get_tokens_unprocessed(text))
    assert "".join(value for _, _, value in found) == text
    assert not any(kind in Error for _, kind, _ in found)
    own = [(t.start_pos, str(t)) for t in raw_tokens(text)]
    assert [
        (at, value) for at, kind, value in found if (at, value) in own or kind is not Whitespace
    ] == own


def test_words_are_told_apart_by_where_they_stand():
    lexer = MfvLexer()

    def kinds(text: str) -> dict[str, object]:
        return {value: kind for kind, value in lexer.get_tokens(text)}

    assert kinds("heads heads = top(3, by=aie)")["aie"] is Keyword.Constant
    found = list(lexer.get_tokens("heads heads = top(3)"))
    assert [kind for kind, value in found if value == "heads"] == [
        Keyword.Declaration, Name.Attribute,
    ]  # fmt: skip
    assert kinds("vector v = pure(left)")["pure"] is Name.Function
    assert kinds("vector v = 2fv(left)")["2fv"] is Error
    found = kinds("vector v(r) = match r { left: fv(left), else: fv(r) }")
    assert found["match"] is found["else"] is Keyword
    assert kinds("defaults for tune { lr = 1 }")["for"] is Keyword
    assert kinds('use "a.mfv" as c')["as"] is Keyword


def test_pygments_finds_the_lexer():
    found = [entry for entry in entry_points(group="pygments.lexers") if entry.name == "mfv"]
    if not found:
        pytest.skip("the package was installed before it had this lexer: make setup")
    assert found[0].load() is MfvLexer


def test_the_first_line_of_a_notebooks_cell_is_none_of_the_recipes():
    text = "%%mfv steer --set raw.layer=$x\nmfv 1\nvector v = fv(left)"
    found = list(MfvLexer().get_tokens_unprocessed(text))
    assert "".join(value for _, _, value in found) == text
    assert all(text[at:].startswith(value) for at, _, value in found)
    assert found[0] == (0, Comment.Preproc, "%%mfv steer --set raw.layer=$x")
    assert not any(kind in Error for _, kind, _ in found)
    assert (31, Keyword.Declaration, "mfv") in found
