"""The metadata of a vector file: one text of canonical JSON that carries its own hash.

Canonical: keys sorted, no white space, ASCII, numbers as Python writes them.  ``metadata_sha256``
is the SHA-256 of the text with sixty-four zeros in its own place.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.texts import BadText, parse_json
from mfv_dsl.library.lineage import lineage_fault
from mfv_dsl.library.schema import SCHEMA, problem

FORMAT_VERSION = "2.0"  # the newest that is known
#: Major versions that are read: 2 has vectors of several places, which are longer.
_MAJORS = ("1", "2")
#: Keys that came after 1.0, each with the version that brought it.
_NEWER = {"linearised": "1.1", "ancestors": "1.2", "places": "2.0"}
OWN = "x_"  # keys that begin so are the user's

_BLANK = "0" * 64
_DEEPEST = 200  # levels of what is written; what is read may have as many as Python follows


class Unreadable(Exception):
    """What is wrong with a vector file, in words that follow its name."""


def canonical(value: Any) -> str:
    """``value`` as canonical JSON; ValueError for what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """The text of ``metadata`` in a file, with its hash; keys without a value are left out.

    ValueError for what does not fit the schema or is no JSON: an object's keys are texts, and
    nothing is nested without end.
    """
    plain_metadata = _plain(metadata, "")
    entries = {key: value for key, value in plain_metadata.items() if value is not None}
    entries["metadata_sha256"] = _digest(entries)
    plain = json.loads(canonical(entries))
    if (fault := problem(plain) or lineage_fault(plain)) is not None:
        raise ValueError(f"these metadata cannot be written: {fault}")
    return canonical(entries)


def _plain(value: Any, at: str, depth: int = 0) -> Any:
    """``value`` in the types of JSON; numbers of numpy and torch are numbers, tuples lists."""
    if depth > _DEEPEST:
        raise ValueError(f"`{at[:40]}…` is nested more than {_DEEPEST} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                inside = f"`{at}`" if at else "the metadata"
                raise ValueError(f"{inside} has a key of type {type(key).__name__}: {key!r:.60}")
        dot = f"{at}." if at else ""
        return {str(key): _plain(part, dot + key, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, f"{at}[{i}]", depth + 1) for i, part in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return _plain(value.item(), at, depth + 1)
    raise ValueError(f"`{at}` is a {type(value).__name__}, which is not JSON serializable")


def version_for(metadata: Mapping[str, Any]) -> str:
    """The oldest format version that has all keys of ``metadata`` and of its parents: a file
    without newer keys stays as it was.

    >>> version_for({"name": "left"}), version_for({"parents": [{"linearised": {}}]})
    ('1.0', '1.1')
    """
    versions = ["1.0", *(version for key, version in _NEWER.items() if key in metadata)]
    work = [metadata]
    while work:
        parents = work.pop().get("parents")
        for parent in parents if isinstance(parents, list | tuple) else ():
            if isinstance(parent, Mapping):
                versions += [version for key, version in _NEWER.items() if key in parent]
                work.append(parent)
    return max(versions)


def read_metadata(text: str, path: object = "a vector file") -> dict[str, Any]:
    """The metadata that ``text`` holds; ``path`` is named in a warning about unknown keys.

    Raises :class:`Unreadable`, or MFV6003 for another major version.
    """
    try:
        return _read_metadata(text, path)
    except RecursionError:
        raise Unreadable("its metadata is nested too deeply") from None


def _read_metadata(text: str, path: object) -> dict[str, Any]:
    metadata = strict_json(text, "its metadata")
    if not isinstance(metadata, dict):
        raise Unreadable("its metadata is not a JSON object")
    version = metadata.get("format_version")
    if isinstance(version, str) and version.split(".")[0] not in _MAJORS:
        raise MfvError(
            "MFV6003",
            f"{path} is of format version {version}, this mfv-dsl reads {FORMAT_VERSION}",
            help="upgrade mfv-dsl",
        )
    if (fault := problem(metadata)) is not None:
        raise Unreadable(f"in its metadata {fault}")
    if (fault := lineage_fault(metadata)) is not None:
        raise Unreadable(f"in its metadata {fault}")
    if canonical(metadata) != text:
        raise Unreadable("its metadata is not canonical JSON")
    if metadata["metadata_sha256"] != _digest(metadata):
        raise Unreadable("its metadata does not match its hash: it was changed or damaged")
    properties = SCHEMA["properties"]
    unknown = [key for key in metadata if key not in properties and not key.startswith(OWN)]
    if unknown:
        warnings.warn(
            f"{path} says more than this mfv-dsl knows: {', '.join(unknown)} (kept as they are)",
            stacklevel=3,
        )
    return metadata


def strict_json(text: str, what: str) -> Any:
    """``text`` as JSON, strictly: no key twice, no NaN, no half characters, not nested without end.
    ``what`` names it in the :class:`Unreadable` that is raised."""
    try:
        return parse_json(text)
    except BadText as error:
        why = str(error).removeprefix("it is not JSON: ")
        raise Unreadable(f"{what} is not JSON: {why}") from None


def _digest(metadata: Mapping[str, Any]) -> str:
    text = canonical({**metadata, "metadata_sha256": _BLANK})
    return hashlib.sha256(text.encode()).hexdigest()
