"""Statements that one object stands in a relation to another: what published sets of relations are
made of, and the items that come of them.

Three rules make items that can be asked: a question has one answer, an object is not asked about
itself, and an image is in one split.  What they leave out is counted by rule.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import RENAMED, plain_spelling
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import Choice, yes_or_no
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.scene_graphs import object_name

#: What the splits of published sets are called here.
SPLIT_NAMES: Mapping[str, str] = {"dev": "validation", "val": "validation", "valid": "validation"}
#: Which split keeps an image that several show: the one that is measured on.
_KEEPS = ("test", "validation", "train")
_ARTICLE = re.compile(r"(?:the|an?) (?=.)", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """``subject`` stands in ``relation`` to ``object`` on an image, or, where ``holds`` is false,
    somebody says so and it is not so; ``text`` is the sentence that says it.  ``choice`` is the
    question with options that the set asks about it."""

    place: str
    image: str
    subject: str
    relation: str
    object: str
    text: str
    holds: bool = True
    split: str | None = None
    choice: Choice | None = None


@lru_cache(maxsize=10_000)
def relation_of(predicate: str) -> str:
    """The relation of a predicate: as the data calls it, but for two, which all datasets have.

    >>> relation_of("to the left of"), relation_of("sitting  on"), relation_of("in-front of")
    ('left', 'sitting on', 'in-front of')
    """
    return RENAMED.get(predicate) or tidy(predicate)


class Wanted:
    """The relations that a recipe asks for, all if it names none; by their names or spellings.

    >>> wanted = Wanted(("sitting_on", "left"))
    >>> wanted("sitting on"), wanted("on"), Wanted(None)("on")
    (True, False, True)
    """

    def __init__(self, relations: Iterable[str] | None) -> None:
        self.names = frozenset(relations or ())

    def __call__(self, relation: str) -> bool:
        names = self.names
        return not names or relation in names or plain_spelling(relation) in names


def without_article(name: str) -> str:
    """A name as objects are called: no article, no capital letters, single blanks.

    >>> without_article("A beer bottle"), without_article("the TV"), without_article("a")
    ('beer bottle', 'tv', 'a')
    """
    name = tidy(name)
    return object_name(name[match.end() :] if (match := _ARTICLE.match(name)) else name)


def split_name(name: str) -> str:
    """What a split of a published set is called here.

    >>> split_name("valid"), split_name("test")
    ('validation', 'test')
    """
    return SPLIT_NAMES.get(name, name)


def split_files(path: Path, names: Mapping[str, str], help: str) -> list[tuple[Path, str | None]]:
    """The files of a published set with their splits: of a folder those that it has of ``names``,
    by split; of a file that file, whose split is not known.

    Raises MfvError (MFV7106), with ``help``, for a folder that has none of them.
    """
    if not path.is_dir():
        return [(path, None)]
    files: list[tuple[Path, str | None]] = [
        (path / name, split_name(split)) for split, name in names.items() if (path / name).exists()
    ]
    if not files:
        raise MfvError(
            "MFV7106", f"the folder {path} has none of the files {', '.join(names.values())}",
            help=help,
        )  # fmt: skip
    return files


def items_of(
    statements: Iterable[Statement], ask: str, query: str, dropped: Counter[str]
) -> list[ItemRow]:
    """The items of statements.

    Args:
        statements: In the order of the file.
        ask: ``answer`` to ask for the other object of statements that hold; ``truth`` to ask of
            every statement whether it holds, ``true`` or ``false``; ``question`` to ask the set's
            own question, which every statement has.
        query: Which end of a relation is asked about, ``subject`` or ``object``.
        dropped: Counts what the rules leave out.
    """
    rows = []
    for one in statements:
        choice = one.choice
        if ask == "question":
            assert choice is not None
            ends = choice.question, choice.answer
        elif ask == "truth":
            text = tidy(one.text).rstrip(".")
            ends = text, "true" if one.holds else "false"
            choice = choice or yes_or_no(f"Is this true of the picture? {text}.", one.holds)
        elif not one.holds:
            dropped["statements that do not hold"] += 1
            continue
        elif one.subject == one.object:
            dropped["relations of an object to its own name"] += 1
            continue
        else:
            ends = (one.subject, one.object) if query == "subject" else (one.object, one.subject)
        rows.append(ItemRow(one.place, one.image, *ends, one.relation, one.split, choice))
    return one_answer(one_split(rows, dropped), dropped)


def one_answer(rows: Sequence[ItemRow], dropped: Counter[str]) -> list[ItemRow]:
    """The rows, of those with one question the first."""
    first: dict[tuple[str, str, str], str] = {}
    kept = []
    for row in rows:
        question = row.image, row.query, row.relation
        if question not in first:
            first[question] = row.answer
            kept.append(row)
        elif first[question] == row.answer:
            dropped["items that are there twice"] += 1
        else:
            dropped["further answers to a question"] += 1
    return kept


def one_split(rows: Sequence[ItemRow], dropped: Counter[str]) -> list[ItemRow]:
    """The rows, of an image that several splits show those of one: of ``test`` where that shows
    it, else of ``validation``, else of ``train``."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.split is not None:
            splits.setdefault(row.image, set()).add(row.split)
    keeps = {
        image: min(names, key=lambda name: (*_KEEPS, name).index(name))
        for image, names in splits.items()
        if len(names) > 1
    }
    kept = [row for row in rows if keeps.get(row.image, row.split) == row.split]
    if len(kept) < len(rows):
        dropped["items whose image another split shows"] += len(rows) - len(kept)
    return kept
