"""What is wrong with a recipe, or worth a warning: the marked lines, and what their codes mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from mfv_dsl.base.diagnostics import Diagnostic, render
from mfv_dsl.lang.codes import page
from mfv_dsl.report.html.elements import code, fold, remark, shortened

_MOST = 20  # findings shown
#: The styles of a terminal, as the theme of a notebook has them; else shades that are readable on
#: white and on black.
_STYLES = {
    "1;31": "font-weight:bold;color:var(--jp-error-color0,var(--vscode-errorForeground,#dc3c3c))",
    "1;33": "font-weight:bold;color:var(--jp-warn-color0,var(--vscode-editorWarning-foreground,"
    "#a86f00))",
    "1;34": "font-weight:bold;color:var(--jp-info-color0,var(--vscode-textLink-foreground,"
    "#3a7fd0))",
    "1;36": "font-weight:bold;color:var(--jp-success-color0,var(--vscode-terminal-ansiCyan,"
    "#158a8a))",
    "1": "font-weight:bold",
}
_COLOURED = re.compile("\033\\[([0-9;]+)m(.*?)\033\\[0m", re.DOTALL)


def findings_html(diagnostics: Sequence[Diagnostic]) -> str:
    """Errors and warnings with marks under their places, and the page of each code to be opened."""
    shown = diagnostics[:_MOST]
    parts = [code(_spans(render(diagnostic, colour=True))) for diagnostic in shown]
    if len(diagnostics) > _MOST:
        parts.append(remark(f"the first {_MOST} of {len(diagnostics):,} findings"))
    codes = dict.fromkeys(diagnostic.code for diagnostic in shown)
    return "".join([*parts, *map(_page, codes)])


def _spans(text: str) -> str:
    """Text with a terminal's styles as HTML."""
    return _COLOURED.sub(
        lambda match: f'<span style="{_STYLES[match[1]]}">{match[2]}</span>', escape(text)
    )


def _page(name: str) -> str:
    """What a code means, with its examples, behind a line that opens it."""
    try:
        known = page(name)
    except KeyError:
        return ""
    parts = [f"<p>{escape(known.text)}</p>"]
    for word, example in (("Wrong", known.wrong), ("Right", known.right)):
        if example:
            parts.append(remark(f"{word}:") + code(escape(example.rstrip("\n"))))
    return fold(f"{name}: {shortened(known.title)}", "".join(parts))
