"""What a dataset is made of, and how far one gets in it without looking at the pictures.

A guess without the picture is the answer that is most frequent in the other images of the same
relation, or of the same relation and query.  It is cross-validated by image: what is guessed about
an image is counted in images of other folds alone, so that no item helps to guess itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mfv_dsl.base.columns import ALL, free_name
from mfv_dsl.data.asked import choice_of_item, question_of
from mfv_dsl.data.items import Dataset, Item
from mfv_dsl.data.table import share

FOLDS = 10
SHOWN = 10  # objects, and pairs of objects, that are listed


@dataclass(frozen=True)
class RelationStatistics:
    """One relation, or all together: how many items, images, different queries and answers there
    are, the part of the most frequent answer, and how often a guess without the picture is right:
    ``prior`` by the relation, ``prior_of_query`` by the relation and the query."""

    relation: str
    items: int
    images: int
    queries: int
    answers: int
    most_frequent: float
    prior: float
    prior_of_query: float


@dataclass(frozen=True)
class Statistics:
    """A dataset's relations, the last row being all of them; and how often its most frequent
    objects and pairs of query and answer are there."""

    name: str
    relations: tuple[RelationStatistics, ...]
    objects: Mapping[str, int]
    pairs: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def statistics_of(name: str, dataset: Dataset) -> Statistics:
    """The statistics of all of a dataset's splits together; a dataset without items has none of
    its relations."""
    by_relation = {
        relation: [
            item for split in dataset.splits for item in dataset.items(relation, split)
        ]
        for relation in dataset.relations
    }  # fmt: skip
    everything = [item for items in by_relation.values() for item in items]
    right = {relation: priors(items) for relation, items in by_relation.items()}
    rows = [
        _row(relation, items, right[relation])
        for relation, items in by_relation.items() if items
    ]  # fmt: skip
    if everything:
        all_right = [guesses for relation in by_relation for guesses in right[relation]]
        rows.append(_row(free_name(ALL, by_relation), everything, all_right))
    names = Counter(name for item in everything for name in (item.query, item.answer))
    pairs = Counter(f"{item.query} → {item.answer}" for item in everything)
    return Statistics(name, tuple(rows), dict(names.most_common(SHOWN)),
                      dict(pairs.most_common(SHOWN)))  # fmt: skip


class Prior:
    """What answers are frequent among items that are known: the guess of whoever sees no picture.

    With ``chooses`` the guess is one of the options of an item's question: that which was right
    most often, for the same question if any of them was; any of them where none was.

    >>> known = [Item("1.png", "cup", "lamp", "on"), Item("2.png", "hat", "head", "on")]
    >>> asked = (("cup", "lamp"), ("cup", "head"), ("dog", "lamp"))
    >>> [Prior(known).chance(Item("3.png", *one, "on")) for one in asked]
    [1.0, 0.0, 0.5]
    """

    def __init__(self, known: Iterable[Item], chooses: bool = False) -> None:
        self._chooses = chooses
        self._whole: Counter[str] = Counter()
        self._of_query: dict[str, Counter[str]] = defaultdict(Counter)
        for item in known:
            query, answer = self._asked(item)
            self._whole[answer] += 1
            self._of_query[query][answer] += 1
        self._guesses: dict[str, frozenset[str]] = {}

    def chance(self, item: Item) -> float:
        """How probably the guess about an item is right: the most frequent answer to its query, of
        a query that is not known that of all; of several one is guessed at random."""
        query, answer = self._asked(item)
        if not self._chooses:
            if query not in self._guesses:
                counts = self._of_query.get(query, self._whole)
                self._guesses[query] = _most_frequent(counts, Counter())
            return _chance(answer, self._guesses[query])
        options = choice_of_item(item).options
        for counts in (self._of_query.get(query, Counter()), self._whole):
            known = Counter({option: counts[option] for option in options})
            if guesses := _most_frequent(known, Counter()):
                return _chance(answer, guesses)
        return 1 / len(options)

    def _asked(self, item: Item) -> tuple[str, str]:
        if self._chooses:
            return question_of(item), choice_of_item(item).answer
        return item.query, item.answer


def blind_chances(
    dataset: Dataset, relation: str, split: str, asked: Sequence[Item], chooses: bool = False
) -> list[float]:
    """How probably each item of a split is answered rightly without its picture: by the answers of
    the relation in all other splits; in a dataset of one split by those on images of other folds.
    With ``chooses`` one of the options of its question is chosen."""
    known = [
        item
        for other in dataset.splits
        if other != split
        for item in dataset.items(relation, other)
    ]
    if known:
        prior = Prior(known, chooses)
        return [prior.chance(item) for item in asked]
    own = dataset.items(relation, split)
    fold_of = {item.image: int(share(item.image, 0) * FOLDS) for item in own}
    prior_of = {
        fold: Prior((item for item in own if fold_of[item.image] != fold), chooses)
        for fold in set(fold_of.values())
    }
    return [prior_of[fold_of[item.image]].chance(item) for item in asked]


def priors(items: Sequence[Item], folds: int = FOLDS) -> list[tuple[float, float]]:
    """How probably the guess about each item is right: by the answers of other images, and by
    those of other images that are about the same query, where there are any.

    Where several answers are equally frequent, one of them is guessed at random.

    >>> one, other = (Item(f"{n}.png", "cup", "lamp", "on") for n in range(2))
    >>> priors([one, other], folds=1000)
    [(1.0, 1.0), (1.0, 1.0)]
    """
    fold_of = {item.image: int(share(item.image, 0) * folds) for item in items}
    whole: Counter[str] = Counter()
    of_query: dict[str, Counter[str]] = defaultdict(Counter)
    in_fold: dict[int, Counter[str]] = defaultdict(Counter)
    in_fold_of_query: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for item in items:
        fold = fold_of[item.image]
        whole[item.answer] += 1
        of_query[item.query][item.answer] += 1
        in_fold[fold][item.answer] += 1
        in_fold_of_query[fold, item.query][item.answer] += 1
    best = {fold: _most_frequent(whole, inside) for fold, inside in in_fold.items()}
    best_of_query = {
        (fold, query): _most_frequent(of_query[query], inside) or best[fold]
        for (fold, query), inside in in_fold_of_query.items()
    }
    right = []
    for item in items:
        fold = fold_of[item.image]
        right.append((
            _chance(item.answer, best[fold]), _chance(item.answer, best_of_query[fold, item.query])
        ))  # fmt: skip
    return right


def _most_frequent(whole: Counter[str], inside: Counter[str]) -> frozenset[str]:
    """The answers that are most frequent outside of a fold; none if there are none."""
    outside = {answer: count - inside[answer] for answer, count in whole.items()}
    most = max(outside.values(), default=0)
    return frozenset(answer for answer, count in outside.items() if count == most > 0)


def _chance(answer: str, guesses: Iterable[str]) -> float:
    among = frozenset(guesses)
    return 1 / len(among) if answer in among else 0.0


def _row(
    relation: str, items: Sequence[Item], right: Sequence[tuple[float, float]]
) -> RelationStatistics:
    answers = Counter(item.answer for item in items)
    return RelationStatistics(
        relation,
        len(items),
        len({item.image for item in items}),
        len({item.query for item in items}),
        len(answers),
        max(answers.values()) / len(items),
        sum(one for one, _ in right) / len(items),
        sum(one for _, one in right) / len(items),
    )
