"""The metadata of a vector file: one text of canonical JSON that carries its own hash.

Canonical: keys sorted, no white space, ASCII, numbers as Python writes them.  ``metadata_sha256``
is the SHA-256 of the text with sixty-four zeros in its own place.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.schema import SCHEMA, problem

FORMAT_VERSION = "1.0"
OWN = "x_"  # keys that begin so are the user's

_BLANK = "0" * 64


class Unreadable(Exception):
    """What is wrong with a vector file, in words that follow its name."""


def canonical(value: Any) -> str:
    """``value`` as canonical JSON; ValueError for what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sealed(said: Mapping[str, Any]) -> str:
    """The text of the metadata ``said``, with its hash; keys without a value are left out."""
    kept = {key: value for key, value in said.items() if value is not None}
    kept["metadata_sha256"] = _digest(kept)
    if (wrong := problem(json.loads(canonical(kept)))) is not None:
        raise ValueError(f"these metadata cannot be written: {wrong}")
    return canonical(kept)


def opened(text: str, path: object = "a vector file") -> dict[str, Any]:
    """The metadata that ``text`` holds; ``path`` is named in a warning about unknown keys.

    Raises :class:`Unreadable`, or MFV6003 for another major version.
    """
    try:
        return _opened(text, path)
    except RecursionError:
        raise Unreadable("its metadata is nested too deeply") from None


def _opened(text: str, path: object) -> dict[str, Any]:
    said = parsed(text, "its metadata")
    if not isinstance(said, dict):
        raise Unreadable("its metadata is not a JSON object")
    version = said.get("format_version")
    if isinstance(version, str) and version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise MfvError(
            "MFV6003",
            f"{path} is of format version {version}, this mfv-dsl reads {FORMAT_VERSION}",
            help="upgrade mfv-dsl",
        )
    if (wrong := problem(said)) is not None:
        raise Unreadable(f"in its metadata {wrong}")
    if canonical(said) != text:
        raise Unreadable("its metadata is not canonical JSON")
    if said["metadata_sha256"] != _digest(said):
        raise Unreadable("its metadata does not match its hash: it was changed or damaged")
    unknown = [key for key in said if key not in SCHEMA["properties"] and not key.startswith(OWN)]
    if unknown:
        warnings.warn(
            f"{path} says more than this mfv-dsl knows: {', '.join(unknown)} (kept as they are)",
            stacklevel=3,
        )
    return said


def parsed(text: str, what: str) -> Any:
    """``text`` as JSON, strictly: no key twice, no NaN, no half characters, not nested without end.
    ``what`` names it in the :class:`Unreadable` that is raised."""
    try:
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
        # lone surrogates have no encoding, and 1e999 is no number
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise Unreadable(f"{what} is nested too deeply") from None
    except ValueError as error:
        why = str(error) if isinstance(error, _Refused) else "JSON"
        raise Unreadable(f"{what} is not {why}") from None
    return value


class _Refused(ValueError):
    pass


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("JSON with every key once")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"JSON: it holds {name}")


def _digest(said: Mapping[str, Any]) -> str:
    text = canonical({**said, "metadata_sha256": _BLANK})
    return hashlib.sha256(text.encode()).hexdigest()
