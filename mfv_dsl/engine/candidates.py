"""Which of many continuations is likeliest, for every prompt under many variants.

    log p(s | prompt) = Σ over i of log p(s_i | prompt, s_1 … s_(i-1))

Continuations that begin alike share the tokens that they share, and a beginning is at least as
likely as what goes on from it.  So a beginning that is less likely than a whole continuation that
is known need not be run: what comes out is exact, and few tokens are run where the model is sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.engine.prefix import FullPasses, Prefix, Variant
from mfv_dsl.engine.sequences import Tokens, sequence_log_p
from mfv_dsl.engine.tree import Tree


@dataclass(frozen=True)
class Likeliest:
    """By prompt and variant, each (prompts, variants): the number of the likeliest continuation
    (``best``; of equals the first), the log-probability in nats of the prompt's own target, and
    whether all scores are numbers; where they are not, the others mean nothing."""

    best: np.ndarray
    target_log_p: np.ndarray
    finite: np.ndarray


def likeliest_sequences(
    prefix: Prefix, sequences: Sequence[Tokens], targets: np.ndarray, variants: Sequence[Variant]
) -> Likeliest:
    """The likeliest of ``sequences`` behind each prompt under each of ``variants``, edits at the
    last token; ``targets`` (prompts,) are the numbers of those whose log-probability is wanted too.

    For example, which of two names a model would give, with and without a vector::

        names = model.answer_tokens(["red circle", "blue ring"])
        likeliest = likeliest_sequences(encode_prefix(model, batch), names, targets, [[], edits])

    Raises MfvError as :meth:`~mfv_dsl.engine.prefix.Prefix.run`, and MFV7244 for prompts that are
    too long with a continuation.
    """
    if isinstance(prefix, FullPasses):
        return _by_full_passes(prefix, sequences, targets, variants)
    trie = _Trie(sequences)
    first = torch.from_numpy(trie.tokens[trie.children[0]]).expand(len(prefix.batch), -1)
    shape = len(prefix.batch), len(variants)
    found = Likeliest(np.zeros(shape, int), np.zeros(shape), np.zeros(shape, bool))
    for places, part in prefix.grow(variants, first, lambda tree: _searched(trie, targets, tree)):
        columns = list(places)
        found.best[:, columns] = part.best
        found.target_log_p[:, columns] = part.target_log_p
        found.finite[:, columns] = part.finite
    return found


def _by_full_passes(
    prefix: Prefix, sequences: Sequence[Tokens], targets: np.ndarray, variants: Sequence[Variant]
) -> Likeliest:
    """The same of a model whose earlier tokens see its last one."""
    shape = len(prefix.batch), len(variants)
    found = Likeliest(np.zeros(shape, int), np.zeros(shape), np.ones(shape, bool))
    for number, edits in enumerate(prefix.settled(variants)):
        try:
            log_p = sequence_log_p(prefix.backend, prefix.batch, sequences, edits).numpy()
        except NotFinite:
            found.finite[:, number] = False
            continue
        found.best[:, number] = log_p.argmax(1)
        found.target_log_p[:, number] = log_p[np.arange(len(targets)), targets]
    return found


class _Trie:
    """Sequences as a tree: node 0 is their common beginning, and nodes come level by level."""

    def __init__(self, sequences: Sequence[Tokens]) -> None:
        longest = max(map(len, sequences))
        beginnings: list[Tokens] = [()]
        for length in range(1, longest + 1):
            beginnings += dict.fromkeys(s[:length] for s in sequences if len(s) >= length)
        place = {beginning: node for node, beginning in enumerate(beginnings)}
        self.tokens = np.array([0, *(beginning[-1] for beginning in beginnings[1:])])
        self.parents = np.array([0, *(place[beginning[:-1]] for beginning in beginnings[1:])])
        self.levels = np.array([len(beginning) for beginning in beginnings])
        self.ends = np.array([place[sequence] for sequence in sequences])
        #: (sequences, nodes), which nodes a sequence goes through.
        self.passes = np.zeros((len(sequences), len(beginnings)), bool)
        for number, sequence in enumerate(sequences):
            through = [place[sequence[:length]] for length in range(len(sequence) + 1)]
            self.passes[number, through] = True
        children: list[list[int]] = [[] for _ in beginnings]
        for node in range(1, len(beginnings)):
            children[self.parents[node]].append(node)
        self.children = [np.array(nodes, int) for nodes in children]

    @cached_property
    def inner(self) -> list[np.ndarray]:
        """By level from 1, the nodes that go on."""
        goes_on = np.array([len(children) > 0 for children in self.children])
        return [
            np.flatnonzero(goes_on & (self.levels == level))
            for level in range(1, int(self.levels.max()))
        ]


class _Search:
    """The search for the likeliest sequence in the trees of some variants."""

    def __init__(self, trie: _Trie, targets: np.ndarray, tree: Tree) -> None:
        self.trie, self.tree = trie, tree
        log_p, finite = brought(tree.scores.log_p, tree.scores.finite)
        first = log_p.double().numpy()
        self.finite = finite.numpy().copy()
        shape = (*first.shape[:2], len(trie.tokens))
        self.log_p = np.full(shape, -np.inf)  # of nodes that are known
        self.log_p[:, :, trie.children[0]] = first
        self.is_run = np.zeros(shape, bool)
        self.rows = np.zeros(shape, int)  # of nodes that were run, in their level
        self.on_target = trie.passes[targets][:, None]  # (prompts, 1, nodes)

    def best(self) -> np.ndarray:
        """The log-probability of the likeliest sequence that is known, (prompts, variants)."""
        best: np.ndarray = self.log_p[:, :, self.trie.ends].max(-1)
        return best

    def dive(self) -> None:
        """Follow the likeliest beginnings, and the targets, to their ends."""
        for level, nodes in enumerate(self.trie.inner, 1):
            likeliest = np.zeros((*self.log_p.shape[:2], len(nodes)), bool)
            beginnings = self.log_p[:, :, nodes]
            np.put_along_axis(likeliest, beginnings.argmax(-1)[..., None], True, axis=-1)
            self.run(level, nodes, likeliest & self.may_win(nodes) | self.on_target[..., nodes])

    def complete(self) -> None:
        """Run whatever may still win."""
        for level, nodes in enumerate(self.trie.inner, 1):
            self.run(level, nodes, self.may_win(nodes))

    def may_win(self, nodes: np.ndarray) -> np.ndarray:
        """Which of ``nodes`` are known and as likely as the best sequence, or more."""
        at_least: np.ndarray = self.log_p[:, :, nodes] >= self.best()[..., None]
        return at_least

    def run(self, level: int, nodes: np.ndarray, chosen: np.ndarray) -> None:
        """Run ``nodes`` of a level where they are ``chosen`` (prompts, variants, nodes), known, and
        not run yet, side by side for each prompt."""
        trie = self.trie
        chosen = chosen & np.isfinite(self.log_p[:, :, nodes]) & ~self.is_run[:, :, nodes]
        prompts, variants, numbers = np.nonzero(chosen)
        if not len(prompts):
            return
        counts = np.bincount(prompts, minlength=len(chosen))
        columns = np.arange(len(prompts)) - np.repeat(counts.cumsum() - counts, counts)
        most = max(len(trie.children[node]) for node in nodes)
        going_on = np.zeros((len(nodes), most), int)  # 0, the root, where there are fewer
        for i, node in enumerate(nodes):
            going_on[i, : len(trie.children[node])] = trie.children[node]
        shape = len(chosen), int(counts.max())
        tokens, parents = np.full(shape, trie.tokens[nodes[0]]), np.zeros(shape, int)
        targets = np.zeros((*shape, most), int)
        run = nodes[numbers]
        tokens[prompts, columns] = trie.tokens[run]
        behind = variants if level == 1 else self.rows[prompts, variants, trie.parents[run]]
        parents[prompts, columns] = behind
        targets[prompts, columns] = trie.tokens[going_on[numbers]]
        first, scores = self.tree.step(
            level, torch.from_numpy(tokens), torch.from_numpy(parents), torch.from_numpy(targets)
        )
        self.rows[prompts, variants, run] = first + columns
        self.is_run[prompts, variants, run] = True
        log_p, finite = brought(scores.log_p, scores.finite)
        added = log_p.double().numpy()[prompts, columns]  # (run, most)
        row, place = np.nonzero(going_on[numbers])
        nodes_behind = going_on[numbers[row], place]
        total = self.log_p[prompts, variants, run][row] + added[row, place]
        self.log_p[prompts[row], variants[row], nodes_behind] = total
        held = finite.numpy()[prompts, columns]
        self.finite[prompts[~held], variants[~held]] = False


def _searched(trie: _Trie, targets: np.ndarray, tree: Tree) -> Likeliest:
    search = _Search(trie, targets, tree)
    search.dive()
    search.complete()
    ends = search.log_p[:, :, trie.ends]
    wanted = np.take_along_axis(ends, targets[:, None, None], axis=-1)[..., 0]
    return Likeliest(ends.argmax(-1), wanted, search.finite)
