"""The dataset ``hf_dataset("org/name")``: rows of a dataset of the Hugging Face hub.

The optional library ``datasets`` reads it (a name on the hub, or a local folder) and keeps what it
downloads; the first check of a recipe that names it therefore downloads it.  Images are told apart
by their contents, so that one image is in one split whatever the number of rows that show it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import read_regular
from mfv_dsl.base.texts import tidy
from mfv_dsl.data.choices import answered
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.images import LARGEST
from mfv_dsl.data.json_values import BadValue, not_understood
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.rows import ItemRow
from mfv_dsl.data.table import Options, Table, build, of_files


def read(
    path: str,
    config: str | None = None,
    revision: str | None = None,
    part: str = "train",
    image: str = "image",
    query: str = "query",
    answer: str = "answer",
    relation: str = "relation",
    split: str | None = None,
    options: str | None = None,
    **common: Any,
) -> Table:
    """The table of one of a dataset's parts; ``image`` to ``options`` name its columns."""
    rows = _load(path, config, revision, part)
    columns = [n for n in (image, query, answer, relation, split, options) if n is not None]
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise MfvError(
            "MFV7117", f"{path} has no column {' and no column '.join(f'`{n}`' for n in missing)}",
            help=f"it has {', '.join(rows.column_names)}; say which by image=, query=, answer=, "
            "relation=, split=, options=",
        )  # fmt: skip
    rows = _undecoded(rows.select_columns(columns), image, path)
    item_rows, images, findings = items_of(rows, image, query, answer, relation, split, options)
    return build(f"hf_dataset({path})", item_rows, images, Options(**common), findings)


def items_of(
    rows: Sequence[Mapping[str, Any]],
    image: str,
    query: str,
    answer: str,
    relation: str,
    split: str | None = None,
    options: str | None = None,
) -> tuple[list[ItemRow], dict[str, ImageFile], list[Finding]]:
    """The items of rows by column, whose images are ``{"bytes", "path"}``, their images by a hash
    of their contents, and what is wrong with single rows; ``options`` are lists, of which the
    answer is one as :func:`~mfv_dsl.data.choices.right_of` reads it."""
    findings, item_rows = [], []
    images: dict[str, ImageFile] = {}
    texts = [query, relation, *([split] if split else [])]
    texts += [] if options else [answer]
    for number in range(len(rows)):
        row, place = rows[number], f"row {number}"
        wrong = [column for column in texts if not _is_name(row[column])]
        try:
            data = _bytes(row[image])
        except (OSError, TypeError, KeyError, ValueError) as error:
            wrong.append(image)
            what = f"the image in `{image}` cannot be read: {error!r}"
        else:
            what = f"{' and '.join(f'`{column}`' for column in wrong)} is empty or no text"
        if wrong:
            findings.append(Finding("error", "MFV7107", place, what))
            continue
        try:
            right, choice = answered(row, answer, options)
        except BadValue as error:
            findings.append(not_understood(place, error))
            continue
        key = hashlib.sha256(data).hexdigest()[:32]
        images.setdefault(key, ImageFile(partial(_open, rows, number, image), len(data)))
        item_rows.append(
            ItemRow(place, key, tidy(row[query]), right, tidy(row[relation]),
                    tidy(row[split]) if split else None, choice)
        )  # fmt: skip
    return item_rows, images, findings


facts, dataset = of_files(read)


def _load(path: str, config: str | None, revision: str | None, part: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MfvError(
            "MFV7116", "hf_dataset() needs the library `datasets`, which is not installed",
            help="pip install datasets",
        ) from None  # fmt: skip
    try:
        return datasets.load_dataset(path, name=config, revision=revision, split=part)
    except Exception as error:  # of many kinds: no network, no such name, no access, bad files
        raise MfvError("MFV7117", f"cannot load the dataset {path}: {error}") from None


def _undecoded(rows: Any, column: str, path: str) -> Any:
    """``rows`` with the files of its images instead of pictures."""
    import datasets

    if not isinstance(rows.features[column], datasets.Image):
        raise MfvError("MFV7117", f"the column `{column}` of {path} holds no images")
    return rows.cast_column(column, datasets.Image(decode=False))


def _open(rows: Any, number: int, column: str) -> BinaryIO:
    return io.BytesIO(_bytes(rows[number][column]))


def _bytes(image: Mapping[str, Any]) -> bytes:
    data = image["bytes"]
    return read_regular(image["path"], LARGEST) if data is None else bytes(data)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and not is_blank(value)
