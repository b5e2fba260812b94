"""Objects that are placed on an image, and the questions about the relations between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mfv_dsl.data.rows import ItemRow


@dataclass(frozen=True)
class Related:
    """The object ``subject`` stands in ``relation`` to ``object``, both by their keys."""

    subject: str
    relation: str
    object: str


def questions(
    place: str,
    image: str,
    names: Mapping[str, str],
    related: Iterable[Related],
    query: str,
    answers: str,
    distance: Callable[[str, str], float],
    split: str | None,
    dropped: Counter[str],
) -> list[ItemRow]:
    """The items of an image whose objects stand in relations by geometry.

    Args:
        place: Where the image stands in its file.
        image: Its name.
        names: The objects' names by key, each of one object.
        related: All that stand in a relation, in any order.
        query: Which end of a relation is asked about, ``subject`` or ``object``.
        answers: What is done with a question that several objects answer: ``only`` leaves it out,
            ``nearest`` takes the object that is nearest to the query, if one is.
        distance: How far two objects are apart, by their keys.
        split: The image's split.
        dropped: Counts what is left out.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in related:
        ends = (one.subject, one.object) if query == "subject" else (one.object, one.subject)
        found[ends[0], one.relation].append(ends[1])
    rows = []
    for (asked, relation), others in found.items():
        if len(others) > 1 and answers == "only":
            dropped["questions that several objects answer"] += 1
            continue
        by_distance = [(0.0, others[0])]
        if len(others) > 1:
            by_distance = sorted((distance(asked, other), other) for other in others)
        if len(others) > 1 and by_distance[0][0] == by_distance[1][0]:
            dropped["questions that several objects answer"] += 1
            continue
        rows.append(ItemRow(place, image, names[asked], names[by_distance[0][1]], relation, split))
    return rows


def unique_names(names: Mapping[str, str], dropped: Counter[str]) -> dict[str, str]:
    """The names by key of objects that alone on their image have theirs."""
    count = Counter(names.values())
    single = {key: name for key, name in names.items() if count[name] == 1}
    dropped["objects of a name that others have"] += len(names) - len(single)
    return single
