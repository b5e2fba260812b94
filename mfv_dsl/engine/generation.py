"""Generation of several tokens under edits, greedy or by beam search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import NotFinite, check_edits, remedy
from mfv_dsl.engine.full_pass import settled
from mfv_dsl.engine.hooks import Hooks, find_site
from mfv_dsl.engine.pictures import edit_pictures
from mfv_dsl.engine.positions import at_last, placed
from mfv_dsl.engine.trace import note
from mfv_dsl.models.base import Backend, Decoder, Picture, PromptBatch, TextBackend


@dataclass(frozen=True, repr=False)
class Generation(Short):
    """The continuation of one prompt: ``tokens``, without the end token, and their summed
    log-probability ``log_p`` in nats, with it."""

    tokens: tuple[int, ...]
    log_p: float


@torch.no_grad()
def generate(
    backend: Backend,
    batch: PromptBatch,
    max_new_tokens: int,
    edits: Sequence[Edit] = (),
    *,
    everywhere: bool = False,
    beams: int = 1,
) -> list[Generation]:
    """Continue every prompt of ``batch`` until an end token or ``max_new_tokens``.

    ``edits`` are made in the prompt, at their positions, and in its pictures.  With ``everywhere``
    those in the prompt are made at every generated token too, and must be for the last token or for
    all.  With ``beams`` = 1 the
    likeliest token is taken each time; with more, the continuation with the highest summed
    log-probability among those that so many beams keep is returned.  Tokens that stand for
    pictures are never generated.

    Raises MfvError: MFV5107 for an edit that cannot be made ``everywhere``, MFV5370 where the model
    computes no numbers, and as :class:`~mfv_dsl.engine.hooks.Hooks`; ValueError for numbers below
    1.
    """
    if max_new_tokens < 1 or beams < 1:
        raise ValueError("max_new_tokens and beams must be at least 1")
    for edit in edits if everywhere else ():
        if not (edit.positions is None or at_last([edit])):
            raise MfvError(
                "MFV5107",
                f"{edit} is for positions {edit.positions}, which generated tokens do not have",
                help="edit the last token or all, or the prompt only",
            )
    check_edits(backend, edits)
    batch, edits = edit_pictures(backend, batch, settled(backend, batch, edits))
    edits = placed(backend, batch, edits)
    with backend.decoding(batch) as decoder:
        run = _Run(backend, decoder, edits, edits if everywhere else ())
        first = run.prompt()
        note(batch, edits)
        if beams == 1:
            return _greedy(run, first, max_new_tokens)
        return _beam_search(run, first, max_new_tokens, beams)


def generate_texts(
    model: TextBackend,
    texts: Sequence[str],
    images: Sequence[Sequence[Picture]],
    max_new_tokens: int = 20,
    *,
    beams: int = 1,
    edits: Sequence[Edit] = (),
    everywhere: bool = False,
) -> list[str]:
    """The model's continuation of each of ``texts``, as text.

    ``images`` has one list of pictures for each text, in the order of its ``<image>`` marks; the
    rest is as for :func:`generate`.  Models loaded by :func:`mfv_dsl.load_model` have it as a
    method::

        model.generate(["<image>Q:red circle. A:"], [[picture]], max_new_tokens=2)

    Raises MfvError: MFV7242 to MFV7245 for texts and images that do not fit one another or the
    model's context, and as :func:`generate`.
    """
    batch = model.texts(texts, images)
    length = batch.tokens.shape[1] + max_new_tokens
    model.check_length(length, f"the longest text (new tokens: {max_new_tokens})")
    generations = generate(model, batch, max_new_tokens, edits, everywhere=everywhere, beams=beams)
    return [model.text(generation.tokens) for generation in generations]


class _Run:
    """The model with its edits made; gives log-probabilities of the next token."""

    def __init__(
        self, backend: Backend, decoder: Decoder, edits: Sequence[Edit], later: Sequence[Edit]
    ) -> None:
        self.decoder, self.ends = decoder, backend.end_tokens
        self._backend, self._edits, self._later = backend, edits, list(later)
        self._banned = torch.tensor(sorted(backend.banned_tokens), dtype=torch.long, device="cpu")

    def prompt(self) -> torch.Tensor:
        """Log-probabilities of the first token, (prompts, vocabulary)."""
        return self._with(self._edits, self.decoder.prompt)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Those of the token after ``tokens`` (rows,), (rows, vocabulary)."""
        return self._with(self._later, lambda: self.decoder.step(tokens))

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with ``rows``; values that differ between prompts follow them."""
        self.decoder.keep(rows)
        self._later = [follow(edit, rows, self._backend) for edit in self._later]

    def brought(self, *tensors: torch.Tensor) -> list[list[Any]]:
        """What was made of the scores, as lists; MFV5370 where the scores are not all numbers."""
        finite, *rest = brought(self._finite, *tensors)
        if not bool(finite):
            raise NotFinite(
                "MFV5370",
                "the scores of the next token are not all numbers",
                help=remedy(self._backend, self._edits),
            )
        return [tensor.tolist() for tensor in rest]

    def _with(self, edits: Sequence[Edit], run: Callable[[], torch.Tensor]) -> torch.Tensor:
        with Hooks(self._backend.model, self._backend.sites, edits):
            logits = run()
        self._finite = logits.isfinite().all()  # looked at with what is made of them
        logits = logits if logits.dtype == torch.float64 else logits.float()
        self._banned = sent(self._banned, logits.device)
        logits = logits.index_fill(1, self._banned, -torch.inf)
        return logits.log_softmax(-1)


def follow(edit: Edit, rows: torch.Tensor, backend: Backend) -> Edit:
    """``edit`` with a value per prompt, or a mask of prompts, arranged for ``rows`` (rows,), the
    prompts that go on."""
    if isinstance(edit.when, torch.Tensor):
        edit = replace(edit, when=edit.when[rows.to(edit.when.device)])
    site = find_site(backend.sites, edit.site, edit.layer)
    shared = 1 if site.heads is None else 2
    if edit.value.ndim <= shared or edit.value.shape[0] == 1:
        return edit
    return replace(edit, value=edit.value[rows.to(edit.value.device)])


def _greedy(run: _Run, next_token: torch.Tensor, most: int) -> list[Generation]:
    """``next_token`` (prompts, vocabulary) log-probabilities of the first token."""
    prompts = len(next_token)
    tokens_by_prompt: list[list[int]] = [[] for _ in range(prompts)]
    log_p = [0.0] * prompts
    alive = list(range(prompts))  # finished prompts go on in the batch, and nobody listens
    for count in range(1, most + 1):
        best, tokens = next_token.max(-1)
        log_p_of_best, chosen = run.brought(best, tokens)
        for row in alive:
            log_p[row] += log_p_of_best[row]
            if chosen[row] not in run.ends:
                tokens_by_prompt[row].append(chosen[row])
        alive = [row for row in alive if chosen[row] not in run.ends]
        if not alive or count == most:
            break
        next_token = run.step(tokens)
    return [
        Generation(tuple(tokens), total)
        for tokens, total in zip(tokens_by_prompt, log_p, strict=True)
    ]


_Beam = tuple[int, tuple[int, ...], float]  # prompt, tokens so far, log-probability
_Candidate = tuple[int, int, float, bool]  # row, token, log-probability, whether it ends


def _beam_search(run: _Run, next_token: torch.Tensor, most: int, beams: int) -> list[Generation]:
    """``next_token`` (prompts, vocabulary) log-probabilities of the first token."""
    prompts = len(next_token)
    generations: list[list[Generation]] = [[] for _ in range(prompts)]
    rows: list[_Beam] = [(prompt, (), 0.0) for prompt in range(prompts)]
    for count in range(1, most + 1):
        candidates_by_prompt = _grow(run, rows, next_token, beams, prompts)
        survivors: list[tuple[int, int, float]] = []  # (row, token, log-probability)
        for prompt, candidates in enumerate(candidates_by_prompt):
            count_kept = 0
            for row, token, total, end in candidates:
                if end or count == most:
                    tokens = rows[row][1] + (() if end else (token,))
                    generations[prompt].append(Generation(tokens, total))
                elif count_kept < beams:
                    survivors.append((row, token, total))
                    count_kept += 1
            # log-probabilities only fall: a beam behind a finished one cannot win
            best = max((generation.log_p for generation in generations[prompt]), default=-torch.inf)
            survivors = [beam for beam in survivors if rows[beam[0]][0] != prompt or beam[2] > best]
        if not survivors:
            break
        kept, said = (torch.tensor([beam[i] for beam in survivors], device="cpu") for i in (0, 1))
        device = next_token.device
        run.keep(kept)
        next_token = run.step(sent(said, device))
        rows = [(rows[row][0], (*rows[row][1], token), total) for row, token, total in survivors]
    return [max(generation, key=lambda generation: generation.log_p) for generation in generations]


def _grow(
    run: _Run, rows: Sequence[_Beam], next_token: torch.Tensor, beams: int, prompts: int
) -> list[list[_Candidate]]:
    """By prompt, the likeliest continuations of its beams, the likeliest first: enough that
    ``beams`` of them go on, whichever end."""
    most = min(beams + len(run.ends), next_token.shape[1])
    values, tokens = run.brought(*next_token.topk(most, dim=-1))
    candidates_by_prompt: list[list[_Candidate]] = [[] for _ in range(prompts)]
    for row, (prompt, _, total) in enumerate(rows):
        candidates_by_prompt[prompt] += [
            (row, token, total + value, token in run.ends)
            for token, value in zip(tokens[row], values[row], strict=True)
        ]
    return [
        sorted(candidates, key=lambda candidate: -candidate[2])
        for candidates in candidates_by_prompt
    ]
