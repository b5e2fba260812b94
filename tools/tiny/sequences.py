"""The sequences that the bundled model is trained on.

Statements (one image, relations named) ground the words; in-context sequences (one unnamed
relation, each demonstration with its own image) make demonstrations select among them.  Between
the two stand bridges: *carry-over* (the first demonstrations name the relation, the rest do not)
and *annotated* (the relation is named after the answer of the first demonstrations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfv_dsl.data.render import render, sample_looks
from mfv_dsl.data.world import (
    CARDINAL,
    DIAGONAL,
    EMPTY,
    FAMILIAR_KINDS,
    GRID,
    KINDS,
    OFFSETS,
    RELATIONS,
    Layouts,
    sample_layouts,
)
from mfv_dsl.models.tiny.tokenizer import END_OF_CHUNK, IMAGE, PAD

#: Relations that appear in in-context sequences.  The two others are only ever named.
IN_CONTEXT_RELATIONS = (*CARDINAL, "above_left", "below_right")
STATEMENTS = 6
#: Shares of the forms of statement, in grounding and later on with the inverse.
GROUNDING = {"where": 0.3, "what": 0.15, "relation": 0.55}
INVERSE = {"where": 0.2, "what": 0.1, "relation": 0.5, "which": 0.2}
IMAGES = 5


@dataclass(frozen=True)
class Batch:
    """``images`` (B, T, s, s, 3) uint8; ``tokens`` (B, L); ``is_answer`` (B, L) marks the tokens to
    predict; ``kind`` (B, L) says which question each answer belongs to, for running accuracies."""

    images: np.ndarray
    tokens: np.ndarray
    is_answer: np.ndarray
    kind: np.ndarray


class Writer:
    """Writes token sequences; answers are marked as they are written."""

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids
        self.rows: list[list[tuple[int, str]]] = []

    def start(self) -> None:
        self.rows.append([])

    def say(self, *words: str) -> None:
        self.rows[-1].extend((self.ids[word], "") for word in words)

    def answer(self, kind: str, *words: str) -> None:
        self.rows[-1].extend((self.ids[word], kind) for word in words)

    def batch(self, images: np.ndarray) -> Batch:
        length = max(len(row) for row in self.rows)
        tokens = np.full((len(self.rows), length), self.ids[PAD], dtype=np.int64)
        kind = np.full((len(self.rows), length), "", dtype=object)
        for i, row in enumerate(self.rows):
            tokens[i, : len(row)] = [token for token, _ in row]
            kind[i, : len(row)] = [name for _, name in row]
        return Batch(images, tokens, kind != "", kind)


def statements(
    rng: np.random.Generator, ids: dict[str, int], n: int, forms: dict[str, float]
) -> Batch:
    """Six statements about each of ``n`` scenes, of ``forms`` (where, what, relation, which) with
    their shares."""
    layouts = sample_layouts(rng, n, rng.random(n) < 0.5, "pretrain")
    writer = Writer(ids)
    names, weights = list(forms), np.array(list(forms.values()))
    for i in range(n):
        writer.start()
        writer.say(IMAGE)
        for form in rng.choice(names, size=STATEMENTS, p=weights / weights.sum()):
            _statement(writer, rng, layouts[i : i + 1], str(form))
    images = render(layouts.grid, sample_looks(rng, n))
    return writer.batch(images[:, None])


def _statement(writer: Writer, rng: np.random.Generator, layout: Layouts, form: str) -> None:
    cells = layout.grid.reshape(GRID * GRID)
    writer.say("Q:")
    if form in ("where", "what"):
        cell = int(rng.choice(np.flatnonzero(cells != EMPTY)))
        place, thing = f"p{cell}", KINDS[cells[cell]]
        if form == "where":
            writer.say("where", thing, ".", "A:")
            writer.answer("where", place)
        else:
            writer.say("what", place, ".", "A:")
            writer.answer("what", thing)
    else:
        diagonal = layout.neighbour_kind("above_left")[0] != EMPTY and (
            layout.neighbour_kind("below_right")[0] != EMPTY
        )
        diagonal = diagonal and layout.neighbour_kind("above_right")[0] != EMPTY
        relation = str(rng.choice(DIAGONAL if diagonal else CARDINAL))
        anchor = KINDS[layout.anchor_kind()[0]]
        neighbour = KINDS[layout.neighbour_kind(relation)[0]]
        if form == "relation":
            writer.say(*relation.split("_"), anchor, ".", "A:")
            writer.answer("relation", neighbour)
        else:
            writer.say("which", anchor, neighbour, ".", "A:")
            writer.answer("which", *relation.split("_"))
    writer.say(".")


def in_context(
    rng: np.random.Generator, ids: dict[str, int], n: int, form: str, length: int = IMAGES
) -> Batch:
    """``n`` sequences of ``length`` images, five or more, under one relation, which ``form`` leaves
    unnamed (``plain``), names in the first questions (``carry``) or after the first answers
    (``annotated``)."""
    relations = rng.choice(IN_CONTEXT_RELATIONS, size=n)
    diagonal = np.repeat(np.isin(relations, DIAGONAL), length)
    layouts = sample_layouts(rng, n * length, diagonal, "pretrain", FAMILIAR_KINDS)
    anchors = layouts.anchor_kind()
    rows = np.arange(n * length)
    offsets = np.array([OFFSETS[relation] for relation in np.repeat(relations, length)])
    places = layouts.anchor + offsets
    answers = layouts.grid[rows, places[:, 0], places[:, 1]]
    writer = Writer(ids)
    for i in range(n):
        n_named = {"plain": 0, "carry": rng.integers(1, 4), "annotated": rng.integers(1, 5)}[form]
        words = str(relations[i]).split("_")
        writer.start()
        for shot in range(length):
            anchor, answer = KINDS[anchors[i * length + shot]], KINDS[answers[i * length + shot]]
            writer.say(IMAGE, "Q:")
            if form == "carry" and shot < n_named:
                writer.say(*words)
            writer.say(anchor, ".", "A:")
            writer.answer(
                "named" if form == "carry" and shot < n_named else f"{form}{shot}", answer
            )
            writer.say(".")
            if form == "annotated" and shot < n_named:
                writer.say(*words, ".")
            writer.say(END_OF_CHUNK)
    images = render(layouts.grid, sample_looks(rng, n * length))
    return writer.batch(images.reshape(n, length, *images.shape[1:]))


__all__ = ["IN_CONTEXT_RELATIONS", "RELATIONS", "Batch", "in_context", "statements"]
