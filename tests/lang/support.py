"""What the tests of the language share: facts without any model, and the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfv_dsl.base.diagnostics import render
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import CheckResult, check_every_profile, check_source
from mfv_dsl.lang.parser import source_from_bytes
from mfv_dsl.lang.registry import Entry
from mfv_dsl.library.sources import at_hand

CORPUS = Path(__file__).parents[1] / "corpus"
RELATIONS = (
    "left", "right", "above", "below", "above_left", "above_right", "below_left", "below_right",
)  # fmt: skip
HEAD = "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes()\n"


def facts(entry: Entry, arguments: Mapping[str, Any]) -> ModelFacts | DatasetFacts | None:
    """Ten layers of eight heads, six of the second model, and the relations that were asked for."""
    if entry.name == "tiny":
        layers = 6 if arguments["name"] == "llava" else 10
        return ModelFacts(layers, 8, 16, 128, fingerprint="tiny", query="Q:{query}. A:")
    if entry.name == "scenes":
        for relation in arguments["relations"]:
            if relation not in RELATIONS:
                raise MfvError("MFV7001", f"scenes cannot draw `{relation}`", argument="relations")
        splits = ("extract", "train", "validation", "test")
        return DatasetFacts(tuple(arguments["relations"]), splits, hash="scenes")
    return None


def checked(text: str, name: str = "test.mfv") -> CheckResult:
    return check_source(Source(text, name), facts)


def codes(text: str) -> list[str]:
    """The codes of everything found, in source order."""
    return [diagnostic.code for diagnostic in checked(text).diagnostics]


# -- the errors corpus: a recipe, then what is to be said of it in `#!` lines -----
_MARK = b"\n#! "


def without_expected(data: bytes) -> bytes:
    """The recipe as it is checked, byte for byte."""
    start = data.find(_MARK)
    return data if start < 0 else data[:start]


def rendered(data: bytes, name: str) -> str:
    source = source_from_bytes(data, name)
    found = check_source(source, facts, find=at_hand).diagnostics
    under_profiles = check_every_profile(source, facts, at_hand)
    return "\n\n".join(render(diagnostic) for diagnostic in (*found, *under_profiles))


def expected_block(text: str) -> bytes:
    lines = "".join(f"\n#! {line}".rstrip(" ") for line in text.split("\n"))
    return f"{lines}\n".encode()
