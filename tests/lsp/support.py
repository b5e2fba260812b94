"""Texts, and what is asked about them, for the tests of what editors are told."""

from __future__ import annotations

from pathlib import Path

from lsprotocol import types as lsp

from mfv_dsl.base.source import Source, Span
from mfv_dsl.lsp.analysis import Analysis, analyse
from mfv_dsl.lsp.completion import complete
from mfv_dsl.lsp.highlighting import TYPES
from mfv_dsl.lsp.hover import hover
from mfv_dsl.lsp.positions import Lines
from mfv_dsl.lsp.workspace import Workspace, renamed

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.mfv"))
HEAD = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right, above, above_left])
heads spatial = top(8, on=[left, right])
defaults {
  shots = 4
  heads = spatial
}
vector steer = fv(left) - 2 * fv(right)
vector pure(r) = fv(r) - mean(fv(left), fv(right))
"""


def at(marked: str) -> tuple[str, int]:
    """A text and the offset of the `|` that is taken out of it."""
    offset = marked.index("¦")
    return marked.replace("¦", ""), offset


def completed(marked: str, base: str = HEAD) -> dict[str, lsp.CompletionItem]:
    text, offset = at(base + marked)
    items = complete(analyse(text), Lines(text), offset)
    return {item.label: item for item in items}


def hovered(marked: str, base: str = HEAD) -> str:
    text, offset = at(base + marked)
    found = hover(analyse(text), Lines(text), offset)
    if found is None:
        return ""
    assert isinstance(found.contents, lsp.MarkupContent)
    return found.contents.value


def spans(text: str, places: list[Span]) -> list[str]:
    return [f"{Source(text).position(p.start)[0]}:{text[p.start : p.end]}" for p in places]


def applied(text: str, edits: list[lsp.TextEdit]) -> str:
    lines = Lines(text)
    for edit in sorted(edits, key=lambda e: lines.offset(e.range.start), reverse=True):
        span = lines.span(edit.range)
        text = text[: span.start] + edit.new_text + text[span.end :]
    return text


USES = (
    HEAD
    + """\
eval zero { shots = 0 }
tune tuned { start = steer, layer = 4 }
eval raw { add = steer + pure(each) + tuned(each), layer = 1, against = zero }
eval other { ablate = spatial, on = [left] }
save "vectors/mine" { vectors = [steer, pure(each)] }
profile less { steer = fv(left), raw.layer = 2, shapes.seed = 1 }
"""
)


def decoded(text: str, data: list[int]) -> list[tuple[str, str]]:
    lines, found = Lines(text), []
    line = column = 0
    for at in range(0, len(data), 5):
        down, right, length, kind, _ = data[at : at + 5]
        column = right if down else column + right
        line += down
        start = lines.offset(lsp.Position(line, column))
        end = lines.offset(lsp.Position(line, column + length))
        found.append((text[start:end], TYPES[kind]))
    return found


def renamed_places(analysis: Analysis, offset: int, new: str | None = None) -> list[Span]:
    """The places of a rename in a recipe that is alone in the workspace."""
    file = "/nowhere/recipe.mfv"
    files = Workspace({file: analysis.source.text})
    files.note(file, analysis)
    return renamed(files, file, offset, new)[file]
