"""Datasets of a Python program's own objects: lists of dicts, data frames, torch's datasets.

pairs = mfv.dataset([{"image": picture, "query": "cup", "answer": "lamp", "relation": "left"}])
mfv.run("recipes/quickstart.mfv", dataset=pairs)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.arguments import (
    ArgumentError,
    known_options,
    number,
    path,
    shown,
    text,
    texts,
    truth,
    whole,
)
from mfv_dsl.base.texts import is_whole, tidy
from mfv_dsl.data.choices import Choice
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import files_in
from mfv_dsl.data.in_memory import MemoryDataset, kept, path_of, pixels_of
from mfv_dsl.data.json_values import BadValue, not_understood
from mfv_dsl.data.pairs import CHOICE_KEYS, choice_in
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, build

if TYPE_CHECKING:
    import numpy as np

    from mfv_dsl.data.items import Dataset

#: What an item has, in the order of an item that is a tuple.
_KEYS = ("image", "query", "answer", "relation", "split")
_CHECKS: Mapping[str, Any] = {
    "relations": texts, "seed": whole, "balance": truth, "synonyms": path, "missing": text,
}  # fmt: skip


def dataset(
    items: Any,
    name: str = "items",
    *,
    image: str = "image",
    query: str = "query",
    answer: str = "answer",
    relation: str = "relation",
    split: str = "split",
    options: str = "options",
    question: str = "question",
    right: str = "right",
    images: str | Path = ".",
    **others: Any,
) -> Dataset:
    """A dataset of items that the program has, for ``dataset=`` of runs and expressions.

    Args:
        items: A list or any iterable of dicts, a pandas data frame, or anything with a length whose
            items are got by number, such as a torch dataset. An item is a dict, or a tuple of
            image, query, answer, relation and, if wanted, split and options. Its image is a picture
            of Pillow, an array (height, width, 3), a tensor (3, height, width), bytes of an image
            file, or a path.
        name: What errors and recipes call it.
        image: The key of an item's image; ``query`` to ``split`` likewise. Splits are dealt by
            image where no item has one.
        options: The key of an item's options, where it has some: texts of which its answer is one,
            or the letter or number of one. ``question`` is that of what is asked, if not the query,
            ``right`` that of the right option, if not the answer.
        images: The folder that paths start from.
        others: ``relations``, ``extract``, ``train``, ``validation``, ``test``, ``seed``,
            ``synonyms``, ``balance`` and ``missing``, as for datasets of files.

    Returns:
        The dataset. It is found by its content: items or pictures that are others have other keys.
        Pictures are copied, so that later changes of theirs change nothing.

    Raises:
        ArgumentError: MFV5119 for items or options of a wrong type.
        MfvError: MFV7107 with all that is wrong with single items, MFV7115 if there are none.

    >>> import numpy as np
    >>> black = np.zeros((8, 8, 3), np.uint8)
    >>> item = {"image": black, "query": "cup", "answer": "lamp", "relation": "next to"}
    >>> dataset([item], "mine").relations
    ('next to',)
    """
    from mfv_dsl.loading import show_in_notebooks

    name = text(name, "name")
    given = (image, query, answer, relation, split, options, question, right)
    named = dict(zip((*_KEYS, *CHOICE_KEYS), given, strict=True))
    keys = {what: text(key, what) for what, key in named.items()}
    common = _options(others)
    findings: list[Finding] = []
    rows: list[ItemRow] = []
    pixels: dict[str, np.ndarray] = {}
    files: dict[str, Any] = {}
    for count, item in enumerate(_items(items), 1):
        place = f"item {count}"
        try:
            values = _values(item, keys)
            where = path_of(values["image"])
            if where is None:
                array = pixels_of(values["image"])
                where, file = kept(array)
                pixels.setdefault(where, array)
                files[where] = file
            rows.append(_row(place, where, values))
        except BadValue as error:
            findings.append(not_understood(place, error))
    by_path = dict.fromkeys(row.image for row in rows if row.image not in pixels)
    files |= files_in(Path(path(images, "images")), by_path)
    table = build(f"dataset({name})", rows, files, common, findings)
    opened: Any = MemoryDataset(table, pixels, name)
    show_in_notebooks(opened)
    made: Dataset = opened
    return made


def _items(items: Any) -> Iterator[Any]:
    """The items, one by one."""
    if hasattr(items, "to_dict") and hasattr(items, "columns"):  # a data frame
        yield from items.to_dict("records")
    elif isinstance(items, str | bytes | Mapping):
        raise _no_items(items)
    elif hasattr(items, "__getitem__") and hasattr(items, "__len__"):
        for number_of in range(len(items)):  # torch's datasets need not end by themselves
            yield items[number_of]
    elif isinstance(items, Iterable):
        yield from items
    else:
        raise _no_items(items)


def _no_items(items: Any) -> ArgumentError:
    what = "a list of dicts, a data frame or a dataset"
    return ArgumentError(f"items have to be {what}, and this is {shown(items)}")


def _values(item: Any, keys: Mapping[str, str]) -> dict[str, Any]:
    """What an item has, by what it is."""
    if isinstance(item, Mapping):
        missing = [keys[what] for what in _KEYS if what != "split" and keys[what] not in item]
        if missing:
            raise BadValue(f"it has no {' and no '.join(f'`{key}`' for key in missing)}")
        return {what: item.get(key) for what, key in keys.items()}
    if isinstance(item, list | tuple) and len(item) in (4, 5, 6):
        found = dict.fromkeys((*_KEYS, *CHOICE_KEYS))
        return found | dict(zip((*_KEYS, "options"), item, strict=False))
    raise BadValue(
        f"it is {shown(item)}, neither a dict nor a tuple of image, query, answer, relation"
    )


def _row(place: str, image: str, values: Mapping[str, Any]) -> ItemRow:
    names = []
    choice = _choice(values)
    if choice is not None and _is_nothing(values["right"]):
        values = {**values, "answer": choice.answer}
    for what in ("query", "answer", "relation"):
        if not isinstance(values[what], str):
            raise BadValue(f"its {what} is {shown(values[what])}, not a text")
        if not is_whole(values[what]):
            raise BadValue(f"its {what} has half a character, such as `\\ud83d` alone")
        names.append(tidy(values[what]))
    split = None if _is_nothing(values["split"]) else values["split"]
    if split is not None and not isinstance(split, str):
        raise BadValue(f"its split is {shown(split)}, not a text")
    part = tidy(split) if split else None
    return ItemRow(place, image, names[0], names[1], names[2], part, choice)


def _is_nothing(value: Any) -> bool:
    """Whether there is no value; NaN is an empty cell of a data frame."""
    return value is None or (isinstance(value, float) and value != value)


def _choice(values: Mapping[str, Any]) -> Choice | None:
    """The question with options of an item; numbers of numpy are whole numbers."""
    known = {}
    for key in ("answer", *CHOICE_KEYS):
        value = values[key]
        known[key] = value.tolist() if hasattr(value, "tolist") else value
    return choice_in({key: None if _is_nothing(value) else value for key, value in known.items()})


def _options(options: Mapping[str, Any]) -> Options:
    """The options of all datasets, looked at."""
    known_options(options, [field.name for field in fields(Options)], "`dataset`")
    checked = {}
    for key, value in options.items():
        if key in ("relations", "synonyms") and value is None:
            continue
        check = _CHECKS.get(key, number)
        checked[key] = check(value, key)
        if check is number and checked[key] < 0:
            raise ArgumentError(f"{key} has to be 0 or more, and this is {shown(value)}")
        if key == "missing" and value not in ("error", "drop"):
            raise ArgumentError(f"missing has to be 'error' or 'drop', and this is {shown(value)}")
    return Options(**checked)
