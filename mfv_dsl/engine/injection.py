"""Several batches run at once, each under its own edits.

    group = Injection([encode_prefix(backend, batch) for batch in batches])
    log_p = group.log_p(edits)  # of the answers, all prompts in turn

It is one pass of the layers from the first edit on, whatever the number of batches: the model is
the same for all, and so are its weights.  Each prompt sees its own prefix and its own edits, so
that what comes out for a batch does not depend on its neighbours, but for rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from itertools import chain
from typing import Any, TypeVar

import torch

from mfv_dsl.engine.edits import LAST, Edit
from mfv_dsl.engine.prefix import Prefix
from mfv_dsl.engine.scoring import Scores, concatenate_scores, log_probabilities, score
from mfv_dsl.engine.trace import note
from mfv_dsl.engine.variants import VariantHooks
from mfv_dsl.models.base import Continuation

Result = TypeVar("Result")
#: What can be done to all prompts where some of them ask for it: the others' value changes nothing.
_NEUTRAL = {"scale": torch.ones_like, "add": torch.zeros_like}


class Injection:
    """The last tokens of several batches of one model, each behind its own prefix.

    Each method takes for every batch its edits, whose values may be one for each prompt.  Results
    have the prompts of all batches in turn, and carry gradients.  The layers below the first edit
    are run once, when first needed, and the token without edits is not run beside it.

    With ``keep`` the joined prefixes are kept from one call to the next: they take as much memory
    as the prefixes again.  A model that cannot start in the middle, or whose prefixes cannot be
    joined, runs batch by batch, and so do edits that cannot be made side by side; what comes out is
    the same.  Of :class:`~mfv_dsl.engine.prefix.FullPasses` edits may be at any token.

    Raises MfvError for edits that do not fit the model.
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

    def log_p(self, edits: Sequence[Sequence[Edit]]) -> torch.Tensor:
        """Log-probabilities of the batches' answers, (prompts,)."""

        def joined(
            hidden: torch.Tensor, continuation: Continuation, answers: torch.Tensor
        ) -> torch.Tensor:
            return log_probabilities(
                hidden[:, 0], continuation.logits, continuation.vocabulary, answers
            )

        return self._run(edits, joined, torch.cat, lambda scores: scores.log_p[:, 0])

    def logits(self, edits: Sequence[Sequence[Edit]]) -> torch.Tensor:
        """Logits of the next token, (prompts, vocabulary)."""

        def joined(
            hidden: torch.Tensor, continuation: Continuation, answers: torch.Tensor
        ) -> torch.Tensor:
            return continuation.logits(hidden[:, 0])

        def alone(scores: Scores) -> torch.Tensor:
            assert scores.logits is not None
            return scores.logits[:, 0]

        return self._run(edits, joined, torch.cat, alone, logits=True)

    def scores(self, edits: Sequence[Sequence[Edit]], *, logits: bool = False) -> Scores:
        """Scores of the batches' answers, as of one variant; with ``logits`` of all tokens too."""

        def joined(
            hidden: torch.Tensor, continuation: Continuation, answers: torch.Tensor
        ) -> Scores:
            return score(
                hidden, continuation.logits, continuation.vocabulary, answers, keep_logits=logits
            )

        def together(parts: list[Scores]) -> Scores:
            return concatenate_scores(parts, dim=0)

        return self._run(edits, joined, together, lambda scores: scores, logits=logits)

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
        edits: Sequence[Sequence[Edit]],
        joined: Callable[[torch.Tensor, Continuation, torch.Tensor], Result],
        together: Callable[[list[Result]], Result],
        alone: Callable[[Scores], Result],
        logits: bool = False,
    ) -> Result:
        """What ``joined`` makes of the last layer's output (prompts, 1, d_model) and the answers;
        of a model that cannot start in the middle what ``alone`` makes of a batch's scores.
        Results of several passes are put ``together``."""
        for prefix, own in zip(self.prefixes, edits, strict=True):
            prefix.check([own])
        as_one = self._side_by_side(edits)
        at_end = as_one is not None and _is_behind_a_layer(as_one)
        first = 0 if not as_one else min(edit.layer for edit in as_one) + at_end
        tokens = [prefix.before(first) for prefix in self.prefixes] if as_one else [None]
        before = [part for part in tokens if part is not None]
        state = self._state(first) if len(before) == len(self.prefixes) else None
        if state is None and len(self.prefixes) > 1:
            singles = map(Injection, zip(self.prefixes, strict=True))
            return together([
                single._run([own], joined, together, alone, logits)
                for single, own in zip(singles, edits, strict=True)
            ])  # fmt: skip
        if state is None or as_one is None:
            return alone(self.prefixes[0].scores(edits, logits=logits))
        with self.backend.continuation(state) as continuation:
            hidden = torch.cat(before)
            rows = [as_one]
            if at_end:
                hidden = hidden + _rows(as_one[0].value.to(hidden), sum(self.sizes))[:, None]
                rows = [[]]
            with VariantHooks(self.backend.model, self.backend.sites, rows):
                for stage in continuation.stages[first:]:
                    hidden = stage(hidden)
            for prefix, own in zip(self.prefixes, edits, strict=True):
                note(prefix.batch, own, variant=0)
            return joined(hidden, continuation, self.answers)

    def _side_by_side(self, edits: Sequence[Sequence[Edit]]) -> list[Edit] | None:
        """The edits of all batches as those of one, with a value for each prompt; None where that
        is not possible.

        It is for edits at the last token, where each batch has one of an operation at a place, and
        those that it lacks are to add or to scale: the prompts of a batch without them are scaled
        by 1, and get 0 added.
        """
        if not any(edits) or not all(map(_is_plain, chain(*edits))):
            return None
        if len(edits) == 1:
            return list(edits[0])
        places = [{_place(edit): edit for edit in own} for own in edits]
        if any(not _in_order(own) for own in edits) or any(not e.value.ndim for e in chain(*edits)):
            return None
        merged = []
        for place in sorted({*chain(*places)}, key=_turn):
            neutral = _NEUTRAL.get(place[-1])
            if neutral is None and not all(place in own for own in places):
                return None
            example = next(own[place] for own in places if place in own)
            shared = 1 if self.backend.sites[example.site].heads is None else 2
            shape, parts = example.value.shape[-shared:], []
            for own, size in zip(places, self.sizes, strict=True):
                if place in own:
                    value = own[place].value.to(example.value)
                else:
                    assert neutral is not None
                    value = neutral(example.value.detach().reshape(-1, *shape)[:1])
                parts.append(value.expand(size, *shape))
            merged.append(replace(example, value=torch.cat(parts)))
        return merged


def _is_plain(edit: Edit) -> bool:
    """Whether an edit is made at the last token, and is its operation and nothing more."""
    more = (f for f in fields(edit) if f.default is not MISSING and f.name != "heads")
    return edit.positions == LAST and all(getattr(edit, f.name) == f.default for f in more)


_Place = tuple[str, int, "tuple[int, ...] | None", str]


def _place(edit: Edit) -> _Place:
    return edit.site, edit.layer, edit.heads, edit.operation


def _turn(place: _Place) -> tuple[int, str, bool, str]:
    """At one place what scales comes before what adds."""
    site, layer, heads, operation = place
    return layer, site, operation == "add", str(heads)


def _in_order(edits: Sequence[Edit]) -> bool:
    """Whether there is one edit of an operation at a place, and they come in their turn."""
    found: dict[tuple[str, int], list[_Place]] = defaultdict(list)
    for edit in edits:
        found[edit.site, edit.layer].append(_place(edit))
    return all(
        len({*places}) == len(places) and sorted(places, key=_turn) == places
        for places in found.values()
    )


def _is_behind_a_layer(edits: Sequence[Edit]) -> bool:
    """Whether all that is done is to add something behind one layer, so that the layer itself need
    not be run again."""
    (first, *others) = edits
    return not others and (first.site, first.operation) == ("lm.resid", "add")


def _rows(value: torch.Tensor, n: int) -> torch.Tensor:
    """A value for each of ``n`` prompts, (n, d_model)."""
    return value.expand(n, -1)
