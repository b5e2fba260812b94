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
from mfv_dsl.base.pools import too_few_images, too_few_items
from mfv_dsl.data.items import Dataset, Item, Prompt

DEFAULT_SEED = 1234  # the official code's
_TRIES = 1000  # permutations drawn before one is made


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
        raise too_few_items(n, relation, split, len(pool))
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
        how: ``mix`` (arXiv:2510.02528, of photographs): other images, of which *i* shows relation
            *i* of a rotation over ``relations``, the order permuted.  ``same_images``
            (arXiv:2510.02528, of synthetic images): the demonstrations' own images, of which *i* is
            asked for relation *i* of ``relations``, the order permuted.  ``shuffle``
            (arXiv:2310.15213): the demonstrations' answers are permuted so that none keeps the name
            of its own, or as few as possible.  ``none``: the zero-shot prompt.
        dataset: Where the demonstrations of ``mix`` come from.
        split: The split of them, and of the prompt.
        seed: Which twin is drawn.
        relations: Those that ``mix`` and ``same_images`` rotate over; all of the dataset if left
            out.

    Returns:
        A prompt of as many demonstrations, but of none for ``none``.

    Raises:
        MfvError: MFV7111 for more demonstrations than images, MFV5364 for an image that shows no
            other relation of its object.
    """
    query, shots = prompt.query, len(prompt.demonstrations)
    rng = _rng("corrupt", how, query.relation, split, seed, query.image, query.query)
    if how == "none" or shots == 0:
        return Prompt((), query)
    if how == "shuffle":
        return Prompt(_shuffled(prompt.demonstrations, rng), query)
    names = tuple(relations or dataset.relations)
    if how == "same_images":
        asked = _asked_otherwise(prompt, names)
        return Prompt(tuple(asked[int(i)] for i in rng.permutation(shots)), query)
    if how != "mix":
        raise ValueError(f"unknown corruption {how!r}")
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
        raise too_few_images(n, relation, split, len(images), len(images & excluded))
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


def _asked_otherwise(prompt: Prompt, names: Sequence[str]) -> list[Item]:
    """The demonstrations, image *i* asked for relation *i* of those of ``names`` that the prompt's
    images show of their objects, again from the first where these are used up.

    An image without the relation whose turn it is is asked for the next one that it shows, other
    than the one that the prompt is about; MFV5364 where it shows none.
    """
    task, demonstrations = prompt.query.relation, prompt.demonstrations
    shown = [name for name in names if any(name in item.neighbours for item in demonstrations)]
    asked = []
    for i, item in enumerate(demonstrations):
        turn = i % len(shown) if shown else 0
        rotation = [*shown[turn:], *shown[:turn]]
        others = [name for name in rotation if name in item.neighbours and name != task]
        if not others:
            raise MfvError(
                "MFV5364",
                f"`same_images` asks the images of a prompt for other relations, and {item.image} "
                f"shows none of its {item.query} but `{task}` among {', '.join(names)}",
                help="take other images: `corrupt = mix`",
            )
        relation = rotation[0] if rotation[0] in item.neighbours else others[0]
        answer = item.neighbours[relation]
        asked.append(Item(item.image, item.query, answer, relation, item.neighbours))
    return asked


def _shuffled(items: tuple[Item, ...], rng: np.random.Generator) -> tuple[Item, ...]:
    """The items with their answers dealt out anew: no item keeps the name of its own answer, or as
    few as can be, which are 2m - n where m of n answers are one name and m is more than n / 2."""
    answers = [item.answer for item in items]
    n, most = len(items), max(Counter(answers).values())

    def kept(order: np.ndarray) -> int:
        return sum(answers[i] == answers[int(j)] for i, j in enumerate(order))

    order = rng.permutation(n)
    tries = 1
    while kept(order) > max(0, 2 * most - n):
        if tries < _TRIES:
            order, tries = rng.permutation(n), tries + 1
        else:  # names in groups, each moved on by the size of the largest
            grouped = sorted(rng.permutation(n).tolist(), key=lambda i: answers[i])
            order = np.empty(n, dtype=int)
            order[grouped] = np.roll(grouped, most)
    return tuple(
        Item(item.image, item.query, answers[int(j)], item.relation, item.neighbours)
        for item, j in zip(items, order, strict=True)
    )
