"""Rows of any names and numbers give a figure on which nothing is cut off, or a clear refusal."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.report.figures.extents import texts_outside
from mfv_dsl.report.figures.kinds import KINDS, Wish

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:Glyph"),
]
NAMES = [
    "left", "a", "the_farther_of_the_two_objects_that_stand_to_the_left", "x y z w " * 6, "$x$_{",
    "\N{CJK UNIFIED IDEOGRAPH-65E5}\N{CJK UNIFIED IDEOGRAPH-672C}", "é" * 40, "all", "mean",
    "other", "none", "-" * 50, "1", "W" * 60, "line\nbreak",
]  # fmt: skip
NUMBERS = [0.0, 1.0, 0.5, float("nan"), float("inf"), -1.0, 1e-9, None]
MEASURED = (
    "accuracy", "ci_low", "ci_high", "mean_p_answer", "difference", "difference_low",
    "difference_high",
)  # fmt: skip
Row = dict[str, Any]


class Draw:
    """Rows that a seed draws."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self) -> float | None:
        return self.random.choice(NUMBERS) if self.random.random() < 0.3 else self.random.random()

    def names(self, most: int) -> list[str]:
        return self.random.sample(NAMES, self.random.randint(1, most))

    def results(self) -> list[Row]:
        relations = [*self.names(5), *([None] if self.random.random() < 0.6 else [])]
        rows = []
        for name in self.names(4):
            axis = self.random.choice(["layer", "scale", "k", "shots", "draw", "vector", "nothing"])
            along = self.random.choice(
                [range(5), [0, 1, "native", "{3, 5}"], [0.5, 1, 2, 4], NAMES[:3], range(40), [1e5]]
            )
            for relation in relations:
                for value in along if axis != "nothing" else [None]:
                    row = {"eval": name, "relation": relation, "shots": 0, "layer": None, "n": 5}
                    row |= {column: self.number() for column in MEASURED}
                    rows.append({**row, **({axis: value} if axis != "nothing" else {})})
        return rows

    def confusion(self) -> list[Row]:
        relations = self.names(5)
        return [
            {"eval": name, "relation": relation, "shots": 0, "layer": 1, "n": 3,
             "answered": answered, "share": self.number()}
            for name in self.names(4) for relation in relations
            for answered in (*self.names(4), None)
        ]  # fmt: skip

    def heads(self) -> list[Row]:
        layers, heads = (self.random.choice([1, 2, 10, 64]) for _ in range(2))
        return [
            {"step": "s", "relation": relation, "by": "aie", "layer": layer, "head": head,
             "score": self.number(), "n": 3}
            for relation in self.names(4) for layer in range(layers) for head in range(heads)
        ]  # fmt: skip

    def epochs(self) -> list[Row]:
        count = self.random.choice([1, 4, 60])
        return [
            {"tune": tune, "relation": relation, "variable": "vector", "layer": 1, "epoch": epoch,
             "chosen": epoch == 2, "n": 3, "loss": None, "off_task_kl": None,
             "accuracy": self.number(), "nll": self.number(), "norm": self.number()}
            for tune in self.names(2) for relation in self.names(5) for epoch in range(count)
        ]  # fmt: skip

    def similarity(self) -> list[Row]:
        vectors = [f"{name}{n}" for n in range(self.random.choice([1, 4])) for name in NAMES]
        return [
            {"vector": one, "other": other, "cosine": self.random.choice([1.0, -1.0, 0.3, None])}
            for one in vectors for other in vectors
        ]  # fmt: skip

    def norms(self) -> list[Row]:
        return [
            {"step": "s", "vector": name, "layer": layer, "heads": 2, "norm": self.number()}
            for name in self.names(8)
            for layer in (*range(self.random.choice([1, 5])), None)
        ]


ROWS: dict[str, Callable[[Draw], list[Row]]] = {
    "accuracy": Draw.results,
    "evals": Draw.results,
    "choices": Draw.results,
    "confusion": Draw.confusion,
    "aie": Draw.heads,
    "tuning": Draw.epochs,
    "similarity": Draw.similarity,
    "norms": Draw.norms,
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_any_rows_are_drawn_whole_or_refused(kind: str, seed: int):
    draw = Draw(seed)
    rows, width = ROWS[kind](draw), draw.random.choice([1.5, 2.5, 3.3, 6.9, 12])
    allowed = {"MFV6130", "MFV6131", "MFV6132"} | ({"MFV5356"} if width < 3 else set())
    try:
        figure, axes = KINDS[kind].figure(rows, Wish(width=width))
    except MfvError as error:
        if error.code not in allowed:
            raise
        return
    assert axes.size and texts_outside(figure) == []
    assert figure.get_figwidth() == width
