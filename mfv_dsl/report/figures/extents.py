"""Where the texts of a figure stand, so that none is cut off."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text

_SLACK = 1.0  # pixels


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
        if not isinstance(text, Text) or id(text) in hidden:
            continue
        if text.get_visible() and text.get_text().strip():
            yield text


def texts_outside(figure: Figure) -> list[str]:
    """The texts of a figure, as it was laid out last, that do not lie within it whole."""
    return [text.get_text() for text, left, up in _beyond(figure) if left or up]


def beyond(figure: Figure) -> tuple[float, float]:
    """By how many inches texts stand out of a figure at its sides, and above and below."""
    found = list(_beyond(figure))
    aside = max((one[1] for one in found), default=0.0)
    above = max((one[2] for one in found), default=0.0)
    return aside / figure.dpi, above / figure.dpi


def _beyond(figure: Figure) -> Iterator[tuple[Text, float, float]]:
    """Each text with the pixels by which it stands out at the sides, and above or below."""
    width, height = figure.bbox.width, figure.bbox.height
    for text in shown_texts(figure):
        box = text.get_window_extent()
        aside = max(-box.x0, box.x1 - width)
        above = max(-box.y0, box.y1 - height)
        yield text, aside if aside > _SLACK else 0.0, above if above > _SLACK else 0.0
