"""Rows of parquet files, with their images left in the files: what readers of such sets share.

The optional library ``pyarrow`` reads them.  An image is told by the hash of its content, so that
one image is in one split whatever the number of rows that show it; its bytes are read again where
it is shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.base.texts import excerpt
from mfv_dsl.data.image_files import ImageFile
from mfv_dsl.data.images import LARGEST
from mfv_dsl.data.json_values import BadValue, cell_shown

_BATCH = 64  # rows whose images are in memory at once


@dataclass(frozen=True)
class Row:
    """A row: its place, its values by column but the image's, and its image, None where the cell is
    empty."""

    place: str
    values: dict[str, Any]
    image: bytes | None
    source: partial[BinaryIO]

    def picture(self) -> tuple[str, ImageFile]:
        """The image's name, which its content makes, and the image.  Raises BadValue."""
        if not self.image:
            raise BadValue("it has no image, or one that is neither bytes nor base64")
        name = content_name(self.image)
        return name, ImageFile(partial(self.source, name), len(self.image))


def content_name(data: bytes) -> str:
    """What an image is called by its content."""
    return hashlib.sha256(data).hexdigest()[:32]


def read_rows(
    path: Path, needed: Sequence[str], image: str, wanted: Sequence[str] = ()
) -> Iterator[Row]:
    """The rows of a parquet file, or of all in a folder in the order of their names.

    Args:
        path: The file or folder.
        needed: The columns that it has to have, besides the image's.
        image: The column of images: ``{"bytes", "path"}``, bytes, or base64 in text.
        wanted: Columns that are read if they are there.

    Raises:
        MfvError: MFV7141 without pyarrow, MFV7106 for a file that cannot be read, MFV7142 for a
            column that is not there.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if not files:
            raise MfvError("MFV7106", f"the folder {path} has no files `.parquet`")
    for file in files:
        before = f"{file.name} " if len(files) > 1 else ""
        yield from _rows_of(file, before, needed, image, wanted)


def _rows_of(
    file: Path, before: str, needed: Sequence[str], image: str, wanted: Sequence[str]
) -> Iterator[Row]:
    opened = _opened(file)
    names = opened.schema_arrow.names
    missing = [name for name in (*needed, image) if name not in names]
    if missing:
        raise MfvError(
            "MFV7142", f"{file} has no column {' and no column '.join(f'`{n}`' for n in missing)}",
            help=did_you_mean(missing[0], names, f"it has {excerpt(', '.join(names), 300)}"),
        )  # fmt: skip
    columns = [*needed, *(name for name in wanted if name in names)]
    number = 0
    for group in range(opened.num_row_groups):
        within = 0
        try:
            for batch in opened.iter_batches(_BATCH, [group], columns=[*columns, image]):
                values = batch.select(columns).to_pylist()
                pictures = batch.column(batch.schema.get_field_index(image))
                for row, picture in zip(values, pictures, strict=True):
                    number += 1
                    source = partial(_open, file, image, group, within)
                    data = _bytes(picture.as_py(), file.parent)
                    yield Row(f"{before}row {number}", row, data, source)
                    within += 1
        except MfvError:
            raise
        except Exception as error:  # a damaged page raises what pyarrow pleases
            raise _unreadable(file, error) from None


def _opened(file: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MfvError(
            "MFV7141", f"{file.name} is read by the library `pyarrow`, which is not installed",
            help="pip install 'mfv-dsl[parquet]'",
        ) from None  # fmt: skip
    if not file.is_file():
        raise MfvError(
            "MFV7106", f"cannot read {file}: there is no such file",
            help="paths are relative to the folder that `mfv` runs in",
        )  # fmt: skip
    try:
        return parquet.ParquetFile(file)
    except Exception as error:
        if not _is_parquet(file):
            raise MfvError(
                "MFV7106", f"cannot read {file}: it is no parquet file",
                help="files of JSON are read where their set has them, with names that say so",
            ) from None  # fmt: skip
        raise _unreadable(file, error) from None


def _is_parquet(file: Path) -> bool:
    """Whether a file begins as parquet files do."""
    try:
        with open_regular(file) as opened:
            return opened.read(4) in (b"PAR1", b"PARE")  # of encrypted ones the latter
    except OSError:
        return True  # what reading it says is to be told


def _unreadable(file: Path, error: Exception) -> MfvError:
    return MfvError("MFV7106", f"cannot read {file}: {excerpt(str(error), 300)}")


def _bytes(cell: Any, folder: Path) -> bytes | None:
    """An image's bytes in a cell, None where it is empty or no image."""
    if isinstance(cell, dict):
        data = cell.get("bytes")
        return data if isinstance(data, bytes) and len(data) <= LARGEST else None
    if isinstance(cell, str):
        return of_base64(cell)
    return cell if isinstance(cell, bytes) and len(cell) <= LARGEST else None


def of_base64(text: str) -> bytes | None:
    """The bytes that base64 says, also in several lines, and with ``data:image/jpeg;base64,``
    before it.

    >>> of_base64("aGk="), of_base64("aG\\nk="), of_base64("!")
    (b'hi', b'hi', None)
    """
    try:
        return base64.b64decode("".join(text.rpartition(",")[2].split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _open(file: Path, column: str, group: int, within: int, name: str) -> BinaryIO:
    """An image's bytes, read again.  Raises MfvError (MFV7140) if the file has others now."""
    try:
        status = file.stat()
        cells = _cells(file, column, group, (status.st_mtime_ns, status.st_size))
        data = _bytes(cells[within].as_py(), file.parent)
    except (OSError, IndexError, KeyError, ValueError):
        data = None
    if data is None or content_name(data) != name:
        raise MfvError(
            "MFV7140", f"{file} has changed since it was read: an image of it is another now"
        )
    return io.BytesIO(data)


@lru_cache(maxsize=2)
def _cells(file: Path, column: str, group: int, state: tuple[int, int]) -> Any:
    """A column of one group of rows; ``state`` is the file's."""
    return _opened(file).read_row_group(group, columns=[column]).column(0)


def text_in(row: Row, column: str) -> str:
    """The text in a cell.  Raises BadValue."""
    value = row.values[column]
    if not isinstance(value, str):
        raise BadValue(f"`{column}` is {cell_shown(value)}, not a text")
    return value


def texts_in(row: Row, column: str) -> list[str]:
    """The list of texts in a cell.  Raises BadValue."""
    value = row.values[column]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadValue(f"`{column}` is {cell_shown(value)}, not a list of texts")
    return value
