"""Prompts from items: demonstrations and a query, and corrupted twins that keep the query.

Everything of a prompt comes from one split; no image occurs twice in a prompt.  Prompt *i* of a
relation, split and seed is the same whatever the number of prompts asked for, and its first
demonstrations counted from the query are the same whatever the number of shots.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.lang.diagnostics import MfvError

DEFAULT_SEED = 1234  # the official code's


def _rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(repr(part).encode()) for part in parts])


def draw_prompts(
    dataset: Dataset, relation: str, split: str, n: int, shots: int, seed: int = DEFAULT_SEED
) -> list[Prompt]:
    """``n`` prompts of ``shots`` demonstrations, all of one relation."""
    pool = dataset.items(relation, split)
    if n > len(pool):
        raise MfvError(
            "MFV7110",
            f"{n} prompts of `{relation}` asked for, but its {split} split has {len(pool)} items",
            help="ask for fewer items or trials, or give the dataset a larger count",
        )
    order = _rng("queries", relation, split, seed).permutation(len(pool))[:n]
    prompts = []
    for i in order:
        query = pool[int(i)]
        rng = _rng("demonstrations", relation, split, seed, query.image, query.query)
        others = (pool[int(j)] for j in rng.permutation(len(pool)))
        prompts.append(Prompt(_take(others, shots, {query.image}, relation, split), query))
    return prompts


def corrupt(
    prompt: Prompt,
    how: str,
    dataset: Dataset,
    split: str,
    seed: int = DEFAULT_SEED,
    relations: Sequence[str] | None = None,
) -> Prompt:
    """A corrupted twin of ``prompt``: the same query, demonstrations that do not show its task.

    ``mix`` (arXiv:2510.02528): demonstration *i* follows relation *i* of a rotation over
    ``relations`` (default: all of the dataset), the order permuted.  ``shuffle``
    (arXiv:2310.15213): the demonstrations' answers are permuted so that none keeps its own.
    ``none``: the zero-shot prompt.
    """
    query, shots = prompt.query, len(prompt.demonstrations)
    rng = _rng("corrupt", how, query.relation, split, seed, query.image, query.query)
    if how == "none" or shots == 0:
        return Prompt((), query)
    if how == "shuffle":
        return Prompt(_shuffled(prompt.demonstrations, rng), query)
    if how != "mix":
        raise ValueError(f"unknown corruption {how!r}")
    names = tuple(relations or dataset.relations)
    start = int(rng.integers(len(names)))
    used = {query.image}
    mixed: list[Item] = []
    for i in range(shots):
        relation = names[(start + i) % len(names)]
        pool = dataset.items(relation, split)
        others = (pool[int(j)] for j in rng.permutation(len(pool)))
        mixed += _take(others, 1, used, relation, split)
        used.add(mixed[-1].image)
    return Prompt(tuple(mixed[int(i)] for i in rng.permutation(shots)), query)


def _take(
    items: Iterable[Item], n: int, used: set[str], relation: str, split: str
) -> tuple[Item, ...]:
    """The first ``n`` items whose images are neither in ``used`` nor among those taken, the first
    one last: it stands next to the query."""

    def fresh() -> Iterable[Item]:
        seen = set(used)
        for item in items:
            if item.image not in seen:
                seen.add(item.image)
                yield item

    taken = tuple(islice(fresh(), n))
    if len(taken) < n:
        raise MfvError(
            "MFV7111",
            f"`{relation}` has too few images in its {split} split for {n} demonstrations",
            help="use fewer shots or a dataset with more images",
        )
    return taken[::-1]


def _shuffled(items: tuple[Item, ...], rng: np.random.Generator) -> tuple[Item, ...]:
    """The items with their answers dealt out anew, none to its own item (for two or more)."""
    n = len(items)
    order = np.arange(n)
    if n > 1:
        while (order == np.arange(n)).any():
            order = rng.permutation(n)
    return tuple(
        Item(item.image, item.query, items[int(j)].answer, item.relation, item.neighbours)
        for item, j in zip(items, order, strict=True)
    )
