"""Reports in a browser: what is clicked, typed and read there, against the files of the run."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import mfv_dsl as mfv
from mfv_dsl.base.numbers import decimals, percent
from mfv_dsl.run_report import report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=120)
defaults { heads = top(2, on=[left, right]), trials = 6, items = 30, layer = 1 }
eval bare { shots = 0 }
## Added where the question stands alone.
eval raw { add = fv(each), metrics = [accuracy, p_answer, confusion], controls = [random_vector] }
eval swept { add = fv(each), layer = 0..2 }
tune learned { start = zeros(), on = [left], layer = 1, epochs = 2, items = 16 }
eval taught { add = learned(left), on = [left] }
"""
HOSTILE = "</script><script>window.broken=1</script><img src=x onerror='window.broken=2'>"
ODD = {"left": f"{HOSTILE} \"quoted\" 'too'", "right": "على اليمين `x` ${1} %{y} {{7*7}}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "shown"
    run = mfv.compile(RECIPE).run(path)
    assert not run.failed
    return path


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return report([folder], items=None)


@pytest.fixture
def shown(page: Page, file: Path) -> Page:
    """The report, opened as a file."""
    page.goto(file.as_uri())
    return page


@pytest.fixture
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def lines(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "items.csv").open()))


def outcome(line: dict[str, str]) -> str:
    was, now = line["correct_unedited"] == "1", line["correct"] == "1"
    if was == now:
        return "both right" if now else "both wrong"
    return "wrong → right" if now else "right → wrong"


def drawn(page: Page) -> Locator:
    """All figures, each drawn as it comes into view."""
    figures = page.locator("figure[data-figure]")
    for number in range(figures.count()):
        figures.nth(number).scroll_into_view_if_needed()
        figures.nth(number).locator(".plot.drawn").wait_for()
    return figures


def figure(page: Page, title: str) -> Locator:
    found = page.locator("figure[data-figure]").filter(has_text=title).first
    found.scroll_into_view_if_needed()
    found.locator(".plot.drawn").wait_for()
    return found


# -- reading --------------------------------------------------------------------------------------
def test_the_numbers_of_the_table_are_those_of_the_file(shown: Page, results: dict[str, Any]):
    table = shown.get_by_role("table", name="Accuracy in per cent with 95 % intervals").first
    text = table.inner_text()
    for row in results["rows"]:
        assert percent(row["accuracy"], row["ci_low"], row["ci_high"]) in text
    assert table.locator("tbody tr:not(.group)").count() == len(results["rows"])
    assert "Added where the question stands alone." in text


def test_every_figure_is_drawn_and_has_its_numbers(shown: Page, results: dict[str, Any]):
    figures = drawn(shown)
    titles = figures.locator("figcaption").all_inner_texts()
    assert titles == [
        "Accuracy of every eval", "Difference in accuracy from zero-shot, on the same items",
        "swept: accuracy by layer", "Answers, by the relation they are right for",
        "Effects of heads", "learned: accuracy on validation by epoch",
        "learned: loss on validation by epoch",
    ]  # fmt: skip
    assert shown.locator(".plot .main-svg").count() >= len(titles)
    plotted = (
        figure(shown, "swept: accuracy by layer")
        .locator(".plot")
        .evaluate(
            "place => place.data.filter(t => t.mode === 'lines+markers')"
            ".map(t => [t.name, Array.from(t.x), Array.from(t.y), t.text])"
        )
    )
    by_relation: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        if row["eval"] == "swept":
            by_relation.setdefault(row["relation"] or "all", []).append(row)
    assert {name for name, *_ in plotted} == set(by_relation)
    for name, x, y, text in plotted:
        rows = by_relation[name]
        assert (x, y) == ([row["layer"] for row in rows], [row["accuracy"] for row in rows])
        assert text == [percent(r["accuracy"], r["ci_low"], r["ci_high"]) for r in rows]


def test_hovering_shows_a_value(shown: Page, results: dict[str, Any]):
    place = figure(shown, "Accuracy of every eval").locator(".plot")
    box = place.locator(".point").first.bounding_box()
    assert box is not None
    shown.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = place.locator(".hoverlayer .hovertext").first
    label.wait_for()
    (row,) = [r for r in results["rows"] if r["eval"] == "bare" and r["relation"] is None]
    assert percent(row["accuracy"], row["ci_low"], row["ci_high"]) in label.text_content()


# -- heads ----------------------------------------------------------------------------------------
def head_values(place: Locator) -> tuple[str, dict[str, str]]:
    rows = place.locator(".head-values tbody tr")
    cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    return place.locator(".head-values caption").inner_text(), {c[0]: c[1] for c in cells}


def test_a_click_and_the_keyboard_show_a_heads_values(shown: Page, folder: Path):
    effects = {path.stem.rpartition("_")[0]: load_file(path)["aie"]
               for path in (folder / "aie").glob("*.safetensors")}  # fmt: skip

    def told(layer: int, head: int) -> dict[str, str]:
        return {name: decimals(aie[layer, head], 3) for name, aie in effects.items()}

    place = figure(shown, "Effects of heads")
    box = place.locator(".map .plot .bg, .map rect.nsewdrag").first.bounding_box()
    assert box is not None
    layers, heads = effects["left"].shape
    shown.mouse.click(
        box["x"] + box["width"] * 3.5 / heads, box["y"] + box["height"] * 4.5 / layers
    )
    place.locator("caption", has_text="L4H3").wait_for()
    assert head_values(place)[1] == told(4, 3)
    place.locator(".map").focus()
    shown.keyboard.press("ArrowDown")
    shown.keyboard.press("ArrowRight")
    caption, values = head_values(place)
    assert caption.startswith("L5H4: mean ") and values == told(5, 4)
    place.get_by_role("spinbutton", name="Layer").fill("2")
    assert head_values(place)[1] == told(2, 4)
    place.get_by_role("spinbutton", name="Layer").fill("99999")  # the last one
    assert head_values(place)[0].startswith(f"L{layers - 1}H4")
    place.get_by_label("Colours show").select_option(label="right")
    z = place.locator(".map").evaluate("map => Array.from(map.data[0].z, row => Array.from(row))")
    assert np.abs(np.array(z) - effects["right"]).max() < 1e-6


def test_what_was_answered_is_shown_a_condition_at_a_time(shown: Page, results: dict[str, Any]):
    place = figure(shown, "Answers, by the relation they are right for")
    for condition in ("raw", "raw, random_vector"):
        place.get_by_label("Condition").select_option(label=condition)
        z = place.locator(".canvas").evaluate("map => map.data[0].z.map(row => Array.from(row))")
        control = condition.partition(", ")[2]
        rows = [row for row in results["rows"] if row["eval"] == "raw" and row["relation"]
                and row.get("control", "") == control]  # fmt: skip
        assert z == [[*row["answers"].values(), row["answers_other"]] for row in rows]


# -- items ----------------------------------------------------------------------------------------
@pytest.fixture
def items(shown: Page) -> Locator:
    shown.locator("#items").scroll_into_view_if_needed()
    shown.locator(".items > li").first.wait_for()
    return shown.locator("#browser")


def field(page: Page | Locator, name: str) -> Locator:
    """A field of the filters."""
    return page.locator(f".filters [name={name}]")


def chips(items: Locator) -> dict[str, int]:
    labels = items.locator("fieldset label").all_inner_texts()
    return {name: int(count.replace(",", "")) for name, count in
            (label.replace("\n", " ").rsplit(" ", 1) for label in labels)}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "condition", "relation"),
    [("raw", "", ""), ("raw", "control random_vector", "left"), ("swept", "layer 2", "right")],
)
def test_filters_keep_what_the_file_has(
    items: Locator, lines: list[dict[str, str]], name: str, condition: str, relation: str
):
    field(items, "eval").select_option(label=name)
    if condition:
        field(items, "condition").select_option(label=condition)
    if relation:
        field(items, "relation").select_option(label=relation)
    varying, _, value = condition.partition(" ")
    own = [
        line for line in lines
        if line["eval"] == name and line["relation"].startswith(relation)
        and (not varying or line[varying] == value)
    ]  # fmt: skip
    counted = Counter(map(outcome, own))
    assert chips(items) == {"all": len(own), **{kind: counted[kind] for kind in chips(items)
                                                if kind != "all"}}  # fmt: skip
    for kind, count in counted.items():
        items.locator("fieldset label", has_text=kind).click()
        kept = [line for line in own if outcome(line) == kind]
        assert items.locator(".items > li").count() == min(24, count)
        assert f"of {count:,} on this page." in items.get_by_role("status").inner_text()
        card = items.locator(".items > li").first.inner_text()
        line = kept[0]
        for told in (line["query"], line["said"], line["said_unedited"], line["image"],
                     f"p(answer) {float(line['p_answer']):.2f}"):  # fmt: skip
            assert told in card


def test_they_are_sorted_by_the_change_of_probability(items: Locator, lines: list[dict[str, str]]):
    field(items, "eval").select_option(label="bare")
    field(items, "eval").select_option(label="raw")
    field(items, "condition").select_option(label="the real thing")
    own = [line for line in lines if line["eval"] == "raw" and not line["control"]]
    own.sort(key=lambda line: float(line["p_unedited"]) - float(line["p_answer"]))
    for order, expected in (("gain", own), ("loss", own[::-1])):
        field(items, "order").select_option(order)
        cards = items.locator(".items > li").all_inner_texts()
        for card, line in zip(cards[:5], expected, strict=False):
            assert line["image"] in card and f"{float(line['p_answer']):.2f}" in card


def test_all_pictures_are_there_and_have_names(items: Locator):
    images = items.locator(".items img")
    assert images.count() == 24
    for number in (0, 23):
        images.nth(number).scroll_into_view_if_needed()
        images.nth(number).evaluate("image => image.decode()")
        assert images.nth(number).evaluate("image => image.naturalWidth") == 128
        assert images.nth(number).get_attribute("alt")


def test_pages_and_the_search_by_keyboard_alone(
    shown: Page, items: Locator, lines: list[dict[str, str]]
):
    field(items, "eval").focus()
    shown.keyboard.press("Home")  # all evals
    field(items, "relation").focus()
    shown.keyboard.press("Home")
    assert chips(items)["all"] == len(lines)
    items.get_by_role("button", name="Next").focus()
    shown.keyboard.press("Enter")
    assert items.get_by_role("status").inner_text().startswith("Items 25 to 48 of ")
    items.get_by_role("button", name="Previous").focus()
    shown.keyboard.press("Space")
    assert items.get_by_role("status").inner_text().startswith("Items 1 to 24 of ")
    word = lines[0]["query"]
    field(items, "text").focus()
    shown.keyboard.type(word.upper())
    fields = ("query", "answer", "said", "said_unedited", "image")
    n = sum(any(word in line[field] for field in fields) for line in lines)
    assert f" of {n} on this page." in items.get_by_role("status").inner_text()
    radio = items.locator("fieldset input").first
    radio.focus()
    shown.keyboard.press("ArrowRight")
    assert items.locator("fieldset input").nth(1).is_checked()
    field(items, "text").fill("there is nothing of this name")
    assert items.get_by_role("status").inner_text() == "No such item is on this page."


# -- the page -------------------------------------------------------------------------------------
def test_a_table_sorts_within_its_evals(shown: Page, results: dict[str, Any]):
    table = shown.get_by_role("table", name="Accuracy in per cent with 95 % intervals").first
    button = table.get_by_role("button", name="accuracy %")
    button.focus()
    for direction, reverse in (("ascending", False), ("descending", True)):
        shown.keyboard.press("Enter")
        assert table.locator(f'th[aria-sort="{direction}"]').inner_text().startswith("accuracy")
        for body in table.locator("tbody").all():
            name = body.locator("tr.group bdi").first.inner_text()
            column = table.locator("thead th").all_inner_texts().index("accuracy %")
            cells = [row.locator("th, td").nth(column).inner_text()
                     for row in body.locator("tr:not(.group)").all()]  # fmt: skip
            rows = [r for r in results["rows"] if r["eval"] == name]
            sought = sorted((round(100 * r["accuracy"]) for r in rows), reverse=reverse)
            assert [int(cell.split()[0]) for cell in cells] == sought


def test_it_is_light_and_dark(browser: Browser, file: Path):
    backgrounds = {}
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(file.as_uri())
            colour = "getComputedStyle(document.body).backgroundColor"
            backgrounds[scheme] = page.evaluate(colour)
            page.get_by_role("button", name="Switch to the").click()
            backgrounds[f"{scheme}, switched"] = page.evaluate(colour)
    assert backgrounds["light"] == backgrounds["dark, switched"] != backgrounds["dark"]
    assert backgrounds["dark"] == backgrounds["light, switched"]


def test_figures_follow_the_switch(shown: Page):
    ink = "place => place.layout.font.color"
    place = figure(shown, "Accuracy of every eval").locator(".plot")
    before = place.evaluate(ink)
    shown.get_by_role("button", name="Switch to the").click()
    shown.wait_for_function(
        "before => document.querySelector('.plot').layout.font.color !== before", arg=before
    )


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_sticks_out(shown: Page, width: int):
    shown.set_viewport_size({"width": width, "height": 844})
    drawn(shown)
    shown.locator("#items").scroll_into_view_if_needed()
    shown.locator(".items > li").first.wait_for()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_read_by_ear_and_used_by_keys(shown: Page, items: Locator):
    drawn(shown)
    structure = Path(__file__).with_name("structure.js").read_text(encoding="utf-8")
    assert shown.evaluate(structure) == []
    shown.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "Skip to the content"
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "main"


def test_without_javascript_the_tables_are_there(browser: Browser, file: Path):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.get_by_text("The figures need JavaScript").is_visible()
        assert page.get_by_role("table").first.is_visible()
        assert not page.get_by_role("button", name="Switch").is_visible()


# -- texts that would be markup -------------------------------------------------------------------
def renamed(folder: Path, to: Path) -> Path:
    """The run with texts in the place of relations, answers and files that would do harm."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("report.html"))

    def name(value: Any) -> Any:
        if isinstance(value, dict):
            return {ODD.get(key, key): name(part) for key, part in value.items()}
        if isinstance(value, list):
            return [name(part) for part in value]
        return ODD.get(value, value) if isinstance(value, str) else value

    for path in (to / "results.json", to / "plan.json", *to.glob("tune/*/*.json")):
        path.write_text(json.dumps(name(json.loads(path.read_text()))))
    with (to / "heads.csv").open(newline="") as source:
        scores = name(list(csv.reader(source)))
    with (to / "heads.csv").open("w", newline="") as target:
        csv.writer(target, lineterminator="\n").writerows(scores)
    data = json.loads((to / "results.json").read_text())
    data["docs"]["raw"] = data["notes"][0]["text"] if data["notes"] else HOSTILE
    data["notes"] = [{"eval": "raw", "text": HOSTILE}, {"eval": "raw", "text": f"`{HOSTILE}`"}]
    (to / "results.json").write_text(json.dumps(data))
    manifest = json.loads((to / "manifest.json").read_text())
    manifest |= {"recipe": HOSTILE, "set": [HOSTILE], "source": f"../{HOSTILE}.mfv"}
    (to / "manifest.json").write_text(json.dumps(manifest))
    (to / "recipe.mfv").write_text(f"# {HOSTILE}\n" + (to / "recipe.mfv").read_text())
    with (to / "items.csv").open() as source:
        rows = list(csv.reader(source))
    head = rows[0]
    with (to / "items.csv").open("w", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(head)
        for row in rows[1:]:
            line = dict(zip(head, row, strict=True))
            line["relation"] = ODD[line["relation"]]
            line |= {"query": HOSTILE, "said": "مرحبا \u2028 \u202e", "image": f"{HOSTILE}.png"}
            writer.writerow(line.values())
    return to


def test_no_text_runs_or_breaks_anything(page: Page, folder: Path, tmp_path: Path):
    odd = renamed(folder, tmp_path / "<b>run")
    page.goto(report([odd], tmp_path / "page.html").as_uri())
    drawn(page)
    page.locator("#items").scroll_into_view_if_needed()
    page.locator(".items > li").first.wait_for()
    card = page.locator(".items > li").first.inner_text()
    assert HOSTILE in card and "مرحبا" in card
    assert page.locator("h1").inner_text() == "<b>run"
    text = page.locator("main").inner_text()
    assert ODD["left"] in text and ODD["right"] in text
    field(page, "relation").select_option(label=ODD["left"])
    assert page.locator(".items > li").count() == 24
    assert page.locator("main script, main [onerror], img[src=x], main b:not(.prob b)").count() == 0
    page.mouse.move(*_middle(figure(page, "Accuracy of every eval").locator(".point").first))
    values = figure(page, "Effects of heads").locator(".head-values tbody").inner_text()
    assert ODD["left"] in values and ODD["right"] in values
    assert page.evaluate("window.broken") is None


def _middle(place: Locator) -> tuple[float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


# -- size -----------------------------------------------------------------------------------------
def test_ten_thousand_items_open_in_a_second(page: Page, folder: Path, tmp_path: Path):
    many = Path(shutil.copytree(folder, tmp_path / "many"))
    head, *rows = (many / "items.csv").read_text().splitlines(keepends=True)
    (many / "items.csv").write_text(head + "".join((rows * (10_000 // len(rows) + 1))[:10_000]))
    file = report([many], tmp_path / "page.html", items=None)
    measured = page.context.new_cdp_session(page)
    # by the time that the page computes, which does not depend on who else works
    measured.send("Performance.enable", {"timeDomain": "threadTicks"})
    seconds = []
    for _ in range(2):
        page.goto(file.as_uri())
        page.evaluate("document.getElementById('items').scrollIntoView()")
        page.locator(".items > li").first.wait_for()
        metrics = measured.send("Performance.getMetrics")["metrics"]
        seconds.append(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))
        field(page, "eval").select_option(index=0)
        status = page.get_by_role("status").inner_text()
        assert status == "Items 1 to 24 of 10,000 on this page."
    assert 0 < min(seconds) < 1, seconds


def test_two_runs_side_by_side(page: Page, folder: Path, tmp_path: Path):
    other = mfv.compile(RECIPE.replace("top(2", "top(1"))
    second = other.run(tmp_path / "other").folder
    page.goto(report([folder, second], tmp_path / "page.html").as_uri())
    table = page.get_by_role("table", name="other less shown: paired difference")
    assert "left" in table.inner_text()
    own, others = (
        {
            (row["eval"], row["relation"], row["layer"], row.get("control")): row["accuracy"]
            for row in json.loads((path / "results.json").read_text())["rows"]
        }
        for path in (folder, second)
    )
    change = others["raw", None, 1, None] - own["raw", None, 1, None]
    groups = table.locator("tbody").filter(has_text="raw")
    (row,) = groups.locator("tr").filter(has_text="all").filter(has_text="the real thing").all()
    assert row.inner_text().split("\t")[3].startswith(f"{100 * change:+.0f} [")
    page.locator("#items").scroll_into_view_if_needed()
    plotted = (
        figure(page, "Accuracy of every eval, in every run")
        .locator(".plot")
        .evaluate("place => place.data.map(t => [t.name, t.customdata, Array.from(t.x)])")
    )
    for (run, labels, values), path in zip(plotted, (folder, second), strict=True):
        told = dict(zip(labels, values, strict=True))
        assert run == path.name and told["bare (all)"] == pooled_accuracy(path, "bare")
    moved = (
        figure(page, "Paired differences in accuracy from shown")
        .locator(".plot")
        .evaluate("place => place.data.map(t => [t.name, t.customdata, Array.from(t.x)])")
    )
    ((run, labels, values),) = moved
    assert run == "other"
    told = dict(zip(labels, values, strict=True))
    assert told["raw, the real thing (all)"] == pytest.approx(change)
    assert set(told) == {"bare (all)", "raw, the real thing (all)",
                         "raw, control random_vector (all)", "taught (left)",
                         *(f"swept, layer {layer} (all)" for layer in range(3))}  # fmt: skip
    page.locator("#items").scroll_into_view_if_needed()
    field(page, "run").select_option(label="other")
    assert "other · " in page.locator(".items > li").first.inner_text()


def pooled_accuracy(path: Path, name: str) -> float:
    """The accuracy of an eval over all relations."""
    rows = json.loads((path / "results.json").read_text())["rows"]
    (row,) = [row for row in rows if row["eval"] == name and row["relation"] is None]
    return row["accuracy"]
