"""How likely whole continuations of a prompt are, under edits.

    log p(s | prompt) = Σ over i of log p(s_i | prompt, s_1 … s_(i-1))

Continuations that begin alike share the tokens that they share: they are run as a tree, level by
level, behind a prompt that is run once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfv_dsl.base.memory import rows_at_once
from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import check_edits, not_finite
from mfv_dsl.engine.full_pass import settled
from mfv_dsl.engine.generation import follow
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.pictures import edit_pictures
from mfv_dsl.engine.positions import placed
from mfv_dsl.engine.trace import note
from mfv_dsl.models.base import Backend, PromptBatch

Tokens = tuple[int, ...]


@torch.no_grad()
def sequence_log_p(
    backend: Backend,
    batch: PromptBatch,
    sequences: Sequence[Tokens],
    edits: Sequence[Edit] = (),
    at_once: int | None = None,
) -> torch.Tensor:
    """The log-probability of each of ``sequences`` behind each prompt, (prompts, sequences) float64
    on the processor.

    ``edits`` are made in the prompt, at their positions, and not at the sequences' tokens.
    ``at_once`` is how many rows are run together, by default as many as memory suggests.
    Log-probabilities are in nats.  Raises MfvError as :class:`~mfv_dsl.engine.hooks.Hooks`, and
    MFV5370 where the model computes no numbers.
    """
    check_edits(backend, edits)
    batch, edits = edit_pictures(backend, batch, settled(backend, batch, edits))
    if at_once is None:
        at_once = rows_at_once(backend.device, _row_bytes(backend, batch, sequences))
    parts = []
    for start in range(0, len(sequences), at_once):
        part = sequences[start : start + at_once]
        width = max(map(len, _levels(part)), default=0)  # rows of a prompt at the widest level
        step = max(1, at_once // width) if width else len(batch)
        parts.append(
            torch.cat(
                [
                    _log_p(backend, batch, slice(first, first + step), part, edits)
                    for first in range(0, len(batch), step)
                ]
            )
        )
    note(batch, placed(backend, batch, edits))
    log_p = torch.cat(parts, dim=1)
    n_bad = sum((~log_p.isfinite()).any(1).tolist())
    if n_bad:
        what = f"the scores of {n_bad} of {len(batch)} prompts' continuations are"
        raise not_finite("MFV5370", what, backend, batch, edits)
    return log_p


def _row_bytes(backend: Backend, batch: PromptBatch, sequences: Sequence[Tokens]) -> int:
    """Keys and values of one row, at most."""
    length = batch.tokens.shape[1] + max(map(len, sequences), default=0)
    facts = backend.facts
    size = batch.dtype.itemsize
    return 2 * size * facts.n_layers * facts.n_heads * facts.head_dim * length


def _levels(sequences: Sequence[Tokens]) -> list[list[Tokens]]:
    """By length from 1, the different beginnings that some sequence continues."""
    longest = max(map(len, sequences), default=0)
    return [
        list(dict.fromkeys(s[:length] for s in sequences if len(s) > length))
        for length in range(1, longest)
    ]


def _log_p(
    backend: Backend,
    batch: PromptBatch,
    prompts: slice,
    sequences: Sequence[Tokens],
    edits: Sequence[Edit],
) -> torch.Tensor:
    """:func:`sequence_log_p` of some prompts, all at once."""
    rows = torch.arange(len(batch))[prompts]
    part = batch[prompts]
    levels: list[tuple[list[int], torch.Tensor]] = []
    with backend.decoding(part) as decoder:
        own = placed(backend, part, [follow(edit, rows, backend) for edit in edits])
        with Hooks(backend.model, backend.sites, own):
            logits = decoder.prompt()
        beginnings: list[Tokens] = [()]  # the rows of each prompt
        for level in [*_levels(sequences), []]:
            levels.append(_level(logits, len(part), sequences, beginnings))
            if not level:
                break
            place = {beginning: row for row, beginning in enumerate(beginnings)}
            parents = torch.tensor([place[beginning[:-1]] for beginning in level])
            rows = torch.arange(len(part))[:, None] * len(beginnings) + parents
            decoder.keep(rows.flatten())
            tokens = torch.tensor([beginning[-1] for beginning in level]).repeat(len(part))
            logits = decoder.step(sent(tokens, backend.device))
            beginnings = level
    total = torch.zeros(len(part), len(sequences), dtype=torch.float64)
    columns = [numbers for numbers, _ in levels]
    for numbers, added in zip(columns, brought(*(added for _, added in levels)), strict=True):
        total[:, numbers] += added.double()
    return total


def _level(
    logits: torch.Tensor, prompts: int, sequences: Sequence[Tokens], beginnings: list[Tokens]
) -> tuple[list[int], torch.Tensor]:
    """The numbers of the sequences that go on behind ``beginnings``, all of one length, and what
    their next tokens add to their log-probabilities, (prompts, numbers).

    ``logits`` (prompts · beginnings, vocabulary).
    """
    place = {beginning: row for row, beginning in enumerate(beginnings)}
    length = len(beginnings[0])
    longer = [i for i, s in enumerate(sequences) if len(s) > length]
    rows = torch.tensor([place[sequences[i][:length]] for i in longer])
    tokens = torch.tensor([sequences[i][length] for i in longer])
    precise = logits if logits.dtype == torch.float64 else logits.float()
    where = sent(torch.arange(prompts)[:, None] * len(beginnings) + rows, logits.device)
    target_logits = precise[where, sent(tokens, logits.device)]
    added = target_logits - precise.logsumexp(-1)[where]
    is_finite = precise.isfinite().all(-1)[where]
    return longer, added.masked_fill(~is_finite, torch.nan)
