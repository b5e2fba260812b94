"""`match`, families of pairs, expressions over several lines, comments that document."""

from __future__ import annotations

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import parse
from mfv_dsl.lang.syntax import Block, same
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.steps import Plan
from tests.lang.support import HEAD, codes, facts


def planned(text: str) -> Plan:
    result = check_source(Source(HEAD + text, "r.mfv"), facts)
    assert result.checked is not None, "\n".join(map(str, result.diagnostics))
    return build_plan(result.checked)


def keys(text: str) -> set[str]:
    return {step.key for step in planned(text).steps}


EVAL = "eval {0} {{ add = {1}, layer = 4, on = [{2}] }}\n"


def test_a_match_is_its_case_as_if_it_were_written_there():
    text = "vector c(r) = match r { left: fv(above) - fv(right), else: 2 * fv(r) }\n"
    chosen = keys(text + EVAL.format("raw", "c(each)", "left, right"))
    written = keys(EVAL.format("a", "fv(above) - fv(right)", "left"))
    assert chosen == written | keys(EVAL.format("b", "2 * fv(right)", "right"))


def test_labels_name_the_case_that_was_taken():
    text = EVAL.format("raw", "normalize(match each { left: fv(above), else: fv(each) })", "left")
    labels = [step.label for step in planned(text).steps]
    assert "normalize(fv(above))" in labels


def test_heads_and_numbers_are_chosen_too():
    text = "heads few = {L1H2}\neval raw { ablate = match each { left: few, else: all() } }\n"
    written = "eval a { ablate = {L1H2}, on = [left] }\neval b { ablate = all(), on = [right] }\n"
    assert keys(written) <= keys(text)
    text = EVAL.format("raw", "(match each { left: 2, else: 3 }) * fv(each)", "left")
    assert keys(text) == keys(EVAL.format("raw", "2 * fv(each)", "left"))


def test_a_family_of_pairs_is_its_value():
    text = "vector pair(a, b) = fv(a) - fv(b)\n" + EVAL.format("raw", "pair(above, each)", "left")
    assert keys(text) == keys(EVAL.format("raw", "fv(above) - fv(left)", "left"))


def test_a_pair_can_be_made_of_pairs_and_of_choices():
    text = (
        "vector inner(a, b) = match b { left: fv(a), else: zeros() }\n"
        "vector outer(b, a) = inner(a, b) + fv(b)\n"
    )
    text += EVAL.format("raw", "outer(each, above)", "left")
    assert keys(text) == keys(EVAL.format("raw", "fv(above) + fv(left)", "left"))


def test_pairs_are_saved_by_both_names():
    text = "vector pair(a, b) = fv(a) - fv(b)\n"
    text += 'save "v" { vectors = [pair(each, left)], on = [right, above] }\n'
    (save,) = planned(text).saves
    assert [vector.name for vector in save.vectors] == ["pair_right_left", "pair_above_left"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vector c(r) = match r { left: fv(r) }\nvector v = c(right)", ["MFV2041"]),
        ("vector c(r) = match r { left: fv(r) }\nvector v = c(left)", []),
        ("eval e { ablate = match each { left: all() }, on = [left] }", []),
        ("eval e { ablate = match each { left: all() }, on = [right] }", ["MFV2041"]),
        (  # the control takes the vector of the relation half-way round
            "eval e { add = match each { left: fv(left) }, layer = 1, on = [left],"
            " controls = [other_relation] }",
            ["MFV2041"],
        ),
        (  # only the case that is taken is asked for what it needs
            "tune t { start = fv(each), layer = 1, on = [left] }\n"
            "vector c(r) = match r { left: t(r), else: fv(r) }\n"
            "eval e { add = c(each), layer = 1, on = [left, right] }",
            [],
        ),
        (
            "tune t { start = fv(each), layer = 1, on = [left] }\n"
            "vector c(r) = match r { left: fv(r), else: t(r) }\n"
            "eval e { add = c(each), layer = 1, on = [left, right] }",
            ["MFV5310"],
        ),
        ("vector p(a, b) = fv(a)\neval e { add = p(each, lft), layer = 1 }", ["MFV2001"]),
        ("vector p(a, b) = fv(a)\neval e { add = p(each), layer = 1 }", ["MFV2015"]),
        ("vector p(a, left) = fv(a)", ["MFV2011"]),
        ("vector p(a, each) = fv(a)", ["MFV2019"]),
        ("vector a(r) = match r { left: a(left), else: fv(r) }", ["MFV2009"]),
    ],
)
def test_what_is_right_and_what_is_not(text, expected):
    assert codes(HEAD + text + "\n") == expected


def test_a_line_that_begins_with_an_operator_goes_on_the_one_before():
    one = "vector v = fv(left) - fv(right) + 2 * mean(fv(above), fv(below)) / 3\n"
    many = (
        "vector v = fv(left)  # first\n\n- fv(right)\n  # in between\n    + 2\n"
        "* mean(fv(above),\n fv(below))\n / 3\n"
    )
    first, second = (parse(Source(HEAD + text)) for text in (one, many))
    assert second.diagnostics == () and second.recipe == first.recipe
    formatted = format_source(Source(HEAD + many))
    assert parse(Source(formatted)).recipe == first.recipe


def test_comments_above_an_item_or_attribute_document_it():
    text = (
        "## not this: a line is between\n\n## One,\n##   two.\neval a {\n  ## three\n  layer = 1\n"
        "  shots = 2  ## not this\n  seed = 3\n}\n## four\nvector v = fv(left)\n# five\n"
        "vector w = fv(left)\n"
    )
    recipe = parse(Source("mfv 1\n" + text)).recipe
    assert recipe is not None
    block, v, w = recipe.items
    assert isinstance(block, Block)
    assert [block.doc, v.doc, w.doc] == ["One,\ntwo.", "four", ""]
    assert [attribute.doc for attribute in block.attributes] == ["three", "", ""]


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["+", "-", "*", "|"])
def test_a_long_chain_is_checked_formatted_and_planned(operator):
    part = "{L1H2}" if operator == "|" else "fv(left)" if operator != "*" else "1"
    chain = f" {operator} ".join([part] * 3_000)  # beyond Python's recursion
    use = f"heads h = {chain}\neval a {{ ablate = h, on = [left] }}\n"
    if operator != "|":
        last = " * fv(left)" if operator == "*" else ""
        use = f"vector v = {chain}{last}\n" + EVAL.format("a", "v", "left")
    assert planned(use).steps
    formatted = format_source(Source(HEAD + use))
    result, written = (parse(Source(text)).recipe for text in (formatted, HEAD + use))
    assert result is not None and written is not None
    assert same(result, written)


def test_a_chain_means_the_same_however_long():
    """Terms are summed from the first on, as Python's own recursion did."""
    terms = [f"{n / 7} * fv({('left', 'right', 'above')[n % 3]})" for n in range(1, 300)]
    total = dict.fromkeys(("left", "right", "above"), 0.0)
    for n in range(1, 300):
        total[("left", "right", "above")[n % 3]] += n / 7
    steps = planned("vector v = " + " + ".join(terms) + "\n" + EVAL.format("a", "v", "left")).steps
    (linear,) = [step for step in steps if step.operation == "linear"]
    assert sorted(linear.parameters["coefficients"]) == sorted(total.values())


@pytest.mark.parametrize("sign", ["<", ">", "$", "@", "?", "\\", "!", "~", "`"])
def test_a_sign_without_meaning_is_told_what_there_is_instead(sign):
    (found,) = check_source(Source(HEAD + f"vector v = fv(left) {sign}\n"), facts).diagnostics[:1]
    assert found.code == "MFV1008"
    assert found.help and found.help != f"write `{sign}`" and found.fixes == ()


@pytest.mark.parametrize("line", ["for r in [left]", "if left", "def f(x)", 'include "a.mfv"'])
def test_statements_of_other_languages_are_told_the_nearest_way(line):
    found = check_source(Source(HEAD + line + "\nvector v = fv(left)\n"), facts).diagnostics
    assert [finding.code for finding in found] == ["MFV1023"]
    assert found[0].help
