"""The format as its page describes it: the reader there reads what is written here, and refuses
what is damaged."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfv_dsl.base.places import bundled
from mfv_dsl.library.header import LARGEST, LARGEST_HEADER, PARTS, read_file
from mfv_dsl.library.metadata import FORMAT_VERSION
from mfv_dsl.library.schema import SCHEMA, problem
from mfv_dsl.library.stored import read
from tests.library.support import good_file, opened, write

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "vector-format.md").read_text()
BUNDLED = sorted((bundled("vectors") / "flamingo-tiny").glob("*.safetensors"))


@pytest.fixture(scope="module")
def read_vector() -> Callable[[Path], tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """The reader of the page."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    assert len(code.strip().splitlines()) <= 30
    imported = {
        alias.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import)
        for alias in node.names
    }  # fmt: skip
    assert imported == {"hashlib", "json", "struct", "numpy"}
    names: dict[str, Any] = {}
    exec(compile(code, "docs/vector-format.md", "exec"), names)
    return names["read_vector"]


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_the_pages_reader_reads_the_bundled_vectors(read_vector, path: Path):
    arrays, said = read_vector(path)
    wanted, metadata = read(path)
    assert said == metadata
    assert set(arrays) == set(wanted)
    assert all((arrays[name] == wanted[name]).all() for name in wanted)


def test_the_pages_reader_refuses_flipped_bits(read_vector, tmp_path: Path):
    good = good_file()
    rng = np.random.default_rng(0)
    accepted = []
    for place in rng.integers(0, len(good), 300):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            found = read_vector(write(tmp_path / "v", bytes(damaged)))
        except Exception:
            continue
        accepted.append((place, found))
    assert accepted == []
    read_vector(write(tmp_path / "v", good))


def test_tensors_are_written_in_the_pages_order():
    (order,) = re.findall(r"in the order (.*?) and pads", PAGE.replace("\n", " "))
    header, _, _ = opened(good_file())
    assert [f"`{name}`" for name in header] == order.split(", ")


def test_the_page_and_the_code_say_the_same():
    assert f"format {FORMAT_VERSION}" in PAGE.split("\n")[0]
    assert f"{LARGEST_HEADER:,}" in PAGE and f"{LARGEST >> 20} MiB" in PAGE
    for name, (dtype, shape) in PARTS.items():
        assert f"| `{name}` | {dtype} | ({', '.join(shape)}) |" in PAGE
    section = PAGE.split("## The metadata")[1].split("## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    keys = {
        key: "*" in row.split("|")[1]
        for row in rows
        for key in re.findall("`(\\w+)`", row.split("|")[1])
    }
    assert set(keys) == set(SCHEMA["properties"])
    assert {key for key, optional in keys.items() if not optional} == set(SCHEMA["required"])
    assert json.loads((DOCS / "vector-format.schema.json").read_text()) == SCHEMA


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_the_bundled_files_fit_the_schema(path: Path):
    said = dict(read_file(path)[0].metadata)
    assert problem(said) is None
    for key in SCHEMA["required"]:
        lacking = {name: value for name, value in said.items() if name != key}
        assert problem(lacking) == f"`{key}` is missing"


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\0"])
@pytest.mark.parametrize(
    "key", ["format_version", "created", "content_sha256", "metadata_sha256", "layer"]
)
def test_patterns_fit_whole_texts(key: str, end: str):
    said = dict(read_file(BUNDLED[0])[0].metadata) | {"layer": "native"}
    assert problem(said) is None
    assert problem(said | {key: said[key] + end}) is not None
    assert problem(said | {key: end + said[key]}) is not None


def words(schema: Any) -> set[str]:
    """The words of JSON schema that a schema uses, names of properties left out."""
    if isinstance(schema, list):
        return {word for one in schema for word in words(one)}
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for key, value in schema.items():
        inner = list(value.values()) if key in ("properties", "$defs") else value
        found |= words(inner)
    return found


def test_the_schema_uses_only_words_that_the_check_knows():
    assert words(SCHEMA) <= {
        "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required",
        "items", "prefixItems", "minItems", "maxItems", "enum", "pattern", "minLength", "minimum",
    }  # fmt: skip
