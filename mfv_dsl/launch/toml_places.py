"""Where keys stand in a TOML text, which Python's reader does not tell."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from mfv_dsl.base.source import Source, Span

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=""")


def place_of_key(source: Source, *path: str) -> tuple[Source, Span]:
    """Where the key at ``path`` is written, or the nearest table around it: one that is written
    within the value of another key, ``{…}``, is at the other's place.

    >>> source = Source("[launcher]\\nworkers = 2\\n[launcher.ray]\\nnum_cpus = 1")
    >>> place_of_key(source, "launcher", "ray", "num_cpus")[1]
    Span(start=38, end=46)
    """
    best, depth = Span(0, 0), 0
    for found, span in _keys(source):
        if len(found) > depth and path[: len(found)] == found:
            best, depth = span, len(found)
    return source, best


def _keys(source: Source) -> Iterator[tuple[tuple[str, ...], Span]]:
    table: tuple[str, ...] = ()
    for number, start in enumerate(source.line_starts, 1):
        line = source.line(number)
        text = line.strip()
        if text.startswith("["):
            path = _path(text.split("#")[0])
            if path:
                table = path
                at = start + line.index("[")
                yield path, Span(at, at + len(text.split("#")[0].rstrip()))
        elif (match := _KEY.match(line)) is not None:
            path = _path(f"{match[1]} = 0")
            if path:
                yield (*table, *path), Span(start + match.start(1), start + match.end(1))


def _path(text: str) -> tuple[str, ...]:
    """The keys that a line of TOML has, from the outermost; none where it is no such line."""
    try:
        table: Any = tomllib.loads(text)
    except ValueError:
        return ()
    keys: list[str] = []
    while table and isinstance(table, dict | list):
        if isinstance(table, list):
            table = table[0]
            continue
        keys.append(next(iter(table)))
        table = table[keys[-1]]
    return tuple(keys)
