"""What happens on the page: each method takes what components hold and gives what they show.

No exception leaves one: what is wrong is shown in the page's notice, and the server goes on.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.drawn_scene import DrawnScene
from mfv_dsl.data.world import KINDS
from mfv_dsl.playground import copying, shown
from mfv_dsl.playground.libraries import LibraryVector
from mfv_dsl.playground.pictures import (
    LARGEST,
    Drawn,
    FromDataset,
    PictureChoice,
    Uploaded,
    upload,
)
from mfv_dsl.playground.studio import Ended, Outcome, Request, Studio

_log = logging.getLogger(__name__)
#: The largest number of a question.
_LARGEST_NUMBER = 2**31 - 1
#: The word for no object in the palette.
NOTHING = "nothing"
#: Colours that stay apart for those who see few (Okabe and Ito), for the curve's lines.
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98", "#b8a800")

#: Layers that have a mark each on the curve's axis, as words: more would be sorted as words are.
_FEW_LAYERS = 10


def noticed(outputs: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The method with a notice as its last output, which says what went wrong or is empty; then
    the ``outputs`` before it stay as they are."""

    def decorated(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def told(*arguments: Any) -> tuple[Any, ...]:
            try:
                result = method(*arguments)
                return (*(result if isinstance(result, tuple) else (result,)), "")
            except MfvError as error:
                notice = shown.error_html(error.diagnostics)
            except Ended:
                notice = '<p class="mfv-remark" role="alert">The playground has ended.</p>'
            except Exception as error:
                _log.exception("a request failed")
                notice = (
                    f'<p class="mfv-remark" role="alert">This failed: '
                    f"{escape(type(error).__name__)}. The server's log has more.</p>"
                )
            return (*(gr.skip() for _ in range(outputs)), notice)

        return told

    return decorated


class Handlers:
    """The page's methods, over one studio."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        unknown = studio.backend.unknown_words(KINDS)
        self.known_objects = [] if unknown else list(KINDS)
        self.first = FromDataset(studio.dataset.relations[0], 1)

    # -- pictures ---------------------------------------------------------------------------------
    @noticed(4)
    def show(self, picture: PictureChoice | None, query: str = "") -> tuple[Any, ...]:
        """A picture with its question: the picture, its HTML, the choice of objects, the prompt."""
        return self._show(self.first if picture is None else picture, query)

    @noticed(5)
    def from_dataset(self, relation: str, number: float, step: int = 0) -> tuple[Any, ...]:
        """The dataset's question with a number, or one further on; the number comes first."""
        seed = min(max(0, int(number or 0) + step), _LARGEST_NUMBER)
        return seed, *self._show(FromDataset(str(relation), seed), "")

    @noticed(5)
    def sketch(self, scene: Drawn, query: str = "") -> tuple[Any, ...]:
        """A scene to draw on; the scene comes first."""
        return scene, *self._show(scene, query)

    @noticed(5)
    def place(
        self, scene: Drawn, picture: PictureChoice, query: str, colour: str, shape: str,
        event: gr.EventData,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Put an object into the cell that was clicked, in a scene that is drawn on."""
        if not isinstance(picture, Drawn):
            return scene, *self._show(picture, query)
        cells = list(scene.cells)
        cells[int(event.index) % len(cells)] = "" if shape == NOTHING else f"{colour} {shape}"
        placed = replace(scene, cells=tuple(cells))
        return placed, *self._show(placed, query if query in cells else "")

    @noticed(5)
    def random_scene(self, scene: Drawn) -> tuple[Any, ...]:
        """Another scene, drawn as those of the bundled model's dataset are."""
        drawn = DrawnScene.random(scene.seed + 1, diagonal=scene.seed % 3 == 2)
        fresh = Drawn(drawn.cells, drawn.seed)
        return fresh, *self._show(fresh, "")

    @noticed(5)
    def clear(self, scene: Drawn) -> tuple[Any, ...]:
        """An empty scene."""
        empty = replace(scene, cells=("",) * len(scene.cells))
        return empty, *self._show(empty, "")

    @noticed(5)
    def upload(self, path: str | None, query: str) -> tuple[Any, ...]:
        """A picture from an uploaded file, which is deleted; the picture comes first."""
        if path is None:
            return None, *(gr.skip() for _ in range(4))
        try:
            size = os.path.getsize(path)
            with open(path, "rb") as file:
                data = file.read(LARGEST + 1) if size <= LARGEST else b" " * (LARGEST + 1)
        finally:
            os.unlink(path)
        picture = upload(data, os.path.basename(path))
        return picture, *self._show(picture, query or (self.known_objects or ["object"])[0])

    def _show(self, picture: PictureChoice, query: str) -> tuple[Any, ...]:
        if isinstance(picture, Drawn) and not any(picture.cells):
            pixels = self.studio.question(picture, "object").picture(shown.SIDE)
            html = shown.picture_html(pixels, "an empty scene", picture.cells)
            empty = gr.update(choices=[], value="")
            return picture, html, empty, shown.prompt_html("an empty scene: click a cell", {})
        question = self.studio.question(picture, query)
        asked = question.prompt.query.query
        objects = dict.fromkeys([asked, *question.neighbours.values()])
        if isinstance(picture, Drawn):
            objects = dict.fromkeys(DrawnScene(picture.cells).objects)
        elif isinstance(picture, FromDataset):
            own = self.studio.question(picture)
            objects = dict.fromkeys([own.prompt.query.query, *own.neighbours.values()])
        elif isinstance(picture, Uploaded):
            objects = dict.fromkeys(self.known_objects or [asked])
        cells = picture.cells if isinstance(picture, Drawn) else ()
        html = shown.picture_html(
            question.picture(shown.SIDE), f"the picture that is asked about: {asked}", cells, asked
        )
        prompt = shown.prompt_html(self.studio.prompt(question), question.neighbours)
        return picture, html, gr.update(choices=list(objects), value=asked), prompt

    # -- asking -----------------------------------------------------------------------------------
    def check(self, text: str) -> str:
        """What is wrong with an expression as it stands."""
        try:
            return shown.checked_html(self.studio.check(text or ""))
        except Exception:  # of any keystroke, so it must not stop the page
            _log.exception("a check failed")
            return '<p class="mfv-remark" role="alert">This could not be checked.</p>'

    def mend(self, text: str, event: gr.EventData) -> str:
        """The expression with the fix made whose button was clicked."""
        number = event.index if isinstance(event.index, int) else -1
        return shown.mended(self.studio.check(text or ""), number)

    @noticed(8)
    def ask(
        self, picture: PictureChoice | None, query: str, text: str, own: bool, layer: float,
        scale: float, tokens: float, progress: Any = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:  # fmt: skip
        """Ask: answers, the curve, its legend, texts, remarks, recipe, Python, and the outcome."""
        request = Request(
            self.first if picture is None else picture, str(query or ""), str(text or ""),
            None if own else int(layer), float(scale), int(tokens),
        )  # fmt: skip
        outcome = self.studio.ask(request, _Bar(progress))
        return (
            shown.answers_html(outcome), *_curve(outcome), shown.texts_html(outcome),
            shown.remarks_html(outcome),
            copying.recipe_text(self.studio, outcome), copying.python_text(self.studio, outcome),
            outcome,
        )  # fmt: skip

    def not_asked(self) -> tuple[Any, ...]:
        """No answers, in place of those to another question."""
        quiet = '<p class="mfv-quiet">Not asked yet.</p>'
        return quiet, gr.update(visible=False), "", "", "", "", "", None, ""

    @noticed(1)
    def files(self, outcome: Outcome | None) -> str:
        """A link to the files of what is shown."""
        if outcome is None:
            return '<p class="mfv-quiet">Ask first.</p>'
        data = base64.b64encode(copying.archive(self.studio, outcome)).decode()
        names = ", ".join(copying.files(self.studio, outcome))
        return (
            f'<p><a class="mfv-files" download="question.zip" '
            f'href="data:application/zip;base64,{data}">question.zip</a>: {escape(names)}</p>'
        )

    # -- vectors ----------------------------------------------------------------------------------
    def vector_rows(self) -> list[list[str]]:
        """The table of vectors."""
        return [shown.vector_row(vector) for vector in self.studio.vectors]

    @noticed(1)
    def similarity(self, drawn: str) -> str:
        """How alike the vectors are, drawn when it is first looked at."""
        return drawn or shown.map_html(*self.studio.cosines())

    @noticed(2)
    def card(self, event: gr.SelectData) -> tuple[Any, ...]:
        """The card of the vector whose row was clicked, and how an expression names it."""
        index = event.index[0] if isinstance(event.index, list | tuple) else event.index
        vector = self._vector(event, int(index))
        call = "" if vector.trouble else self.studio.call_for(vector)
        return shown.card_html(vector, call), call

    def _vector(self, event: gr.SelectData, index: int) -> LibraryVector:
        """The vector of a row, by its name where rows were sorted or filtered."""
        row = getattr(event, "row_value", None)
        named = {vector.name: vector for vector in self.studio.vectors}
        if row and row[0] in named:
            return named[row[0]]
        return self.studio.vectors[index]


class _Bar:
    """Tells the page how far the computation of a vector is."""

    def __init__(self, progress: gr.Progress) -> None:
        self.progress = progress

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            self.progress((done, total), desc=label)

        return advance


def _curve(outcome: Outcome) -> tuple[Any, str]:
    """The curve, and its legend."""
    rows = shown.curve_rows(outcome)
    if not rows:
        return gr.update(visible=False), ""
    frame = pd.DataFrame(rows)
    names = list(dict.fromkeys(frame["answer"]))
    colours = dict(zip(names, _LINES * 2, strict=False))
    last = max(outcome.effects.layers)
    if last < _FEW_LAYERS:
        frame["layer"] = frame["layer"].astype(str)
    curve = gr.LinePlot(
        frame, visible=True, color_map=colours, x_lim=None if last < _FEW_LAYERS else [0, last],
        x_axis_format=None if last < _FEW_LAYERS else "d", colors_in_legend=[],
    )  # fmt: skip
    return curve, shown.legend_html(colours)
