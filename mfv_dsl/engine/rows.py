"""Batches of prompts that are cut where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from mfv_dsl.base.memory import AtOnce
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
        rows = torch.arange(self.start, self.start + len(self.batch))
        return [follow(edit, rows, self.backend) for edit in edits]


def in_parts(
    backend: Backend, batches: Iterable[PromptBatch], run: Callable[[Rows], Result]
) -> Iterator[tuple[Rows, Result]]:
    """What ``run`` gives for the prompts of every batch, for fewer of them at a time from when
    memory ran out.  Whatever runs a model over prompts goes through here: ``run`` may make
    prefixes, full passes, or what it likes of them, and has to leave nothing behind."""
    rows = (Rows(backend, batch, batch) for batch in batches)
    return AtOnce(backend.device, "prompts").of_each(rows, run)
