"""What notebooks show, in a browser: names stay texts, the page around stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.source import Source, Span
from mfv_dsl.report.html.datasets import dataset_html
from mfv_dsl.report.html.elements import facts, fold, remark, table, title
from mfv_dsl.report.html.findings import findings_html
from mfv_dsl.report.html.recipes import recipe_html
from mfv_dsl.report.html.vectors import stored_vector_html

if TYPE_CHECKING:
    from playwright.sync_api import Page

BAD = (
    "<script>window.taken = 1</script>",
    "<img src=x onerror='window.taken = 1'>",
    "\"'><svg onload=window.taken=1>",
    "</pre></table></div><style>body{display:none}</style>",
    "\N{RIGHT-TO-LEFT OVERRIDE}tfel",
)
pytestmark = pytest.mark.slow


def pieces(name: str) -> list[str]:
    stored = mfv.load_vector("vectors/flamingo-tiny", "left")
    stored = replace(
        stored, vector=replace(stored.vector, expression=name),
        metadata={**stored.metadata, "name": name, "x_mine": [name]},
    )  # fmt: skip

    class Dataset:
        at_once, relations, splits, hash = 1, (name,), (name,), "0" * 64
        items = pictures = staticmethod(lambda *_: ())

    known = DatasetFacts((name,), (name,), "0" * 64, name, {name: {name: 1}})
    return [
        title(name, name), remark(name), facts({name: name}), fold(name, remark(name)),
        table((name,), [(name,)], (name,)), recipe_html(name, f"# {name}\nmfv 1\n{name}"),
        findings_html([Diagnostic("MFV2001", name, Source(name, name), Span(0, 3), name)]),
        stored_vector_html(stored), dataset_html(Dataset(), known, name),
    ]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_names_do_nothing(page: Page, name: str):
    page.set_content(f"<body><p id=before>before</p>{''.join(pieces(name))}<p id=after>after</p>")
    page.wait_for_timeout(100)
    assert page.evaluate("window.taken") is None
    assert page.locator("script, style, svg, img[src='x']").count() == 0
    assert page.locator("#before").is_visible() and page.locator("#after").is_visible()
    shown = page.locator("body").inner_text()
    assert name.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{REPLACEMENT CHARACTER}") in shown


@pytest.mark.parametrize("colours", [("rgb(17, 17, 17)", "rgb(238, 238, 238)"),
                                     ("rgb(255, 255, 255)", "rgb(17, 17, 17)")])  # fmt: skip
def test_texts_have_the_pages_colours(page: Page, colours: tuple[str, str]):
    ground, ink = colours
    page.set_content(
        f"<body style='background:{ground};color:{ink}'>{''.join(pieces('left'))}</body>"
    )
    styles = page.evaluate(
        "[...document.querySelectorAll('td, th, p, div, pre, b, summary')].map(element => {"
        "const style = getComputedStyle(element); return [style.color, style.backgroundColor]})"
    )
    assert len(styles) > 50
    assert {tuple(style) for style in styles} == {(ink, "rgba(0, 0, 0, 0)")}
