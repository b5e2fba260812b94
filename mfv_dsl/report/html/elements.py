"""The elements that pieces of HTML are made of; what they are given are plain texts."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from rich.table import Table

#: How many rows of a table are shown, at most, and how many letters of a text.
MOST_ROWS, MOST_LETTERS = 60, 300
#: Beside the main text; half-transparent, so that it fits a light and a dark page.
_QUIET = "opacity:.7;margin:.3em 0"
_LEFT = ' style="text-align:left"'


def shortened(text: object, most: int = MOST_LETTERS) -> str:
    """A text of at most ``most`` letters, without characters that garble a page.

    >>> shortened("abcdef", most=3)
    'abc…'
    """
    whole = str(text)
    part = whole if len(whole) <= most else f"{whole[:most]}…"
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in part)


def counted(number: int, what: str) -> str:
    """So many things.

    >>> counted(1, "step"), counted(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def title(text: str, more: str = "") -> str:
    """A line above a value: what it is in bold, and ``more`` about it."""
    beside = f" <span style='opacity:.7'>{escape(shortened(more))}</span>" if more else ""
    return f"<div style='margin:.3em 0'><b>{escape(shortened(text))}</b>{beside}</div>"


def remark(text: str) -> str:
    """A quiet line."""
    return f"<p style='{_QUIET}'>{escape(shortened(text, 2000))}</p>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: Collection[str] = (),
    *,
    total: int | None = None,
    rest: str = "",
) -> str:
    """A table of ``rows``; the columns ``words`` stand on the left.

    At most :data:`MOST_ROWS` are shown.  ``total`` is how many rows there are where ``rows`` are
    the first of them, and ``rest`` where the others can be had.
    """
    left = [name in words for name in head]

    def line(cells: Sequence[str], tag: str) -> str:
        parts = (
            f"<{tag}{_LEFT if is_left else ''}>{escape(shortened(cell))}</{tag}>"
            for cell, is_left in zip(cells, left, strict=True)
        )
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line(row, "td") for row in rows[:MOST_ROWS])
    text = f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"
    count = len(rows) if total is None else total
    if count <= MOST_ROWS:
        return text
    where = f"; {rest}" if rest else ""
    return text + remark(f"the first {MOST_ROWS} of {count:,} rows{where}")


def of_rich(drawn: Table, total: int | None = None, rest: str = "") -> str:
    """A table that was made for a terminal, with what stands below it."""
    head = [_plain(column.header) for column in drawn.columns]
    cells = [[_plain(cell) for cell in column.cells] for column in drawn.columns]
    rows = list(zip(*cells, strict=True))
    words = [name for name, column in zip(head, drawn.columns, strict=True)
             if column.justify == "left"]  # fmt: skip
    below = remark(_plain(drawn.caption)) if drawn.caption else ""
    return table(head, rows, words, total=total, rest=rest) + below


def _plain(cell: object) -> str:
    """The text of a cell of rich's; texts of ours have no markup."""
    return str(getattr(cell, "plain", cell))


def facts(values: Mapping[str, object]) -> str:
    """Names with their values, one in a line; those without a value are left out."""
    rows = "".join(
        f"<tr><th scope='row'{_LEFT}>{escape(shortened(name))}</th>"
        f"<td{_LEFT}>{escape(shortened(value))}</td></tr>"
        for name, value in values.items()
        if value not in (None, "")
    )
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def code(marked: str) -> str:
    """A block of code, which is HTML already; it is as wide as its lines."""
    style = (
        "font-family:var(--jp-code-font-family,ui-monospace,monospace);white-space:pre;"
        "overflow-x:auto;background:transparent;color:inherit;border:0;margin:.4em 0;padding:0;"
        "line-height:1.35"
    )
    return f'<pre style="{style}">{marked}</pre>'


def fold(summary: str, content: str) -> str:
    """``content``, which is HTML, behind a line that opens it."""
    return f"<details><summary>{escape(shortened(summary))}</summary>{content}</details>"


def picture(image: Image.Image, about: str, width: int | None = None) -> str:
    """An image as part of the page; ``about`` says it in words."""
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    code = base64.b64encode(data.getvalue()).decode("ascii")
    size = "" if width is None else f" width='{width}'"
    text = escape(shortened(about))
    return f'<img alt="{text}" title="{text}"{size} src=\'data:image/png;base64,{code}\'>'


def side_by_side(cells: Iterable[str]) -> str:
    """Pieces of HTML in a row, which goes on below where the page is narrow."""
    style = "display:inline-block;vertical-align:top;margin:0 1em .5em 0;max-width:12em"
    return "".join(f"<div style='{style}'>{cell}</div>" for cell in cells)
