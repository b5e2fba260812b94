"""Batches of prompts that are cut where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.memory import AtOnce, rows_at_once
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.generation import follow
from mfv_dsl.models.base import Backend, PromptBatch

Result = TypeVar("Result")


@dataclass(frozen=True)
class Rows:
    """Consecutive prompts of ``whole``, which ``batch`` holds: those from ``start`` on."""

    backend: Backend
    whole: PromptBatch
    batch: PromptBatch
    start: int = 0

    def __len__(self) -> int:
        return len(self.batch)

    def __getitem__(self, rows: slice) -> Rows:
        first, _, _ = rows.indices(len(self.batch))
        return replace(self, batch=self.batch[rows], start=self.start + first)

    @property
    def share(self) -> tuple[float, float]:
        """Where these prompts begin and end, as shares of the whole."""
        n = len(self.whole)
        return self.start / n, (self.start + len(self.batch)) / n

    def edits(self, edits: Sequence[Edit]) -> list[Edit]:
        """Edits of the whole batch, those with a value per prompt cut to these prompts."""
        if len(self.batch) == len(self.whole):
            return list(edits)
        rows = torch.arange(self.start, self.start + len(self.batch), device="cpu")
        return [follow(edit, rows, self.backend) for edit in edits]


def in_parts(
    backend: Backend, batches: Iterable[PromptBatch], run: Callable[[Rows], Result]
) -> Iterator[tuple[Rows, Result]]:
    """What ``run`` gives for the prompts of every batch, for as many of them at a time as memory
    suggests, and for fewer from when it ran out all the same.  Whatever runs a model over
    prompts goes through here: ``run`` may make prefixes, full passes, or what it likes of them,
    and has to leave nothing behind."""
    at_once = AtOnce(backend.device, "prompts")
    for batch in batches:
        bytes_ = prompt_bytes(backend.facts, batch.tokens.shape[1], batch.dtype.itemsize)
        most = rows_at_once(backend.device, bytes_)
        yield from at_once.of(Rows(backend, batch, batch), run, most)


def prompt_bytes(facts: ModelFacts, length: int, itemsize: int) -> int:
    """About how many bytes a prompt of ``length`` tokens takes while it is run: keys and values,
    which are recorded beside the model's own, a layer's activations, and a mask."""
    width = facts.kv_width or facts.d_model
    token = 4 * facts.n_layers * width + 24 * facts.d_model
    return length * (itemsize * token + 4 * length)
