"""Where edits are made whose positions are told by what stands there.

The tokens of pictures, and those of a text, are at other places in every prompt, so that they are
looked for in the batch that is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.token_texts import tokens_of
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.demonstrations import before_answers
from mfv_dsl.engine.edits import IMAGES, LAST, Edit, Span
from mfv_dsl.models.base import Backend, PromptBatch

#: Tokens by what stands there: those of pictures, all of a prompt, those before the answers of its
#: demonstrations, or those of a text.
ALL: Literal["all"] = "all"
DEMONSTRATIONS: Literal["demonstrations"] = "demonstrations"
Told: TypeAlias = "Literal['images', 'all', 'demonstrations'] | Span"
#: What stands in a :class:`~mfv_dsl.engine.edits.Span` for the name that a prompt asks about.
QUERY = "{query}"
#: Stands for the name where it is asked how a prompt is written; a character of no text.
_BLANK = "\ue000"


def at_last(edits: Sequence[Edit]) -> bool:
    """Whether all of ``edits`` are made at the last token alone, so that earlier ones are not
    changed by them."""
    return all(isinstance(e.positions, tuple) and e.positions == LAST for e in edits)


def placed(backend: Backend, batch: PromptBatch, edits: Sequence[Edit]) -> list[Edit]:
    """``edits`` with the places in ``batch`` of those that are made at pictures or at a text.

    Raises MfvError: MFV5121 for a prompt in which there are none, MFV5122 where it is not known
    which tokens hold a text.
    """
    places: dict[Told, torch.Tensor] = {}
    done = []
    for edit in edits:
        told = edit.positions
        if isinstance(told, str | Span):
            if told not in places:
                places[told] = mask_of(backend, batch, told)
            edit = replace(edit, positions=places[told])
        done.append(edit)
    return done


def wording(span: Span, name: str | None) -> str:
    """The text that is meant in the query of a prompt that asks about ``name``; in a text of one's
    own, which has no name, as it is written."""
    return span.text if name is None else span.text.replace(QUERY, name)


def no_text(wanted: str, query: str) -> MfvError:
    """MFV5121: a query does not have the text that is to be written to."""
    return MfvError(
        "MFV5121", f"there is no `{wanted}` in the query `{query}`",
        help="a text to write to has to stand in the query of every prompt; `{query}` in it is the "
        "name that the prompt asks about",
    )  # fmt: skip


def _found(backend: Backend, batch: PromptBatch, row: int, span: Span) -> tuple[int, str]:
    """Where the text that is meant begins in the query of a prompt, and the text.  Raises MfvError
    (MFV5121) where it is not there."""
    query, prompt = batch.queries[row], batch.prompts[row] if batch.prompts else None
    wanted = wording(span, None if prompt is None else prompt.query.query)
    start = query.rfind(wanted) if wanted.strip() else -1
    if start < 0:
        raise no_text(wanted, query)
    if prompt is not None and QUERY in span.text and query.find(wanted) != start:
        # the letters of the name stand elsewhere, too, as of `ant` in `assistant`
        blank = replace(prompt, query=replace(prompt.query, query=_BLANK))
        written = backend.pieces(blank)[-1]
        place = written.rfind(span.text.replace(QUERY, _BLANK))
        if place >= 0:
            behind = written[place:].replace(_BLANK, prompt.query.query)
            start = len(query) - len(behind)
    return start, wanted


def is_picture(tokens: torch.Tensor, image_tokens: frozenset[int]) -> torch.Tensor:
    """Which of ``tokens`` stand for pictures, of the same shape."""
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for token in image_tokens:
        mask |= tokens == token
    return mask


def mask_of(backend: Backend, batch: PromptBatch, told: Told) -> torch.Tensor:
    """The tokens of the prompts of ``batch`` that are meant, a mask (prompts, length).

    ``all`` are those that are no padding, ``demonstrations`` the one before the answer of each
    demonstration.  Raises MfvError: MFV5121 for a prompt that has none, MFV5122 where it is not
    known which tokens hold a text.
    """
    if isinstance(told, Span):
        return _of_text(backend, batch, told)
    if told == ALL:
        return batch.mask.bool()
    if told == DEMONSTRATIONS:
        return before_answers(backend, batch)
    assert told == IMAGES
    mask = is_picture(batch.tokens, backend.image_tokens) & batch.mask.bool()
    for row, found in enumerate(mask.any(-1).tolist()):
        if not found:
            raise MfvError(
                "MFV5121", f"prompt {row} of a batch has no token of a picture to write to",
                help="show it a picture, or write to the last token or to all",
            )  # fmt: skip
    return mask


def _of_text(backend: Backend, batch: PromptBatch, span: Span) -> torch.Tensor:
    if len(batch.queries) != len(batch):
        raise MfvError(
            "MFV5122", f"the texts of these prompts are not known, to look for {span} in"
        )
    tokens = batch.tokens.tolist()
    present = batch.mask.bool().tolist()
    mask = torch.zeros(batch.tokens.shape, dtype=torch.bool)
    for row, query in enumerate(batch.queries):
        start, wanted = _found(backend, batch, row, span)
        length = len(tokens[row])
        own = [place for place in range(length) if present[row][place]]
        pictures = [n for n, at in enumerate(own) if tokens[row][at] in backend.image_tokens]
        behind = own[pictures[-1] + 1 :] if pictures else own
        found = tokens_of(
            backend.surface, [tokens[row][at] for at in behind], query, start, start + len(wanted)
        )
        if found is None:
            raise MfvError(
                "MFV5122", f"which tokens of the query `{query}` hold `{wanted}` is not known",
                help="this model's tokenizer does not give its texts back; write to the last "
                "token, to all, or to those of pictures",
            )  # fmt: skip
        mask[row, [behind[place] for place in found]] = True
    return sent(mask, batch.tokens.device)
