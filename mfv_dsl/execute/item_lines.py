"""The items of a run as its folder has them (``items.csv``): read without torch or a model."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import read_regular

ITEMS, ZIPPED = "items.csv", "items.csv.gz"
#: The columns before and behind those of the sweeps that evals are read for.
BEFORE = ("eval", "relation", "shots", "layer", "scale", "vector", "k", "control")
AFTER = ("split", "image", "place", "query", "answer", "said", "p_answer", "correct",
         "said_unedited", "p_unedited", "correct_unedited")  # fmt: skip
_LARGEST = 256 << 20  # bytes of a file of items, also when it is unpacked


class ItemLine(NamedTuple):
    """One item under one condition of an eval.

    ``place`` is where it stands in its dataset's file; ``p_answer`` the probability of the right
    answer and ``said`` what was answered, both also of the unedited model without demonstrations;
    ``axes`` are values of sweeps by name.
    """

    eval: str
    relation: str
    shots: str
    layer: str
    scale: str
    vector: str
    k: str
    control: str
    axes: tuple[tuple[str, str], ...]
    split: str
    image: str
    place: str
    query: str
    answer: str
    said: str
    p_answer: float
    correct: bool
    said_unedited: str
    p_unedited: float
    correct_unedited: bool

    @property
    def item(self) -> tuple[str, str, str, str]:
        """What tells the item from others of its dataset."""
        return self.relation, self.split, self.image, self.query

    @property
    def condition(self) -> tuple[object, ...]:
        """What tells the condition from others of the run."""
        return (
            self.eval, self.relation, self.shots, self.layer, self.scale, self.vector, self.k,
            self.control, self.axes,
        )  # fmt: skip


def read_items(folder: Path) -> list[ItemLine] | None:
    """The items of the run in a folder; None where it has no file of them.

    Raises MfvError (MFV6113) for a file of another form.
    """
    for name in (ITEMS, ZIPPED):
        try:
            data = read_regular(folder / name, _LARGEST)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _bad(folder / name, error.strerror or str(error)) from None
        try:
            return parsed_items(name, data)
        except (ValueError, IndexError, csv.Error, OSError, EOFError, zlib.error) as error:
            raise _bad(folder / name, str(error)) from None
    return None


def parsed_items(name: str, data: bytes) -> list[ItemLine]:
    """The items in a file of this name.  Raises what reading of another form raises: ValueError,
    IndexError, OSError, EOFError, zlib.error, csv.Error."""
    text = (_unpacked(data) if name == ZIPPED else data).decode()
    return _lines(list(csv.reader(io.StringIO(text, newline=""))))


def _unpacked(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        unpacked = file.read(_LARGEST + 1)
    if len(unpacked) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST >> 20} MiB")
    return unpacked


def _lines(rows: Sequence[Sequence[str]]) -> list[ItemLine]:
    if not rows:
        raise ValueError("it is empty")
    columns = tuple(rows[0])
    first, last = len(BEFORE), len(columns) - len(AFTER)
    if columns[:first] != BEFORE or columns[last:] != AFTER or last < first:
        raise ValueError("its columns are not those of items")
    names = columns[first:last]
    lines = []
    for row in rows[1:]:
        if len(row) != len(columns):
            raise ValueError(f"a line has {len(row)} cells, and there are {len(columns)} columns")
        axes = tuple((name, v) for name, v in zip(names, row[first:last], strict=True) if v != "")
        split, image, place, query, answer, said, p, correct, old, old_p, old_correct = row[last:]
        lines.append(
            ItemLine(
                *row[:first],
                axes,
                split,
                image,
                place,
                query,
                answer,
                said,
                float(p),
                correct == "1",
                old,
                float(old_p),
                old_correct == "1",
            )
        )
    return lines


def _bad(path: Path, reason: str) -> MfvError:
    return MfvError(
        "MFV6113", f"cannot read {path}: {reason}",
        help="run the recipe again; its finished steps are kept",
    )  # fmt: skip
