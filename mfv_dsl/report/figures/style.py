"""How every figure looks: widths of a paper's columns, fonts, colours that all eyes tell apart."""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import ceil
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mfv_dsl.base.arguments import plain_number
from mfv_dsl.base.errors import MfvError
from mfv_dsl.report.figures.extents import beyond, shown_texts
from mfv_dsl.report.figures.lettering import inches_of, letters_in, longest, wrapped

#: Widths in inches: one column of a two-column paper, and both.
COLUMN, PAGE = 3.3, 6.9
NAMED_WIDTHS = {"column": COLUMN, "page": PAGE}
_UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}
_NARROWEST, _WIDEST = 1.5, 40.0
_TRIES = 12  # to find the height of a figure

#: The colours of Okabe and Ito (2008), without the yellow, which a white page swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", "-.", ":")
#: Of level lines, which have no marks: dots, then dots further apart, and so on.
LEVELS = (":", (0, (1, 4)), (0, (4, 2, 1, 2, 1, 2)), (0, (8, 3)), (0, (2, 5)))
#: Below zero blue, above zero red, white between (ColorBrewer's RdBu, safe for colour-blind eyes).
DIVERGING, SEQUENTIAL = "RdBu_r", "Blues"
NOTHING, PALE, RIGHT = "#d9d9d9", "#6b6b6b", "#009E73"

RC: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 200,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # letters stay letters in other programs
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "mfv-dsl",  # the same figure gives the same file
    "text.parse_math": False,  # names may have a `$` in them
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
}
_LOCK = threading.RLock()  # the settings are those of the whole process


#: Fonts for letters that the first one lacks, those of them that a machine has.
_OTHERS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Hiragino Sans", "Microsoft YaHei",
    "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip


@cache
def _fonts() -> list[str]:
    there = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _OTHERS if name in there)]


@contextmanager
def styled() -> Iterator[None]:
    """What is drawn inside has this style; settings of the process are as before behind it."""
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**RC, "font.family": _fonts()})
        yield


#: By format, what is left out of files as it tells the time.
TIMELESS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}


class Drawing(Figure):
    """A figure that a notebook shows by itself, and that is saved in the style that it was drawn
    in; the file says nothing of the time."""

    def savefig(self, fname: Any, **options: Any) -> None:  # type: ignore[override]
        """Save it as :meth:`matplotlib.figure.Figure.savefig` does."""
        ending = os.path.splitext(fname)[1] if isinstance(fname, str | os.PathLike) else ""
        kind = str(options.get("format") or ending).lower().removeprefix(".")
        with styled():
            super().savefig(fname, **{"metadata": TIMELESS.get(kind), **options})

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.savefig(data, format="png", dpi=200)
        return data.getvalue()


def new_figure(width: float, height: float) -> Drawing:
    """An empty figure of a size in inches, on which nothing is cut off."""
    figure = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[union-attr]
    return figure


def finish(figure: Figure, axes: Sequence[Axes] = (), least: float = 0.0, rows: int = 1) -> None:
    """Lay a figure out.  It becomes higher where its texts would be cut off, or its ``axes``, which
    stand in ``rows``, would be less than ``least`` inches high.

    What is written over its texts later may have formulas, ``$x$``; names that are there have none,
    whatever they look like.

    Raises:
        MfvError: MFV5356 where what has to be written does not fit into the width.
    """
    grows = isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
    for _ in range(_TRIES if grows else 1):
        collapsed = _lay_out(figure)
        aside, above = beyond(figure)
        high = [one.get_position().height * figure.get_figheight() for one in axes]
        short = rows * (least - min(high, default=least))
        missing = 0.5 if collapsed else max(above, short if short > 0.02 else 0.0)
        if not missing:
            break
        figure.set_figheight(figure.get_figheight() + missing + 0.02)
    if collapsed or aside or above:
        raise MfvError(
            "MFV5356", "what is written in the figure does not fit into its width of "
            f"{figure.get_figwidth():g} inches",
            help="make it wider, such as --width page", argument="width",
        )  # fmt: skip
    for text in shown_texts(figure):
        if "$" not in text.get_text():
            text.set_parse_math(True)


def _lay_out(figure: Figure) -> bool:
    """Lay a figure out, and tell whether there was no room for it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    collapsed = False
    for one in told:
        if "constrained_layout not applied" in str(one.message):
            collapsed = True
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return collapsed


def inches(width: object) -> float:
    """A figure's width in inches: a number, a length with its unit (in, cm, mm, pt), ``column`` or
    ``page``.  Raises MfvError (MFV5356) for anything else.

    >>> inches("3.3in"), inches("page"), round(inches("84mm"), 2), inches(5)
    (3.3, 6.9, 3.31, 5.0)
    """
    number = plain_number(width)
    if isinstance(width, str):
        number = NAMED_WIDTHS.get(width.strip())
        match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(in|cm|mm|pt)\s*", width)
        if match:
            number = float(match[1]) * _UNITS[match[2]]
    if number is None or not _NARROWEST <= number <= _WIDEST:
        shown = f"`{width}`" if isinstance(width, str | int | float) else "this"
        what = "is no length" if number is None else "is not between 1.5 and 40 inches"
        raise MfvError(
            "MFV5356", f"a figure's width {what}: {shown}",
            help="write a number and in, cm, mm or pt, such as 3.3in, or `column` or `page`",
            argument="width",
        )  # fmt: skip
    return float(number)


def legend(figure: Figure, handles: Mapping[str, Any], width: float) -> None:
    """A legend below a figure ``width`` inches wide, in as many columns as fit."""
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center",
        ncols=legend_columns(list(handles), width),
    )  # fmt: skip


def legend_columns(names: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into a width, none of them much shorter than others."""
    column = inches_of(longest(names), 7) + 0.42  # the handle and the gaps
    most = max(1, min(len(names), int(width / column), 4))
    return ceil(len(names) / ceil(len(names) / most))


def footnote(figure: Figure, text: str) -> None:
    """A remark below the axes; over the legend, if there is one."""
    size = 6.5
    lines = wrapped(text, letters_in(figure.get_figwidth() - 0.15, size))
    figure.set_figheight(figure.get_figheight() + len(lines) * size * 1.25 / 72)
    if figure.legends:
        figure.legends[0].set_title("\n".join(lines), prop={"size": size})
        figure.legends[0].get_title().set_color(PALE)
    else:
        figure.supxlabel("\n".join(lines), fontsize=size, color=PALE, x=0.01, ha="left")
