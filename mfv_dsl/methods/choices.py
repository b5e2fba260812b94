"""Questions with options: which of them a model chooses, in three ways of asking.

``choice``: the options are listed behind letters, and the probabilities of the letters decide,
normalised over them and averaged over all turns of the list (arXiv:2309.03882, "cyclic
permutation"): each option has stood behind each letter once, so that liking a letter or a place
helps none.  The options' texts are scored besides.  ``choice_text``: each option is a continuation
of the question, which lists none, and the log-probability for each token decides.  ``yes_no``: the
probability of all spellings of yes against that of all of no, as the next token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.transfer import brought
from mfv_dsl.data.asked import by_letter, by_text, choice_of_item, question_of, turned, yes_or_no
from mfv_dsl.data.choices import LETTERS, Choice
from mfv_dsl.data.items import Prompt
from mfv_dsl.engine.gates import gates_of
from mfv_dsl.engine.options import options_log_p
from mfv_dsl.engine.prefix import Prefix, PrefixOf, Variant, encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.engine.sequences import Tokens
from mfv_dsl.methods.answers import Answers, opened_by, put_together, refused
from mfv_dsl.methods.finite import failure
from mfv_dsl.methods.outcomes import Choices, Outcomes
from mfv_dsl.models.base import Backend, PromptBatch

_SPELLINGS = {"yes": ("yes", "Yes", "YES"), "no": ("no", "No", "NO")}

#: Makes the batches of prompts, each when it is taken.
BatchesOf = Callable[[list[Prompt]], Sequence[PromptBatch]]


def asked_prompts(prompt: Prompt, how: str) -> list[Prompt]:
    """The prompts that ask a prompt's question in one of the three ways.

    Raises MfvError: MFV5710 for an item without options, MFV5711 for ``yes_no`` where they are not
    yes and no.
    """
    choice = choice_of_item(prompt.query)
    if how == "choice":
        return [
            *(by_letter(prompt, turn) for turn in range(len(choice.options))), by_text(prompt)
        ]  # fmt: skip
    if how == "choice_text":
        return [by_text(prompt)]
    for item in (*prompt.demonstrations, prompt.query):
        if not choice_of_item(item).is_yes_no:
            raise MfvError(
                "MFV5711", f"the options of {item.place or item.image} are not yes and no: "
                f"{', '.join(choice_of_item(item).options):.80}",
                help="`answer = choice` takes any options",
            )  # fmt: skip
    return [yes_or_no(prompt)]


def check_words(backend: Backend, how: str, prompts: Sequence[Prompt]) -> None:
    """Refuse, before anything is run, what a tokenizer cannot tell apart: letters, or yes and no
    (MFV5712), and two options of a question (MFV5713)."""
    if how == "yes_no":
        _spelled(backend, _SPELLINGS)
    if how == "choice":
        _letters(backend, max(len(choice_of_item(prompt.query).options) for prompt in prompts))
    if how != "yes_no":
        for prompt in prompts:
            _option_tokens(backend, prompt)


def measure_choices(
    backend: Backend,
    batches_of: BatchesOf,
    prompts: list[Prompt],
    variants: Sequence[Variant],
    how: str,
    prefix_of: PrefixOf = encode_prefix,
) -> list[Answers]:
    """Which options the model chooses under each variant, asked in one of the three ways.

    ``prompts`` are those of items with options, ``batches_of`` makes batches of the prompts that
    ask.  The ``p_answer`` of outcomes is the probability of the right option among the options,
    ``names`` are the options chosen, ``said`` the token that was likeliest where the options stood
    in the order of the set.  A variant under which the model computes no numbers has a failure in
    place of answers.

    Raises MfvError as :func:`asked_prompts` and :func:`check_words`.
    """
    choosing = Choosing(backend, batches_of, variants, how, prefix_of)
    return choosing.joined(prompts, [choosing.measured(prompts)])


class Choosing:
    """Some variants, and how a model chooses options under each; arguments as of
    :func:`measure_choices`.  Prompts may be measured in parts, which are joined afterwards."""

    def __init__(
        self, backend: Backend, batches_of: BatchesOf, variants: Sequence[Variant], how: str,
        prefix_of: PrefixOf = encode_prefix,
    ) -> None:  # fmt: skip
        self._backend, self._batches_of = backend, batches_of
        self._how, self._prefix_of = how, prefix_of
        self._errors = [refused(backend, edits) for edits in variants]
        pairs = zip(variants, self._errors, strict=True)
        self._sound = [edits for edits, error in pairs if error is None]

    def measured(self, prompts: list[Prompt]) -> tuple[Answers, ...]:
        """The answers under each variant whose edits are numbers; ``p_answer`` is NaN where the
        model computes none."""
        for prompt in prompts:
            asked_prompts(prompt, self._how)
        if not self._sound or not prompts:
            return ()
        check_words(self._backend, self._how, prompts)
        choices = [choice_of_item(prompt.query) for prompt in prompts]
        ask = _Ask(
            self._backend, self._batches_of, prompts, choices, self._sound, self._prefix_of
        )  # fmt: skip
        return tuple(ask.answers(self._how))

    def joined(self, prompts: list[Prompt], parts: Sequence[tuple[Answers, ...]]) -> list[Answers]:
        """Of each variant the answers of all ``parts``, what :meth:`measured` gave for
        ``prompts``; or why it has none."""
        found = iter([
            self._together(prompts, edits, own)
            for edits, own in zip(self._sound, zip(*parts, strict=True), strict=False)
        ])  # fmt: skip
        return [next(found) if error is None else Answers.failed(error) for error in self._errors]

    def _together(self, prompts: list[Prompt], edits: Variant, parts: Sequence[Answers]) -> Answers:
        whole = put_together(parts)
        if np.isfinite(whole.outcomes.p_answer).all():
            return whole
        batches = self._batches_of([by_text(prompt) for prompt in prompts])
        error = failure(self._backend, batches, edits, whole.outcomes.p_answer)
        return whole if error is None else Answers.failed(error)


@dataclass(frozen=True)
class _Scored:
    """What was asked of prompts under each variant: ``log_p`` (prompts, variants, things), the
    likeliest token ``likeliest`` (prompts, variants), and which gates opened, by variant (prompts,)
    or None."""

    log_p: np.ndarray
    likeliest: np.ndarray
    opened: tuple[np.ndarray | None, ...]


@dataclass(frozen=True)
class _Ask:
    """Asks the questions of prompts under variants."""

    backend: Backend
    batches_of: BatchesOf
    prompts: Sequence[Prompt]
    choices: Sequence[Choice]
    variants: Sequence[Variant]
    prefix_of: PrefixOf

    @property
    def counts(self) -> np.ndarray:
        """How many options each question has."""
        return np.array([len(choice.options) for choice in self.choices])

    @property
    def right(self) -> np.ndarray:
        """The number of each right option."""
        return np.array([choice.right for choice in self.choices])

    def answers(self, how: str) -> list[Answers]:
        """The answers under each variant."""
        if how == "yes_no":
            return self._yes_no()
        texts, tokens, first = self._texts()
        if how == "choice":
            return self._letters(texts, tokens)
        each = texts / np.maximum(tokens, 1)[:, None]
        p = _among(each, self.counts)
        return self._made(p, first, -np.ones(len(p), int), np.ones(len(p)), texts, tokens)

    def _yes_no(self) -> list[Answers]:
        words = _spelled(self.backend, _SPELLINGS)
        scored = self._tokens([yes_or_no(prompt) for prompt in self.prompts], words)
        # in the order of each question's options
        order = np.array([[o.lower() == "no" for o in c.options] for c in self.choices], int)
        log_p = np.take_along_axis(scored.log_p, order[:, None], axis=-1)
        said = np.exp(log_p).sum(-1)
        nothing = np.zeros((len(order), len(self.variants), 0))
        none = -np.ones(len(order), int)
        return self._made(
            _among(log_p, self.counts), scored, none, said, nothing, nothing[:, 0].astype(int)
        )

    def _letters(self, texts: np.ndarray, tokens: np.ndarray) -> list[Answers]:
        counts, most = self.counts, int(self.counts.max())
        rows = [(i, turn) for i, count in enumerate(counts) for turn in range(count)]
        letters = _letters(self.backend, most)
        scored = self._tokens([by_letter(self.prompts[i], turn) for i, turn in rows], letters)
        p = np.zeros((len(counts), len(self.variants), most))
        said = np.zeros(p.shape[:2])
        in_order = np.zeros(p.shape[:2], int)
        first = np.array([row for row, (_, turn) in enumerate(rows) if turn == 0])
        for row, (i, turn) in enumerate(rows):
            n = counts[i]
            log_p = scored.log_p[row, :, :n]
            among = _among(log_p, np.array([n]))
            p[i][:, turned(n, turn)] += among / n
            said[i] += np.exp(log_p).sum(-1) / n
            if turn == 0:
                in_order[i] = among.argmax(-1)
        opened = tuple(None if one is None else one[first] for one in scored.opened)
        asked = _Scored(p, scored.likeliest[first], opened)
        return self._made(p, asked, in_order, said, texts, tokens)

    def _made(
        self, p: np.ndarray, scored: _Scored, in_order: np.ndarray, said: np.ndarray,
        texts: np.ndarray, tokens: np.ndarray,
    ) -> list[Answers]:  # fmt: skip
        """Answers of the probabilities ``p`` (prompts, variants, options)."""
        made = []
        for number, opened in enumerate(scored.opened):
            own = p[:, number]
            parts = (
                self.counts, self.right, own,
                in_order if in_order.ndim == 1 else in_order[:, number],
                said if said.ndim == 1 else said[:, number], texts[:, number], tokens,
            )  # fmt: skip
            choices = Choices(*(part.copy() for part in parts))  # no memory is shared in the store
            finite = np.isfinite(own).all(-1) & np.isfinite(texts[:, number]).all(-1)
            chosen = choices.chosen
            outcomes = Outcomes(
                np.where(finite, own[np.arange(len(own)), self.right], np.nan),
                chosen == self.right, scored.likeliest[:, number], choices,
            )  # fmt: skip
            names = tuple(c.options[n] for c, n in zip(self.choices, chosen.tolist(), strict=True))
            made.append(Answers(outcomes, names, opened=opened))
        return made

    def _tokens(self, prompts: list[Prompt], groups: Sequence[Sequence[int]]) -> _Scored:
        """Log-probabilities of the next token being any of each group."""
        flat = torch.tensor([token for group in groups for token in group])
        ends = np.cumsum([len(group) for group in groups])

        def scored(prefix: Prefix, own: list[Variant], _: slice) -> tuple[np.ndarray, np.ndarray]:
            scores = prefix.scores(own, flat.expand(len(prefix.batch), -1))
            log_p, likeliest = brought(scores.log_p.double(), scores.likeliest)
            parts = np.split(log_p.numpy(), ends[:-1], axis=-1)
            return np.stack([np.logaddexp.reduce(part, axis=-1) for part in parts], -1), (
                likeliest.numpy()
            )

        return self._run(prompts, scored)

    def _texts(self) -> tuple[np.ndarray, np.ndarray, _Scored]:
        """The log-probability of each option's text (prompts, variants, options), how many tokens
        it has (prompts, options), and what was said."""
        sequences = [_option_tokens(self.backend, prompt) for prompt in self.prompts]
        most = int(self.counts.max())

        def scored(prefix: Prefix, own: list[Variant], at: slice) -> tuple[np.ndarray, np.ndarray]:
            log_p = options_log_p(prefix, sequences[at], own)
            first = prefix.scores(own, torch.zeros(len(prefix.batch), 0, dtype=torch.long))
            wide = np.zeros((*log_p.shape[:2], most))
            wide[..., : log_p.shape[-1]] = log_p
            return wide, brought(first.likeliest)[0].numpy()

        found = self._run([by_text(prompt) for prompt in self.prompts], scored)
        tokens = np.zeros((len(sequences), most), int)
        for i, row in enumerate(sequences):
            tokens[i, : len(row)] = [len(sequence) for sequence in row]
        return found.log_p, tokens, found

    def _run(
        self, prompts: list[Prompt],
        scored: Callable[[Prefix, list[Variant], slice], tuple[np.ndarray, np.ndarray]],
    ) -> _Scored:  # fmt: skip
        """What ``scored`` gives of all prompts; its last argument says which of them they are."""
        start = 0

        def measured(rows: Rows) -> _Scored:
            own: list[Variant] = [rows.edits(edits) for edits in self.variants]
            first = start + rows.start
            with torch.no_grad():
                prefix = self.prefix_of(self.backend, rows.batch)
                if any(gates_of(edits) for edits in own):
                    own = prefix.settled(own)
                found = scored(prefix, own, slice(first, first + len(rows)))
            return _Scored(*found, tuple(map(opened_by, own)))

        parts = []
        for batch in self.batches_of(prompts):
            parts += [part for _, part in in_parts(self.backend, [batch], measured)]
            start += len(batch)
        return _Scored(
            np.concatenate([part.log_p for part in parts]),
            np.concatenate([part.likeliest for part in parts]),
            tuple(
                None if masks[0] is None else np.concatenate(masks)
                for masks in zip(*(part.opened for part in parts), strict=True)
            ),
        )


def _among(log_p: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Probabilities among each prompt's own options, 0 beyond them, of log-probabilities (prompts,
    variants, options), or (variants, options) of one prompt."""
    shape = (-1, *[1] * (log_p.ndim - 2), 1) if log_p.ndim == 3 else (1, 1)
    own = np.arange(log_p.shape[-1]) < counts.reshape(shape)
    shifted = np.where(own, log_p, -np.inf)
    weights = np.exp(shifted - shifted.max(-1, keepdims=True))
    p: np.ndarray = weights / weights.sum(-1, keepdims=True)
    return p


# -- tokens ---------------------------------------------------------------------------------------
def _letters(backend: Backend, count: int) -> list[tuple[int, ...]]:
    """The tokens that each of so many letters may begin with."""
    return _spelled(backend, {letter: (letter,) for letter in LETTERS[:count]})


def _spelled(backend: Backend, words: Mapping[str, tuple[str, ...]]) -> list[tuple[int, ...]]:
    """By word the first tokens of its spellings, with and without a blank before, less those that
    two words share.  Raises MfvError (MFV5712) where nothing is left of one."""
    tokens = {
        word: dict.fromkeys(
            token for spelling in spellings for token in _first_tokens(backend, spelling)
        )
        for word, spellings in words.items()
    }
    own = [
        tuple(t for t in found if sum(t in others for others in tokens.values()) == 1)
        for found in tokens.values()
    ]
    lost = [word for word, found in zip(words, own, strict=True) if not found]
    if lost:
        raise MfvError(
            "MFV5712", f"the model's tokenizer does not tell {', '.join(words)} apart: nothing is "
            f"the beginning of {lost[0]} alone",
            help="`answer = choice_text` scores the options' own texts; `answer = first` asks for "
            "the answer itself",
        )  # fmt: skip
    return own


def _first_tokens(backend: Backend, word: str) -> list[int]:
    found = [backend.answer_tokens([word], whole=True)[0][0]]
    for text in (word, f" {word}"):
        try:
            found.append(backend.said_tokens(text)[0])
        except MfvError:  # this spelling merges with what stands before it, and is never said
            continue
    return found


def _option_tokens(backend: Backend, prompt: Prompt) -> list[Tokens]:
    """The tokens of a question's options where an answer stands.  Where one option begins another,
    a full stop ends all.  Raises MfvError (MFV5713) where two have the same tokens."""
    item = prompt.query
    options, whole = list(choice_of_item(item).options), by_text(prompt).whole
    tokens = backend.answer_tokens(options, whole)
    if any(a != b and b[: len(a)] == a for a in tokens for b in tokens):
        tokens = backend.answer_tokens([f"{option}." for option in options], whole)
    if len(set(tokens)) < len(tokens):
        twin = next(n for n, sequence in enumerate(tokens) if tokens.count(sequence) > 1)
        raise MfvError(
            "MFV5713", f"two options of `{question_of(item):.80}` have the same tokens, one of "
            f"them `{options[twin]:.80}`",
            help="the tokenizer takes words that it does not know for one; take a model that knows "
            "them",
        )  # fmt: skip
    return tokens
