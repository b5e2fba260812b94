"""How the page is laid out, and which of :mod:`.handlers` answers what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from mfv_dsl.base.names import quoted_relation
from mfv_dsl.data.drawn_scene import DrawnScene
from mfv_dsl.data.world import COLOURS, SHAPES
from mfv_dsl.playground import shown
from mfv_dsl.playground.blocks import LocalBlocks
from mfv_dsl.playground.expressions import LONGEST
from mfv_dsl.playground.handlers import NOTHING, Handlers
from mfv_dsl.playground.pictures import FORMATS, LARGEST, Drawn
from mfv_dsl.playground.studio import MOST_TOKENS, Studio

#: Models with more weights than this are asked by the button alone, not at every change.
_AT_ONCE = 300_000_000
_STATE_SECONDS = 4 * 3600
STYLE = Path(__file__).with_name("style.css")
#: A click on a button within, such as a cell of a scene, is an event of the page.
_BUTTONS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-index]');
  if (button) { trigger('select', {index: Number(button.dataset.index)}); }
});
"""


def theme() -> gr.themes.Base:
    """Colours and fonts; fonts are those of the reader's own machine."""
    return gr.themes.Base(
        primary_hue="blue", secondary_hue="blue", neutral_hue="gray", radius_size="md",
        font=("system-ui", "-apple-system", "Segoe UI", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    )  # fmt: skip


def build(studio: Studio) -> gr.Blocks:
    """The page over a studio."""
    return _Page(studio).blocks


class _Page:
    def __init__(self, studio: Studio) -> None:
        self.studio, self.does = studio, Handlers(studio)
        self.auto = 0 < studio.backend.facts.parameters <= _AT_ONCE
        with LocalBlocks(
            title="mfv playground", analytics_enabled=False, delete_cache=(600, _STATE_SECONDS)
        ) as self.blocks:
            self._states()
            gr.HTML(_head(studio))
            with gr.Tabs() as self.sections:
                with (
                    gr.Tab("Ask", id="ask"),
                    gr.Row(equal_height=False, elem_classes=["mfv-columns"]),
                ):
                    with gr.Column(scale=5, min_width=320):
                        self._picture()
                    with gr.Column(scale=8, min_width=320):
                        self._vector()
                        self._answers()
                with gr.Tab("Vectors", id="vectors") as self.vectors_tab:
                    self._library()
            self._picture_events()
            self._vector_events()

    def _states(self) -> None:
        scene = DrawnScene.random(1)
        seconds = {"time_to_live": _STATE_SECONDS}
        self.picture = gr.State(self.does.first, **seconds)
        self.scene = gr.State(Drawn(scene.cells, scene.seed), **seconds)
        self.uploaded = gr.State(None, **seconds)
        self.outcome = gr.State(None, **seconds)

    # -- layout -----------------------------------------------------------------------------------
    def _picture(self) -> None:
        with gr.Tabs():
            with gr.Tab("Dataset") as self.dataset_tab, gr.Row(equal_height=True):
                relations = list(self.studio.dataset.relations)
                self.relation = gr.Dropdown(
                    relations, value=relations[0], label="Relation", min_width=120, scale=3
                )
                self.number = gr.Number(
                    self.does.first.seed, label="Number", precision=0, minimum=0, min_width=80,
                    scale=2,
                )  # fmt: skip
                self.next = gr.Button("Next", min_width=70, scale=1, size="sm")
            with gr.Tab("Draw a scene") as self.draw_tab:
                self.colour = gr.Radio(
                    list(COLOURS), value="red", label="Colour", elem_classes=["mfv-tight"]
                )
                self.shape = gr.Radio(
                    [*SHAPES, NOTHING], value="circle", label="Shape: click a cell to put it there",
                    elem_classes=["mfv-tight"],
                )  # fmt: skip
                with gr.Row():
                    self.random = gr.Button("Another scene", size="sm", min_width=90)
                    self.clear = gr.Button("Clear", size="sm", min_width=60)
            with gr.Tab("Upload") as self.upload_tab:
                self.file = gr.File(
                    label=f"A picture ({', '.join(FORMATS)}; at most {LARGEST >> 20} MB)",
                    type="filepath", height=150,
                )  # fmt: skip
        self.view = gr.HTML(js_on_load=_BUTTONS, elem_id="mfv-picture", min_height=200)
        self.query = gr.Dropdown(
            [], label="Object that is asked about", allow_custom_value=True, elem_id="mfv-query"
        )
        self.prompt = gr.HTML(elem_id="mfv-prompt")
        self.notice = gr.HTML(elem_id="mfv-notice")

    def _vector(self) -> None:
        layers = self.studio.backend.facts.n_layers
        self.expression = gr.Textbox(
            label="Vector that is added", placeholder=self._example(), lines=1, max_lines=8,
            max_length=LONGEST + 1, elem_id="mfv-expression", elem_classes=["mfv-expression"],
            html_attributes=gr.InputHTMLAttributes(spellcheck=False, autocorrect="off"),
            info=self._names(),
        )  # fmt: skip
        self.findings = gr.HTML(js_on_load=_BUTTONS, elem_id="mfv-findings")
        self.own = gr.Checkbox(True, label="at its own layer", container=False, elem_id="mfv-own")
        narrow: dict[str, Any] = {"min_width": 130, "buttons": []}
        with gr.Row(equal_height=True):
            self.layer = gr.Slider(
                0, layers - 1, value=layers // 3, step=1, label="Layer", interactive=False,
                elem_id="mfv-layer", **narrow,
            )  # fmt: skip
            self.scale = gr.Slider(
                -5, 5, value=1, step=0.1, label="Scale", elem_id="mfv-scale", **narrow
            )
            self.tokens = gr.Slider(
                0, MOST_TOKENS, value=8, step=1, label="Tokens", elem_id="mfv-tokens", **narrow
            )
        self.ask = gr.Button("Ask", variant="primary", elem_id="mfv-ask")

    def _answers(self) -> None:
        self.problem = gr.HTML(elem_id="mfv-problem")
        self.remarks = gr.HTML(elem_id="mfv-remarks")
        self.answers = gr.HTML(elem_id="mfv-answers")
        self.curve = gr.LinePlot(
            x="layer", y="probability", color="answer", y_lim=[0, 1], height=300, visible=False,
            colors_in_legend=[],
            x_title="layer at which the vector is added", label="Effect by layer", show_label=False,
            tooltip=["layer", "probability", "without", "answer"], elem_id="mfv-curve",
        )  # fmt: skip
        self.legend = gr.HTML(elem_id="mfv-legend")
        self.texts = gr.HTML(elem_id="mfv-texts")
        with gr.Accordion("The same as a recipe and in Python", open=False):
            self.recipe = gr.Code(label="recipe.mfv", language=None, elem_id="mfv-recipe")
            self.python = gr.Code(label="ask.py", language="python", elem_id="mfv-python")
            with gr.Row(equal_height=True):
                self.make_files = gr.Button("Files", size="sm", min_width=60, scale=0)
                self.files = gr.HTML(
                    '<p class="mfv-quiet">Both texts, with the picture where they need it.</p>',
                    elem_id="mfv-files",
                )

    def _library(self) -> None:
        if not self.studio.vectors:
            gr.HTML(
                '<p class="mfv-quiet">No library: <code>mfv serve --library FOLDER</code> shows '
                "one.</p>"
            )
            return
        self.named = gr.State("")
        with gr.Row(equal_height=False, elem_classes=["mfv-columns"]):
            with gr.Column(scale=5, min_width=320):
                self.table = gr.Dataframe(
                    self.does.vector_rows(), headers=list(shown.VECTOR_COLUMNS), interactive=False,
                    max_height=560, wrap=False, label="Vectors", elem_id="mfv-vectors",
                    show_search="filter" if len(self.studio.vectors) > 30 else "none",
                )  # fmt: skip
                self.map = gr.HTML(elem_id="mfv-map")
            with gr.Column(scale=6, min_width=320):
                self.use = gr.Button("Use it in the expression", interactive=False)
                self.card = gr.HTML(
                    '<p class="mfv-quiet">Click a vector to see its card.</p>', elem_id="mfv-card"
                )
                self.card_notice = gr.HTML(elem_id="mfv-card-notice")

    def _example(self) -> str:
        relations = [quoted_relation(one) for one in self.studio.dataset.relations[:2]]
        return f"fv({relations[0]})" + (f" - fv({relations[1]})" if len(relations) > 1 else "")

    def _names(self) -> str:
        names = list(self.studio.names)
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        shown_names = f"; names: {', '.join(names[:6])}{more}" if names else ""
        return f"e.g. {self._example()}{shown_names}"

    # -- events -----------------------------------------------------------------------------------
    def _picture_events(self) -> None:
        does = self.does
        view = [self.picture, self.view, self.query, self.prompt]
        scene = [self.scene, *view, self.notice]
        numbered = [self.number, *view, self.notice]
        palette = [self.scene, self.picture, self.query, self.colour, self.shape]
        where = [self.relation, self.number]
        changes = [
            self.dataset_tab.select(does.from_dataset, where, numbered, **_QUICK),
            self.relation.input(does.from_dataset, where, numbered, **_QUICK),
            self.number.input(does.from_dataset, where, numbered, **_QUICK),
            self.next.click(_next(does), where, numbered, **_QUICK),
            self.draw_tab.select(does.sketch, [self.scene], scene, **_QUICK),
            self.view.select(does.place, palette, scene, **_QUICK),
            self.random.click(does.random_scene, [self.scene], scene, **_QUICK),
            self.clear.click(does.clear, [self.scene], scene, **_QUICK),
            self.file.upload(
                does.upload, [self.file, self.query], [self.uploaded, *view, self.notice], **_QUICK
            ).then(lambda: None, None, self.file, **_QUICK),
            self.query.input(does.show, [self.picture, self.query], [*view, self.notice], **_QUICK),
            self.blocks.load(does.show, [self.picture], [*view, self.notice], **_QUICK),
        ]
        for change in changes:
            if self.auto:
                self._asks(change.then)
            else:
                change.then(does.not_asked, None, self._answered(), **_QUICK)

    def _vector_events(self) -> None:
        does = self.does
        self.expression.change(  # by keys, by pasting and by the page
            does.check, [self.expression], [self.findings], trigger_mode="always_last", **_QUICK
        )
        self.findings.select(does.mend, [self.expression], [self.expression], **_QUICK)
        self.own.input(
            lambda own: gr.update(interactive=not own), [self.own], [self.layer], **_QUICK
        )
        self._asks(self.ask.click)
        self._asks(self.expression.submit)
        for slider in (self.layer, self.scale, self.tokens) if self.auto else ():
            self._asks(slider.release)
        if self.auto:
            self._asks(self.own.input)
        self.make_files.click(does.files, [self.outcome], [self.files, self.problem], **_QUICK)
        if self.studio.vectors:
            self._library_events()

    def _library_events(self) -> None:
        self.vectors_tab.select(
            self.does.similarity, [self.map], [self.map, self.card_notice], **_QUICK
        )
        outputs = [self.card, self.named, self.card_notice]
        self.table.select(self.does.card, None, outputs, **_QUICK).then(
            lambda call: gr.update(interactive=bool(call)), [self.named], [self.use], **_QUICK
        )
        used = self.use.click(
            _with_vector, [self.expression, self.named], [self.expression, self.sections], **_QUICK
        )
        if self.auto:
            self._asks(used.then)

    def _answered(self) -> list[Any]:
        """What shows the answers."""
        return [
            self.answers, self.curve, self.legend, self.texts, self.remarks, self.recipe,
            self.python, self.outcome, self.problem,
        ]  # fmt: skip

    def _asks(self, event: Any) -> Any:
        """Let an event ask the model; of requests that wait, the last of a page counts."""
        inputs = [
            self.picture, self.query, self.expression, self.own, self.layer, self.scale, self.tokens
        ]  # fmt: skip
        return event(
            self.does.ask, inputs, self._answered(), concurrency_id="model", concurrency_limit=1,
            trigger_mode="always_last", api_visibility="private", show_progress="minimal",
            show_progress_on=[self.answers],
        )  # fmt: skip


#: How events run that take no model.
_QUICK: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8,
    "concurrency_id": "page",
}  # fmt: skip


def _next(does: Handlers) -> Any:
    return lambda relation, number: does.from_dataset(relation, number, 1)


def _with_vector(text: str, call: str) -> tuple[str, Any]:
    """The expression with a vector behind it, and the tab where it stands."""
    text = (text or "").strip()
    return (f"{text} + {call}" if text else call), gr.update(selected="ask")


def _head(studio: Studio) -> str:
    from html import escape

    facts = studio.backend.facts
    what = (
        f"{facts.description}: {facts.n_layers} layers of {facts.n_heads} heads, "
        f"d = {facts.d_model}; questions of {studio.dataset_call}"
    )
    return f'<header class="mfv-head"><h1>mfv playground</h1><p>{escape(what)}</p></header>'
