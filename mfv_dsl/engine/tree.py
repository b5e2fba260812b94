"""Further tokens behind the copies of a last token: a tree for every prompt and variant.

    prefix.grow(variants, targets, grown)  # calls grown(tree) for each chunk of the variants

Edits are made at the last token alone.  What a further token sees is the prefix, the copy of the
last token of its own variant, edited as that is, the tokens of its own branch, and itself.  All
tokens of one level, of all variants, are run together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfv_dsl.base.memory import rows_at_once
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.scoring import Scores, concatenate_scores, score
from mfv_dsl.models.base import Continuation
from mfv_dsl.models.branches import Kept


class Tree:
    """The tree of some variants, of which the roots have been run.

    ``variants`` are their places in the list given, and ``scores`` (prompts, variants) those of the
    token behind each prompt.
    """

    def __init__(
        self, continuation: Continuation, kept: Kept, variants: tuple[int, ...],
        rows: Sequence[int], scores: Scores,
    ) -> None:  # fmt: skip
        self.variants, self.scores = variants, scores
        self._continuation = continuation
        self._roots = sent(torch.tensor(rows, device="cpu"), continuation.start.device)
        self._levels: list[Kept] = [kept]
        self._behind: list[tuple[torch.Tensor, ...]] = [()]  # by level, as Branches.rows

    def step(
        self, level: int, tokens: torch.Tensor, parents: torch.Tensor, targets: torch.Tensor,
        top: int = 0,
    ) -> tuple[int, Scores]:  # fmt: skip
        """Run ``tokens`` (prompts, rows), each behind the row of the level before that ``parents``
        (prompts, rows) names; of level 1 those are variants, in the order of ``scores``.

        Gives the number of the first of these rows in its level, which may have some already, and
        the scores of the token behind each: of ``targets`` (prompts, rows, targets), and of so many
        likeliest (``top``).
        """
        device = self._continuation.start.device
        tokens, parents = sent(tokens, device), sent(parents, device)
        prompts, rows = tokens.shape
        if level == 1:
            behind: tuple[torch.Tensor, ...] = (self._roots[parents],)
        else:
            earlier = (part.gather(1, parents) for part in self._behind[level - 1])
            behind = (*earlier, parents)
        if level == len(self._levels):
            self._levels.append({})
            self._behind.append(tuple(part[:, :0] for part in behind))
        first = self._behind[level][0].shape[1]
        at_once = max(1, rows_at_once(device, self._continuation.row_bytes) // prompts)
        parts = []
        for start in range(0, rows, at_once):
            columns = slice(start, start + at_once)
            hidden = self._run(level, tokens[:, columns], [b[:, columns] for b in behind])
            parts.append(
                score(
                    hidden, self._continuation.logits, self._continuation.vocabulary,
                    targets[:, columns], top, ranks=False,
                )
            )  # fmt: skip
        self._behind[level] = tuple(
            torch.cat(pair, dim=1) for pair in zip(self._behind[level], behind, strict=True)
        )
        return first, concatenate_scores(parts)

    def _run(
        self, level: int, tokens: torch.Tensor, behind: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The states behind the last layer, (prompts, rows, d_model)."""
        branches = self._continuation.branches
        kept: Kept = {}
        branches.levels, branches.kept = tuple(self._levels[:level]), kept
        branches.rows = tuple(rows.to(tokens.device) for rows in behind)
        hidden = self._continuation.further(tokens)
        here = self._levels[level]
        for module, (keys, values) in kept.items():
            if module in here:
                before = here[module]
                keys = torch.cat([before[0], keys], dim=2)
                values = torch.cat([before[1], values], dim=2)
            here[module] = keys, values
        return hidden
