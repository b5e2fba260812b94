"""What the documentation shows works as shown."""

from __future__ import annotations

import ast
import json
import re
import shlex
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

import mfv_dsl as mfv
from docs import make_mechanisms
from docs.make_figures import NUMBERS, quickstart_numbers
from mfv_dsl.cli.app import app

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mfv_dsl"
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def test_the_readmes_recipe_is_a_recipe():
    (recipe,) = [block for block in blocks("") if block.startswith("mfv 1")]
    assert {row.eval for row in mfv.Recipe(recipe).plan().rows} == {"few_shot", "raw", "steered"}


def examples(text: str) -> list[str]:
    return re.findall(r"^ *```\n(.*?)^ *```", text, flags=re.M | re.S)


def section(page: str, heading: str) -> str:
    """What stands under a heading of a page, without those below it."""
    text = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2]
    assert text, f"{page} has no section {heading}"
    return re.split(r"^## (?=[A-Z])(?=[^.]*$)", text, maxsplit=1, flags=re.M)[0]


LANGUAGE = [
    *examples((ROOT / "docs" / "language.md").read_text()),
    *examples(section("docs/recipes.md", "What keeps a recipe short")),
]
#: What the examples of the page on the language take for granted, where they name it.
GRANTED = {
    "steer": "vector steer = fv(left)\n",
    "tuned": "tune tuned { start = fv(each), layer = 1 }\n",
    "pool": "defaults { dataset = shapes, layer = 1 }\n",
}


@pytest.mark.parametrize("example", LANGUAGE, ids=[text.split("\n")[0] for text in LANGUAGE])
def test_the_examples_of_the_language_can_be_planned(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "common.mfv").write_text("mfv 1\nlet simple = [left, right]\n")
    monkeypatch.chdir(tmp_path)
    text = "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes()\n"
    for name, needed in GRANTED.items():
        declared = f"vector {name}" in example or f"tune {name}" in example
        if name in example and not declared:
            text += needed
    mfv.Recipe(text + textwrap.dedent(example)).plan()


def test_the_readmes_error_is_what_check_says():
    (shown,) = [block for block in blocks("") if block.startswith("error[")]
    recipe = (ROOT / "recipes" / "quickstart.mfv").read_text()
    wrong = recipe.replace("+ fv(above)\n", "+ fv(abvoe)\n", 1).replace(
        "trials = 50", "trials = 0.5"
    )
    with pytest.raises(mfv.RecipeError) as found:
        mfv.Recipe(wrong, "steer.mfv")
    assert str(found.value) == shown.replace("\n2 errors", "").strip()


@pytest.mark.parametrize(("place", "run"), [(0, "quickstart"), (1, "quickstart_llava")])
def test_the_readmes_tables_are_the_committed_runs(place: int, run: str):
    """Accuracies in the README's tables are the figures that the tests hold runs against."""
    rows = json.loads((ROOT / "tests" / "golden" / f"{run}.json").read_text())["rows"]
    shown = [block for block in blocks("") if "vs zero-shot" in block][place]
    found = re.findall(
        r"^ *(?:\S+ +)?([a-z_]+) +(\d+) .*? (\d+) +(\d+) \[(\d+), (\d+)\]", shown, flags=re.M
    )
    assert [
        (row["relation"] or "all", str(row["shots"]), str(row["n"]),
         *(f"{100 * row[name]:.0f}" for name in ("accuracy", "ci_low", "ci_high")))
        for row in rows
    ] == found  # fmt: skip


def test_the_readmes_figure_is_of_the_committed_run():
    """The numbers that the picture keeps are those of the figure of the rows, drawn now."""
    with Image.open(ROOT / "docs" / "images" / "quickstart.png") as picture:
        numbers = json.loads(picture.info[NUMBERS])
        assert picture.width == 6.9 * 180 and "docs/images/quickstart.png" in README
    drawn = quickstart_numbers()
    assert [len(one) for one in numbers] == [len(one) for one in drawn]
    for one, other in zip(numbers, drawn, strict=True):
        assert one == pytest.approx(other, abs=0.01)


def test_the_readmes_python_names_exist():
    for block in blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "mfv":
                assert hasattr(mfv, node.attr)
            if isinstance(node, ast.ImportFrom):
                assert all(hasattr(mfv, alias.name) for alias in node.names)


@pytest.mark.slow
def test_the_findings_recipes_plan_with_the_options_shown():
    page = (ROOT / "docs" / "findings.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^mfv run (.*)", page, flags=re.M)
    assert sum("llava" in command for command in commands) >= 7
    for command in commands:
        recipe, *options = shlex.split(command)
        if 'tiny("seeds/' in command:
            continue  # models that the reader trains
        assert set(options[::2]) <= {"--set", "--only", "--profile", "--out"}
        pairs = list(zip(options[::2], options[1::2], strict=True))
        overrides = [value for name, value in pairs if name == "--set"]
        only = {value for name, value in pairs if name == "--only"}
        profile = dict(pairs).get("--profile")
        rows = mfv.Recipe.from_file(recipe, overrides, profile).plan().rows
        assert only <= {row.eval for row in rows}, command


def test_links_lead_somewhere():
    for page in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def parsed(line: str) -> None:
    """Read a command line as ``mfv`` does, and run nothing."""
    command, words = get_command(app), shlex.split(line, comments=True)[1:]
    context = command.make_context("mfv", ["version"])
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, list(words), parent=context)


COMMANDS = [
    line
    for block in blocks("")
    for line in block.splitlines()
    if line.startswith(("mfv ", "make ")) and not re.match(r"mfv \d", line)
]


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_the_readmes_commands_are_commands(line: str):
    if line.startswith("mfv "):
        parsed(line)
    else:
        target = line.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M)


@pytest.mark.parametrize("line", ["mfv ask --diagonaly", "mfv vectors shew x", "mfv norms"])
def test_what_is_no_command_is_noticed(line: str):
    with pytest.raises(Exception, match="No such option|No such command|Missing"):
        parsed(line)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_what_a_page_names_in_passing_is_there(page: str):
    """Commands, modules, `make` targets and folders between back-ticks."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.M | re.S)
    names = {*get_command(app).commands}  # type: ignore[attr-defined]
    names |= {"codes"} if page == "CONTRIBUTING.md" else set()  # its example of a new command
    folders = {path.name for parent in (ROOT, PACKAGE) for path in parent.iterdir()}
    spans = re.findall(r"`([^`\n]+)`", text)
    for span in spans:
        if match := re.match(r"mfv ([a-z]+)", span):
            assert match[1] in names, span
        if match := re.match(r"make ([a-z]+)$", span):
            assert f"\n{match[1]}:" in (ROOT / "Makefile").read_text(), span
        if match := re.match(r"python -m ([a-z_.]+)", span):
            assert find_spec(match[1]) is not None, span
        if re.fullmatch(r"[\w./]+", span) and span.split("/")[0] in folders and "/" in span:
            pattern = span.rstrip("/").replace("nnnn", "*")
            assert any(True for parent in (ROOT, PACKAGE) for _ in parent.glob(pattern)), span
    assert len(spans) > 20


@pytest.mark.slow
def test_the_engine_page_runs_as_written():
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "engine.md").read_text(),
                                flags=re.M | re.S))  # fmt: skip
    names: dict[str, object] = {}
    exec(compile(code, "docs/engine.md", "exec"), names)
    assert names["heads"].shape == (8, 8, 16)  # type: ignore[attr-defined]
    assert names["effect"].aie.shape == (10, 8)  # type: ignore[attr-defined]
    assert names["crossing"].aie.shape == (5, 8)  # type: ignore[attr-defined]
    assert (names["low"] <= names["effect"].aie).all()  # type: ignore[attr-defined,operator]


def test_one_version_everywhere():
    """The changelog's newest release and the citation's version are the package's."""
    releases = re.findall(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert releases[0] == mfv.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {mfv.__version__}\n" in citation
    for text in (citation, README):
        assert "Multimodal Function Vectors for Visual Relations" in text


def test_the_tables_about_mechanisms_are_those_of_their_commands():
    page = make_mechanisms.PAGE.read_text(encoding="utf-8")
    shown = [commands[-1] for commands in make_mechanisms.tables(page)]
    assert [command.split()[1] for command in shown] == [
        "lens", "train-lens", "attribute", "paths", "paths",
    ]  # fmt: skip
    assert make_mechanisms.filled(page, {}) == page
    made = make_mechanisms.filled(
        page, {shown[0]: make_mechanisms.tidied("\n layer  p\n\n    0  1\n")}
    )
    assert "```\nlayer  p\n   0  1\n```" in made
