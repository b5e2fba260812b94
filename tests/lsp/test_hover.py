"""What is said of a word, and of a call that is typed."""

from __future__ import annotations

import pytest

from mfv_dsl.lsp.analysis import analyse
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.hover import hover, signature_help
from mfv_dsl.lsp.navigation import CannotRename, references
from mfv_dsl.lsp.positions import Lines
from tests.lsp.support import HEAD, at, hovered, renamed_places, spans


def test_hover_of_names_and_words():
    assert "measures how often" in hovered("ev¦al a { shots = 0 }").lower()
    assert "mean outputs of heads" in hovered("vector v = f¦v(left)")
    assert "relation of the dataset `shapes`" in hovered("vector v = fv(le¦ft)")
    assert "relation under test" in hovered("eval a { add = fv(ea¦ch), layer = 1 }")
    assert "12 layers" not in hovered("eval a { model = flam¦ingo }")
    assert "layers ×" in hovered("eval a { model = flam¦ingo }")
    assert "demonstrations in each prompt" in hovered("vector v = fv(left, sho¦ts=2)")
    assert "drawn" in hovered("heads h = top(3, by=ran¦dom)")


SWEPT = """\
mfv 1
model m = tiny()
## How often is it drawn?
sweep draw = 1..3
dataset d = scenes(relations=[left, right], seed=draw)
heads best = top(3, seed=draw, dataset=d)
eval a { add = fv(each, seed=draw, heads=best), layer = 3 }
"""


def test_what_is_swept_has_one_name():
    analysis = analyse(SWEPT)
    assert analysis.diagnostics == ()
    offset = SWEPT.index("draw =")
    assert len(renamed_places(analysis, offset, "pulled")) == 4
    with pytest.raises(CannotRename, match="results have a column `number`"):
        renamed_places(analysis, offset, "number")
    assert spans(SWEPT, references(analysis, SWEPT.index("best"))) == ["6:best", "7:best"]
    assert spans(SWEPT, references(analysis, SWEPT.index("a {"))) == ["7:a"]
    items = complete(analysis, Lines(SWEPT), SWEPT.index("best)"))
    names = [item.label for item in items]
    assert {"best", "draw"} <= set(names) and not any("[" in name for name in names)
    found = hover(analysis, Lines(SWEPT), offset)
    assert found is not None and found.contents.value.startswith("How often is it drawn?")


def test_hover_shows_the_sum_that_a_vector_is():
    text = hovered("vector w = steer + fv(right)\neval a { add = w¦, layer = 1 }")
    assert "As a sum:" in text and "w = fv(left) - fv(right)" in text
    text = hovered("eval a { add = pu¦re(each), layer = 1 }")
    assert "pure(left) = 0.5 * fv(left) - 0.5 * fv(right)" in text
    assert "pure(above) = fv(above) - 0.5 * fv(left) - 0.5 * fv(right)" in text


def test_hover_says_who_sets_an_attribute():
    block = hovered("eval a¦a { add = fv(each), layer = 1 }")
    assert "`items = 100` from the language" in block
    text = hovered("tune t { start = fv(each), la¦yer = 1 }")
    assert "decoder layer" in text and "required" in text
    text, offset = at(HEAD.replace("shots = 4", "shots = 4\n  items = 7") + "eval a { it¦ems = 3 }")
    found = hover(analyse(text), Lines(text), offset)
    assert found is not None and "In place of `7` from `defaults` in line 7" in found.contents.value
    text, offset = at(
        HEAD.replace("shots = 4", "shots = 4\n  items = 7") + "eval a¦a { shots = 3 }"
    )
    found = hover(analyse(text), Lines(text), offset)
    assert found is not None and "`items = 7` from `defaults` in line 7" in found.contents.value


def test_hover_of_a_function_says_what_a_call_takes_from_where():
    text = hovered("vector v = f¦v(left, trials=3)")
    assert "`shots = 4` from `defaults` in line 6" in text
    assert "`corrupt = mix` from the language" in text and "`trials" not in text.split("Not")[1]


def test_hover_of_a_loaded_vector():
    text = hovered('vector v = load("vectors/flam¦ingo-tiny", "left")')
    assert "numbers for lm.resid" in text


def test_hover_where_the_text_does_not_parse():
    assert "mean outputs" in hovered("vector v = f¦v(left")
    assert "decoder layer" in hovered("eval a { add = fv(, shots=2), lay¦er = 1")
    assert "demonstrations" in hovered("vector v = fv(, sho¦ts=2")


def test_signatures_say_which_argument_is_typed():
    def active(marked: str) -> tuple[str, str | None]:
        text, offset = at(HEAD + marked)
        found = signature_help(Lines(text), offset)
        assert found is not None
        one = found.signatures[0]
        number = one.active_parameter
        return one.label, None if number is None else one.parameters[number].label

    label, argument = active("vector v = fv(¦")
    assert label.startswith("fv(relation, heads=...") and argument == "relation"
    assert active("vector v = fv(left, trials=¦")[1] == "trials=100"
    assert active("vector v = mean(steer, steer, ¦")[1] == "vectors, ..."
    assert active("model m = hf(¦")[1] == "path"
    text, offset = at(HEAD + "vector v = ¦")
    assert signature_help(Lines(text), offset) is None
