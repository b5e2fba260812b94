"""Prompts from items: demonstrations and a query, and corrupted twins that keep the query.

Everything of a prompt comes from one split; no image occurs twice in a prompt.  Prompt *i* of a
relation, split and seed is the same whatever the number of prompts asked for, and its first
demonstrations counted from the query are the same whatever the number of shots.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Dataset, Item, Prompt

DEFAULT_SEED = 1234  # the official code's


def _rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(repr(part).encode()) for part in parts])


def draw_prompts(
    dataset: Dataset, relation: str, split: str, n: int, shots: int, seed: int = DEFAULT_SEED
) -> list[Prompt]:
    """Prompts of one relation and split.

    Args:
        dataset: What the items come from.
        relation: The relation that all demonstrations and queries have.
        split: The split that all of them come from.
        n: How many prompts.
        shots: Demonstrations of each.
        seed: Which prompts are drawn.

    Returns:
        ``n`` prompts with different queries.

    Raises:
        MfvError: MFV7110 for more prompts than items, MFV7111 for more demonstrations than images.

    >>> from mfv_dsl.data.scenes import Scenes
    >>> (prompt,) = draw_prompts(Scenes(), "left", "test", n=1, shots=2)
    >>> len(prompt.demonstrations), prompt.query.relation
    (2, 'left')
    """
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
        prompts.append(Prompt(_take(pool, rng, shots, {query.image}, relation, split), query))
    return prompts


def draw_in_turn(
    dataset: Dataset,
    relations: Sequence[str],
    split: str,
    n: int,
    shots: int,
    seed: int = DEFAULT_SEED,
) -> list[Prompt]:
    """``n`` prompts, one of each of ``relations`` in turn, as few of each as that takes; the rest
    as for :func:`draw_prompts`."""
    each = -(-n // len(relations))
    pools = [draw_prompts(dataset, relation, split, each, shots, seed) for relation in relations]
    return [prompt for turn in zip(*pools, strict=True) for prompt in turn][:n]


def corrupt(
    prompt: Prompt,
    how: str,
    dataset: Dataset,
    split: str,
    seed: int = DEFAULT_SEED,
    relations: Sequence[str] | None = None,
) -> Prompt:
    """A corrupted twin of a prompt: the same query, demonstrations that do not show its task.

    Args:
        prompt: The intact prompt.
        how: ``mix`` (arXiv:2510.02528): demonstration *i* follows relation *i* of a rotation over
            ``relations``, the order permuted.  ``shuffle`` (arXiv:2310.15213): the demonstrations'
            answers are permuted so that none keeps its own.  ``none``: the zero-shot prompt.
        dataset: Where the demonstrations of ``mix`` come from.
        split: The split of them, and of the prompt.
        seed: Which twin is drawn.
        relations: Those that ``mix`` rotates over; all of the dataset if left out.

    Returns:
        A prompt of as many demonstrations, but of none for ``none``.

    Raises:
        MfvError: MFV7111 for more demonstrations than images.
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
    images = {query.image}
    mixed: list[Item] = []
    for i in range(shots):
        relation = names[(start + i) % len(names)]
        pool = dataset.items(relation, split)
        mixed += _take(pool, rng, 1, images, relation, split)
        images.add(mixed[-1].image)
    return Prompt(tuple(mixed[int(i)] for i in rng.permutation(shots)), query)


def _take(
    pool: Sequence[Item],
    rng: np.random.Generator,
    n: int,
    excluded: set[str],
    relation: str,
    split: str,
) -> tuple[Item, ...]:
    """``n`` items drawn from ``pool``, each with another image and none with one of ``excluded``;
    the first one last: it stands next to the query."""
    order = rng.permutation(len(pool))

    def fresh() -> Iterator[Item]:
        seen = set(excluded)
        for i in order:
            item = pool[int(i)]
            if item.image not in seen:
                seen.add(item.image)
                yield item

    items = tuple(islice(fresh(), n))
    if len(items) < n:
        images = {item.image for item in pool}
        raise MfvError(
            "MFV7111",
            f"too few images for {n} demonstrations: `{relation}` has {len(images)} in its {split} "
            f"split, {len(images & excluded)} of them already in the prompt",
            help="use fewer shots or a dataset with more images",
        )
    return items[::-1]


@dataclass(frozen=True)
class Reuse:
    """How far prompts share images.

    ``shown`` images in all prompts, ``different`` ones among them, and the number of prompts that
    the one shown most is in (``most``).  ``queries`` is the number of prompts; ``effective`` is
    what they are worth where queries about one image have one outcome, n² / Σ mᵢ² for mᵢ queries
    about image i (the design effect of complete clustering; Kish, Survey Sampling, 1965).
    """

    shown: int
    different: int
    most: int
    queries: int
    effective: float


def reuse(prompts: Sequence[Prompt]) -> Reuse:
    """How far ``prompts`` share images; at least one prompt."""
    images = Counter(image for prompt in prompts for image in prompt.images)
    queries = Counter(prompt.query.image for prompt in prompts)
    n = len(prompts)
    return Reuse(
        shown=images.total(),
        different=len(images),
        most=max(images.values()),
        queries=n,
        effective=n**2 / sum(m**2 for m in queries.values()),
    )


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
