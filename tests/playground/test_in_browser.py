"""The page in Chromium: what one sees is what ``mfv ask`` and a run say."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl import inspection, load_vector
from mfv_dsl.inputs import read_vector
from mfv_dsl.methods.algebra import cosine as cosine_of
from mfv_dsl.models.openflamingo import OpenFlamingo
from tests.playground.served import OPTIONS, Server, served
from tests.playground.test_pictures import bomb, encoded

pytest.importorskip("playwright")
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("gradio") is None, reason="without gradio"),
]
DEFAULTS = {"heads": "{L2H6, L4H1}", "trials": 8}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served"), *OPTIONS) as running:
        yield running


@pytest.fixture
def asked(page: Page, server: Server) -> Page:
    """The page, opened, with its first question answered."""
    page.goto(server.url)
    page.wait_for_selector(".mfv-answers")
    return page


def settled(page: Page, caption: str) -> None:
    """Wait until the answers are those of a caption that has this in it."""
    page.locator(".mfv-answers caption", has_text=caption).wait_for()


def type_vector(page: Page, text: str) -> None:
    page.locator("#mfv-expression textarea").fill(text)
    page.locator("#mfv-expression textarea").press("Enter")


def bars(page: Page) -> dict[str, tuple[float, float | None]]:
    """The probabilities on the page by answer, without and with the vector."""
    found = {}
    for row in page.locator("tr.mfv-answer").all():
        name = row.locator("th").evaluate("e => e.firstChild.textContent")
        p = [float(bar.get_attribute("data-p") or "nan") for bar in row.locator(".mfv-bar").all()]
        found[str(name)] = (p[0], p[1] if len(p) > 1 else None)
    return found


def shown(row: Locator) -> str:
    return row.inner_text()


def check_bars(page: Page, reply: inspection.Reply) -> None:
    """The page shows what ``ask`` replies."""
    found = bars(page)
    for name, p in reply.before:
        assert found[name][0] == pytest.approx(p, rel=1e-4, abs=1e-6)
    for name, p in reply.after or ():
        assert found[name][1] == pytest.approx(p, rel=1e-4, abs=1e-6)
    assert (reply.after is None) == (next(iter(found.values()))[1] is None)


def test_the_first_question_is_answered(asked: Page, tiny: OpenFlamingo):
    question = inspection.about_item(mfv.load_dataset("scenes"), "left", 1)
    check_bars(asked, inspection.ask(tiny, question))
    assert asked.locator("#mfv-prompt code").inner_text() == question.text
    around = asked.locator(".mfv-around").inner_text()
    assert all(name in around for name in question.neighbours.values())


def test_a_mistake_is_shown_as_one_types_and_goes_when_it_is_mended(
    asked: Page, tiny: OpenFlamingo
):
    box, findings = asked.locator("#mfv-expression textarea"), asked.locator("#mfv-findings")
    box.press_sequentially("fv(lft) - fv(right)", delay=15)
    whole = findings.filter(has_text="fv(lft) - fv(right)").filter(has_text="^^^")
    whole.get_by_text("did you mean `left`?").wait_for()
    box.press("Enter")  # the question is answered all the same, without a vector
    settled(asked, "without a vector")
    box.press("Home")
    for _ in "fv(l":
        box.press("ArrowRight")
    box.press_sequentially("e")
    findings.get_by_text("the expression is right").wait_for()
    assert "^" not in findings.inner_text()
    box.press("Enter")
    settled(asked, "fv(left) - fv(right) at each head")
    question = inspection.about_item(mfv.load_dataset("scenes"), "left", 1)
    vector = read_vector("fv(left) - fv(right)", **DEFAULTS)
    check_bars(asked, inspection.ask(tiny, question, vector))
    assert asked.locator("#mfv-curve canvas, #mfv-curve svg").first.is_visible()
    texts = asked.locator("#mfv-texts q").all_inner_texts()
    assert len(texts) == 2 and all(texts)


def test_what_is_pasted_is_checked_and_mended_by_a_click(asked: Page):
    box, findings = asked.locator("#mfv-expression textarea"), asked.locator("#mfv-findings")
    box.fill("fv(lft) + tuned_rigt")
    findings.get_by_role("button", name="write left").click()
    findings.get_by_role("button", name="write left").wait_for(state="hidden")
    findings.get_by_role("button", name="write tuned_right").click()
    findings.get_by_text("the expression is right").wait_for()
    assert box.input_value() == "fv(left) + tuned_right"
    box.fill("")
    findings.get_by_text("No vector").wait_for()


def test_nothing_that_is_typed_becomes_a_part_of_the_page(asked: Page):
    evil = '<img src=x onerror="console.error(1)">'  # the page's fixture fails on console errors
    type_vector(asked, evil)
    asked.locator("#mfv-findings").get_by_text("MFV1008").first.wait_for()
    asked.locator("#mfv-query input").fill(evil)
    asked.locator("#mfv-query input").press("Enter")
    asked.locator("#mfv-prompt code", has_text=evil).wait_for()
    asked.locator("#mfv-remarks").get_by_text("does not know").wait_for()
    assert asked.locator("img[src=x]").count() == 0


def test_sliders_move_the_layer_and_the_scale(asked: Page, tiny: OpenFlamingo):
    type_vector(asked, "tuned_left")
    settled(asked, "tuned_left at layer 1")
    asked.locator("#mfv-own input").uncheck()
    settled(asked, "at layer 3")
    slider = asked.locator("#mfv-layer input[type=range]")
    box = slider.bounding_box()
    assert box is not None
    asked.mouse.move(box["x"] + box["width"] * 3 / 9, box["y"] + box["height"] / 2)
    asked.mouse.down()
    asked.mouse.move(box["x"] + box["width"] * 5 / 9, box["y"] + box["height"] / 2, steps=4)
    asked.mouse.up()
    settled(asked, "at layer 5")
    scale = asked.locator("#mfv-scale input[type=number]")
    scale.fill("-2")
    scale.blur()
    asked.locator("#mfv-ask").click()
    settled(asked, "-2 × tuned_left at layer 5")
    question = inspection.about_item(mfv.load_dataset("scenes"), "left", 1)
    vector = read_vector("vectors/flamingo-tiny/tuned_left")
    check_bars(asked, inspection.ask(tiny, question, vector, 5, -2.0))


def test_another_question_of_the_dataset(asked: Page, tiny: OpenFlamingo):
    asked.get_by_role("button", name="Next", exact=True).click()
    question = inspection.about_item(mfv.load_dataset("scenes"), "left", 2)
    asked.locator("#mfv-prompt code", has_text=question.text).wait_for()
    asked.locator("tr.mfv-answer", has_text=inspection.ask(tiny, question).before[0][0]).wait_for()
    asked.wait_for_timeout(500)
    check_bars(asked, inspection.ask(tiny, question))


def test_a_scene_is_drawn_by_clicks_and_by_keys(asked: Page, tiny: OpenFlamingo):
    asked.get_by_role("tab", name="Draw a scene").click()
    asked.locator("[data-index]").first.wait_for()
    asked.get_by_role("button", name="Clear").click()
    asked.get_by_text("an empty scene").wait_for()
    cells = [""] * 16
    for cell, colour, shape in ((5, "red", "circle"), (4, "blue", "ring"), (1, "green", "square")):
        asked.get_by_label(colour, exact=True).check()
        asked.get_by_label(shape, exact=True).check()
        button = asked.locator(f'[data-index="{cell}"]')
        button.click() if cell != 1 else button.press("Enter")
        cells[cell] = f"{colour} {shape}"
        asked.get_by_label(f": {cells[cell]}").wait_for()
    question = inspection.about_drawn(cells, "red circle", 1)
    asked.locator("#mfv-prompt code", has_text=question.text).wait_for()
    type_vector(asked, "fv(left)")
    settled(asked, "fv(left) at each head")
    check_bars(asked, inspection.ask(tiny, question, read_vector("fv(left)", **DEFAULTS)))
    asked.get_by_label("nothing").check()
    asked.locator('[data-index="4"]').click()
    asked.get_by_label("row 2, column 1: empty").wait_for()


def test_a_picture_is_uploaded_and_what_is_none_is_refused(
    asked: Page, server: Server, tiny: OpenFlamingo, tmp_path: Path
):
    noise = np.random.default_rng(1).integers(0, 255, (90, 130, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    files = {
        "text.png": b"no picture at all", "bomb.png": bomb(), "empty.jpg": b"",
        "mine.png": encoded(Image.fromarray(noise), exif=exif),
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    asked.get_by_role("tab", name="Upload").click()
    notice, chooser = asked.locator("#mfv-notice"), asked.locator("input[type=file]")
    for name, said in (("text.png", "is no picture"), ("bomb.png", "more pixels")):
        chooser.set_input_files(tmp_path / name)
        notice.get_by_text(f"{name} ").wait_for()
        assert said in notice.inner_text() and "MFV5412" in notice.inner_text()
    chooser.set_input_files(tmp_path / "mine.png")
    notice.get_by_text("MFV5412").wait_for(state="hidden")
    type_vector(asked, "tuned_left")
    settled(asked, "tuned_left at layer 1")
    upright = tmp_path / "upright.png"
    Image.fromarray(np.rot90(noise, 2)).save(upright)
    question = inspection.about_picture(upright, "yellow ring")
    vector = read_vector("vectors/flamingo-tiny/tuned_left")
    check_bars(asked, inspection.ask(tiny, question, vector))
    kept = [path for path in server.folder.rglob("*") if path.suffix in (".png", ".jpg")]
    assert kept == []


def test_the_texts_on_the_page_give_its_numbers(
    asked: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked.get_by_role("tab", name="Draw a scene").click()
    asked.locator("[data-index]").first.wait_for()
    type_vector(asked, "fv(left) + tuned_left")
    settled(asked, "fv(left) + tuned_left")
    asked.wait_for_timeout(300)
    asked.get_by_text("The same as a recipe and in Python").click()
    asked.get_by_role("button", name="Files").click()
    link = asked.locator("a.mfv-files").get_attribute("href") or ""
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = Path("recipe.mfv").read_text(encoding="utf-8")
    lines = asked.locator("#mfv-recipe .cm-line").all_inner_texts()
    assert [line.rstrip("\n") for line in lines] == text.splitlines()
    rows = mfv.run("recipe.mfv", "out", progress=False).rows
    found, compared = bars(asked), 0
    items = Path("question.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {
        m[2]: m[1] for line in items if (m := re.search(r'"answer": "(.*?)", .*?n": "(.*?)"', line))
    }
    for row in rows:
        if row.eval in ("before", "after") and answers.get(row.relation) in found:
            p = found[answers[row.relation]][row.eval == "after"]
            assert row.mean_p_answer == pytest.approx(p, rel=1e-4, abs=1e-6)
            compared += 1
    assert compared >= 4


def test_a_vector_of_the_library_is_looked_at_and_used(asked: Page):
    asked.get_by_role("tab", name="Vectors").click()
    asked.locator("#mfv-vectors").get_by_text("sum_of_above_left", exact=True).first.click()
    card = asked.locator("#mfv-card")
    card.get_by_text("fv(above) + fv(left)").first.wait_for()
    assert "accuracy %" in card.inner_text() and "made of" in card.inner_text()
    asked.locator("#mfv-map img").wait_for()
    asked.locator("#mfv-map summary").click()
    row = asked.locator("#mfv-map tr", has=asked.get_by_role("rowheader", name="above", exact=True))
    left = load_vector("vectors/flamingo-tiny", "above_left").vector
    cosine = cosine_of(load_vector("vectors/flamingo-tiny", "above").vector, left)
    assert row.locator("td").nth(1).inner_text() == f"{cosine:.3f}"
    asked.get_by_role("button", name="Use it in the expression").click()
    settled(asked, "with sum_of_above_left")
    assert asked.locator("#mfv-expression textarea").input_value() == "sum_of_above_left"


def test_two_people_do_not_mix_their_vectors(browser: Browser, server: Server, tiny: OpenFlamingo):
    question = inspection.about_item(mfv.load_dataset("scenes"), "left", 1)
    texts = ("tuned_left", "tuned_right")
    replies = [
        inspection.ask(tiny, question, read_vector(f"vectors/flamingo-tiny/{text}"))
        for text in texts
    ]
    pages = [browser.new_context().new_page() for _ in texts]
    try:
        for page in pages:
            page.goto(server.url)
            page.wait_for_selector(".mfv-answers")
        for turn in range(25):
            for page, text in zip(pages, texts, strict=True):  # both wait at the same time
                type_vector(page, f"{1 + turn % 2} * {text}" if turn % 2 else text)
            for page, text, reply in zip(pages, texts, replies, strict=True):
                settled(page, f"2 * {text}" if turn % 2 else f"with {text}")
                check_bars(page, reply) if not turn % 2 else None
    finally:
        for page in pages:
            page.context.close()


def test_an_error_in_a_request_is_shown_and_the_server_goes_on(asked: Page):
    type_vector(asked, 'load("vectors/flamingo-tiny", "lft")')
    asked.locator("#mfv-problem").get_by_text("MFV6001").wait_for()
    type_vector(asked, "tuned_left")
    settled(asked, "tuned_left at layer 1")
    asked.locator("#mfv-problem").get_by_text("MFV6001").wait_for(state="hidden")


@pytest.mark.parametrize("width", [1280, 420])
def test_nothing_is_wider_than_the_screen(page: Page, server: Server, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(server.url)
    page.wait_for_selector(".mfv-answers")
    type_vector(page, "fv(left)")
    settled(page, "fv(left)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    names = page.locator("#mfv-legend li")
    names.first.wait_for()
    for name in names.all():  # whole, however many there are
        box = name.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    around = page.locator("#mfv-prompt li").all_inner_texts()
    shown = names.all_inner_texts()
    assert len(shown) == len(around) == 4
    assert all(any(one.endswith(name.strip()) for one in around) for name in shown)
    page.get_by_role("tab", name="Vectors").click()
    page.locator("#mfv-map img").wait_for()
    page.locator("#mfv-vectors").get_by_text("steer", exact=True).first.click()
    page.locator(".mfv-card").wait_for()
    page.locator("#mfv-map summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_large_model_is_asked_by_the_button_alone(page: Page, tmp_path: Path):
    before = "from mfv_dsl.playground import page; page._AT_ONCE = 0"
    with served(tmp_path, "--model", 'tiny("llava")', *OPTIONS, before=before) as server:
        page.goto(server.url)
        page.locator("#mfv-prompt code", has_text="Q:yellow ring").wait_for()
        page.get_by_text("Not asked yet").wait_for()
        type_vector(page, "fv(left)")
        settled(page, "fv(left)")
        assert next(iter(bars(page).values()))[1] is not None
        page.get_by_role("button", name="Next", exact=True).click()
        page.get_by_text("Not asked yet").wait_for()  # no answers to another question
        assert page.locator("tr.mfv-answer").count() == 0
        assert not page.locator("#mfv-curve").is_visible()
        page.locator("#mfv-ask").click()
        page.locator("tr.mfv-answer").first.wait_for()
        page.goto("about:blank")  # a page that loses its server logs an error
