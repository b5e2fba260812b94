"""Greedy generation behind the last token under many variants, on one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.prefix import FullPasses, Prefix, Variant
from mfv_dsl.engine.scoring import Scores, concatenate_scores
from mfv_dsl.engine.tree import Tree

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Continuations:
    """What was generated: ``tokens[variant][prompt]``, without the end token; ``first``, the scores
    of the token behind each prompt, (prompts, variants), against the prompts' answers; and whether
    all scores are numbers (``finite``, (prompts, variants)); where not, the tokens mean nothing.
    All of it is on the processor."""

    tokens: list[list[Tokens]]
    first: Scores
    finite: torch.Tensor


def continue_greedily(
    prefix: Prefix, variants: Sequence[Variant], max_new_tokens: int
) -> Continuations:
    """The likeliest token, again and again, until an end token or ``max_new_tokens``, behind each
    prompt under each of ``variants``, edits at the last token.

    What :func:`~mfv_dsl.engine.generation.generate` gives, for many variants at once.  Raises
    MfvError as :meth:`~mfv_dsl.engine.prefix.Prefix.run`, MFV7247 for prompts without answers, and
    MFV7244 where a text grows too long.
    """
    backend = prefix.backend
    if isinstance(prefix, FullPasses):
        return _by_full_passes(prefix, variants, max_new_tokens)
    banned = torch.tensor(sorted(backend.banned_tokens), device="cpu")

    def grown(tree: Tree) -> Continuations:
        return _Greedy(tree, banned, backend.end_tokens, max_new_tokens).run()

    chunks = prefix.grow(variants, prefix.answers, grown, top=1 + len(banned))
    tokens: list[list[Tokens]] = [[] for _ in variants]
    for places, part in chunks:
        for place, generated in zip(places, part.tokens, strict=True):
            tokens[place] = generated
    done = [place for places, _ in chunks for place in places]
    order = torch.tensor(done, device="cpu").argsort()
    first = concatenate_scores([part.first for _, part in chunks])
    finite = torch.cat([part.finite for _, part in chunks], dim=1)
    return Continuations(tokens, first.variants(order), finite[:, order])


def _on_processor(scores: Scores) -> Scores:
    """The same on the processor; what is on it already is not copied."""
    tensors = scores.tensors()
    return replace(scores, **dict(zip(tensors, brought(*tensors.values()), strict=True)))


@torch.no_grad()
def _by_full_passes(
    prefix: Prefix, variants: Sequence[Variant], max_new_tokens: int
) -> Continuations:
    """The same of a model whose earlier tokens see its last one."""
    variants = prefix.settled(variants)
    first = _on_processor(prefix.scores(variants))
    finite = first.finite.clone()
    tokens: list[list[Tokens]] = []
    for number, edits in enumerate(variants):
        try:
            generations = generate(prefix.backend, prefix.batch, max_new_tokens, edits)
        except NotFinite:
            finite[:, number] = False
            tokens.append([()] * len(prefix.batch))
            continue
        tokens.append([generation.tokens for generation in generations])
    return Continuations(tokens, first, finite)


class _Greedy:
    """Generation on the tree of some variants: one branch for each prompt and variant."""

    def __init__(self, tree: Tree, banned: torch.Tensor, ends: frozenset[int], most: int) -> None:
        self.tree, self.banned, self.most = tree, banned, most
        self.ends = torch.tensor(sorted(ends), device="cpu")
        self.first = _on_processor(tree.scores)
        self.finite = self.first.finite.clone()

    def run(self) -> Continuations:
        """Until every branch has ended."""
        next_token = self._allowed(self.first)  # (prompts, variants)
        prompts, variants = next_token.shape
        tokens: list[list[list[int]]] = [[[] for _ in range(prompts)] for _ in range(variants)]
        row = torch.arange(variants, device="cpu").repeat(
            prompts, 1
        )  # of each branch, in the level before
        alive = self.finite & ~torch.isin(next_token, self.ends)
        for level in range(1, self.most + 1):
            places = alive.nonzero(as_tuple=True)
            for prompt, variant in zip(*(part.tolist() for part in places), strict=True):
                tokens[variant][prompt].append(int(next_token[prompt, variant]))
            if level == self.most or not len(places[0]):
                break
            column = alive.cumsum(1) - 1
            shape = prompts, int(alive.sum(1).max())
            said, parents = torch.zeros(2, *shape, dtype=torch.long, device="cpu")
            said += int(next_token[places][0])  # any, where a prompt has fewer branches
            here = places[0], column[places]
            said[here], parents[here] = next_token[places], row[places]
            nothing = torch.zeros(*shape, 0, dtype=torch.long, device="cpu")
            _, step = self.tree.step(level, said, parents, nothing, top=1 + len(self.banned))
            scores = _on_processor(step)
            row = torch.zeros_like(row).index_put(places, here[1])
            next_token = next_token.index_put(places, self._allowed(scores)[here])
            self.finite[places] &= scores.finite[here]
            alive = alive & self.finite & ~torch.isin(next_token, self.ends)
        as_tuples = [[tuple(row) for row in rows] for rows in tokens]
        return Continuations(as_tuples, self.first, self.finite)

    def _allowed(self, scores: Scores) -> torch.Tensor:
        """The likeliest token that may be generated, (prompts, rows)."""
        likeliest, top = scores.likeliest, scores.top
        allowed = (~torch.isin(top, self.banned)).to(torch.uint8).argmax(-1, keepdim=True)
        is_banned = torch.isin(likeliest, self.banned)
        return torch.where(is_banned, top.gather(-1, allowed)[..., 0], likeliest)
