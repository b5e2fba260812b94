"""The picture of the playground's page: ``python -m docs.make_playground``, which opens the page in
the browser of the tests (``make browser``)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from tests.playground.served import served
from tools.browser import browser

PICTURE = Path(__file__).parent / "images" / "playground.png"
VECTOR = "fv(left) - fv(right)"


def main() -> None:
    """Draw it anew."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as server,
        browser() as chromium,
    ):
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        page.goto(server.url)
        page.wait_for_selector(".mfv-answers")
        page.locator("#mfv-expression textarea").fill(VECTOR)
        page.locator("#mfv-ask").click()
        page.wait_for_selector(".mfv-after", timeout=120_000)
        page.locator("#mfv-curve canvas, #mfv-curve svg").first.wait_for()
        page.wait_for_timeout(1000)
        page.screenshot(path=PICTURE, full_page=True)
    few = Image.open(PICTURE).convert("RGB").quantize(128)
    few.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
