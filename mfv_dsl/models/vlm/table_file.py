"""A row of the table of architectures from a user's own TOML file; no torch."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.kinds import fits, told
from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_text, reason
from mfv_dsl.models.vlm.architectures import ARCHITECTURES, Architecture

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: A row, or the file that has it.
Row: TypeAlias = "Architecture | str | Path"


def read_row(source: Row) -> Architecture:
    """The row that ``source`` is, or that it names.

    Raises MfvError (MFV7284) for a file that cannot be read, is not TOML, or is not the row of an
    architecture: an unknown field, a value of another kind, no ``text``.
    """
    if isinstance(source, Architecture):
        return source
    path = user_path(source)
    try:
        table = tomllib.loads(read_text(path, LARGEST_CONFIG))
    except (OSError, BadText) as error:
        raise _wrong(f"cannot read {path}: {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{path} is not TOML: {error}") from None
    return _row(table, path)


def row_identity(row: Architecture, model_type: str) -> str:
    """What tells results by ``row`` apart from those by the table's own; nothing where both are
    the same."""
    if row == ARCHITECTURES.get(model_type):
        return ""
    told = {item.name: getattr(row, item.name) for item in fields(row) if _differs(item, row)}
    return f":{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]}"


def _differs(item: Field[Any], row: Architecture) -> bool:
    """Whether a field has to be told: a new one with a default changes no identity of old."""
    return item.default is MISSING or asdict(row)[item.name] != item.default


def _row(table: Mapping[str, Any], path: Path) -> Architecture:
    kinds, values = get_type_hints(Architecture), {}
    for name, value in table.items():
        if name not in kinds:
            raise _wrong(
                f"{path} has the field `{name}`, which an architecture does not have",
                did_you_mean(name, kinds, f"its fields are {', '.join(kinds)}"),
            )
        if isinstance(value, list):
            value = tuple(value)
        if not fits(value, kinds[name]):
            raise _wrong(f"{path}: `{name}` is {value!r}", f"it takes {told(kinds[name])}")
        values[name] = value
    missing = [
        item.name for item in fields(Architecture)
        if item.default is MISSING and item.default_factory is MISSING and item.name not in values
    ]  # fmt: skip
    if missing:
        raise _wrong(
            f"{path} does not give `{missing[0]}`",
            '`text` is the path of the language model, as in text = "model.language_model"',
        )
    return Architecture(**values)


def _wrong(message: str, help: str | None = None) -> MfvError:
    return MfvError(
        "MFV7284", message, argument="architecture",
        help=help or "give a TOML file with the fields of an architecture; `mfv explain MFV7284`",
    )  # fmt: skip
