"""Texts are read alike, whichever program wrote them, and JSON strictly."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mfv_dsl.base.texts import (
    BadText,
    decode,
    excerpt,
    line_at,
    line_starts,
    parse_json,
    read_json,
    read_text,
    tidy,
    to_text,
)

TEXT = "one\ntwo é\nthree\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le-bom", "utf-16-be-bom"]
)
def test_one_text_in_every_form(encoding: str, end: str, tmp_path: Path):
    written = TEXT.replace("\n", end)
    marks = {"utf-16-le-bom": codecs.BOM_UTF16_LE, "utf-16-be-bom": codecs.BOM_UTF16_BE}
    data = marks.get(encoding, b"") + written.encode(encoding.removesuffix("-bom"))
    (tmp_path / "text").write_bytes(data)
    assert read_text(tmp_path / "text") == TEXT
    assert decode(data) == written


def test_other_characters_end_no_line():
    text = "a\u2028b\u2029c\x85d\ve\ff"
    assert to_text(text.encode()) == text
    assert line_at(text) == 1 and line_starts(text) == (0,)
    assert line_at("a\r\nb\rc\nd") == 4 and line_starts("a\r\nb\rc\nd") == (0, 3, 5, 7)


@pytest.mark.parametrize(
    ("data", "what", "help"),
    [
        ("a\ncafé".encode("latin-1"), "byte 0xe9 at offset 5, on line 2", "Latin-1"),
        ("a\r\rcafé!".encode("cp1252"), "byte 0xe9 at offset 6, on line 3", "Windows-1252"),
        ("é a".encode("utf-16-le"), "byte 0xe9 at offset 0, on line 1", "UTF-16"),
        ("a b".encode("utf-16-le"), "NUL character on line 1", "UTF-8"),
        (b"a\nb\0c", "NUL character on line 2", "UTF-8"),
        ("né".encode("utf-16") + b"\0", "not UTF-16 text: byte 0x00 at offset 6", "UTF-8"),
        (b"\xc3", "byte 0xc3 at offset 0", "UTF-8"),
    ],
)
def test_what_is_no_text_has_its_byte_and_line(data: bytes, what: str, help: str):
    with pytest.raises(BadText) as caught:
        to_text(data)
    assert what in str(caught.value) and help in (caught.value.help or "")


def test_regular_files_alone_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a file"):
            read_json(path)
    (tmp_path / "long").write_text("a" * 101)
    with pytest.raises(OSError, match="larger than 100 bytes"):
        read_text(tmp_path / "long", 100)


# -- JSON -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": 1, "b": {"a": 2, "a": 3}}', "key `a` is there twice in the object that begins in "
         "column 15"),
        ('[\n1,\n[NaN]]', "it holds NaN, which JSON does not have in the list that begins in line "
         "3, column 1"),
        ('{"a": -Infinity}', "it holds -Infinity"),
        ('{"a": 1e400}', "the number 1e400 is too large in the object that begins in column 1"),
        ('{"a": ' + "9" * 5000 + "}", "a number that is too long in the object"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": "\\ud83d"}', "half a character"),
        ('{"a"; 1}', "not JSON: Expecting ':' delimiter (column 5)"),
        ('{"a": 1}\n}', "not JSON: Extra data (line 2, column 1)"),
        ("", "not JSON: Expecting value (column 1)"),
    ],
    ids=lambda value: excerpt(str(value), 20),
)  # fmt: skip
def test_json_is_strict(text: str, what: str):
    with pytest.raises(BadText) as caught:
        parse_json(text)
    assert what in str(caught.value)
    assert len(str(caught.value)) < 300


def test_json_that_is_sound():
    values: list[Any] = [
        {},
        [],
        {"a": [1, 2.5, -1e300, None, True, "é\u2028\ud7ff😀"]},
        "x",
        10**400,
    ]
    for value in values:
        assert parse_json(json.dumps(value)) == value
        assert parse_json(json.dumps(value, ensure_ascii=False)) == value


def test_numbers_that_are_none_are_let_through_where_they_are_looked_at_later():
    loaded = parse_json("[NaN, -Infinity, 1e400, %s, 12]" % ("9" * 5000), finite=False)
    assert [str(number) for number in loaded] == ["nan", "-inf", "inf", "inf", "12"]
    with pytest.raises(BadText, match="twice"):
        parse_json('{"a": 1, "a": %s}' % ("9" * 5000), finite=False)


# -- names ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "written",
    [
        "café noir", " café  noir ", "cafe\u0301 noir", "\u00a0café\u2003noir\u3000",
        "\ufeffcafé noir",
        "café\u200b \u2060noir\u200d", "ca\u00adfé noir", "\u202acafé noir\u202c", "café\r\nnoir",
        "café\u2028noir", "café\x85noir", "café noir\x00", "café\u2800noir", "café noir\u3164",
    ],
)  # fmt: skip
def test_what_looks_the_same_is_the_same(written: str):
    assert tidy(written) == "café noir"


def test_what_has_a_meaning_within_a_word_is_kept():
    for name in ("می‌خواهم", "👩‍🚀", "❤️", "x²", "naïve", "한글"):
        assert tidy(f" {name}\u200b") == name
