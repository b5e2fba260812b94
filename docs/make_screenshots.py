"""Makes the picture of a report in the README: ``python -m docs.make_screenshots``.

The quickstart is run, its report is opened in a browser, and two views of it stand side by side.
"""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

import mfv_dsl as mfv
from tools.browser import browser

IMAGES = Path(__file__).parent / "images"
VIEW = {"width": 900, "height": 1060}
_GAP, _WIDTH, _COLOURS = 24, 1400, 256


def main() -> None:
    with TemporaryDirectory() as folder:
        file = mfv.run("quickstart", Path(folder) / "quickstart").report()
        views = report_views(file)
    picture = side_by_side(views)
    picture.quantize(_COLOURS).save(IMAGES / "report.png", optimize=True)
    print(IMAGES / "report.png")


def report_views(file: Path) -> list[Image.Image]:
    """The figures on the light page, and the items that became right on the dark one."""
    views = []
    with browser() as chromium:
        for scheme in ("light", "dark"):
            with chromium.new_context(viewport=VIEW, color_scheme=scheme) as context:
                page = context.new_page()
                page.goto(file.as_uri())
                if scheme == "light":
                    page.locator("#run-1-figures").evaluate("title => title.scrollIntoView()")
                    for place in page.locator("figure .plot").all():
                        place.locator(".main-svg").first.wait_for()
                else:
                    page.locator("#items").scroll_into_view_if_needed()
                    page.locator(".items img").first.wait_for()
                    page.locator(".filters [name=eval]").select_option("raw")
                    page.locator("fieldset label", has_text="wrong → right").click()
                    page.locator(".filters").evaluate("form => form.scrollIntoView()")
                page.wait_for_timeout(1500)
                views.append(Image.open(io.BytesIO(page.screenshot())))
    return views


def side_by_side(views: list[Image.Image]) -> Image.Image:
    """The views beside each other."""
    width = sum(view.width for view in views) + _GAP * (len(views) - 1)
    canvas = Image.new("RGB", (width, max(view.height for view in views)), "white")
    left = 0
    for view in views:
        canvas.paste(view, (left, 0))
        left += view.width + _GAP
    return canvas.resize((_WIDTH, canvas.height * _WIDTH // width), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
