"""Makes the pictures of the README and of docs/: ``python -m docs.make_figures [NAME…]``.

``quickstart.png`` is what ``mfv plot quickstart --kind evals --width page`` draws of the rows that
``docs.make_quickstart`` keeps; the numbers in it are written into the file, too, so that a test can
tell whether it is up to date.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes, ThingScenes
from mfv_dsl.execute.tables import result_lines
from mfv_dsl.inspection import prompt_rows
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.likeliest_answers import likeliest_answers
from mfv_dsl.report.figures.bars import evals_figure
from mfv_dsl.report.figures.prompts import Panel, answers_figure, prompt_figure
from mfv_dsl.report.figures.saving import figure_bytes
from mfv_dsl.report.figures.style import PAGE

HEADS = "top(10, on=[left, right, above, below], trials=25)"
IMAGES = Path(__file__).parent / "images"
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "quickstart.json"
#: Where a picture keeps its numbers.
NUMBERS = "numbers"


def main(names: list[str]) -> None:
    IMAGES.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        if names and name not in names:
            continue
        drawn, about = draw(), PngInfo()
        if name == "quickstart":
            about.add_text(NUMBERS, json.dumps(quickstart_numbers()))
        if isinstance(drawn, Figure):
            drawn = Image.open(io.BytesIO(figure_bytes(drawn, ".png", dpi=180))).convert("RGB")
        drawn.quantize(64).save(IMAGES / f"{name}.png", optimize=True, pnginfo=about)
        print(IMAGES / f"{name}.png")


def quickstart() -> Figure:
    """The evals of the quickstart with their differences from zero-shot."""
    lines = result_lines(json.loads(GOLDEN.read_text(encoding="utf-8")))
    figure, _ = evals_figure(lines, width=PAGE)
    return figure


def quickstart_numbers() -> list[list[float]]:
    """What stands in the figure of the quickstart: of each bar its length, and of each whisker and
    dot its ends, in per cent."""
    bars, differences = quickstart().axes
    lengths = [[bar.get_width()] for bar in bars.patches]  # type: ignore[attr-defined]
    ends: list[list[Any]] = [list(line.get_xdata()) for line in (*bars.lines, *differences.lines)]
    return [[round(float(value), 2) for value in one] for one in (*lengths, *ends)]


def prompt() -> Figure:
    """A prompt with four demonstrations and its corrupted twin."""
    model = mfv.load_model("tiny")
    return prompt_figure(prompt_rows(model, Scenes(), "left", "test", 3, 4, 1234, "mix"))[0]


def things() -> Image.Image:
    """Three scenes of drawn things, the last of held-out ones."""
    pictures = []
    for objects, image in (("familiar", "left"), ("all", "below_right"), ("novel", "above")):
        scenes = ThingScenes(kinds="things", objects=objects, count=2)
        pictures += scenes.pictures([f"{image}/test/0"], 320)
    return Image.fromarray(np.concatenate(pictures, axis=1))


def injection() -> Figure:
    """One scene and the model's answers before and after injection."""
    scenes, model = Scenes(), mfv.load_model("tiny")
    prompt = draw_prompts(scenes, "left", "test", 12, shots=0)[11]
    batch = model.batch([prompt], scenes)
    relations = ("left", "right")
    vectors = [mfv.compile(f"fv({r})").vector(heads=HEADS, trials=50) for r in relations]
    before, *after = likeliest_answers(model, batch, [[], *(adding(v, 1, 1.0) for v in vectors)])
    panels = [Panel("no vector", before)]
    for relation, answers in zip(relations, after, strict=True):
        right = prompt.query.neighbours[relation]
        panels.append(Panel(f"+ fv({relation}) at layer 1", answers, right))
    picture = scenes.pictures(prompt.images, 320)[0]
    question = f"<image>Q:{prompt.query.query}. A:"
    return answers_figure(picture, question, panels)[0]


PICTURES: dict[str, Callable[[], Figure | Image.Image]] = {
    "injection": injection,
    "prompt": prompt,
    "things": things,
    "quickstart": quickstart,
}


if __name__ == "__main__":
    main(sys.argv[1:])
