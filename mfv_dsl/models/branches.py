"""Tokens behind copies of a last token: what each leaves for those that stand behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

#: By a module's identity, the keys and the values of some tokens, each
#: (prompts, key-value heads, rows, head_dim).
Kept: TypeAlias = dict[int, tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Branches:
    """The tokens that a pass has run behind a prefix, level by level.

    Level 0 is the copies of the last tokens; a token of level d stands behind one token of every
    level before, and sees those, the prefix and itself.  ``levels`` has what each level left.
    ``rows`` has, for the tokens that are run now, which row of each level before they stand behind,
    each (prompts, rows); none for copies of last tokens.  What modules make of the tokens that are
    run now is put into ``kept``, where there is one.

    ``joining`` copies of the first row stand behind the rows that a decoder layer is given, and are
    not given to it: they are edited no earlier than at its attention's output projection, so until
    there they are the first row.
    """

    levels: tuple[Kept, ...] = ()
    rows: tuple[torch.Tensor, ...] = ()
    kept: Kept | None = None
    joining: int = 0

    def join(self, rows: torch.Tensor) -> torch.Tensor:
        """``rows`` (prompts, rows, width) with those behind them that join."""
        if not self.joining:
            return rows
        return torch.cat([rows, rows[:, :1].expand(-1, self.joining, -1)], dim=1)

    def pass_through(
        self, module: nn.Module, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Keep what ``module`` made of the tokens that are run now; give the keys and values of
        those before them, (prompts, key-value heads, rows, levels, head_dim), if there are any."""
        if self.kept is not None:
            self.kept[id(module)] = key, value
        if not self.rows:
            return None
        parts = [
            [_picked(part, rows) for part in level[id(module)]]
            for level, rows in zip(self.levels, self.rows, strict=True)
        ]
        keys, values = (torch.stack(part, dim=3) for part in zip(*parts, strict=True))
        return keys, values


def _picked(part: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``rows`` of ``part``, (prompts, key-value heads, rows, head_dim).  A copy of the last token
    that has not branched off yet is the unedited one, in row 0."""
    rows = rows.to(part.device)
    there = rows.where(rows < part.shape[2], 0)[:, None, :, None]
    return part.gather(2, there.expand(-1, part.shape[1], -1, part.shape[3]))
