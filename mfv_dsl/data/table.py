"""Datasets of files: what all their readers share.

A reader turns a file into :class:`ItemRow` objects and findings; :func:`build` makes a
:class:`Table` of them: names, duplicates, missing images, splits, balance, hash.  No pixels are
read for it.  :func:`of_files` makes of ``read`` what a reader's row in ``lang/entries.py`` promises
of its module, so that a new format is one row and one module::

    def read(file: str, **options: Any) -> Table: ...

    facts, dataset = of_files(read)
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.collecting import uncollected
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.names import listed_relations, meant_relation, quoted_relation
from mfv_dsl.base.short import Short
from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import excerpt, tidy
from mfv_dsl.data.findings import SHOWN, Finding, in_order, refuse_errors
from mfv_dsl.data.image_files import ImageFile, with_contents
from mfv_dsl.data.items import SPLITS, Item
from mfv_dsl.data.names import read_synonyms
from mfv_dsl.data.rows import (
    ItemRow,
    bad_names,
    bad_relations,
    repeats,
    twin_relations,
    without_choice,
)

if TYPE_CHECKING:
    import numpy as np

_VERSION = 1  # raise when the same files would give other items
#: Of the warnings of a table, those that every use of it is told, not `mfv data check` alone.
_WARNED_OF = ("MFV5367", "MFV7130", "MFV7131")


@dataclass(frozen=True)
class Options:
    """What every reader of files takes; the language's words for it are in ``lang/entries.py``."""

    relations: tuple[str, ...] | None = None
    extract: float = 0.4
    train: float = 0.2
    validation: float = 0.1
    test: float = 0.3
    seed: int = 0
    synonyms: str | None = None
    balance: bool = False
    missing: str = "error"


@dataclass(frozen=True, repr=False)
class Table(Short):
    """A dataset of files without its pixels.

    ``items`` by relation and split, in the order of the file; ``dropped`` counts what declared
    rules left out, without those that left out nothing, and ``remark`` is what else is to be known
    of how it was read.
    """

    name: str
    relations: tuple[str, ...]
    splits: tuple[str, ...]
    items: Mapping[tuple[str, str], tuple[Item, ...]]
    images: Mapping[str, ImageFile]
    hash: str
    findings: tuple[Finding, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    remark: str = ""

    @property
    def facts(self) -> DatasetFacts:
        """What is known of it without its images."""
        counts = {
            relation: {split: len(self.items[relation, split]) for split in self.splits}
            for relation in self.relations
        }
        images = {
            relation: {
                split: len({item.image for item in self.items[relation, split]})
                for split in self.splits
            }
            for relation in self.relations
        }
        warnings = tuple(
            (finding.code, f"{self.name}: {finding}")
            for finding in self.findings
            if finding.code in _WARNED_OF
        )
        return DatasetFacts(
            self.relations, self.splits, self.hash, self.description, counts, images, warnings,
            *asked_in(item for pool in self.items.values() for item in pool),
        )  # fmt: skip

    @property
    def description(self) -> str:
        """How many items and images there are, and what was left out."""
        number = sum(map(len, self.items.values()))
        left_out = "".join(f", {count:,} {rule}" for rule, count in self.dropped.items())
        size = f"{number:,} items on {len(self.images):,} images of {self.name}"
        size += f"; {self.remark}" if self.remark else ""
        return size + (f"; left out: {left_out[2:]}" if left_out else "")


def build(
    name: str,
    rows: Sequence[ItemRow],
    images: Mapping[str, ImageFile],
    options: Options,
    findings: Iterable[Finding] = (),
    dropped: Mapping[str, int] | None = None,
    remark: str = "",
) -> Table:
    """The table of what a reader read.

    Args:
        name: What errors call the dataset, such as ``pairs(pairs.jsonl)``.
        rows: Every item of the file, in its order.
        images: Every image that the rows name.
        options: What the recipe says of the dataset.
        findings: What the reader found wrong.
        dropped: How many things each of the reader's own rules left out, by rule.
        remark: What else is to be known of how it was read.

    Returns:
        The table, with what is wrong with single rows in its findings.

    Raises:
        MfvError: MFV7115 if nothing is left, or there is no such relation; MFV7122 for shares that
            are all 0; MFV7106 and MFV7114 for the list of synonyms.
    """
    problems, left_out = list(findings), dict(dropped or {})
    rows = _tidied(rows)
    if options.synonyms is not None:
        canonical = read_synonyms(options.synonyms)
        rows = [
            replace(row, query=canonical.get(row.query, row.query),
                    answer=canonical.get(row.answer, row.answer))
            for row in rows
        ]  # fmt: skip
    relations = _relations(name, rows, options)
    problems += twin_relations(rows, relations)
    rows = [row for row in rows if row.relation in relations]
    problems += bad_names(rows)
    problems += bad_relations(rows)
    problems += repeats(rows)
    problems += without_choice(rows)
    problems += _outside(rows, images)
    rows, missing_images = _without_missing(rows, images, options, left_out)
    problems += missing_images
    split_of, splits, bad_splits = _splits(rows, options)
    problems += bad_splits
    has_errors = any(finding.severity == "error" for finding in problems)
    if options.balance and rows and not has_errors:
        rows = _balanced(rows, relations, split_of, left_out)
    neighbours: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        neighbours.setdefault((row.image, row.query), {})[row.relation] = row.answer
    pools: dict[tuple[str, str], list[Item]] = {(r, s): [] for r in relations for s in splits}
    for row in rows:
        around = neighbours[row.image, row.query]
        item = Item(row.image, row.query, row.answer, row.relation, around, row.place, row.choice)
        pools[row.relation, split_of[row.image]].append(item)
    if not rows and not has_errors:
        notes = [f"{count:,} {rule}" for rule, count in left_out.items() if count]
        notes += map(str, in_order(problems)[:SHOWN])
        raise MfvError("MFV7115", f"nothing is left of {name}", notes=notes)
    row_images = {row.image: images[row.image] for row in rows}
    if not has_errors:
        row_images = with_contents(row_images)
    items = {pool: tuple(members) for pool, members in pools.items()}
    return Table(
        name,
        relations,
        splits,
        items,
        row_images,
        _hash(relations, items, row_images),
        in_order(problems),
        {rule: count for rule, count in left_out.items() if count},
        remark,
    )


def _tidied(rows: Sequence[ItemRow]) -> list[ItemRow]:
    """The rows with tidy names; each different name is looked at once."""
    names = {name for row in rows for name in (row.query, row.answer, row.relation)}
    changed = {name: new for name in names if (new := tidy(name)) != name}
    if not changed:
        return list(rows)
    return [
        replace(row, query=changed.get(row.query, row.query),
                answer=changed.get(row.answer, row.answer),
                relation=changed.get(row.relation, row.relation))
        for row in rows
    ]  # fmt: skip


# -- what a table is checked for ------------------------------------------------------------------
def _relations(name: str, rows: Sequence[ItemRow], options: Options) -> tuple[str, ...]:
    """The relations asked for, or all in the order in which they come."""
    relations = tuple(dict.fromkeys(row.relation for row in rows))
    asked = []
    for relation in options.relations or ():
        meant = meant_relation(relation, relations)
        if meant is None:
            near = suggest(relation, relations)
            raise MfvError(
                "MFV7115", f"{name} has no relation `{relation}`",
                help=f"did you mean `{quoted_relation(near)}`?" if near
                else f"it has {listed_relations(relations) or 'none'}",
                argument="relations",
            )  # fmt: skip
        asked.append(meant)
    return relations if options.relations is None else tuple(dict.fromkeys(asked))


def _without_missing(
    rows: Sequence[ItemRow],
    images: Mapping[str, ImageFile],
    options: Options,
    dropped: dict[str, int],
) -> tuple[list[ItemRow], list[Finding]]:
    """The rows whose images are there, and a finding for each image that is not, if that is an
    error."""
    complete = [row for row in rows if images[row.image].bytes is not None]
    if options.missing == "drop":
        dropped["items without their image"] = len(rows) - len(complete)
        return complete, []
    places: dict[str, str] = {}
    for row in rows:
        if images[row.image].bytes is None:
            places.setdefault(row.image, row.place)
    findings = []
    for image, place in places.items():
        instead = images[image].instead
        what = f"there is no image {excerpt(image, 200)}" + (f", but {instead}" if instead else "")
        findings.append(Finding("error", "MFV7108", place, what))
    return complete, findings


def _outside(rows: Sequence[ItemRow], images: Mapping[str, ImageFile]) -> list[Finding]:
    """A warning if images lie outside of the table's folder."""
    outside = dict.fromkeys(row.image for row in rows if images[row.image].outside)
    if not outside:
        return []
    first = next(row for row in rows if row.image in outside)
    what = f"{len(outside):,} images lie outside of the dataset's folder, such as {first.image}"
    return [Finding("warning", "MFV7130", first.place, what)]


# -- splits and balance ---------------------------------------------------------------------------
def share(image: str, seed: int) -> float:
    """A number in [0, 1) that an image's name and the seed decide."""
    digest = hashlib.sha256(f"{seed}:{image}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _splits(
    rows: Sequence[ItemRow], options: Options
) -> tuple[dict[str, str], tuple[str, ...], list[Finding]]:
    """The split of every image, the splits, and what is wrong with those that the rows name."""
    if all(row.split is None for row in rows):
        return *deal(rows, options), []
    names = dict.fromkeys(row.split for row in rows if row.split is not None)
    splits = (*(s for s in SPLITS if s in names), *(s for s in names if s not in SPLITS))
    split_of: dict[str, str] = {}
    findings = []
    for row in rows:
        split = split_of.setdefault(row.image, row.split or splits[0])
        if row.split is None:
            what = "names no split, and other rows do"
            findings.append(Finding("error", "MFV7107", row.place, what))
        elif row.split != split:
            what = f"the image {row.image} is in `{row.split}` here and in `{split}` before"
            findings.append(Finding("error", "MFV7113", row.place, what))
    return split_of, splits, findings


def deal(rows: Sequence[ItemRow], options: Options) -> tuple[dict[str, str], tuple[str, ...]]:
    """The split of every image and the splits, dealt by a hash of the images' names, so that an
    image that is added or taken away moves no other."""
    shares = {split: getattr(options, split) for split in SPLITS if getattr(options, split) > 0}
    total = sum(shares.values())
    if not total:
        raise MfvError("MFV7122", "the shares of all splits are 0", help="give one above 0")
    names, ends = tuple(shares), list(accumulate(shares.values()))

    def of(image: str) -> str:
        return names[min(bisect_right(ends, share(image, options.seed) * total), len(names) - 1)]

    return {image: of(image) for image in dict.fromkeys(row.image for row in rows)}, names


def _balanced(
    rows: Sequence[ItemRow],
    relations: Sequence[str],
    split_of: Mapping[str, str],
    dropped: dict[str, int],
) -> list[ItemRow]:
    """As many rows of every relation in a split as the rarest one has there; which ones are kept
    is decided by the hash of the image's name."""
    count = Counter((row.relation, split_of[row.image]) for row in rows)
    splits = set(split_of.values())
    most = {split: min(count[relation, split] for relation in relations) for split in splits}
    for relation in relations:
        for split in splits:
            if not count[relation, split]:
                raise MfvError(
                    "MFV7115", f"nothing can balance `{relation}`: it has no items in `{split}`",
                    help="name fewer `relations`, or deal the images with another `seed`",
                )  # fmt: skip
    sizes: Counter[tuple[str, str]] = Counter()
    numbers = set()
    for number in sorted(range(len(rows)), key=lambda i: (share(rows[i].image, -1), i)):
        pool = rows[number].relation, split_of[rows[number].image]
        if sizes[pool] < most[pool[1]]:
            sizes[pool] += 1
            numbers.add(number)
    dropped["items to balance the relations"] = len(rows) - len(numbers)
    return [row for number, row in enumerate(rows) if number in numbers]


def asked_in(items: Iterable[Item]) -> tuple[tuple[str, ...], float]:
    """What the questions of items can be answered with, ``choice`` where all have options and
    ``yes_no`` where these are yes and no, and how many options a question has on average."""
    choices = [item.choice for item in items]
    options = [len(choice.options) for choice in choices if choice is not None]
    if not choices or len(options) < len(choices):
        return (), 0.0
    is_yes_no = all(choice is not None and choice.is_yes_no for choice in choices)
    return ("choice", *(["yes_no"] if is_yes_no else [])), sum(options) / len(options)


def _hash(
    relations: Sequence[str],
    items: Mapping[tuple[str, str], Sequence[Item]],
    images: Mapping[str, ImageFile],
) -> str:
    """A hash of all items in their order and of the images' names, sizes and contents."""
    content = [
        _VERSION,
        list(relations),
        [[*pool, [_content(item) for item in members]] for pool, members in items.items()],
        [
            [image, file.bytes, *([file.content] if file.content else [])]
            for image, file in images.items()
        ],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _content(item: Item) -> list[Any]:
    """What of an item counts for the hash of its dataset."""
    content: list[Any] = [item.image, item.query, item.answer, sorted(item.neighbours.items())]
    if item.choice is not None:
        content.append([list(item.choice.options), item.choice.right, item.choice.question])
    return content


# -- a table in use -------------------------------------------------------------------------------
class FileDataset:
    """A table with its pictures; MfvError with all errors of a table that has any."""

    at_once = 1

    def __init__(self, table: Table) -> None:
        refuse_errors(table.name, table.findings)
        self.table = table
        self.relations, self.splits, self.hash = table.relations, table.splits, table.hash

    def __repr__(self) -> str:
        return f"<{self.table.description[:500]}>"

    def items(self, relation: str, split: str) -> tuple[Item, ...]:
        """Those of a relation, by its name or its plain spelling, and a split."""
        relation = meant_relation(relation, self.relations) or relation
        if (relation, split) not in self.table.items:
            raise MfvError(
                "MFV7112", f"{self.table.name} has no items of `{relation}` in a split `{split}`",
                help=f"its relations are {listed_relations(self.relations)}; its splits are "
                f"{', '.join(self.splits)}",
            )  # fmt: skip
        return self.table.items[relation, split]

    def pictures(self, images: Sequence[str], size: int) -> list[np.ndarray]:
        """As large as the files have them: the model's own preprocessing fits them."""
        from mfv_dsl.data.images import read_rgb

        return [read_rgb(self.table.images[image].open(), image) for image in images]


def of_files(
    read: Callable[..., Table],
) -> tuple[Callable[..., DatasetFacts], Callable[..., FileDataset]]:
    """``facts`` and ``dataset`` of a reader's module.

    Both take the constructor's arguments as ``read`` does, and raise an MfvError with all errors of
    a table that has any.
    """

    @uncollected()
    def facts(**arguments: Any) -> DatasetFacts:
        table = read(**arguments)
        refuse_errors(table.name, table.findings)
        return table.facts

    @uncollected()
    def dataset(**arguments: Any) -> FileDataset:
        return FileDataset(read(**arguments))

    return facts, dataset
