"""Texts: every file of text is read here, so that all are read alike.

A text is UTF-8, with or without a byte order mark, or UTF-16 or UTF-32 with one.  A line ends with
LF, CRLF or CR, and with nothing else: U+2028 and U+0085 are characters within a line, as JSON and
CSV have them.  JSON has every key of an object once, and numbers that are numbers.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from json import decoder, scanner
from math import isinf
from pathlib import Path
from typing import Any, NoReturn
from unicodedata import normalize

from mfv_dsl.base.collecting import uncollected
from mfv_dsl.base.files import read_regular

#: Bytes of a text file at most: the scene graphs of all of Visual Genome are a third of it.
LARGEST = 2 << 30
#: Bytes of a configuration or of an index of weights at most.
LARGEST_CONFIG = 256 << 20

_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
#: Characters without a shape that mean nothing in a name: soft hyphens, marks of direction, byte
#: order marks in the middle of a text, controls.
_SHAPELESS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]+"
)
#: Blanks that Unicode takes for letters or signs.
_BLANKS = re.compile("[\u2800\u3164\uffa0]")
#: What joins letters, or parts them, within a word.
_JOINERS = "\u200c\u200d"
_LINE_END = re.compile(r"\r\n|\r|\n")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


class BadText(ValueError):
    """What is wrong with a text, in words that follow the name of its file.

    ``help`` says what to do, and ``readable`` is the text before the fault.
    """

    def __init__(self, why: str, help: str | None = None, readable: str = "") -> None:
        super().__init__(why)
        self.help, self.readable = help, readable


def reason(error: OSError | BadText) -> str:
    """Why a file could not be read as text, in words that follow its name."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def decode(data: bytes) -> str:
    """The text in ``data``, its line ends as they are.  Raises :class:`BadText`, which names the
    byte and its line.

    >>> decode("mfv 1".encode("utf-16"))
    'mfv 1'
    """
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    packed = next((name for begin, name in _PACKED.items() if data.startswith(begin)), None)
    if packed is not None:
        raise BadText(f"it is packed ({packed})", "unpack it, and name the file that was in it", "")
    content = data[len(mark) :]
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        readable = content[: error.start].decode(encoding, "replace")
        name = encoding[:6].removesuffix("-").upper()
        raise BadText(
            f"it is not {name} text: byte {content[error.start]:#04x} at offset "
            f"{len(mark) + error.start:,}, on line {line_at(readable)}",
            "save it as UTF-8" + (_older(content) if encoding == "utf-8" else ""), readable,
        ) from None  # fmt: skip


#: How files begin that hold others, packed.
_PACKED = {
    b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh91AY&SY": "bzip2", b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf\x27\x1c": "7z",
}  # fmt: skip


def line_at(before: str) -> int:
    """The number, from 1, of the line on which ``before``, the beginning of a text, ends."""
    return 1 + len(_LINE_END.findall(before))


def line_starts(text: str) -> tuple[int, ...]:
    """The offset at which each line of a text begins.

    >>> line_starts("one\\r\\ntwo\\rthree")
    (0, 5, 9)
    """
    return (0, *(match.end() for match in _LINE_END.finditer(text)))


def to_text(data: bytes) -> str:
    """The text in ``data`` with LF as its line ends.  Raises :class:`BadText`, also for a NUL
    character, which no text has.

    >>> to_text(b"one\\r\\ntwo\\rthree")
    'one\\ntwo\\nthree'
    """
    text = decode(data)
    if "\0" in text:
        raise BadText(
            f"it has a NUL character on line {line_at(text[: text.index(chr(0))])}, so it is not "
            "text", "if it is UTF-16, save it as UTF-8",
        )  # fmt: skip
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_text(path: str | Path, most: int = LARGEST) -> str:
    """The text of a regular file of at most ``most`` bytes, with LF as its line ends.

    Raises OSError as :func:`~mfv_dsl.base.files.read_regular` does, and :class:`BadText`.
    """
    return to_text(read_regular(path, most))


def read_json(
    path: str | Path, most: int = LARGEST, finite: bool = True, without: Collection[str] = ()
) -> Any:
    """What a JSON file holds; raises as :func:`read_text` and :func:`parse_json` do."""
    return parse_json(read_text(path, most), finite, without)


def parse_json(text: str, finite: bool = True, without: Collection[str] = ()) -> Any:
    """What a JSON text says, strictly.  What stands under the keys ``without`` is let go of, which
    of a large file may be most.

    Raises :class:`BadText` where it is no JSON, has a key twice in one object or half a character,
    or is nested too deeply; if ``finite`` also for NaN and Infinity, which JSON does not have and
    some programs write, and for numbers too large for Python, which are infinite otherwise.

    >>> parse_json('{"w": 1, "w": 2}')
    Traceback (most recent call last):
    mfv_dsl.base.texts.BadText: the key `w` is there twice in the object that begins in column 1
    """
    once = partial(_each_once_without, frozenset(without)) if without else _each_once
    hooks: dict[str, Any] = {"object_pairs_hook": once}
    if finite:
        hooks |= {"parse_float": _number, "parse_constant": _no_constant}
    try:
        with uncollected():
            try:
                value = json.loads(text, **hooks)
            except ValueError as error:
                if finite or isinstance(error, json.JSONDecodeError | _Fault):
                    raise
                value = json.loads(text, parse_int=_whole, **hooks)  # slower
            if _HALF_CHARACTER.search(text):
                json.dumps(value, ensure_ascii=False).encode()
            return value
    except json.JSONDecodeError as error:
        raise BadText(f"it is not JSON: {error.msg} ({_position(text, error.pos)})") from None
    except RecursionError:
        raise BadText("its JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise BadText("it has half a character, such as `\\ud83d` alone") from None
    except ValueError as error:  # of a hook, or a whole number of thousands of digits
        why = str(error) if isinstance(error, _Fault) else "it has a number that is too long"
        raise BadText(f"{why}{_place(text, hooks)}") from None


def is_whole(text: str) -> bool:
    """Whether a text has no half characters, so that it can be written to a file.

    >>> is_whole("cup"), is_whole("cup\\ud83d")
    (True, False)
    """
    return not any("\ud800" <= character <= "\udfff" for character in text)


def tidy(name: str) -> str:
    """A name with single blanks between its words and none around it, without characters that have
    no shape, in the Unicode form NFC: what looks the same is the same.

    >>> tidy(" coffee\\u00a0\\u200b mug "), len(tidy("cafe\\u0301"))
    ('coffee mug', 4)
    """
    if name.isascii() and name.isprintable():
        return " ".join(name.split())
    words = _BLANKS.sub(" ", _SHAPELESS.sub("", name)).split()
    words = [word.strip(_JOINERS) for word in words]
    return normalize("NFC", " ".join(filter(None, words)))


def excerpt(text: str, most: int = 60) -> str:
    """``text`` as an error quotes it: not longer than ``most`` characters.

    >>> excerpt("a" * 5000, 10)
    'aaaaaaaaa…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _older(data: bytes) -> str:
    """What else bytes that are not UTF-8 may be."""
    if b"\0" in data:
        return "; it may be UTF-16 without a byte order mark"
    return "; it may be in Latin-1 or Windows-1252"


class _Fault(ValueError):
    """What a hook of the JSON reader does not take."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _Fault(f"the key `{excerpt(twice)}` is there twice")
    return entries


def _each_once_without(keys: frozenset[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _each_once(pairs)
    return {key: value for key, value in pairs if key not in keys}


def _number(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _Fault(f"the number {excerpt(text, 30)} is too large")
    return number


def _whole(text: str) -> float:
    return int(text) if len(text) < 400 else float(text)


def _no_constant(name: str) -> NoReturn:
    raise _Fault(f"it holds {name}, which JSON does not have")


def _place(text: str, hooks: dict[str, Any]) -> str:
    """Where in a text the innermost object or list with a fault begins.  Python's slow reader,
    which knows its positions, reads the text once more for it."""
    reader = decoder.JSONDecoder(**hooks)
    found: list[tuple[str, int]] = []

    def within(kind: str, read: Any) -> Any:
        def reads(text_and_end: tuple[str, int], *arguments: Any) -> Any:
            try:
                return read(text_and_end, *arguments)
            except ValueError:
                found.append((kind, text_and_end[1]))
                raise

        return reads

    reader.parse_object = within("object", decoder.JSONObject)  # type: ignore[attr-defined]
    reader.parse_array = within("list", decoder.JSONArray)  # type: ignore[attr-defined]
    reader.scan_once = scanner.py_make_scanner(reader)  # type: ignore[attr-defined]
    with suppress(ValueError, RecursionError):
        reader.decode(text)
    if not found:
        return ""
    kind, offset = found[0]
    return f" in the {kind} that begins in {_position(text, offset - 1)}"


def _position(text: str, offset: int) -> str:
    """Line and column of an offset; of a text of one line the column alone."""
    column = offset - text.rfind("\n", 0, offset)
    return f"line {line_at(text[:offset])}, " * ("\n" in text) + f"column {column:,}"
