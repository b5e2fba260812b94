"""Where the answers of a prompt's demonstrations stand among its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.token_texts import ends_of_tokens, squeezed
from mfv_dsl.base.transfer import sent
from mfv_dsl.models.base import Backend, PromptBatch

#: Stands for a name where it is asked how a prompt is written; a character of no text.
_BLANK = "\ue000"


def before_answers(backend: Backend, batch: PromptBatch) -> torch.Tensor:
    """The token before the answer of each demonstration of every prompt, a mask (prompts, length):
    the one at which a model that is asked the demonstration would answer.

    Raises MfvError: MFV5121 for a prompt without demonstrations, MFV5122 where the texts of prompts
    or of tokens are not known.
    """
    if len(batch.prompts) != len(batch):
        raise MfvError(
            "MFV5122", "the texts of these prompts are not known, to look for answers in them"
        )
    mask = torch.zeros(batch.tokens.shape, dtype=torch.bool)
    tokens, present = batch.tokens.tolist(), batch.mask.bool().tolist()
    for row, prompt in enumerate(batch.prompts):
        if not prompt.demonstrations:
            raise MfvError(
                "MFV5121", f"prompt {row} of a batch has no demonstrations to read at",
                help="read prompts with some, or at another position",
            )  # fmt: skip
        own = [
            place
            for place, token in enumerate(tokens[row])
            if present[row][place] and token not in backend.image_tokens
        ]
        found = _answers(backend, batch, row, [tokens[row][place] for place in own])
        mask[row, [own[place - 1] for place in found]] = True
    return sent(mask, batch.tokens.device)


def _answers(backend: Backend, batch: PromptBatch, row: int, tokens: Sequence[int]) -> list[int]:
    """The first token of each demonstration's answer among a prompt's ``tokens`` of no picture.

    What a demonstration says from its query on is looked for behind the one before it: pictures
    have marks around them that texts do not have.
    """
    whole, ends = ends_of_tokens(backend.surface, tokens)
    places, done = [], 0
    for number, item in enumerate(batch.prompts[row].demonstrations):
        wanted, answer = _said(backend, batch, row, number)
        start = whole.find(wanted, done) if wanted else -1
        done = start + len(wanted)
        begin = done - len(answer)
        place = next((k for k, end in enumerate(ends) if end > begin), 0)
        if start < 0 or not answer or place < 1:
            raise MfvError(
                "MFV5122",
                f"which tokens of a demonstration hold its answer `{item.answer}` is not known",
                help="this model's tokenizer does not give its texts back; read at the last token, "
                "at all, or at those of pictures",
            )
        places.append(place)
    return places


def _said(backend: Backend, batch: PromptBatch, row: int, number: int) -> tuple[str, str]:
    """What a demonstration says from its query to its answer, and the answer, without blanks; empty
    where that is not found."""

    prompt = batch.prompts[row]
    item = prompt.demonstrations[number]

    def piece(**blank: Any) -> str:
        items = list(prompt.demonstrations)
        items[number] = replace(item, **blank)
        return backend.pieces(replace(prompt, demonstrations=tuple(items)))[number]

    written = piece()
    start = piece(query=_BLANK).find(_BLANK)
    begin = piece(answer=_BLANK).find(_BLANK)
    if not 0 <= start < begin:
        return "", ""
    end = begin + len(item.answer)
    return squeezed(written[start:end]), squeezed(written[begin:end])
