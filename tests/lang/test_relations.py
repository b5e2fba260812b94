"""Relations are called as the data calls them, in every place where a recipe names one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.names import check_name, file_names, quoted_relation
from mfv_dsl.base.source import Source
from mfv_dsl.data import open_dataset, read_table
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.parser import parse
from mfv_dsl.lang.syntax import same
from mfv_dsl.lang.unparse import unparse

#: Names that data may have for its relations.
HOSTILE = (
    "left", "leaning against", "in-front of", "à gauche de", "左边", "右边", "on/under", 'a"b',
    "a\\b", "each", "else", "all", "CON", "nul", "🙂 near", "שמאל", "x" * 100, "2 in", "a,b",
    "[x]", "{x}", "$x$", "<- &amp; ->", "mean", "fv", "top", "model", "L1H2", "true", "1..3",
    "# not", "o'clock", "..", "-", "%s {relation}", "../up", "null", "others", "steer",
)  # fmt: skip
SPLITS = ("extract", "train", "validation", "test")


def write(folder: Path, relations: Iterable[str], items: int = 2) -> str:
    """A dataset that has these relations; the call that reads it."""
    lines = []
    for number, split in enumerate(SPLITS):
        for i in range(items):
            name = f"{split}{i}.png"
            Image.new("RGB", (40, 40), (60 * number, 90, 20 * i)).save(folder / name)
            lines += [
                {"image": name, "query": "red circle", "answer": ("blue ring", "red cross")[i % 2],
                 "relation": relation, "split": split}
                for relation in relations
            ]  # fmt: skip
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return f'pairs("{folder / "pairs.jsonl"}")'


def recipe_of(call: str, relations: Iterable[str]) -> str:
    """A recipe that names the relations wherever one can stand."""
    names = [quoted_relation(relation) for relation in relations]
    listed, last = ", ".join(names), names[-1]
    cases = "\n".join(f"  {name}: fv({name})" for name in names)
    return f"""mfv 1
model   m = tiny()
dataset d = {call.removesuffix(")")}, relations=[{listed}])
heads   h = top(2, by=norm, on=[{listed}])
let     some = [{listed}]
sweep   one = [{names[0]}, {last}]
defaults {{ shots = 0, trials = 1, items = 1, heads = h, correct_only = false }}
vector  chosen(rel) = match rel {{
{cases}
}}
vector  pair(a, b) = fv(a) - fv(b)
vector  swept = fv(one)
vector  probed(rel) = probe(states(rel, layer=1), states({last}, layer=1))
eval    plain {{ on = some }}
eval    cased {{ add = chosen(each), layer = 1, on = [{listed}] }}
eval    of_one {{ add = swept + pair({last}, each) + probed({names[0]}), layer = 1, on = [{last}] }}
tune    trained {{ start = fv(each), layer = 1, items = 1, select_items = 1, on = some }}
save "library" {{ vectors = [fv(each), trained(each), pair(each, {last})], on = some }}
report {{ norm(fv(each)), cosine(fv({names[0]}), trained({last})) }}
"""


@pytest.mark.slow
def test_every_name_can_be_written_everywhere(tmp_path: Path):
    text = recipe_of(write(tmp_path, HOSTILE), HOSTILE)
    recipe = mfv.Recipe(text)
    plan = recipe.plan()
    of = {step.parameters["relation"] for step in plan.steps if "relation" in step.parameters}
    assert of == set(HOSTILE) and all(type(relation) is str for relation in of)
    json.dumps(plan.to_json())
    (saved,) = plan.saves
    names = [check_name(vector.name) for vector in saved.vectors]
    assert len({name.lower() for name in names}) == 3 * len(HOSTILE) == len(names)
    assert [v.relation for v in saved.vectors[: len(HOSTILE)]] == list(HOSTILE)
    for vector in saved.vectors:  # what a file says of itself can be read
        if not vector.expression.startswith("trained("):
            mfv.compile(vector.expression)
    formatted = format_source(Source(text))
    assert format_source(Source(formatted)) == formatted
    tree = parse(Source(text)).recipe
    assert tree is not None and same(parse(Source(formatted)).recipe, tree)  # type: ignore[arg-type]
    assert same(parse(Source(unparse(tree))).recipe, tree)  # type: ignore[arg-type]


def test_options_of_a_command_name_relations(tmp_path: Path):
    text = recipe_of(write(tmp_path, HOSTILE), HOSTILE[:3])
    changed = mfv.Recipe(text, overrides=('plain.on=["leaning against", left]',))
    rows = [row.relation for row in changed.plan().rows if row.eval == "plain"]
    assert rows == ["leaning against", "left"]


def relations_written(call: str, written: str) -> list[str]:
    text = f"mfv 1\nmodel m = tiny()\ndataset d = {call}\n"
    text += f"eval e {{ items = 1, on = [{written}] }}\n"
    return [row.relation for row in mfv.Recipe(text).plan().rows]


def test_a_relation_is_known_by_its_plain_spelling_too(tmp_path: Path):
    call = write(tmp_path, ["sitting on", "à gauche", "left"])
    spelled = 'sitting_on, a_gauche, "left"'
    assert relations_written(call, spelled) == ["sitting on", "à gauche", "left"]
    assert relations_written(call, '"a\u0300  gauche"') == ["à gauche"]  # NFD, two blanks
    assert relations_written(call, '"to the left of"') == ["left"]
    dataset = open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"), relations=("sitting_on",))
    assert dataset.relations == ("sitting on",)
    assert dataset.items("sitting_on", "test") == dataset.items("sitting on", "test")
    with pytest.raises(RecipeError, match='did you mean `"sitting on"`'):
        relations_written(call, "sittin_on")


def test_relations_that_are_spelled_alike_are_told_apart(tmp_path: Path):
    alike = ["in front of", "in-front of", "in_front_of", "In front of"]
    call = write(tmp_path, alike)
    assert relations_written(call, "in_front_of") == ["in_front_of"]
    assert relations_written(call, '"in front of"') == ["in front of"]
    (warning,) = read_table("pairs", file=str(tmp_path / "pairs.jsonl")).findings
    assert warning.code == "MFV7131" and "in front of, in-front of, in_front_of" in str(warning)
    with pytest.raises(RecipeError, match="unknown relation `In_front`"):
        relations_written(call, "In_front")
    names = file_names(alike)
    assert len({name.lower() for name in names.values()}) == len(alike)
    text = f"mfv 1\nmodel m = tiny()\ndataset d = {call}\n"
    text += 'save "x" { vectors = [fv(each, trials=1, shots=0, heads={L1H1})] }\n'
    with pytest.raises(MfvError, match="two different vectors would be saved as `in_front_of`"):
        mfv.Recipe(text).plan()


def test_a_text_is_nothing_but_a_relation(tmp_path: Path):
    """Neither the relation under test, nor a family's parameter, nor another name."""
    call = write(tmp_path, ["each", "rel", "steer", "left"])
    text = f"""mfv 1
model m = tiny()
dataset d = {call}
defaults {{ trials = 1, shots = 0, heads = {{L1H1}}, items = 1 }}
vector ours(one) = fv("each") + 2 * fv(one)
eval e {{ add = ours(each) - fv("each") - 3 * fv("steer"), layer = 1, on = [left, "each"] }}
"""
    plan = mfv.Recipe(text).plan()
    linear = [step.label for step in plan.steps if step.operation == "linear"]
    assert set(linear) == {
        "2·fv(left) + -3·fv(steer)".replace("+ -", "− "),
        '2·fv("each") + -3·fv(steer)'.replace("+ -", "− "),
    }


def test_python_names_relations_as_the_data_does(tmp_path: Path):
    steer = mfv.fv("leaning against") - mfv.fv("左边")
    assert str(steer) == 'fv("leaning against") - fv("左边")'
    write(tmp_path, HOSTILE)
    assert steer.terms(open_dataset("pairs", file=str(tmp_path / "pairs.jsonl"))) == {
        'fv("leaning against")': 1.0, 'fv("左边")': -1.0
    }  # fmt: skip
    chosen = mfv.match("each", {"leaning against": mfv.fv("left")}, otherwise=mfv.fv("each"))
    assert str(chosen) == 'match each { "leaning against": fv(left), else: fv(each) }'
    draft = mfv.Draft()
    draft.model("m", "tiny")
    draft.dataset("d", "pairs", file=str(tmp_path / "pairs.jsonl"), relations=["a,b", "左边"])
    draft.eval("e", add=chosen, layer=1, on=["a,b", "左边"], items=1)
    assert 'on    = ["a,b", "左边"]' in draft.text
    with pytest.raises(ArgumentError, match="has to be a name"):
        draft.let("two words", 3)
    with pytest.raises(ArgumentError, match="asks about `each`"):
        mfv.match("leaning against", {"left": mfv.fv("left")})


def test_editors_complete_and_explain_them(tmp_path: Path):
    types = pytest.importorskip("lsprotocol.types")
    from mfv_dsl.lsp.analysis import analyse
    from mfv_dsl.lsp.completion import complete
    from mfv_dsl.lsp.hover import hover
    from mfv_dsl.lsp.positions import Lines

    call = write(tmp_path, ["leaning against", "left"])
    text = f'mfv 1\nmodel m = tiny()\ndataset d = {call}\nvector v = fv("leaning against")\n'
    text += 'vector w = fv(leaning_against) + fv(lea) + fv("lea")\n'
    analysis, lines = analyse(text), Lines(text, types.PositionEncodingKind.Utf32)

    def offered(at: int) -> set[str]:
        return {item.text_edit.new_text for item in complete(analysis, lines, at)}  # type: ignore[union-attr]

    assert {'"leaning against"', "left"} <= offered(text.index("(lea)") + 4)
    assert {"leaning against", "left"} <= offered(text.index('"lea"') + 4)
    for spelled in ('"leaning against"', "leaning_against"):
        shown = hover(analysis, lines, text.index(spelled) + 3)
        assert shown is not None and "a relation of the dataset `d`" in shown.contents.value


@pytest.mark.parametrize(
    ("name", "told"),
    [("next <image> to", "read as a mark"), ("x" * 101, "at most 100"), ("\u200b ", "missing")],
)
def test_names_that_no_relation_can_have(name: str, told: str, tmp_path: Path):
    write(tmp_path, [name, "left"])
    findings = read_table("pairs", file=str(tmp_path / "pairs.jsonl")).findings
    assert any(told in str(finding) for finding in findings)


def test_a_name_that_is_not_there_is_a_mistake_with_its_place():
    text = 'mfv 1\nmodel m = tiny()\ndataset d = scenes()\nvector v = fv("nowhere near")\n'
    (found,) = (d for d in check_source(Source(text)).diagnostics if d.severity == "error")
    assert found.code == "MFV2001" and found.span is not None
    assert text[found.span.start : found.span.end] == '"nowhere near"'


@pytest.mark.slow
def test_a_run_of_such_relations_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files, tables and the library of a run; and what a guess without pictures gets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFV_HOME", "store")
    names = ["[x] &amp; <- ->", "a,b", "../左边"]
    text = f"""mfv 1
model m = tiny()
dataset d = {write(tmp_path, names, items=3)}
defaults {{ trials = 1, shots = 0, heads = {{L1H1}}, items = 1, correct_only = false }}
defaults for tune {{ start = fv(each) }}
tune trained {{ layer = 1, epochs = 1, items = 1, select_items = 1, on = ["../左边"] }}
eval plain {{ add = fv(each), layer = 1 }}
save "library" {{ vectors = [fv(each)] }}
report {{ norm(trained("../左边")) }}
"""
    result = mfv.Recipe(text).run("out")
    assert {row.relation for row in result.rows} == {*names, None}
    made = {path.parent for path in tmp_path.rglob("*.safetensors")}
    assert {path.name for path in made if "store" not in path.parts} == {"library", "vectors"}
    rows = {row.relation: row for row in result.rows if row.eval == "plain"}
    rows_of = {row.relation: row.step for row in result.plan.rows if row.eval == "plain"}
    for name in names:  # of three pictures in each split, two show a blue ring
        (answer,) = result.values[rows_of[name]].items[1]
        assert rows[name].blind == (answer == "blue ring")
    table = result.table("eval", "relation", where={"relation": ["a,b", names[2]]}).markdown()
    assert "| a,b" in table and "../左边" in table
    for name in names:
        assert mfv.compile(f'load("library", {quoted_relation(name)})').vector("tiny").norm() > 0
    figure, _ = result.plot.evals()
    figure.savefig("out/bars.png")
    page = mfv.open_run("out")._repr_html_()
    assert "[x] &amp;amp; &lt;- -&gt;" in page and "<- ->" not in page
    console = json.loads(Path("out/results.json").read_text())["rows"][0]
    assert console["relation"] == names[0]
