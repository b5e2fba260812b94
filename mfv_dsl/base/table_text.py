"""A table of texts as Markdown, LaTeX, CSV or plain lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

#: What LaTeX takes for a command, and how it is written so that it is shown.
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "−": "$-$", "→": r"$\to$",
    "∞": r"$\infty$",
}  # fmt: skip
#: A hyphen that is a minus sign: before a digit, behind nothing that it could join.
_MINUS = re.compile(r"(?<![\w.)])-(?=\d)")


@dataclass(frozen=True)
class TextTable:
    """A table of texts: titles of columns, the first of them that of the rows' names, and lines."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """A Markdown table; minus signs are typographic.

        >>> print(TextTable(("", "left"), (("raw", "-3 [-5, +1]"),)).markdown(), end="")
        | | left |
        | --- | --- |
        | raw | −3 [−5, +1] |
        """
        rows = [self.columns, tuple("---" for _ in self.columns), *self.lines]
        return "".join(f"|{''.join(_markdown_cell(cell) for cell in row)}\n" for row in rows)

    def latex(self) -> str:
        """A ``tabular`` with the rules of the package booktabs; everything is escaped."""
        head, *lines = (
            " & ".join(_latex_cell(cell) for cell in row) + r" \\"
            for row in (self.columns, *self.lines)
        )
        sides = "l" + "r" * (len(self.columns) - 1)
        return "\n".join(
            [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", head, r"\midrule", *lines,
             r"\bottomrule", r"\end{tabular}", ""]
        )  # fmt: skip

    def csv(self) -> str:
        """Comma-separated lines, cells as they are shown."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.lines])
        return text.getvalue()

    def folded(self, width: int) -> Iterator[TextTable]:
        """The table in parts that are each ``width`` wide at most, if columns let them: the rows'
        names, and so many columns as fit.

        >>> table = TextTable(("", "left", "right"), (("raw", "0.5", "0.75"),))
        >>> [part.columns for part in table.folded(10)]
        [('', 'left'), ('', 'right')]
        """
        widths, first = self._widths(), 1
        while first < len(self.columns) or first == 1:
            last, used = first, widths[0]
            while last < len(widths) and (last == first or used + 2 + widths[last] <= width):
                used += 2 + widths[last]
                last += 1
            kept = (0, *range(first, last))
            rows = [tuple(row[i] for i in kept) for row in (self.columns, *self.lines)]
            yield TextTable(rows[0], tuple(rows[1:]))
            first = max(last, 2)

    def _widths(self) -> list[int]:
        rows: Sequence[Sequence[str]] = [self.columns, *self.lines]
        return [max(len(row[i]) for row in rows) for i in range(len(self.columns))]

    def __str__(self) -> str:
        rows: Sequence[Sequence[str]] = [self.columns, *self.lines]
        widths = self._widths()
        return "\n".join(
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.markdown()


FORMS: Mapping[str, Callable[[TextTable], str]] = {
    "text": lambda table: f"{table}\n",
    "markdown": TextTable.markdown,
    "latex": TextTable.latex,
    "csv": TextTable.csv,
}


def _markdown_cell(text: str) -> str:
    shown = _MINUS.sub("−", text).replace("|", r"\|").replace("\n", " ")
    return f" {shown} |" if shown else " |"


def _latex_cell(text: str) -> str:
    shown = _MINUS.sub("−", text).replace("\n", " ")
    escaped = "".join(_LATEX.get(character, character) for character in shown)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped
