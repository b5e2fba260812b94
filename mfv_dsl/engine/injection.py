"""Vectors added to the residual stream of several batches at once, a vector for each batch.

    group = Injection([encode_prefix(backend, batch) for batch in batches])
    log_p = group.log_p(layer, vectors)  # of the answers, all prompts in turn

It is one pass of the layers above the injection, whatever the number of batches: the model is the
same for all, and so are its weights.  Each prompt sees its own prefix and its own vector, so that
what comes out for a batch does not depend on its neighbours, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.prefix import Prefix
from mfv_dsl.engine.scoring import Scores, concatenate_scores, log_probabilities, score
from mfv_dsl.engine.trace import note
from mfv_dsl.engine.variants import check_variants
from mfv_dsl.models.base import Continuation

Result = TypeVar("Result")


class Injection:
    """The last tokens of several batches of one model, each behind its own prefix.

    ``added`` is for each batch what is added at the output of decoder layer ``layer``, (d_model,)
    or (prompts, d_model).  Results have the prompts of all batches in turn, and carry gradients.
    The layers up to and with ``layer`` are run once, when first needed, and the token without the
    edit is not run beside it.

    With ``keep`` the joined prefixes are kept from one call to the next: they take as much memory
    as the prefixes again.  A model that cannot start in the middle, or whose prefixes cannot be
    joined, runs batch by batch; what comes out is the same.

    Raises MfvError for a layer that there is not and for a vector of another length.
    """

    def __init__(self, prefixes: Sequence[Prefix], keep: bool = False) -> None:
        self.prefixes, self._keep = tuple(prefixes), keep
        self._joined: dict[int, Any] = {}  # where it is kept, by the first stage to be run
        self.backend = prefixes[0].backend
        self.sizes = [len(prefix.batch) for prefix in prefixes]

    @property
    def answers(self) -> torch.Tensor:
        """The first tokens of all answers, (prompts,)."""
        return torch.cat([prefix.answers for prefix in self.prefixes])

    def log_p(self, layer: int, added: Sequence[torch.Tensor]) -> torch.Tensor:
        """Log-probabilities of the batches' answers, (prompts,)."""

        def joined(
            hidden: torch.Tensor, continuation: Continuation, answers: torch.Tensor
        ) -> torch.Tensor:
            return log_probabilities(
                hidden[:, 0], continuation.logits, continuation.vocabulary, answers
            )

        return self._run(layer, added, joined, torch.cat, lambda scores: scores.log_p[:, 0])

    def logits(self, layer: int, added: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits of the next token, (prompts, vocabulary)."""

        def joined(
            hidden: torch.Tensor, continuation: Continuation, answers: torch.Tensor
        ) -> torch.Tensor:
            return continuation.logits(hidden[:, 0])

        def alone(scores: Scores) -> torch.Tensor:
            assert scores.logits is not None
            return scores.logits[:, 0]

        return self._run(layer, added, joined, torch.cat, alone, logits=True)

    def scores(self, layer: int, added: Sequence[torch.Tensor], *, logits: bool = False) -> Scores:
        """Scores of the batches' answers, as of one variant; with ``logits`` of all tokens too."""

        def joined(
            hidden: torch.Tensor, continuation: Continuation, answers: torch.Tensor
        ) -> Scores:
            return score(
                hidden, continuation.logits, continuation.vocabulary, answers, keep_logits=logits
            )

        def together(parts: list[Scores]) -> Scores:
            return concatenate_scores(parts, dim=0)

        return self._run(layer, added, joined, together, lambda scores: scores, logits=logits)

    def _state(self, first: int) -> Any:
        """The state of all prefixes, for the stages from ``first`` on; None where it cannot be."""
        if len(self.prefixes) == 1:
            return self.prefixes[0].state
        if first in self._joined:
            return self._joined[first]
        state = self.backend.joined([prefix.state for prefix in self.prefixes], first)
        if self._keep:
            self._joined[first] = state
        return state

    def _run(
        self,
        layer: int,
        added: Sequence[torch.Tensor],
        joined: Callable[[torch.Tensor, Continuation, torch.Tensor], Result],
        together: Callable[[list[Result]], Result],
        alone: Callable[[Scores], Result],
        logits: bool = False,
    ) -> Result:
        """What ``joined`` makes of the last layer's output (prompts, 1, d_model) and the answers;
        of a model that cannot start in the middle what ``alone`` makes of a batch's scores.
        Results of several passes are put ``together``."""
        edits = [Edit("lm.resid", layer, "add", value) for value in added]
        for prefix, edit in zip(self.prefixes, edits, strict=True):
            check_variants(self.backend.sites, [[edit]], (), len(prefix.batch))
        tokens = [prefix.before(layer + 1) for prefix in self.prefixes]
        before = [part for part in tokens if part is not None]
        state = self._state(layer + 1) if len(before) == len(tokens) else None
        if state is None and len(self.prefixes) > 1:
            singles = map(Injection, zip(self.prefixes, strict=True))
            return together([
                single._run(layer, [value], joined, together, alone, logits)
                for single, value in zip(singles, added, strict=True)
            ])  # fmt: skip
        if state is None:
            return alone(self.prefixes[0].edited(edits[0], logits=logits))
        with self.backend.continuation(state) as continuation:
            hidden = torch.cat(before)
            rows = [
                value.to(hidden).expand(size, -1)
                for value, size in zip(added, self.sizes, strict=True)
            ]
            hidden = hidden + torch.cat(rows)[:, None]
            for stage in continuation.stages[layer + 1 :]:
                hidden = stage(hidden)
            for prefix, edit in zip(self.prefixes, edits, strict=True):
                note(prefix.batch, [edit], variant=0)
            return joined(hidden, continuation, self.answers)
