"""Every word with every kind of value: a call, an item or a model that is written so is refused or
planned, and never takes long, however deep it is nested."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lang.registry import Entry
from tests.lang.support import HEAD, checked

#: At least one of each kind of value, those of each type that a parameter may have among them.
VALUES = (
    "left", "each", "all", "none", "true", "a", "f", "h", "missing", '"text"', '""', "3", "-1",
    "0.5", "5%", "1e400", "0..3", "5..2", "[]", "[[1]]", "[left, right]", "{L1H1}", "top(3)",
    "random(5)", "layers(1)", "zeros()", "fv(left)", "f(left)", "fv(left) - fv(right)",
    "[fv(left), fv(right)]", "states(left)", 'load("x", "left")',
)  # fmt: skip
DECLARED = "heads h = top(3)\nvector a = fv(left)\nvector f(r) = fv(r)\n"
#: one of so many texts is tried
STEP = 29


def of_functions() -> Iterator[str]:
    for word, entry in FUNCTION.items():
        calls = [f"{word}()"]
        for parameter in entry.parameters:
            for value in VALUES:
                given = f"{parameter.name}={value}"
                calls += [f"{word}({given})", f"{word}(left, {given})", f"{word}({value}, {given})"]
        for call in calls:
            yield f"vector b = {call}"
            yield f"heads b = {call}"
            yield f"tune b {{ on = [left], layer = 1, start = {call} }}"
            yield f"eval b {{ add = {call}, layer = 1 }}"


def of_items() -> Iterator[str]:
    for word, entry in ITEM.items():
        for parameter in entry.parameters:
            for value in VALUES:
                given = f"{parameter.name} = {value}"
                yield f"{word} b {{ {given} }}"
                yield f"{word} b {{ add = a, layer = 1, {given} }}"
                yield f"{word} b {{ add = f(each), layer = [1, 2], {given} }}"
                yield f"{word} b {{ {parameter.name} = [{value}, {value}] }}"
                yield f"defaults {{ {given} }}\neval b {{ add = f(each), layer = 1 }}"


def of_constructors() -> Iterator[str]:
    for kind, entries in CONSTRUCTOR.items():
        for word, entry in entries.items():
            yield f"{kind} b = {word}()"
            for parameter in entry.parameters:
                for value in VALUES:
                    given = f"{parameter.name}={value}"
                    yield f"{kind} b = {word}({given})"
                    yield f"{kind} b = {word}({value}, {given})\neval {{ {kind} = b }}"


@pytest.mark.slow
@pytest.mark.parametrize("texts", [of_functions, of_items, of_constructors])
def test_a_word_with_any_value_is_refused_or_planned(texts):
    accepted = 0
    for text in [*texts()][::STEP]:
        recipe = f"{HEAD}{DECLARED}{text}\n"
        try:
            if checked(recipe).checked is not None:
                mfv.Recipe(recipe).plan()
                accepted += 1
        except MfvError:
            continue
        except Exception as error:
            raise AssertionError(text) from error
    assert accepted


def nests(word: str, entry: Entry, depth: int) -> Iterator[str]:
    yield f"{word}(" * depth + "fv(left)" + ")" * depth
    yield f"{word}(fv(left), " * depth + "fv(left)" + ")" * depth
    for parameter in entry.parameters:
        yield f"{word}({parameter.name}=" * depth + "fv(left)" + ")" * depth
        yield f"{word}({parameter.name}=[" * depth + "fv(left)" + "])" * depth


@pytest.mark.slow
@pytest.mark.parametrize("word", FUNCTION)
def test_a_nest_of_calls_is_checked_quickly(word):
    for depth in (12, 40):
        for nest in nests(word, FUNCTION[word], depth):
            begun = time.process_time()
            checked(f"{HEAD}vector b = {nest}\n")
            assert time.process_time() - begun < 5, nest
