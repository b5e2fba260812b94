"""Where the texts of a figure stand."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text

from mfv_dsl.report.figures.style import styled


def texts_outside(figure: Figure) -> list[str]:
    """The texts of a figure that are drawn and do not lie within it whole."""
    with styled():
        figure.draw_without_rendering()
        width, height = figure.bbox.width, figure.bbox.height
        outside = []
        for text in shown_texts(figure):
            box = text.get_window_extent()
            if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
                outside.append(text.get_text())
    return outside


def shown_texts(figure: Figure) -> Iterator[Text]:
    """The texts that are drawn: not those of ticks beyond the ends of an axis."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                is_there = low - slack <= tick.get_loc() <= high + slack
                if not (axes.axison and is_there):
                    hidden |= {id(tick.label1), id(tick.label2)}
            if not axes.axison:
                hidden |= {id(axis.label), id(axis.get_offset_text())}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            yield text
