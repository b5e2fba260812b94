"""Makes the README's picture: ``python docs/make_figures.py``."""

from __future__ import annotations

from pathlib import Path

import torch

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.report.picture import Panel, answers_picture

MODEL = mfv.load_model("tiny")
HEADS = "top(10, on=[left, right, above, below], trials=25)"


def main() -> None:
    scenes = Scenes()
    prompt = draw_prompts(scenes, "left", "test", 12, shots=0)[11]
    batch = MODEL.batch([prompt], scenes)
    panels: list[Panel] = [("no vector", likeliest(full_pass(MODEL, batch).logits[0]), None)]
    for relation in ("left", "right"):
        vector = mfv.compile(f"fv({relation})").vector(heads=HEADS, trials=50)
        logits = full_pass(MODEL, batch, adding(vector, 1, 1.0)).logits[0]
        right = prompt.query.neighbours[relation]
        panels.append((f"+ fv({relation}) at layer 1", likeliest(logits), right))
    picture = scenes.pictures(prompt.images, 320)[0]
    question = f"<image>Q:{prompt.query.query}. A:"
    out = Path(__file__).parent / "images" / "injection.png"
    out.parent.mkdir(exist_ok=True)
    drawn = answers_picture(picture, question, panels)
    drawn.quantize(64).save(out, optimize=True)
    print(out)


def likeliest(logits: torch.Tensor, k: int = 5) -> list[tuple[str, float]]:
    values, tokens = logits.softmax(-1).topk(k)
    return [
        (MODEL.tokenizer.id_to_token(int(token)), float(value))
        for value, token in zip(values, tokens, strict=True)
    ]


if __name__ == "__main__":
    main()
