"""A report's parts put together as one file, in which no text of a run can become markup.

Styles, scripts, figures and pictures are in the file; its Content-Security-Policy lets it ask for
nothing and run no script but its own two, which it names by their hashes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter

from mfv_dsl.pygments_lexer import MfvLexer
from mfv_dsl.report.page.page_data import json_markup
from mfv_dsl.report.page.rows import PageFigure
from mfv_dsl.report.page.tables import PageTable

#: How a report's file says what made it; another report may take its place.
GENERATOR = "mfv-dsl"
_SCRIPTS = ("page.js", "figures.js", "items.js")


@dataclass(frozen=True)
class RunPart:
    """What a report shows of one run; ``settings`` and ``provenance`` are names and values."""

    name: str
    summary: str
    tables: Sequence[PageTable]
    figures: Sequence[PageFigure]
    notes: Sequence[str]
    failures: Sequence[str]
    recipes: Sequence[tuple[str, str]]
    docs: Mapping[str, str]
    settings: Sequence[tuple[str, str]]
    provenance: Sequence[tuple[str, str]]
    made: Sequence[PageTable]
    commands: str


@dataclass(frozen=True)
class Pictures:
    """Thumbnails as files of the MIME type ``type``."""

    type: str = "image/webp"
    files: Sequence[bytes] = ()


@dataclass(frozen=True)
class Page:
    """All of a report: runs, what is told of them side by side, and the items with their counts."""

    title: str
    runs: Sequence[RunPart]
    comparison: Sequence[PageTable] = ()
    comparison_notes: Sequence[str] = ()
    comparison_figures: Sequence[PageFigure] = ()
    items: Mapping[str, Any] | None = None
    outcomes: PageTable | None = None
    item_notes: Sequence[str] = ()
    pictures: Pictures = field(default_factory=Pictures)
    footer: str = ""


def page_html(page: Page, version: str, plotly: str) -> str:
    """The report as one HTML file; ``plotly`` is the source of plotly.js."""
    templates = files("mfv_dsl.report.page") / "templates"
    script = "\n".join((templates / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    environment = Environment(
        loader=PackageLoader("mfv_dsl.report.page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["coded"] = coded
    all_figures = [*page.comparison_figures, *(f for run in page.runs for f in run.figures)]
    numbers = iter(range(len(all_figures)))

    def numbered(figures: Sequence[PageFigure]) -> list[dict[str, Any]]:
        return [{"figure": figure, "number": next(numbers)} for figure in figures]

    comparison = {
        "tables": page.comparison, "notes": page.comparison_notes,
        "figures": numbered(page.comparison_figures),
    }  # fmt: skip
    runs = [
        {
            **vars(run),
            "id": f"run-{place}",
            "figures": numbered(run.figures),
            "recipes": [(name, highlighted(text), text.count("\n")) for name, text in run.recipes],
            "docs": [(name, " ".join(text.split())) for name, text in run.docs.items()],
        }
        for place, run in enumerate(page.runs, 1)
    ]
    figures = [{"kind": figure.kind, "data": figure.data} for figure in all_figures]
    pictures = [base64.b64encode(file).decode() for file in page.pictures.files]
    return environment.get_template("page.html.j2").render(
        title=page.title,
        generator=f"{GENERATOR} {version}",
        policy=_policy(script, plotly),
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        runs=runs,
        comparison=comparison if page.comparison else None,
        contents=list(_contents(page)),
        outcomes=page.outcomes,
        item_notes=page.item_notes,
        items=json_markup(page.items),
        figures=json_markup(figures),
        pictures=json_markup({"type": page.pictures.type, "files": pictures}),
        plotly=Markup(base64.b64encode(gzip.compress(plotly.encode(), 9, mtime=0)).decode())
        if figures
        else "",
        footer=page.footer,
    )


def highlighted(text: str) -> Markup:
    """A recipe's text as HTML, its words marked by what they are."""
    return Markup(highlight(text, MfvLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))


def coded(text: str) -> Markup:
    """A text in which what stands between backticks is code.

    >>> coded("take `k < 3`")
    Markup('take <code>k &lt; 3</code>')
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one is left over
        return escape(text)
    pieces = (
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )
    return Markup("").join(pieces)


def _contents(page: Page) -> list[tuple[str, str]]:
    """The page's parts by their ids."""
    several = len(page.runs) > 1
    parts = [("comparison", "Side by side")] if page.comparison else []
    for place, run in enumerate(page.runs, 1):
        if several:
            parts.append((f"run-{place}-title", run.name))
            continue
        parts.append((f"run-{place}-results", "Results"))
        parts += [(f"run-{place}-figures", "Figures")] if run.figures else []
    parts.append(("items", "Items"))
    parts.append(("run-1-asked", "What was asked"))
    parts.append(("run-1-made", "How it was made"))
    return parts


def _policy(*scripts: str) -> str:
    """What the page may load and run: itself alone."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
