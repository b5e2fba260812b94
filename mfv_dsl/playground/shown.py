"""What a page shows, as HTML: nothing in it is computed here, and every text is escaped."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mfv_dsl.base.columns import RESULT_COLUMNS
from mfv_dsl.base.diagnostics import Diagnostic, Fix, render
from mfv_dsl.playground.expressions import CheckedExpression
from mfv_dsl.playground.libraries import LibraryVector
from mfv_dsl.playground.pictures import png_of
from mfv_dsl.playground.studio import Outcome
from mfv_dsl.report.vectors import provenance_tree

#: The side that scenes are drawn at for the eye.
SIDE = 400
#: Characters of a line that fits on a narrow screen.
_SHORT = 40
#: Inches of the map of similarity.
_MAP_WIDTH = 6.0
#: So many ways to mend an expression are offered.
_OFFERED = 4
#: Columns of the table of vectors.
VECTOR_COLUMNS = ("vector", "kind", "relation", "layer", "model")


def error_html(diagnostics: Iterable[Diagnostic]) -> str:
    """What is wrong, with carets."""
    found = tuple(diagnostics)
    text = "\n\n".join(map(render, found))
    sources = (line for one in found if one.source for line in one.source.text.splitlines())
    folds = all(len(line) <= _SHORT for line in sources)  # carets stay under a line that fits
    kind = "mfv-findings mfv-folds" if folds else "mfv-findings"
    return f'<pre class="{kind}" role="alert">{escape(text)}</pre>'


def checked_html(checked: CheckedExpression) -> str:
    """What is wrong with an expression, or that nothing is."""
    if checked.is_empty:
        return '<p class="mfv-quiet">No vector: the model answers as it is.</p>'
    if checked.diagnostics:
        buttons = "".join(
            f'<button type="button" class="mfv-fix" data-index="{number}">{_marked(fix.title)}'
            "</button>"
            for number, fix in enumerate(fixes(checked))
        )
        return error_html(checked.diagnostics) + buttons
    return '<p class="mfv-fine" role="status">✓ the expression is right</p>'


def fixes(checked: CheckedExpression) -> list[Fix]:
    """What would mend an expression, as it is offered."""
    return [fix for one in checked.diagnostics for fix in one.fixes][:_OFFERED]


def mended(checked: CheckedExpression, number: int) -> str:
    """The text with one of its :func:`fixes` made; as it is where there is no such."""
    offered = fixes(checked)
    if not 0 <= number < len(offered):
        return checked.text
    fix = offered[number]
    return checked.text[: fix.span.start] + fix.replacement + checked.text[fix.span.end :]


def _marked(title: str) -> str:
    """A title, what stands between backticks in it as code."""
    parts = escape(title).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


# -- the picture ----------------------------------------------------------------------------------
def picture_html(
    picture: np.ndarray, about: str, cells: Sequence[str] = (), query: str = ""
) -> str:
    """A picture; with ``cells`` the 4 × 4 cells of a scene are buttons over it.

    ``about`` is said to those who do not see it.
    """
    data = base64.b64encode(png_of(picture)).decode()
    rough = " mfv-rough" if max(picture.shape[:2]) < SIDE // 2 else ""
    image = (
        f'<img class="mfv-picture{rough}" alt="{escape(about)}" src="data:image/png;base64,{data}">'
    )
    if not cells:
        return f'<div class="mfv-scene">{image}</div>'
    side = math.isqrt(len(cells))
    buttons = "".join(
        f'<button type="button" data-index="{number}" class="mfv-cell'
        f'{" mfv-asked" if kind and kind == query else ""}" '
        f'aria-label="row {number // side + 1}, column {number % side + 1}: '
        f'{escape(kind or "empty")}" title="{escape(kind or "empty")}"></button>'
        for number, kind in enumerate(cells)
    )
    return f'<div class="mfv-scene">{image}<div class="mfv-cells">{buttons}</div></div>'


def prompt_html(text: str, neighbours: Mapping[str, str]) -> str:
    """The prompt as the model reads it, and what stands around the object."""
    around = "".join(
        f"<li><b>{escape(relation)}</b> {escape(name)}</li>"
        for relation, name in neighbours.items()
    )
    listed = f'<ul class="mfv-around">{around}</ul>' if around else ""
    return (
        f'<p class="mfv-label">What the model reads</p><code class="mfv-prompt">{escape(text)}'
        f"</code>{listed}"
    )


# -- answers --------------------------------------------------------------------------------------
def answers_html(outcome: Outcome) -> str:
    """The likeliest answers as bars, without and with the vector."""
    with_vector = outcome.layer is not None
    relations: dict[int, list[str]] = {}
    for relation, token in outcome.tokens.items():
        relations.setdefault(token, []).append(relation)
    head = '<th scope="col">answer</th><th scope="col">without</th>'
    head += '<th scope="col">with the vector</th>' if with_vector else ""
    rows = []
    for answer in outcome.effects.answers:
        marks = "".join(f"<i>{escape(name)}</i>" for name in relations.get(answer.token, ()))
        right = " mfv-right" if outcome.own in relations.get(answer.token, ()) else ""
        cells = _bar(answer.before, "before")
        cells += "" if answer.after is None else _bar(answer.after, "after")
        rows.append(
            f'<tr class="mfv-answer{right}"><th scope="row">{escape(answer.word)}{marks}</th>'
            f"{cells}</tr>"
        )
    caption = f"<caption>{escape(_condition(outcome))}</caption>"
    return (
        f'<table class="mfv-answers">{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bar(p: float, kind: str) -> str:
    width = 0 if math.isnan(p) else 100 * p
    shown = "not a number" if math.isnan(p) else f"{width:.1f} %"
    return (
        f'<td><div class="mfv-bar mfv-{kind}" data-p="{p!r}"><span style="width:{width:.2f}%">'
        f"</span><b>{shown}</b></div></td>"
    )


def _condition(outcome: Outcome) -> str:
    seconds = f"{outcome.seconds:.2f} s"
    if outcome.layer is None:
        return f"likeliest answers, without a vector ({seconds})"
    scale = outcome.request.scale
    factor = "" if scale == 1 else f"{scale:g} × "
    where = "each head's own layer" if outcome.layer == "native" else f"layer {outcome.layer}"
    text = outcome.checked.written
    short = text if len(text) <= 60 else f"{text[:57]}…"
    return f"likeliest answers, without and with {factor}{short} at {where} ({seconds})"


def texts_html(outcome: Outcome) -> str:
    """What the model goes on to say."""
    if not outcome.effects.texts:
        return ""
    titles = ("without", "with the vector")
    rows = "".join(
        f'<tr><th scope="row">{title}</th><td><q>{escape(text) or "(nothing)"}</q></td></tr>'
        for title, text in zip(titles, outcome.effects.texts, strict=False)
    )
    tokens = outcome.request.tokens
    caption = f"the likeliest {tokens} tokens, one after another; the vector acts on the question"
    return f'<table class="mfv-texts"><caption>{caption}</caption>{rows}</table>'


def curve_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """The followed answers over the layers: a row for each layer and answer, with its probability
    and the one without the vector; tokens of the same word are told apart by their numbers."""
    rows = []
    words = Counter(answer.word for answer in outcome.effects.followed)
    for answer in outcome.effects.followed:
        name = answer.word if words[answer.word] == 1 else f"{answer.word} ({answer.token})"
        for layer, p in zip(outcome.effects.layers, answer.by_layer, strict=True):
            if not math.isnan(p):
                rows.append(
                    {
                        "layer": layer,
                        "probability": p,
                        "answer": name,
                        "without": answer.before,
                    }
                )
    return rows


def legend_html(colours: Mapping[str, str]) -> str:
    """Which colour is which answer's in the curve; it folds where the page is narrow."""
    names = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="5" '
        f'fill="{colour}"/></svg> {escape(name)}</li>'
        for name, colour in colours.items()
    )
    return f'<ul class="mfv-around mfv-legend">{names}</ul>' if names else ""


def remarks_html(outcome: Outcome) -> str:
    """What is to be known besides."""
    return "".join(f'<p class="mfv-remark" role="status">{escape(r)}</p>' for r in outcome.remarks)


# -- vectors --------------------------------------------------------------------------------------
def vector_row(vector: LibraryVector) -> list[str]:
    """A vector's cells under :data:`VECTOR_COLUMNS`."""
    if vector.trouble:
        return [vector.name, "unreadable", "", "", ""]
    of = vector.metadata
    values = (of.get("kind"), of.get("relation"), of.get("layer"), of.get("model", {}).get("id"))
    return [vector.name, *("" if value is None else str(value) for value in values)]


def card_html(vector: LibraryVector, call: str) -> str:
    """A vector's card: what it is, how well it did, and what it was made of."""
    title = f"<h3>{escape(vector.name)}</h3>"
    if vector.trouble:
        return f'{title}<p class="mfv-remark" role="alert">{escape(vector.trouble)}</p>'
    of = vector.metadata
    about = " ".join(str(of.get("about") or "").split())
    parts = [
        title,
        f"<p><code>{escape(str(of.get('expression') or ''))}</code></p>",
        f"<p>{escape(about)}</p>" if about else "",
        f'<p class="mfv-quiet">in an expression: <code>{escape(call)}</code></p>',
        _metrics_html(of.get("metrics") or ()),
        f"<details open><summary>Where it comes from</summary><pre>{escape(_lineage(of))}</pre>"
        "</details>",
    ]
    return f'<div class="mfv-card">{"".join(parts)}</div>'


def map_html(names: Sequence[str], cosines: Sequence[Sequence[float]]) -> str:
    """How alike vectors are: a picture, and under it the numbers as a table that opens."""
    from mfv_dsl.report.figures.matrices import similarity_figure
    from mfv_dsl.report.figures.saving import figure_bytes

    if len(names) < 2:
        return '<p class="mfv-quiet">Two vectors of the model are needed to compare them.</p>'
    figure, _ = similarity_figure(names, np.array(cosines), width=_MAP_WIDTH)
    data = base64.b64encode(figure_bytes(figure, ".png", dpi=150)).decode()
    about = f"cosine similarity of {len(names)} vectors; the table below has the numbers"
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{'' if math.isnan(c) else f'{c:.3f}'}</td>" for c in row)
        + "</tr>"
        for name, row in zip(names, cosines, strict=True)
    )
    return (
        f'<figure class="mfv-map"><img alt="{about}" src="data:image/png;base64,{data}">'
        "<figcaption>cosine similarity; like vectors stand together</figcaption></figure>"
        '<details><summary>The numbers</summary><div class="mfv-wide"><table class="mfv-metrics">'
        f'<thead><tr><th scope="col">cosine</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></details>"
    )


def _metrics_html(metrics: Sequence[Mapping[str, Any]]) -> str:
    """The results that a file carries; a row may lack anything."""
    titles = ("eval", "relation", "shots", "layer", "scale", "n", "accuracy %", "vs zero-shot")
    rows = []
    for metric in metrics:
        cells = []
        for title in titles:
            try:
                cells.append(RESULT_COLUMNS[title].value(metric))
            except (KeyError, TypeError, ValueError):
                cells.append("")
        rows.append("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in cells) + "</tr>")
    if not rows:
        return '<p class="mfv-quiet">Its file carries no results.</p>'
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        '<div class="mfv-wide"><table class="mfv-metrics"><caption>measured by the recipe that '
        f"made it, with 95 % intervals</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _lineage(metadata: Mapping[str, Any]) -> str:
    """The tree of a vector's origin, without its results."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=82, color_system=None)
    console.print(provenance_tree({key: v for key, v in metadata.items() if key != "metrics"}))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip()
