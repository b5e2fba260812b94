"""Makes the README's picture: ``python docs/make_figures.py``."""

from __future__ import annotations

from pathlib import Path

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.asking import likeliest
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.report.picture import Panel, answers_picture

MODEL = mfv.load_model("tiny")
HEADS = "top(10, on=[left, right, above, below], trials=25)"


def main() -> None:
    scenes = Scenes()
    prompt = draw_prompts(scenes, "left", "test", 12, shots=0)[11]
    batch = MODEL.batch([prompt], scenes)
    relations = ("left", "right")
    vectors = [mfv.compile(f"fv({r})").vector(heads=HEADS, trials=50) for r in relations]
    before, *after = likeliest(MODEL, batch, [[], *(adding(v, 1, 1.0) for v in vectors)])
    panels: list[Panel] = [("no vector", before, None)]
    for relation, answers in zip(relations, after, strict=True):
        right = prompt.query.neighbours[relation]
        panels.append((f"+ fv({relation}) at layer 1", answers, right))
    picture = scenes.pictures(prompt.images, 320)[0]
    question = f"<image>Q:{prompt.query.query}. A:"
    out = Path(__file__).parent / "images" / "injection.png"
    out.parent.mkdir(exist_ok=True)
    drawn = answers_picture(picture, question, panels)
    drawn.quantize(64).save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    main()
