"""What the bundled LLaVA can do on held-out layouts: ``python -m tools.llava.figures DIR``.

The folder is loaded as anyone would load it, by ``from_pretrained``; prompts go through its
processor.  Per cent correct on the first answer token, among all tokens, with Wilson's 95 %
interval.  Writes ``DIR/figures.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.render import render, sample_looks
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.world import EMPTY, KINDS, RELATIONS, sample_layouts, seed_of
from mfv_dsl.methods.intervals import wilson
from tools.llava.model import SIZE
from tools.llava.text import END, IMAGE, render_text
from tools.tiny.sequences import IN_CONTEXT_RELATIONS

from transformers import AutoProcessor, LlavaForConditionalGeneration  # isort: skip

SPLIT = "test"
SHOTS = (0, 1, 2, 4, 8)
AT_ONCE = 50


@dataclass(frozen=True)
class Figure:
    """``correct`` of ``n`` answers of one measure.

    ``relation`` is empty where a measure has none.  ``neighbours`` counts the answers that name any
    neighbour of the query object that the picture shows."""

    measure: str
    relation: str
    shots: int
    n: int
    correct: int
    accuracy: float
    low: float
    high: float
    neighbours: int | None = None


def figure(
    measure: str, relation: str, shots: int, right: Sequence[bool], neighbours: int | None = None
) -> Figure:
    correct, n = sum(right), len(right)
    low, high = wilson(correct, n)
    return Figure(measure, relation, shots, n, correct, correct / n, low, high, neighbours)


@dataclass(frozen=True)
class Question:
    """A text, its pictures (40, 40, 3) uint8 each, and the answer wanted."""

    text: str
    pictures: list[np.ndarray]
    answer: str


class Examiner:
    """A model's folder and the questions put to it."""

    def __init__(self, folder: Path, n: int) -> None:
        self.n = n
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = LlavaForConditionalGeneration.from_pretrained(folder).eval()
        count = n + n // 2  # more scenes than prompts, so that demonstrations differ
        self.familiar = Scenes(count=count)
        self.novel = Scenes(count=count, objects="novel")

    def figures(self) -> Iterator[Figure]:
        for shots in SHOTS:
            yield from self._relations("familiar", self.familiar, shots)
        for shots in (0, 4):
            yield from self._relations("novel", self.novel, shots)
        yield from self._relations("named", self.familiar, 0, named_text)
        yield from self._relations("named novel", self.novel, 0, named_text)
        for form in ("what", "where"):
            questions = list(self._placed(form))
            answers = self.answers(questions)
            yield figure(
                form, "", 0, [a == q.answer for a, q in zip(answers, questions, strict=True)]
            )
        yield self._ends()

    def answers(self, questions: Sequence[Question]) -> list[str]:
        """The likeliest next token after each question, without the space in front of it."""
        said: list[str] = []
        for start in range(0, len(questions), AT_ONCE):
            inputs = self._inputs(questions[start : start + AT_ONCE])
            logits = self.model(**inputs, logits_to_keep=1).logits[:, -1]
            said += self.processor.batch_decode(logits.argmax(-1, keepdim=True))
        return [word.strip() for word in said]

    def _inputs(self, questions: Sequence[Question]) -> dict[str, torch.Tensor]:
        return self.processor(
            text=[question.text for question in questions],
            images=[question.pictures for question in questions],
            padding=True,
            return_tensors="pt",
        )

    def _relations(
        self,
        measure: str,
        scenes: Scenes,
        shots: int,
        text: Callable[[Prompt], str] = render_text,
    ) -> Iterator[Figure]:
        """One figure a relation."""
        for relation in RELATIONS:
            prompts = draw_prompts(scenes, relation, SPLIT, self.n, shots)
            answers = self.answers([self._question(scenes, p, text) for p in prompts])
            queries = [prompt.query for prompt in prompts]
            right = [a == query.answer for a, query in zip(answers, queries, strict=True)]
            near = sum(
                a in query.neighbours.values() for a, query in zip(answers, queries, strict=True)
            )
            yield figure(measure, relation, shots, right, near)

    def _question(
        self, scenes: Scenes, prompt: Prompt, text: Callable[[Prompt], str] = render_text
    ) -> Question:
        return Question(text(prompt), scenes.pictures(prompt.images, SIZE), prompt.query.answer)

    def _placed(self, form: str) -> Iterator[Question]:
        """``what`` stands in a cell, or ``where`` a thing stands: any object of a scene."""
        n = self.n * len(RELATIONS)
        rng = np.random.default_rng(seed_of("placed", form))
        layouts = sample_layouts(rng, n, rng.random(n) < 0.5, SPLIT)
        pictures = render(layouts.grid, sample_looks(rng, n))
        for grid, picture in zip(layouts.grid, pictures, strict=True):
            cell = int(rng.choice(np.flatnonzero(grid.ravel() != EMPTY)))
            place, thing = f"p{cell}", KINDS[grid.ravel()[cell]]
            asked, answer = (place, thing) if form == "what" else (thing, place)
            yield Question(f"{IMAGE}Q:{form} {asked}. A:", [picture], answer)

    def _ends(self) -> Figure:
        """Whether generation after four examples says the answer, ends the chunk, and stops."""
        right: list[bool] = []
        for relation in IN_CONTEXT_RELATIONS:
            prompts = draw_prompts(self.familiar, relation, SPLIT, self.n, 4)[:AT_ONCE]
            questions = [self._question(self.familiar, prompt) for prompt in prompts]
            inputs = self._inputs(questions)
            length = inputs["input_ids"].shape[1]
            said = self.model.generate(**inputs, max_new_tokens=8)[:, length:]
            pad = self.processor.tokenizer.pad_token
            texts = [text.replace(pad, "") for text in self.processor.batch_decode(said)]
            wanted = [f" {question.answer}.\n{END}" for question in questions]
            right += [text == whole for text, whole in zip(texts, wanted, strict=True)]
        return figure("ends itself", "", 4, right)


def named_text(prompt: Prompt) -> str:
    """The query alone, its relation named."""
    query: Item = prompt.query
    return f"{IMAGE}Q:{query.relation.replace('_', ' ')} {query.query}. A:"


def evaluate(folder: Path, n: int = 200) -> list[Figure]:
    """All figures of a folder, printed and written into it."""
    started = time.process_time()
    found: list[Figure] = []
    with torch.no_grad():
        for one in Examiner(folder, n).figures():
            found.append(one)
            shares = f"{100 * one.accuracy:5.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
            print(
                f"{one.measure:12} {one.shots}-shot {one.relation:12} {shares} n = {one.n}",
                flush=True,
            )
    written = {
        "command": f"python -m tools.llava.figures DIR --n {n}",
        "split": SPLIT,
        "interval": "Wilson, 95 %",
        "cpu_seconds": round(time.process_time() - started),
        "figures": [asdict(one) for one in found],
    }
    (folder / "figures.json").write_text(json.dumps(written, indent=1) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=200, help="prompts a relation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    evaluate(arguments.folder, arguments.n)


if __name__ == "__main__":
    main()
