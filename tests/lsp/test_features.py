"""What editors are told, feature by feature, without a server between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lang.format import format_source
from mfv_dsl.lsp.actions import actions, format_edits
from mfv_dsl.lsp.analysis import Analysis, analyse, further
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.cursor import place_at
from mfv_dsl.lsp.highlighting import TYPES, semantic_tokens
from mfv_dsl.lsp.hover import hover, signature_help
from mfv_dsl.lsp.lenses import RUN, lenses
from mfv_dsl.lsp.messages import published
from mfv_dsl.lsp.navigation import CannotRename, Elsewhere, definitions, references, renamed_places
from mfv_dsl.lsp.outline import folds, symbols
from mfv_dsl.lsp.positions import Lines

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.mfv"))
HEAD = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right, above, above_left])
heads spatial = top(8, on=[left, right])
defaults {
  shots = 4
  heads = spatial
}
vector steer = fv(left) - 2 * fv(right)
vector pure(r) = fv(r) - mean(fv(left), fv(right))
"""


def at(marked: str) -> tuple[str, int]:
    """A text and the offset of the `|` that is taken out of it."""
    offset = marked.index("¦")
    return marked.replace("¦", ""), offset


def completed(marked: str, base: str = HEAD) -> dict[str, lsp.CompletionItem]:
    text, offset = at(base + marked)
    items = complete(analyse(text), Lines(text), offset)
    return {item.label: item for item in items}


def hovered(marked: str, base: str = HEAD) -> str:
    text, offset = at(base + marked)
    found = hover(analyse(text), Lines(text), offset)
    if found is None:
        return ""
    assert isinstance(found.contents, lsp.MarkupContent)
    return found.contents.value


def spans(text: str, places: list[Span]) -> list[str]:
    return [f"{Source(text).position(p.start)[0]}:{text[p.start : p.end]}" for p in places]


def applied(text: str, edits: list[lsp.TextEdit]) -> str:
    lines = Lines(text)
    for edit in sorted(edits, key=lambda e: lines.offset(e.range.start), reverse=True):
        span = lines.span(edit.range)
        text = text[: span.start] + edit.new_text + text[span.end :]
    return text


# -- completion -----------------------------------------------------------------------------------
def test_items_are_completed_with_their_forms():
    items = completed("ev¦")
    assert set(items) == set(ITEM)
    assert items["vector"].text_edit.new_text == "vector ${1:name} = $0"
    assert items["save"].text_edit.new_text == 'save "${1:folder}" {\n  vectors = [$2]\n}'
    assert "measures" in items["eval"].documentation.value.lower()


def test_attributes_are_those_that_the_block_has_not_yet():
    items = completed("eval raw {\n  add = fv(each)\n  ¦\n  layer = 3\n}\n")
    names = {p.name for p in ITEM["eval"].parameters}
    assert set(items) == names - {"add", "layer"}
    assert items["items"].text_edit.new_text == "items = ${1:100}"
    assert "layer" in completed("eval raw { add = fv(each)\n  lay¦ = 3\n}\n")


def test_attributes_of_defaults_and_profiles():
    assert {"trials", "items", "lr"} <= set(completed("defaults { ¦ }", "mfv 1\n"))
    assert "add" not in completed("defaults { ¦ }", "mfv 1\n")
    names = completed("profile other { ¦ }")
    assert {"flamingo", "shapes", "spatial", "steer", "defaults"} <= set(names)
    assert {"seed", "count"} <= set(completed("profile other { shapes.¦ }"))
    assert "count" not in completed("profile other { flamingo.¦ }")


@pytest.mark.parametrize(
    ("marked", "wanted", "unwanted"),
    [
        ("model m = ¦", {"tiny", "hf", "openflamingo"}, {"fv", "scenes"}),
        ("dataset m = sc¦", {"scenes", "gqa", "pairs"}, {"fv", "tiny"}),
        ("heads h = ¦", {"top", "layers", "all", "spatial"}, {"fv", "steer", "left"}),
        ("vector v = fv(left) + ¦", {"fv", "steer", "pure", "load"}, {"top", "spatial", "left"}),
        ("vector v = fv(¦", {"left", "above_left", "heads"}, {"steer", "each", "top"}),
        ("vector f(x) = fv(¦", {"x", "left"}, {"each"}),
        ("eval a { add = fv(¦", {"each", "left"}, {"steer"}),
        ("eval a { add = pure(¦", {"each", "left"}, {"steer"}),
        ("eval a { add = ¦", {"steer", "pure", "fv"}, {"top", "left"}),
        ("eval a { on = [¦", {"left", "above"}, {"each", "steer"}),
        ("eval a { answer = ¦", {"first", "generate"}, {"left"}),
        ("eval a { position = ¦", {"last", "all", "images"}, {"left", "fv"}),
        ("eval a { position = [last, ¦", {"all", "images"}, {"left", "fv"}),
        ("eval a { site = ¦", {"residual", "attention", "mlp"}, {"left"}),
        ("eval a { metrics = [¦", {"accuracy", "confusion"}, {"left"}),
        ("eval a { split = ¦", {"test", "validation"}, {"left"}),
        ("eval a { model = ¦", {"flamingo"}, {"shapes", "tiny"}),
        ("eval a { ablate = ¦", {"spatial", "top"}, {"steer"}),
        ("heads h = top(4, by=¦", {"aie", "random"}, {"left"}),
        ("let n = 3\neval a { shots = ¦", {"n", "norm"}, {"steer", "left"}),
        ("let n = 3\nvector v = ¦", {"n", "fv"}, {"left"}),
        ("vector v(r) = match ¦", {"r"}, {"left", "fv", "each"}),
        ("eval a { add = match ¦", {"each"}, {"left", "fv"}),
        ("vector v(r) = match r { ¦", {"left", "else"}, {"fv", "each"}),
        ("vector v(r) = match r {\n  left: fv(above)\n  ¦", {"left", "else"}, {"fv", "each"}),
        ("vector v(r) = match r {\n  left: ¦", {"steer", "fv"}, {"left", "else"}),
        ("vector v(r) = match r {\n  left: fv(¦", {"left", "r"}, {"steer", "else"}),
        ("eval a { add = match each { left: ¦", {"steer", "fv"}, {"left", "else"}),
        ("report { ¦", {"cosine", "norm", "on"}, {"fv", "add"}),
        ("report {\n  norm(¦", {"steer", "fv"}, {"cosine"}),
        ("defaults ¦", {"for"}, {"eval"}),
        ("defaults for ¦", {"tune", "eval", "fv", "top"}, {"for", "heads"}),
        ("defaults for tune { ¦", {"start", "lr"}, {"add", "trials"}),
        ("defaults for fv { trials = 3, ¦", {"heads", "shots"}, {"relation", "trials", "lr"}),
        ("heads h = top(4, ¦", {"by", "on", "seed"}, {"aie"}),
        ("heads h = top(4, by=aie, ¦", {"on", "seed"}, {"by"}),
        ("dataset d = scenes(relations=[¦", {"left", "below_right"}, {"steer"}),
        ('dataset d = pairs("x", balance=¦', {"true", "false"}, {"left"}),
    ],
)
def test_values_are_those_of_the_type_that_is_wanted(marked, wanted, unwanted):
    items = set(completed(marked))
    assert wanted <= items
    assert not unwanted & items


def test_evals_are_completed_where_one_is_compared_with_another():
    items = completed("eval zero { shots = 0 }\neval raw { shots = 4, against = ¦ }")
    assert "zero" in items and "raw" not in items


def test_libraries_and_their_vectors_are_completed(tmp_path, monkeypatch):
    assert {"left", "above"} <= set(completed('vector v = load("vectors/flamingo-tiny", "¦'))
    assert "vectors/flamingo-tiny/" in completed('vector v = load("vectors/¦')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairs.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert "data/" in completed('dataset d = pairs("¦')
    assert "data/pairs.csv" in completed('dataset d = pairs("data/p¦')


@pytest.mark.parametrize(
    "marked", ["# eval ¦", "vector a¦", "vector a = 2¦", "vector a = fv(left)¦"]
)
def test_nothing_is_offered_where_nothing_can_stand(marked):
    assert completed(marked) == {}


def test_an_expression_that_goes_on_in_the_next_line_is_no_new_item():
    text, offset = at("mfv 1\nvector steer = fv(left)\n             - ¦")
    assert place_at(text, offset).where == "value"
    text, offset = at("mfv 1\nvector steer = fv(left)\n¦")
    assert place_at(text, offset).where == "item"


@pytest.mark.parametrize("name", [*FUNCTION, *(n for e in CONSTRUCTOR.values() for n in e)])
def test_every_function_and_constructor_is_completed_with_a_doc(name):
    for kind in ("vector", "heads", "model", "dataset"):
        items = completed(f"{kind} x = ¦")
        if name in items:
            assert items[name].documentation.value
            break
    else:
        assert FUNCTION[name].result == "Number"


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_is_offered_at_every_place_of_a_recipe_has_what_stands_there(path: Path):
    """Where a word of a right recipe is typed, that word is among the offers."""
    text = path.read_text(encoding="utf-8")
    analysis = analyse(text, str(path))
    scope = analysis.scope
    assert scope is not None and analysis.checked is not None
    lines = Lines(text)
    missing = []
    for span, use in scope.uses.items():
        if use.of == "relation" and use.text == "each":
            continue
        labels = {item.label for item in complete(analysis, lines, span.start)}
        if text[span.start : span.end] not in labels:
            missing.append((text[span.start : span.end], scope.source.position(span.start)))
    assert missing == []


# -- hover and signatures -------------------------------------------------------------------------
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


# -- names ----------------------------------------------------------------------------------------
USES = (
    HEAD
    + """\
eval zero { shots = 0 }
tune tuned { start = steer, layer = 4 }
eval raw { add = steer + pure(each) + tuned(each), layer = 1, against = zero }
eval other { ablate = spatial, on = [left] }
save "vectors/mine" { vectors = [steer, pure(each)] }
profile less { steer = fv(left), raw.layer = 2, shapes.seed = 1 }
"""
)


@pytest.mark.parametrize(
    ("word", "line", "wanted"),
    [
        ("steer", 13, "9:steer"), ("pure", 13, "10:pure"), ("tuned", 13, "12:tuned"),
        ("zero", 13, "11:zero"), ("spatial", 14, "4:spatial"), ("left", 14, "3:left"),
        ("steer", 16, "9:steer"), ("raw", 16, "13:raw"), ("shapes", 16, "3:shapes"),
        ("spatial", 7, "4:spatial"),
    ],
)  # fmt: skip
def test_definitions(word, line, wanted):
    start = Source(USES).line_starts[line - 1]
    offset = USES.index(word, start)
    assert spans(USES, definitions(analyse(USES), offset)) == [wanted]


def test_the_parameter_of_a_family_is_defined_there():
    offset = USES.index("fv(r)") + 3
    assert spans(USES, definitions(analyse(USES), offset)) == ["10:r"]
    assert spans(USES, references(analyse(USES), offset)) == ["10:r", "10:r"]


def test_relations_that_no_dataset_names_lead_to_the_dataset():
    text = "mfv 1\nmodel m = tiny()\ndataset d = scenes()\nvector v = fv(left)\n"
    assert spans(text, definitions(analyse(text), text.index("left"))) == ["3:d"]


def test_references():
    found = spans(USES, references(analyse(USES), USES.index("steer")))
    assert found == ["9:steer", "12:steer", "13:steer", "15:steer", "16:steer"]
    found = spans(USES, references(analyse(USES), USES.index("raw"), declaration=False))
    assert found == ["16:raw"]


def test_a_rename_changes_every_place_and_nothing_else():
    for old, new in (("steer", "direction"), ("pure", "clean"), ("tuned", "trained"),
                     ("zero", "none_shown"), ("spatial", "h"), ("shapes", "d")):  # fmt: skip
        analysis = analyse(USES)
        offset = USES.index(f" {old}") + 1
        places = renamed_places(analysis, offset, new)
        text = USES
        for place in reversed(places):
            text = text[: place.start] + new + text[place.end :]
        assert check_source(Source(text)).checked is not None
        assert f"{old} =" not in text and f"{old}(" not in text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("steer", "pure", "taken"), ("steer", "zero", "taken"), ("steer", "2nd", "not a name"),
        ("steer", "each", "relation under test"), ("steer", "left", "relation"),
        ("pure", "mean", "function"), ("steer", "true", "word"), ("steer", "r", "taken"),
        ("steer", "a b", "not a name"), ("steer", "stéer", "not a name"),
    ],
)  # fmt: skip
def test_a_rename_that_would_change_the_meaning_is_refused(old, new, reason):
    with pytest.raises(CannotRename, match=reason):
        renamed_places(analyse(USES), USES.index(old), new)


def test_relations_and_words_are_not_renamed():
    for word in ("left", "tiny", "shots", "eval"):
        with pytest.raises(CannotRename):
            renamed_places(analyse(USES), USES.index(word), "other")


def test_a_file_that_cannot_be_read_whole_is_not_renamed_in():
    text = USES + "vector broken = steer +\n"
    with pytest.raises(CannotRename, match="cannot be read"):
        renamed_places(analyse(text), text.index("steer"), "other")


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[] if p.stem == "quickstart" else pytest.mark.slow) for p in RECIPES],
    ids=lambda path: path.stem,
)
def test_every_declared_name_of_a_recipe_can_be_renamed(path: Path):
    text = path.read_text(encoding="utf-8")
    analysis = analyse(text, str(path))
    assert analysis.scope is not None
    for name in analysis.scope.names:
        item = analysis.scope.names[name]
        place: Any = getattr(item, "name", None) or getattr(item, "label", None)
        if name == "defaults" or place is None or place.span.copy:  # a reading of a sweep
            continue
        places = renamed_places(analysis, place.span.start, "quite_another_name")
        assert {text[p.start : p.end] for p in places} == {name}


# -- outline, tokens, lenses ----------------------------------------------------------------------
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


def decoded(text: str, data: list[int]) -> list[tuple[str, str]]:
    lines, found = Lines(text), []
    line = column = 0
    for at in range(0, len(data), 5):
        down, right, length, kind, _ = data[at : at + 5]
        column = right if down else column + right
        line += down
        start = lines.offset(lsp.Position(line, column))
        end = lines.offset(lsp.Position(line, column + length))
        found.append((text[start:end], TYPES[kind]))
    return found


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


# -- diagnostics, repairs, formatting -------------------------------------------------------------
def test_diagnostics_have_places_related_places_and_a_page():
    text = HEAD + "vector steer = fv(left)\nvector w = fv(lft)\n"
    found = published(analyse(text).diagnostics, Lines(text), "file:///a.mfv")
    twice = next(d for d in found if d.code == "MFV2008")
    assert twice.range == lsp.Range(lsp.Position(10, 7), lsp.Position(10, 12))
    related = twice.related_information[0]
    assert (related.message, related.location.range.start.line) == ("declared here", 8)
    page = Path(twice.code_description.href.removeprefix("file://"))
    assert page.read_text(encoding="utf-8").startswith("# ")
    unknown = next(d for d in found if d.code == "MFV2001")
    assert unknown.severity == lsp.DiagnosticSeverity.Error
    assert "did you mean `left`?" in unknown.message


def test_what_nothing_uses_is_shown_faded():
    text = HEAD + "eval a { shots = 0 }\n"
    found = published(analyse(text).diagnostics, Lines(text), "file:///a.mfv")
    faded = {d.code for d in found if d.tags == [lsp.DiagnosticTag.Unnecessary]}
    assert faded == {d.code for d in found if d.message.startswith("nothing uses")} != set()


def offered(text: str, word: str) -> dict[str, lsp.CodeAction]:
    analysis, start = analyse(text), text.rindex(word)
    span = Span(start, start + len(word))
    found = actions(analysis, list(analysis.diagnostics), Lines(text), "file:///a", span)
    return {action.title: action for action in found}


def edited(text: str, action: lsp.CodeAction) -> str:
    return applied(text, list(action.edit.changes["file:///a"]))


def test_repairs_repair():
    text = HEAD + "vector other = fv(lft) + 2fv(right)\nevl a { shots = 0 }\n"
    found = offered(text, "lft")
    assert "fv(left) + 2fv" in edited(text, found["Write `left`"])
    whole = edited(text, found["Repair all that can be repaired (3)"])
    assert [d for d in analyse(whole).diagnostics if d.severity == "error"] == []
    assert whole.endswith("vector other = fv(left) + 2 * fv(right)\neval a { shots = 0 }\n")


ALLOWED = """\
mfv 1
model m = tiny()
dataset d = scenes()
eval a {
  shots = 4
}
eval b { shots = 4 }
vector v = fv(left)
"""


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("shots = 4\n}", "  shots = 4\n  allow = [MFV2022]\n}"),
        ("b {", "eval b { shots = 4, allow = [MFV2022] }"),
        ("left", "\ndefaults { allow = [MFV2022] }\n"),
    ],
)
def test_a_warning_can_be_allowed_where_the_language_has_it(word, wanted, monkeypatch):
    allow = ITEM["eval"].parameter("allow")
    if allow is None:
        pytest.skip("the language has no `allow` yet")
    analysis = analyse(ALLOWED)
    start = ALLOWED.index(word)
    warning = Diagnostic(
        "MFV2022", "it has no effect", analysis.source, Span(start, start + 1), severity="warning"
    )
    (action,) = [
        action
        for action in actions(analysis, [warning], Lines(ALLOWED), "file:///a", Span(start, start))
        if action.title.startswith("Allow MFV2022")
    ]
    after = edited(ALLOWED, action)
    assert wanted in after
    assert not [d for d in analyse(after).diagnostics if d.severity == "error"]
    again = analyse(after)
    more = replace(warning, code="MFV2023")
    found = actions(again, [more], Lines(after), "file:///a", more.span)
    (action,) = [action for action in found if action.title.startswith("Allow MFV2023")]
    assert "allow = [MFV2022, MFV2023]" in edited(after, action)


def test_formatting_changes_what_must_change_and_is_what_fmt_writes():
    text = HEAD + "eval a{shots=0}\n"
    assert applied(text, format_edits(Lines(text))) == format_source(Source(text))
    formatted = format_source(Source(text))
    assert format_edits(Lines(formatted)) == []
    assert edited(text, offered(text, "shots")["Format the recipe"]) == formatted


@pytest.mark.parametrize("broken", ["eval a { add = fv(left\n", "vector = \n", "\0", 'save "x {'])
def test_formatting_leaves_a_broken_text_alone(broken):
    assert format_edits(Lines(HEAD + broken)) == []


def test_crlf_and_astral_characters_keep_their_places():
    text = (
        "# \U0001f600\U0001f600 \U0001f9e0\n" + HEAD + "vector o = fv(lft)  # \U0001f600\n"
    ).replace("\n", "\r\n")
    found = published(analyse(text).diagnostics, Lines(text), "file:///a")
    assert [(d.range.start.line, d.range.start.character) for d in found] == [(11, 14)]
    for edit in format_edits(Lines(text)):
        assert "\U0001f600" not in edit.new_text or edit.new_text.isprintable() is False


def test_columns_count_in_utf_16():
    line = 'vector v = load("vectors/\U0001f600\U0001f600", lft) # x'
    text = HEAD + line
    found = published(analyse(text).diagnostics, Lines(text), "file:///a")
    at = found[0].range.start
    assert Lines(text).offset(at) == text.index("lft") or Lines(text).offset(at) == text.index(
        "load"
    )
    for offset in range(len(text) + 1):
        lines = Lines(text)
        assert lines.offset(lines.position(offset)) == offset
    end = Lines(text).position(text.index("lft"))
    assert end.character == line.index("lft") + 2


def test_analysis_of_what_is_no_recipe():
    for text in ("", "\0", "x" * 3_000_000, "mfv 9\n", "{" * 1000):
        analysis = analyse(text)
        assert isinstance(analysis, Analysis)
        lines = Lines(text[:1000])
        assert symbols(analysis, lines) == [] or text.startswith("{")
        hover(analysis, lines, 0)
        complete(analysis, lines, 0)
        further(analysis)


# -- other files ----------------------------------------------------------------------------------
COMMON = """\
mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right])
## What steers.
vector steer = fv(left) - fv(right)
"""
USER = """\
mfv 1
use "common.mfv"
use "common.mfv" as c
eval a { add = steer + c.steer, layer = 3, model = m, dataset = d }
"""


def test_names_of_files_that_are_used(tmp_path):
    (tmp_path / "common.mfv").write_text(COMMON, encoding="utf-8")
    analysis = analyse(USER, str(tmp_path / "recipe.mfv"))
    assert analysis.diagnostics == ()
    lines, offset = Lines(USER), USER.index("steer")
    (place,) = definitions(analysis, offset)
    assert isinstance(place, Elsewhere) and place.file == tmp_path / "common.mfv"
    assert COMMON[place.span.start : place.span.end] == "steer"
    assert definitions(analysis, USER.index("c.steer")) == [place]
    (file,) = definitions(analysis, USER.index("common") + 2)
    assert isinstance(file, Elsewhere) and file.file == place.file
    found = hover(analysis, lines, offset)
    assert found is not None and found.contents.value.startswith("What steers.")
    with pytest.raises(CannotRename, match=r"declared in common\.mfv"):
        renamed_places(analysis, offset, "other")
    assert "common.mfv" in [symbol.name for symbol in symbols(analysis, lines)]
    assert ("c", "namespace") in decoded(USER, semantic_tokens(analysis, lines))
    names = {item.label for item in complete(analysis, lines, USER.index("c.steer") + 3)}
    assert names == {"m", "d", "steer"}
    paths = {item.label for item in complete(analysis, lines, USER.index("common") + 2)}
    assert paths == {"common.mfv"}


def test_mistakes_in_a_file_that_is_used_are_shown_where_it_is(tmp_path):
    (tmp_path / "common.mfv").write_text(COMMON.replace("fv(right)", "fv(rihgt)"), encoding="utf-8")
    analysis = analyse(USER, str(tmp_path / "recipe.mfv"))
    found = published(analysis.diagnostics, Lines(USER), (tmp_path / "recipe.mfv").as_uri())
    assert {d.code for d in found} == {"MFV2001"}
    assert {d.range.start.line for d in found} <= {1, 2}
    uris = {r.location.uri for d in found for r in d.related_information}
    assert (tmp_path / "common.mfv").as_uri() in uris
