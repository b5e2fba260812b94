"""What notebooks show: escaped, bounded, in the page's own colours."""

from __future__ import annotations

import copy
import csv
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.diagnostics import Diagnostic, render
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.source import Source, Span
from mfv_dsl.data.items import Item
from mfv_dsl.execute.rows import TuningRow
from mfv_dsl.methods.selection import Heads
from mfv_dsl.report.html.datasets import dataset_html
from mfv_dsl.report.html.elements import MOST_ROWS, of_rich, table
from mfv_dsl.report.html.findings import findings_html
from mfv_dsl.report.html.heads import heads_html
from mfv_dsl.report.html.results import result_html
from mfv_dsl.report.html.vectors import stored_vector_html, vector_html
from mfv_dsl.report.tables import numbers_table

BAD = '<script>alert("x")</script>'
TEXT = """mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right], count=30)
heads best = top(3, by=aie, trials=4)
defaults { heads = best, trials = 4 }
## how well it does
eval raw { add = fv(each), layer = 1..2, items = 6, metrics = [accuracy, confusion] }
report { cosine(fv(left), fv(right)) }
"""
#: Elements that have no end.
_VOID = {"img", "br", "hr"}


class Reader(HTMLParser):
    """The elements of a piece of HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    """The piece, which must stand alone and do nothing."""
    found = Reader(html)
    assert not found.tags & {"script", "style", "link", "iframe", "object", "form"}
    for name, value in found.attributes:
        assert name not in ("class", "id", "href") and not name.startswith("on")
        assert name != "src" or (value or "").startswith("data:image/png;base64,")
        assert name != "style" or "#fff" not in (value or "")
    return found


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return mfv.Recipe(TEXT).run(tmp_path_factory.mktemp("run"), progress=False)


def cells(html: str, row: int) -> list[str]:
    """The cells of a line of the first table."""
    line = re.findall(r"<tr>(.*?)</tr>", html)[row]
    return re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)


@pytest.mark.slow
def test_a_result_shows_the_numbers_of_its_files(result: Any):
    html = result._repr_html_()
    found = read(html)
    assert "how well it does" in found.text and "Numbers" in found.text
    with (result.folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    head = cells(html, 0)
    shown = [dict(zip(head, cells(html, number + 1), strict=True)) for number in range(len(rows))]
    for row, text in zip(rows, shown, strict=True):
        assert text["eval"] == row["eval"] and text["layer"] == row["layer"]
        share, low, high = (
            round(100 * float(row[name])) for name in ("accuracy", "ci_low", "ci_high")
        )
        assert text["accuracy %"] == f"{share} [{low}, {high}]"
    (number,) = result.numbers
    assert f"{number.value:.4g}" in html
    assert len(html) < 20_000
    opened = mfv.open_run(result.folder)._repr_html_()
    assert read(opened) and cells(opened, 1) == cells(html, 1)
    assert opened.split("</div>", 1)[1] == html.split("</div>", 1)[1]


def test_trainings_and_weights_are_shown(result: Any):
    tune = TuningRow("best", "left", "x", 3, 5, 2, 40, 0.5, 0.75, 0.6, 0.9, 1.5, 0.25, 20.0, 21.5)
    weights = {"eval": "mix", "relation": "left", "layer": 1,
               "weights": [{"vector": "fv(left)", "weight": 0.95}]}  # fmt: skip
    results = replace(result.results, tunes=[tune], weights=[weights])
    text = " ".join(read(result_html(replace(result, results=results))).text.split())
    assert "75 [60, 90]" in text and "1.50 → 0.25" in text
    assert "fv(left)0.95" in text.replace(" ", "")


@pytest.mark.slow
def test_what_is_long_is_cut_and_says_so(result: Any):
    many = replace(result.results, rows=[result.rows[0]] * 10_000)
    html = result_html(replace(result, results=many))
    assert len(html) < 30_000
    assert f"the first {MOST_ROWS} of 10,000 rows" in html and "results.csv have all" in html
    long = table(("a",), [("x" * 10**6,)] * 100)
    assert len(long) < 60 * 400 and "the first 60 of 100 rows" in long
    plan = result.plan
    assert len(replace(plan, steps=plan.steps * 1000)._repr_html_()) < 60_000
    recipe = mfv.Recipe(TEXT + "# a remark\n" * 5000)
    assert len(recipe._repr_html_()) < 60_000 and "of 5,008 lines" in recipe._repr_html_()


def test_names_are_no_html(result: Any, tmp_path: Path):
    rows = [replace(row, relation=BAD, eval=BAD, answers={BAD: 1.0}) for row in result.rows]
    notes = [{"text": BAD}]
    results = replace(result.results, rows=rows, notes=notes, docs={BAD: BAD})
    plan = replace(
        result.plan, docs={BAD: BAD},
        rows=tuple(replace(row, eval=BAD) for row in result.plan.rows),
        steps=tuple(replace(step, label=BAD) for step in result.plan.steps),
    )  # fmt: skip
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    stored = replace(stored, metadata={**stored.metadata, "relation": BAD, "x_mine": BAD})
    vector = replace(stored.vector, expression=BAD)
    pieces = [
        result_html(replace(result, results=results, plan=plan, saved=[Path(BAD)])),
        plan._repr_html_(), vector_html(vector), stored_vector_html(stored),
        mfv.Recipe(TEXT + f"# {BAD}\n", BAD)._repr_html_(),
        findings_html([Diagnostic("MFV2001", BAD, Source(BAD, BAD), Span(0, 8), BAD, help=BAD)]),
    ]  # fmt: skip
    draft = mfv.Draft()
    draft.save("<script>", vectors=[mfv.zeros()])
    assert '"<script>"' in read(draft._repr_html_()).text
    for html in pieces:
        assert BAD in read(html).text


def test_markup_of_a_terminal_is_text():
    number = SimpleNamespace(number="[bold]x[/]", relation="[red]", axes={}, value=0.5, error=None)
    found = read(of_rich(numbers_table([number])))
    assert "[bold]x[/]" in found.text and "[red]" in found.text


def test_findings_are_those_of_the_terminal():
    with pytest.raises(mfv.RecipeError) as caught:
        mfv.Recipe(TEXT.replace("fv(each)", "fv(lefft)").replace("items = 6", "itmes = 6"))
    html = findings_html(caught.value.diagnostics)
    text = read(html).text
    for diagnostic in caught.value.diagnostics:
        assert render(diagnostic) in text
    assert len(caught.value.diagnostics) == 2
    assert html.count("<details>") == 2 and "unknown relation" in text
    many = findings_html(caught.value.diagnostics * 100)
    assert len(many) < 60_000 and "the first 20 of 200 findings" in many


def test_heads_and_vectors(result: Any):
    heads = next(value for value in result.values.values() if isinstance(value, Heads))
    html = heads._repr_html_()  # type: ignore[attr-defined]
    layer, head = heads.chosen[0]
    assert cells(html, 1)[:2] == ["1", f"L{layer}H{head}"]
    assert heads.scores is not None
    assert cells(html, 1)[2] == f"{float(heads.scores[layer, head]):.3g}"
    assert "<img" in html and read(html) and len(html) < 6_000
    assert "<img" not in heads_html(Heads(((0, 1),)))
    scores = torch.full((64, 64), 0.5)
    scores[3] = float("nan")
    scores[4, 4] = -1
    large = heads_html(Heads(tuple((n, n) for n in range(60)), scores))
    assert read(large) and "and 48 more" in large and len(large) < 8_000
    for odd in (torch.zeros(2, 2), torch.full((1, 1), float("nan")), torch.zeros(0, 0)):
        assert read(heads_html(Heads((), odd)))
    vector = mfv.load_vector("vectors/flamingo-tiny", "left").vector
    assert f"{vector.norm():.4g}" in vector._repr_html_() and read(vector._repr_html_())
    assert "not known head by head" in (replace(vector, heads=None))._repr_html_()


def brightness(colour: str) -> float:
    """The relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_are_readable_on_white_and_on_black():
    """Where a page has none of its own: a contrast of 4 with white and with nearly black."""
    html = mfv.Recipe(TEXT)._repr_html_()
    html += findings_html([Diagnostic("MFV2001", "wrong", Source("a b"), Span(0, 1), "x", help="y"),
                           Diagnostic("MFV2060", "unused", severity="warning")])  # fmt: skip
    colours = set(re.findall(r"#[0-9a-f]{6}", html))
    assert len(colours) >= 6
    for colour in colours:
        for page in ("#ffffff", "#111111"):
            low, high = sorted(map(brightness, (colour, page)))
            assert (high + 0.05) / (low + 0.05) >= 4, (colour, page)


# -- models and datasets ---------------------------------------------------------------------------
def test_models_and_datasets_that_are_loaded(tmp_path: Path):
    model, scenes = mfv.load_model("tiny"), mfv.load_dataset("scenes", relations=["left"], count=8)
    text = read(model._repr_html_()).text
    assert "tiny(" in text and "2,798,154" in text and "Model" in text
    html = scenes._repr_html_()
    assert read(html) and html.count("<img") == 4 and len(html) < 60_000
    assert "scenes(relations=[left], seed=0, count=8," in html
    for value in (pickle.loads(pickle.dumps(scenes)), copy.deepcopy(scenes)):
        assert value._repr_html_() == html and value is not scenes


class Broken:
    """A dataset with bad names, one picture that is not there, and one that is no square."""

    at_once = 1
    relations, splits, hash = (BAD, "two", "empty"), ("train", BAD), "0" * 64

    def items(self, relation: str, split: str) -> tuple[Item, ...]:
        if split == "train" or relation == "empty":
            return ()
        return tuple(
            Item(f"{BAD}{n}", BAD, BAD, relation) for n in range(2 if relation == BAD else 9)
        )

    def pictures(self, images: Any, size: int) -> list[np.ndarray]:
        if images[0].endswith("0"):
            raise OSError(BAD)
        return [np.random.default_rng(0).integers(0, 255, (900, 300, 3), np.uint8)]


def test_pictures_that_cannot_be_read_say_why():
    known = DatasetFacts(Broken.relations, Broken.splits, "0" * 64, BAD)
    html = dataset_html(Broken(), known, BAD)
    found = read(html)
    assert found.text.count("no picture: " + BAD) == 2 and html.count("<img") == 2
    assert ("width", "32") in found.attributes  # 900 by 300 pixels in 96
    assert "two: " in found.text and len(html) < 30_000
    nothing = DatasetFacts((), (), "0" * 64, "nothing")
    empty = SimpleNamespace(relations=(), splits=(), hash="0" * 64)
    assert "<img" not in dataset_html(empty, nothing)  # type: ignore[arg-type]


def test_no_thousands_of_scenes_are_drawn_for_a_picture():
    html = mfv.load_dataset("scenes", count=100_000, kinds="things")._repr_html_()
    assert "no pictures, as 100,000 scenes would be drawn for one" in html and "<img" not in html


def test_pictures_keep_their_colours():
    """Few colours are enough for what is seen."""
    from mfv_dsl.report.html.datasets import _COLOURS

    scenes = mfv.load_dataset("scenes", count=8)
    picture = Image.fromarray(scenes.pictures(["left/test/0"], 96)[0])
    few = picture.quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    apart = np.abs(np.asarray(picture).astype(int) - np.asarray(few)).mean()
    assert apart < 8


@pytest.mark.slow
def test_showing_a_plan_takes_nothing_heavy():
    code = (
        "import sys, mfv_dsl as mfv\n"
        "recipe = mfv.Recipe.from_file('quickstart')\n"
        "recipe._repr_html_(); recipe.plan()._repr_html_()\n"
        "heavy = {'torch', 'numpy', 'PIL', 'matplotlib', 'IPython', 'pandas'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
