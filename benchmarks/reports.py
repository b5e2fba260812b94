"""How large reports are, how long making them takes, and how soon a browser shows them.

    python benchmarks/reports.py

A run is made of each recipe, and its report is opened in a new page several times.  The page itself
notes when the first items and the figures' library are there.  ``--quick`` leaves out the recipe
that trains, and the large one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import mfv_dsl as mfv
from tools.browser import browser

MANY = """mfv 1
model m = tiny()
dataset d = scenes(count=1250)
defaults { heads = top(4, on=[left]), trials = 10, items = 1250, layer = 0 }
eval raw { add = fv(left) }
"""
ROUNDS = 5
NOTING = """
new MutationObserver(() => {
  for (const [name, what] of [["items", ".items > li"], ["figures", ".plot.drawn"]])
    if (!(window[name] > 0) && document.querySelector(what)) window[name] = performance.now();
}).observe(document, { childList: true, subtree: true, attributes: true });
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reports.")
    parser.add_argument("--quick", action="store_true", help="the quickstart's alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {"quickstart, 400 items": (mfv.Recipe.from_file("quickstart"), 400)}
        if not asked.quick:
            runs["tuning, 400 items"] = (mfv.Recipe.from_file("tuning"), 400)
            runs["10,000 items, all of them"] = (mfv.Recipe(MANY, "<many>"), None)
        print("| report | size | made in | loaded in | items there after | figures after |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for number, (name, (recipe, items)) in enumerate(runs.items()):
            result = recipe.run(Path(folder) / str(number))
            started = time.perf_counter()
            file = result.report(items=items)
            made = time.perf_counter() - started
            times = [f"{statistics.median(one):.1f} s" for one in zip(*views(file), strict=True)]
            size = file.stat().st_size / 1e6
            print(f"| {name} | {size:.1f} MB | {made:.1f} s | {' | '.join(times)} |")


def views(file: Path) -> list[tuple[float, float, float]]:
    """Seconds until the page is loaded, until the first items are there, and until the first figure
    is drawn."""
    times = []
    with browser() as chromium:
        for _ in range(ROUNDS):
            with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
                page = context.new_page()
                page.add_init_script(NOTING)
                started = time.perf_counter()
                page.goto(file.as_uri())
                opened = time.perf_counter() - started
                page.locator("figure").first.scroll_into_view_if_needed()
                page.locator(".plot.drawn").first.wait_for()
                items, figures = page.evaluate("[window.items, window.figures]")
                times.append((opened, items / 1000, figures / 1000))
    return times


if __name__ == "__main__":
    main()
