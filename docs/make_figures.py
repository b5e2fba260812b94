"""Makes the pictures of the README and of docs/: ``python docs/make_figures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes, ThingScenes
from mfv_dsl.inspection import prompt_rows
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.likeliest_answers import likeliest_answers
from mfv_dsl.report.picture import Panel, answers_picture
from mfv_dsl.report.prompt_picture import prompt_picture

MODEL = mfv.load_model("tiny")
HEADS = "top(10, on=[left, right, above, below], trials=25)"
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for name, draw in (("injection", injection), ("prompt", prompt), ("things", things)):
        draw().quantize(64).save(IMAGES / f"{name}.png", optimize=True)
        print(IMAGES / f"{name}.png")


def prompt() -> Image.Image:
    """A prompt with four demonstrations and its corrupted twin."""
    return prompt_picture(prompt_rows(MODEL, Scenes(), "left", "test", 3, 4, 1234, "mix"))


def things() -> Image.Image:
    """Three scenes of drawn things, the last of held-out ones."""
    pictures = []
    for objects, image in (("familiar", "left"), ("all", "below_right"), ("novel", "above")):
        scenes = ThingScenes(kinds="things", objects=objects, count=2)
        pictures += scenes.pictures([f"{image}/test/0"], 320)
    return Image.fromarray(np.concatenate(pictures, axis=1))


def injection() -> Image.Image:
    """One scene and the model's answers before and after injection."""
    scenes = Scenes()
    prompt = draw_prompts(scenes, "left", "test", 12, shots=0)[11]
    batch = MODEL.batch([prompt], scenes)
    relations = ("left", "right")
    vectors = [mfv.compile(f"fv({r})").vector(heads=HEADS, trials=50) for r in relations]
    before, *after = likeliest_answers(MODEL, batch, [[], *(adding(v, 1, 1.0) for v in vectors)])
    panels: list[Panel] = [("no vector", before, None)]
    for relation, answers in zip(relations, after, strict=True):
        right = prompt.query.neighbours[relation]
        panels.append((f"+ fv({relation}) at layer 1", answers, right))
    picture = scenes.pictures(prompt.images, 320)[0]
    question = f"<image>Q:{prompt.query.query}. A:"
    return answers_picture(picture, question, panels)


if __name__ == "__main__":
    main()
