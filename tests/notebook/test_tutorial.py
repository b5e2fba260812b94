"""The tutorial is what its source says, and its numbers are those that a kernel gives."""

from __future__ import annotations

import base64
import html
import io
import re
from itertools import zip_longest
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from PIL import Image

from docs.make_tutorial import NOTEBOOK, cells, executed

#: What differs from run to run, or from machine to machine.
_PASSING = re.compile(
    r"\b\d+ s\b|less than a second|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\b[0-9a-f]{64}\b"
)
_SHARE = r"[+-]?\d+ \[[+-]?\d+, [+-]?\d+\]"  # in per cent, with its interval
_PARTS = re.compile(rf"({_SHARE}|-?\d+\.\d+(?:e-?\d+)?)")


def test_the_notebook_is_made_of_its_source():
    notebook, wanted = nbformat.read(NOTEBOOK, 4), cells()
    nbformat.validate(notebook)
    assert [(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells] == [
        (cell.cell_type, cell.source, cell.metadata) for cell in wanted.cells
    ]
    assert NOTEBOOK.stat().st_size < 400_000
    text = NOTEBOOK.read_text()
    assert not re.search(r"/tmp/|/home/|/root/", text)
    assert str(NOTEBOOK.parents[1]) not in text


def test_numbers_are_compared():
    """What differs by more than an item is noticed, and so is another word."""
    differs("left 100 [93, 100] 0.98 2 s", "left 98 [91, 99] 0.97 3 s")
    for other in ("left 90 [80, 95] 0.98", "right 100 [93, 100] 0.98", "left 100 [93, 100] 0.80",
                  "left 100 [93, 100]", "left 100 [93, 100] 0.98 0.1"):  # fmt: skip
        with pytest.raises(AssertionError):
            differs("left 100 [93, 100] 0.98", other)


@pytest.mark.slow
def test_the_outputs_are_those_of_a_kernel(tmp_path: Path):
    notebook = nbformat.read(NOTEBOOK, 4)
    again = executed(tmp_path)
    figures = 0
    for cell, other in zip(notebook.cells, again.cells, strict=True):
        shown, new = cell.get("outputs", []), other.get("outputs", [])
        assert [one.output_type for one in shown] == [one.output_type for one in new], cell.source
        for output, fresh in zip(shown, new, strict=True):
            differs(text_of(output), text_of(fresh))
            sizes = [picture_size(one) for one in (output, fresh)]
            assert sizes[0] == sizes[1]
            figures += sizes[0] is not None
    assert figures == 3


def differs(text: str, other: str) -> None:
    """Raise AssertionError where two texts differ by more than a number may."""
    sides = ([_PASSING.sub("…", part) for part in _PARTS.split(one)] for one in (text, other))
    for mine, theirs in zip_longest(*sides, fillvalue=""):
        if not _PARTS.fullmatch(mine) or not _PARTS.fullmatch(theirs):
            assert mine.split() == theirs.split()
            continue
        pairs = zip_longest(*(re.findall(r"[+-]?[\d.]+(?:e-?\d+)?", one) for one in (mine, theirs)))
        for a, b in pairs:
            assert a is not None and b is not None, (mine, theirs)
            limit = 3 if "[" in mine else max(0.03, 0.02 * abs(float(a)))
            assert abs(float(a) - float(b)) <= limit, (mine, theirs)


def text_of(output: NotebookNode) -> str:
    """What is read of an output."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return "\n".join(output.traceback)
    data = output.data
    return html.unescape(re.sub(r"<[^>]*>", " ", data.get("text/html", data["text/plain"])))


def picture_size(output: NotebookNode) -> tuple[int, int] | None:
    picture = output.get("data", {}).get("image/png")
    return None if picture is None else Image.open(io.BytesIO(base64.b64decode(picture))).size
