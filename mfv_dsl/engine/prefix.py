"""The prefix engine: a prompt's earlier tokens are run once, its last token in many variants.

    prefix = encode_prefix(backend, batch)
    for chunk in prefix.run(variants):
        chunk.scores.p  # (prompts, variants of the chunk)

A *variant* is a list of edits at the last token.  A causal model's earlier tokens cannot see it, so
what they hold is the same for every variant.  The variants are copies of the last token, side by
side: each sees the prefix and itself, and has its own edits.  A copy branches off the unedited
token where its first edit is, so what lies below is not run again.

Gradients reach the values of edits; the prefix is a constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.memory import AtOnce, rows_at_once
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.exactness import check_exact
from mfv_dsl.engine.full_pass import full_pass, unedited_states
from mfv_dsl.engine.gates import with_masks
from mfv_dsl.engine.joins import BEFORE, INSIDE, Join, join_of
from mfv_dsl.engine.scoring import Scores, concatenate_scores, score
from mfv_dsl.engine.tensors import tensors_in
from mfv_dsl.engine.trace import note
from mfv_dsl.engine.tree import Tree
from mfv_dsl.engine.variants import VariantHooks, check_variants
from mfv_dsl.models.base import Backend, Continuation, PromptBatch
from mfv_dsl.models.branches import Kept

Variant = Sequence[Edit]
Grown = TypeVar("Grown")
_GROWN = 4  # tokens of a tree for each variant, about


@dataclass(frozen=True, repr=False)
class Chunk(Short):
    """Results of some variants: ``variants`` are their places in the list given.

    ``scores`` has them in that order.  ``unedited`` scores the last token without edits, run
    together with them, as a single variant: differences to it are free of rounding that another
    pass would bring.  ``readings``, in the order of the reads, are each
    (prompts, variants, [heads,] width), taken after the edits.  ``grown`` is what was made of
    the tree behind them, where one was grown.
    """

    variants: tuple[int, ...]
    scores: Scores
    unedited: Scores
    readings: tuple[torch.Tensor, ...]
    grown: Any = None


def encode_prefix(backend: Backend, batch: PromptBatch) -> Prefix:
    """Run all tokens but the last of every prompt of ``batch``, once, without gradients.

    For example, what the absence of each head of layer 2 costs the answer::

        prefix = encode_prefix(model, batch)
        off = torch.zeros(1, model.facts.head_dim)
        variants = [[Edit("lm.attn", 2, "replace", off, (head,))] for head in range(8)]
        p = prefix.scores(variants).p  # (prompts, variants)
    """
    if not backend.facts.shares_prefix:
        return FullPasses(backend, batch, None)
    if not getattr(backend, "is_exact", True):  # of a model that was not seen before
        check_exact(backend, batch)
        backend.is_exact = True  # type: ignore[attr-defined]
    return Prefix(backend, batch, backend.prefix(batch))


#: What gives the prefix of a batch: :func:`encode_prefix`, or one that keeps some.
PrefixOf: TypeAlias = "Callable[[Backend, PromptBatch], Prefix]"


class Prefix:
    """A batch whose earlier tokens have been run."""

    def __init__(self, backend: Backend, batch: PromptBatch, state: Any) -> None:
        self.backend, self.batch = backend, batch
        #: What the backend knows of it.
        self.state = state
        self._unedited: list[torch.Tensor] = []  # the last token before each stage, (prompts, 1, d)
        self._kept: Kept = {}  # and what it leaves in each stage for further tokens
        self._states: dict[int, torch.Tensor] = {}  # the last token's behind layers of gates

    @property
    def nbytes(self) -> int:
        """The memory that what was run takes."""
        return _bytes(self.state)

    @property
    def row_bytes(self) -> int:
        """About what one copy of one token takes while all its layers are kept for a backward
        pass."""
        with self.backend.continuation(self.state) as continuation:
            return continuation.row_bytes * len(continuation.stages)

    def run(
        self,
        variants: Sequence[Variant],
        targets: torch.Tensor | None = None,
        *,
        top: int = 0,
        logits: bool = False,
        reads: Sequence[Read] = (),
        at_once: int | None = None,
    ) -> Iterator[Chunk]:
        """Run ``variants`` and give their results chunk by chunk, those with late edits last.

        ``targets`` (prompts,) or (prompts, targets) are the tokens scored, by default the batch's
        answers.  ``top`` asks for so many likeliest tokens, ``logits`` for all logits, ``reads``
        for activations of every variant.  ``at_once`` is the number of variants in a chunk, by
        default as many as memory suggests; memory that runs out makes it smaller, with a warning.

        Raises MfvError for an edit elsewhere than at the last token, for one that does not fit
        the model, and for one that never fired.
        """
        variants = self.settled(variants)
        self.check(variants, reads)
        ask = _Ask(self.answers if targets is None else targets, top, logits, tuple(reads))
        yield from self._chunks(variants, ask, at_once)

    def scores(
        self,
        variants: Sequence[Variant],
        targets: torch.Tensor | None = None,
        *,
        top: int = 0,
        logits: bool = False,
    ) -> Scores:
        """The scores of all ``variants`` in their order; arguments as for :meth:`run`."""
        if not variants:
            raise ValueError("no variants")
        chunks = list(self.run(variants, targets, top=top, logits=logits))
        place = torch.tensor([i for chunk in chunks for i in chunk.variants]).argsort()
        together = concatenate_scores([chunk.scores for chunk in chunks])
        return together.variants(sent(place, together.likeliest.device))

    def check(self, variants: Sequence[Variant], reads: Sequence[Read] = ()) -> None:
        """Refuse what does not fit the model, or cannot be done here, as :meth:`run` does."""
        check_variants(self.backend.sites, variants, reads, len(self.batch))

    @torch.no_grad()
    def grow(
        self,
        variants: Sequence[Variant],
        targets: torch.Tensor,
        grown: Callable[[Tree], Grown],
        *,
        top: int = 0,
    ) -> list[tuple[tuple[int, ...], Grown]]:
        """Run ``variants``, and let ``grown`` run further tokens behind them: for each chunk of
        them, the places of its variants in the list given and what ``grown`` makes of its
        :class:`~mfv_dsl.engine.tree.Tree`.

        ``grown`` may be called again with fewer variants, where memory ran out.  ``targets`` and
        ``top`` are for the token behind the prompt; arguments and errors as for :meth:`run`.
        """
        variants = self.settled(variants)
        self.check(variants)
        ask = _Ask(targets, top, False, (), grown)
        return [(chunk.variants, chunk.grown) for chunk in self._chunks(variants, ask, None)]

    def settled(self, variants: Sequence[Variant]) -> list[Variant]:
        """``variants`` with the prompts that open their gates in place of the gates."""
        return with_masks(variants, self._states_of)

    def _states_of(self, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """The unedited states behind some layers, (prompts, d_model) by layer; run once, then
        kept."""
        missing = [layer for layer in layers if layer not in self._states]
        if missing:
            self._states |= self._unedited_states(missing)
        return self._states

    @torch.no_grad()
    def _unedited_states(self, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        nothing = torch.zeros(len(self.batch), 0, dtype=torch.long)
        reads = [Read("lm.resid", layer) for layer in layers]
        (chunk,) = self.run([()], nothing, reads=reads)
        return {n: states[:, 0] for n, states in zip(layers, chunk.readings, strict=True)}

    def edited(self, edit: Edit, *, logits: bool = False) -> Scores:
        """The scores of the one variant that is ``edit``, whose value may be one for each prompt,
        (prompts, d_model)."""
        return self.scores([[edit]], logits=logits)

    def before(self, stage: int) -> torch.Tensor | None:
        """The unedited last tokens before ``stage``, (prompts, 1, d_model); run once, then kept.
        None of a model that cannot start in the middle."""
        if len(self._unedited) <= stage:
            with self.backend.continuation(self.state) as continuation:
                if len(continuation.stages) == 1:
                    return None
                self._before(continuation, stage)
        return self._unedited[stage]

    @property
    def answers(self) -> torch.Tensor:
        """The first tokens of the batch's answers, (prompts,); MFV7247 where it has none."""
        if self.batch.answers is None:
            raise MfvError(
                "MFV7247",
                "these prompts came without answers, so there is nothing to score",
                help="give `targets`, or give `answers` where the batch is made",
            )
        return self.batch.answers

    def _chunks(
        self, variants: Sequence[Variant], ask: _Ask, at_once: int | None
    ) -> Iterator[Chunk]:
        with self.backend.continuation(self.state) as continuation:
            joins = [join_of(continuation, variant) for variant in variants]
            if at_once is None:
                at_once = self._variants_at_once(continuation, variants, ask)
        order = sorted(range(len(variants)), key=joins.__getitem__)

        def run(part: list[int]) -> Chunk:
            return self._chunk(part, [(joins[i], variants[i]) for i in part], ask)

        for part, chunk in AtOnce(self.backend.device, "variants", at_once).of(order, run):
            for i in part:
                note(self.batch, [*variants[i], *ask.reads], variant=i)
            yield chunk

    def _variants_at_once(
        self, continuation: Continuation, variants: Sequence[Variant], ask: _Ask
    ) -> int:
        row_bytes = continuation.row_bytes
        if ask.grown:  # each leaves keys and values, and so do some tokens behind it
            facts, size = self.backend.facts, self.batch.dtype.itemsize
            width = facts.kv_width or facts.n_heads * facts.head_dim
            row_bytes += _GROWN * 2 * size * facts.n_layers * width
        if torch.is_grad_enabled() and any(e.value.requires_grad for v in variants for e in v):
            row_bytes *= len(continuation.stages)  # every layer is kept for the backward pass
        return max(1, rows_at_once(self.backend.device, row_bytes) // len(self.batch))

    def _chunk(self, part: list[int], work: list[tuple[Join, Variant]], ask: _Ask) -> Chunk:
        """Run the variants of ``work``, (where it branches off, edits), in that order."""
        backend = self.backend
        with backend.continuation(self.state) as continuation:
            stages = continuation.stages
            first = min(
                [stage for (stage, _), _ in work]
                + [continuation.stage_of(read.layer) for read in ask.reads]
            )
            hidden = self._before(continuation, first)
            kept = dict(self._kept)
            continuation.branches.kept = kept if ask.grown else None
            # row 0 is the unedited token; a variant without edits is that row
            rows: list[Variant] = [(), *(edits for _, edits in work if edits)]
            hooks = VariantHooks(backend.model, backend.sites, rows, ask.reads)
            with hooks:
                joining = Counter(join for join, _ in work)
                for number in range(first, len(stages)):
                    new = joining[number, BEFORE]
                    if new:
                        copies = hidden[:, :1].expand(-1, new, -1)
                        hidden = torch.cat([hidden, copies], dim=1)
                    continuation.branches.joining = joining[number, INSIDE]
                    hidden = stages[number](hidden)
                continuation.branches.joining = 0
            scores = score(
                hidden,
                continuation.logits,
                continuation.vocabulary,
                ask.targets,
                ask.top,
                ask.logits,
                ranks=not ask.grown,
            )
            places = _places(work)
            place = sent(torch.tensor(places, device="cpu"), hidden.device)
            grown = None
            if ask.grown:
                chosen = scores.variants(place)
                grown = ask.grown(Tree(continuation, kept, tuple(part), places, chosen))
        readings = []
        for read in ask.reads:
            reading = hooks.read(read)
            later = reading[:, :1].expand(-1, len(rows) - reading.shape[1], *reading.shape[2:])
            reading_of_rows = torch.cat([reading, later], dim=1)
            readings.append(reading_of_rows.index_select(1, place.to(reading_of_rows.device)))
        return Chunk(
            variants=tuple(part),
            scores=scores.variants(place),
            unedited=scores.variants(torch.zeros_like(place[:1])).detach(),
            readings=tuple(readings),
            grown=grown,
        )

    @torch.no_grad()
    def _before(self, continuation: Continuation, stage: int) -> torch.Tensor:
        """The unedited last token before ``stage``, (prompts, 1, d_model); run once, then kept."""
        if not self._unedited:
            self._unedited.append(continuation.start)
        continuation.branches.kept = self._kept
        while len(self._unedited) <= stage:
            number = len(self._unedited) - 1
            self._unedited.append(continuation.stages[number](self._unedited[number]))
        continuation.branches.kept = None
        return self._unedited[stage]


def full_passes(backend: Backend, batch: PromptBatch) -> Prefix:
    """A full pass for each variant, whose edits may be anywhere: in place of :func:`encode_prefix`
    where they are made before the last token."""
    return FullPasses(backend, batch, None)


class FullPasses(Prefix):
    """The same by a full pass for each variant: of a model whose earlier tokens see its last one,
    and of edits at other tokens than the last."""

    def scores(
        self,
        variants: Sequence[Variant],
        targets: torch.Tensor | None = None,
        *,
        top: int = 0,
        logits: bool = False,
    ) -> Scores:
        """As :meth:`Prefix.scores`."""
        if not variants:
            raise ValueError("no variants")
        variants = self.settled(variants)
        self.check(variants)
        ask = _Ask(self.answers if targets is None else targets, top, logits, ())
        passes = (full_pass(self.backend, self.batch, variant) for variant in variants)
        return concatenate_scores([self._scores(one.logits, ask) for one in passes])

    def check(self, variants: Sequence[Variant], reads: Sequence[Read] = ()) -> None:
        """Refuse what does not fit the model."""
        check_variants(self.backend.sites, variants, reads, len(self.batch), anywhere=True)

    def _chunks(
        self, variants: Sequence[Variant], ask: _Ask, at_once: int | None
    ) -> Iterator[Chunk]:
        """A variant at a time."""
        with torch.no_grad():
            unedited = self._scores(full_pass(self.backend, self.batch).logits, ask)
        for place, variant in enumerate(variants):
            output = full_pass(self.backend, self.batch, variant, ask.reads)
            yield Chunk((place,), self._scores(output.logits, ask), unedited, output.readings)

    def _unedited_states(self, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        return unedited_states(self.backend, self.batch, layers)

    @property
    def row_bytes(self) -> int:
        """About what a layer's activations of a whole prompt take, all layers kept."""
        facts, length = self.backend.facts, self.batch.tokens.shape[1]
        return 24 * facts.d_model * length * facts.n_layers * self.batch.dtype.itemsize

    def before(self, stage: int) -> torch.Tensor | None:
        """None: every variant is a whole pass."""
        return None

    def _scores(self, logits: torch.Tensor, ask: _Ask) -> Scores:
        return score(
            logits[:, None], lambda rows: rows, logits.shape[-1], ask.targets, ask.top, ask.logits
        )


@dataclass(frozen=True)
class _Ask:
    """What the caller wants of every variant."""

    targets: torch.Tensor
    top: int
    logits: bool
    reads: tuple[Read, ...]
    grown: Callable[[Tree], Any] | None = None


def _bytes(state: Any) -> int:
    """The bytes of the different tensors in a tree of dataclasses, tuples and mappings."""
    return sum({id(tensor): tensor.nbytes for tensor in tensors_in(state)}.values())


def _places(work: Sequence[tuple[Join, Variant]]) -> list[int]:
    """The row of each variant."""
    rows, places = 0, []
    for _, edits in work:
        rows += bool(edits)
        places.append(rows if edits else 0)
    return places
