"""What can be typed in a ``%%mfv`` cell: its options, names of its recipe, and words of the
language where the package of the language server's types is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from mfv_dsl.notebook.options import parser

_CELL = re.compile(r"\s*%%mfv\b")
_BLOCK = re.compile(r"^[ \t]*(eval|tune|profile)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_SAVE = re.compile(r'^[ \t]*save[ \t]+("[^"\n]*")', re.MULTILINE)
_LOOKED_UP = re.compile(r"%mfv\s+reference\s+(\S*)$")


@context_matcher(identifier="mfv_dsl.complete_cell")
def complete_cell(context: CompletionContext) -> SimpleMatcherResult:
    """IPython's question what can stand at the cursor; nothing outside of cells of ours."""
    lines = context.full_text.split("\n")
    begin = sum(len(line) + 1 for line in lines[: context.cursor_line])
    cursor = begin + context.cursor_position
    before = context.full_text[:cursor]
    if looked_up := _LOOKED_UP.search(before):
        return _result(looked_up[1], _words())
    if not _CELL.match(lines[0]):
        return _result("", ())
    if context.cursor_line == 0:
        word = re.split(r"\s", before)[-1]
        return _result(word, _options(before.removesuffix(word).split(), context.full_text))
    return _in_recipe(context.full_text, cursor)


def _result(typed: str, words: Iterator[str] | tuple[str, ...]) -> SimpleMatcherResult:
    """Those of ``words`` that go on from what is typed."""
    fitting = dict.fromkeys(word for word in words if word.startswith(typed))
    return SimpleMatcherResult(
        completions=[SimpleCompletion(text=word) for word in fitting],
        matched_fragment=typed, suppress=bool(fitting),
    )  # fmt: skip


def _options(before: list[str], cell: str) -> Iterator[str]:
    """Options, or what stands behind one."""
    last = before[-1] if before else ""
    blocks = [(kind, name) for kind, name in _BLOCK.findall(cell)]
    if last == "--profile":
        yield from (name for kind, name in blocks if kind == "profile")
    elif last == "--only":
        yield from (name for kind, name in blocks if kind != "profile")
        yield from _SAVE.findall(cell)
    elif last == "--set":
        yield from (f"{name}." for kind, name in blocks if kind != "profile")
        yield "defaults."
    else:
        for action in parser()._actions:
            yield from action.option_strings


def _words() -> Iterator[str]:
    from mfv_dsl.lang.entries import all_entries

    for entry in all_entries():
        yield entry.name
        yield from (parameter.name for parameter in entry.parameters)


def _in_recipe(cell: str, cursor: int) -> SimpleMatcherResult:
    """What the language server would offer at an offset of a cell."""
    try:
        from lsprotocol.types import PositionEncodingKind

        from mfv_dsl.lsp.analysis import analyse
        from mfv_dsl.lsp.completion import complete
        from mfv_dsl.lsp.positions import Lines
    except ModuleNotFoundError:  # a part of the extra `lsp`
        return _result("", ())
    first, _, text = cell.partition("\n")
    offset = cursor - len(first) - 1
    lines = Lines(text, PositionEncodingKind.Utf32)
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    found, typed = [], ""
    for item in complete(analyse(text), lines, offset, snippets=False):
        edit = item.text_edit
        if edit is None or not hasattr(edit, "range"):
            continue
        start = starts[edit.range.start.line] + edit.range.start.character
        typed = text[start:offset]
        if edit.new_text.removeprefix('"').startswith(typed.removeprefix('"')):
            found.append(edit.new_text)
    return _result(typed, tuple(found))
