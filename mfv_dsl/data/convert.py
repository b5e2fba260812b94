"""``mfv data convert``: a dataset of files as lines that :mod:`mfv_dsl.data.pairs` reads."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import read_regular, write_atomically
from mfv_dsl.base.texts import excerpt
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.images import LARGEST
from mfv_dsl.data.items import Item
from mfv_dsl.data.table import Table

#: Names of images that are kept: paths of plain names that lead nowhere else, on any system.
_PLAIN = re.compile(r"(?!.*(?:^|/)\.)[\w.\- ()+=@,]+(?:/[\w.\- ()+=@,]+)*")
_SUFFIXES = (  # by the first bytes of a file whose name does not say what it is
    (b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"),
    (b"RIFF", ".webp"),
)  # fmt: skip


def convert(table: Table, target: Path, refer: bool, done: Callable[[int], None]) -> int:
    """Write a table's items, with their splits, and their images.

    Args:
        table: What is written.
        target: The file of JSON lines. Images are copied into the folder ``images`` beside it.
        refer: Name the images where they are instead of copying them.
        done: Hears of every image that is done.

    Returns:
        How many items there are.

    Raises:
        MfvError: MFV7144 for a file that is there already, or another suffix than ``.jsonl``;
            MFV6120 to MFV6124 where it cannot be written, MFV7109 for an image that cannot be read.
    """
    if target.suffix.lower() != ".jsonl":
        raise MfvError(
            "MFV7144", f"{excerpt(str(target), 200)} does not end in `.jsonl`",
            help="items are written as lines of JSON, for `pairs`",
        )  # fmt: skip
    if os.path.lexists(target):
        raise MfvError(
            "MFV7144", f"{excerpt(str(target), 200)} is there already",
            help="name another file, or remove it first",
        )  # fmt: skip
    with disk_trouble(target, what="cannot write"):
        target.parent.mkdir(parents=True, exist_ok=True)
        names = {}
        for image, file in table.images.items():
            names[image] = _image(image, file, target.parent, refer)
            done(1)
        lines = [
            json.dumps(
                {"image": names[item.image], "query": item.query, "answer": item.answer,
                 "relation": relation, "split": split, **_asked(item)},
                ensure_ascii=False,
            )
            for (relation, split), items in table.items.items()
            for item in items
        ]  # fmt: skip
        write_atomically(target, "".join(f"{line}\n" for line in lines).encode())
    return len(lines)


def _asked(item: Item) -> dict[str, Any]:
    """The question with options of an item, as ``pairs`` reads it."""
    choice = item.choice
    if choice is None:
        return {}
    question = {"question": choice.question} if choice.question else {}
    return {"options": list(choice.options), "right": choice.right, **question}


def _image(image: str, file: ImageFile, folder: Path, refer: bool) -> str:
    """An image's name in the lines, after it is copied if it is."""
    if refer and isinstance(file.source, Path):
        return Path(os.path.relpath(file.source, folder)).as_posix()
    source = file.open()
    try:
        if isinstance(source, Path):
            data = read_regular(source, LARGEST)
        else:
            with source:
                data = source.read()
    except OSError as error:
        raise MfvError("MFV7109", f"the image {image} cannot be read: {error.strerror}") from None
    name = f"images/{_name(image, data)}"
    copy = folder / name
    if not os.path.lexists(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, data, durable=False)
    elif not copy.is_file() or read_regular(copy, LARGEST) != data:
        raise MfvError(
            "MFV7144", f"{excerpt(str(copy), 200)} is there already, and is another image",
            help="name a file in another folder",
        )  # fmt: skip
    return name


def _name(image: str, data: bytes) -> str:
    """What a copy is called: as in its set if that is a plain path, else by its content."""
    name = image if _PLAIN.fullmatch(image) else hashlib.sha256(data).hexdigest()[:32]
    if not re.search(r"\.\w{2,5}$", name):
        name += next((suffix for start, suffix in _SUFFIXES if data.startswith(start)), "")
    return name
