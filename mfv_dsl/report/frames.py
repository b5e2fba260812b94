"""Tables of runs as data frames of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError

if TYPE_CHECKING:
    import pandas


#: Columns of whole numbers, and of texts, also where no line has a value in them.
_WHOLE = ("shots", "layer", "k", "n", "draws", "head", "heads", "epoch")
_WORDS = (
    "run", "eval", "relation", "vector", "control", "written", "error", "answered", "split",
    "number", "tune", "variable", "candidate", "step", "by", "other", "image", "place", "query",
    "answer", "said", "said_unedited",
)  # fmt: skip


def data_frame(lines: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pandas.DataFrame:
    """Lines as a data frame with these columns: whole numbers as ``Int64``, others as ``Float64``,
    texts as ``string``, truth values as ``boolean``, each with ``<NA>`` for nothing; a column of
    several sorts, such as layers with ``native`` among them, as it is.  Raises MfvError (MFV6134)
    without pandas."""
    pandas = pandas_library()
    made = {}
    for name in columns:
        values = [line.get(name) for line in lines]
        kind = _kind(name, values)
        made[name] = pandas.Series(values, dtype=kind or "object")
    return pandas.DataFrame(made, columns=list(columns))


def _kind(name: str, values: Sequence[Any]) -> str | None:
    """The type of a column, None where its values are of several."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds and name in _WHOLE:
        return "Int64"
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    if kinds in ({float}, {int, float}):
        return "Float64"
    if not kinds and name not in _WORDS:
        return "Float64"
    return "string" if kinds in (set(), {str}) else None


def pandas_library() -> ModuleType:
    """The package pandas.  Raises MfvError (MFV6134) where it is not installed."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pandas":
            raise
        raise MfvError(
            "MFV6134", "data frames need the package pandas", help="pip install 'mfv-dsl[pandas]'"
        ) from None
    return pandas
