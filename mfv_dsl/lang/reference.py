"""The reference of the language, written from the registry.

``python -m mfv_dsl.lang.reference`` prints what belongs in ``docs/reference.md``.
"""

from __future__ import annotations

import sys
from typing import Any

from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang.constructors import DATASETS, MODELS
from mfv_dsl.lang.entries import CONSTANTS, ITEMS, UNITS, all_entries
from mfv_dsl.lang.functions import FUNCTIONS
from mfv_dsl.lang.registry import Entry, Parameter

_SECTIONS: tuple[tuple[str, str, tuple[Entry, ...]], ...] = (
    ("Items", "What a recipe is made of.", ITEMS),
    ("Models", "Constructors for `model name = ...`.", MODELS),
    ("Datasets", "Constructors for `dataset name = ...`.", DATASETS),
    ("Vectors", "Functions that make vectors.",
     tuple(e for e in FUNCTIONS if e.result == "Vector")),
    ("Heads", "Functions that make sets of heads.",
     tuple(e for e in FUNCTIONS if e.result == "Heads")),
    ("Adapters", "Functions that train what an `eval` takes as its `adapter`.",
     tuple(e for e in FUNCTIONS if e.result == "Adapter")),
    ("Numbers", "Functions that measure vectors.",
     tuple(e for e in FUNCTIONS if e.result == "Number")),
)  # fmt: skip


#: The signs and words of the language that no entry declares.
SIGNS = {
    "each": "The relation under test: in `eval`, `tune`, `save` and `report`, and in what they "
    "call. An `eval` measures every relation of its `on`, and `each` is that relation.",
    "match": "A choice by relation, of vectors, sets of heads or numbers: `match r { above_left: "
    "fv(above) + fv(left), else: fv(r) }`. It asks about the parameter of the family that it "
    "stands in, or about `each` in a block; a case stands on a line, or behind a comma.",
    "else": "In a `match`, the case of all relations that have none of their own.",
    "as": "In `use \"common.mfv\" as c`: what the file declares is called `c.NAME`.",
    "..": "A range: `0..5` is 0, 1, 2, 3, 4, 5; `0..30:2` has a step. Both ends belong to it. It "
    "holds together least of all.",
    "|": "Heads that are in either set: `top(5) | {L3H1}`.",
    "&": "Heads that are in both sets: `top(10) & layers(0..4)`. It comes before `|`.",
    "+": "The sum of vectors or of numbers: `fv(left) + fv(above)`. It comes before `&`; operators "
    "of one rank go from left to right.",
    "-": "The difference of vectors or of numbers, or the first of two sets of heads without the "
    "second; before a vector or number, its opposite.",
    "*": "A vector times a number, or the product of numbers: `2 * fv(left)`. It comes before `+`.",
    "/": "A vector divided by a number, or the quotient of numbers. It is of the rank of `*`.",
    "[]": "A list: `[left, right]`. An empty one is an error where it says nothing.",
    "{}": "A set of heads, `{L12H3, L14H7}`: layer 12, head 3 and layer 14, head 7, from 0. Where "
    "a layer is asked for, `{3, 5}` is both layers at once.",
    "#": "A comment, to the end of its line. `##` above a declaration, a block or an attribute "
    "documents it.",
}  # fmt: skip


def reference(name: str | None = None) -> str:
    """The whole reference, or what there is about one word: an entry, an attribute, an option, a
    word that is a value, or a sign.

    Raises KeyError for an unknown word, with the nearest known one (or None) as its argument.

    >>> print(reference("zeros"))
    ### `zeros()`
    <BLANKLINE>
    The zero vector.
    <BLANKLINE>
    ```
    zeros()
    ```
    <BLANKLINE>
    """
    if name is None:
        return _whole()
    parts = [entry_text(entry) for entry in all_entries() if entry.name == name]
    parts += [f"### `{sign}`\n\n{text}\n" for sign, text in SIGNS.items() if sign == name]
    having = [(entry, entry.parameter(name)) for entry in all_entries()]
    for entry, parameter in having:
        if parameter is not None and not parameter.positional:
            parts.append(f"### `{name}` of `{entry.name}`\n\n{parameter_line(parameter)}\n")
    for entry in all_entries():
        for parameter in entry.parameters:
            if name in parameter.choices or (name in CONSTANTS and "Boolean" in parameter.types):
                title = f"### `{name}` as `{parameter.name}` of `{entry.name}`"
                parts.append(f"{title}\n\n{parameter_line(parameter)}\n")
    if not parts:
        words = [entry.name for entry in all_entries()]
        words += [choice for e in all_entries() for p in e.parameters for choice in p.choices]
        words += [p.name for entry in all_entries() for p in entry.parameters]
        raise KeyError(suggest(name, words))
    return "\n".join(parts)


def _whole() -> str:
    lines = [
        "# Reference of the recipe language, version 1",
        "",
        "Every word of the language, written from the registry by "
        "`python -m mfv_dsl.lang.reference`. Do not edit.",
        "",
        "An attribute or option marked *defaults* may also be given in a `defaults` block.",
        "One marked *sweep* takes a list `[1, 2, 4]` or a range `0..8:2` as well, and the block is",
        "measured for each value.",
        "",
    ]
    for title, text, entries in _SECTIONS:
        lines += [f"## {title}", "", text, ""]
        lines += [entry_text(entry) for entry in entries]
    lines += ["## Units", "", "What the numbers count or measure.", ""]
    lines += ["| unit | meaning |", "| --- | --- |"]
    lines += [f"| {unit.name} | {unit.doc} |" for unit in UNITS.values()]
    lines += ["", "## Operators and signs", ""]
    lines += ["From the loosest to the tightest operator; parentheses come before all of them.", ""]
    lines += ["| sign | meaning |", "| --- | --- |"]
    signs = [(f"`{sign}`", text) for sign, text in SIGNS.items()]
    lines += [f"| {_in_cell(sign)} | {_in_cell(text)} |" for sign, text in signs]
    lines += ["", "A value is looked for where it is written, then in `defaults for` the kind of "
              "block or the function, then in `defaults`, then here."]  # fmt: skip
    constants = ", ".join(f"`{name}`" for name in CONSTANTS)
    lines += ["", f"Booleans are the names {constants}.", ""]
    return "\n".join(lines)


def _in_cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", r"\|")


def entry_text(entry: Entry) -> str:
    """What the reference says of an entry, as Markdown."""
    lines = [f"### `{signature(entry)}`", "", f"{_sentence(entry.doc)}", ""]
    if not entry.executable:
        lines += ["Checked, but not executable yet.", ""]
    if entry.parameters:
        lines += [parameter_line(parameter) for parameter in entry.parameters] + [""]
    lines += ["```", entry.example, "```", ""]
    return "\n".join(lines)


def signature(entry: Entry) -> str:
    """How an entry is written: ``fv(relation, heads=..., shots=4)``."""
    if entry.kind == "item":
        if entry.form == "inclusion":
            return f'{entry.name} "file"'
        if entry.form == "declaration":
            return f"{entry.name} name = ..."
        label = {"name": " name", "text": ' "folder"', "": ""}[entry.label]
        return f"{entry.name}{label} {{ ... }}"
    arguments = []
    for parameter in entry.parameters:
        if parameter.positional:
            arguments.append(parameter.name + (", ..." if parameter.variadic else ""))
        elif parameter.required or parameter.default is None:
            arguments.append(f"{parameter.name}=...")
        else:
            arguments.append(f"{parameter.name}={value_text(parameter.default, parameter)}")
    return f"{entry.name}({', '.join(arguments)})"


def parameter_line(parameter: Parameter) -> str:
    """What the reference says of an argument or attribute, as an item of a Markdown list."""
    marks = [types_text(parameter)]
    if parameter.unit:
        marks.append(parameter.unit)
    if parameter.required:
        marks.append("required")
    elif parameter.default is not None and parameter.default != ():
        marks.append(f"default `{value_text(parameter.default, parameter)}`")
    if parameter.sweeps or parameter.read_again:
        marks.append("*sweep*")
    if parameter.from_defaults:
        marks.append("*defaults*")
    if parameter.since != "1":
        marks.append(f"since version {parameter.since}")
    return f"- `{parameter.name}`: {parameter.doc}. ({'; '.join(marks)})"


def types_text(parameter: Parameter) -> str:
    """The types that an argument or attribute takes, in words."""
    words = []
    for name in parameter.types:
        if name == "Choice":
            words += [f"`{choice}`" for choice in parameter.choices]
        elif name == "List[Choice]":
            words.append(f"list of {', '.join(f'`{choice}`' for choice in parameter.choices)}")
        elif name.startswith("List["):
            words.append(f"list of {name[5:-1]}")
        else:
            words.append(name)
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def value_text(value: Any, parameter: Parameter) -> str:
    """A default as it would be written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(value_text(item, parameter) for item in value)}]"
    if isinstance(value, str) and parameter.types == ("Text",):
        return f'"{value}"'
    return str(value)


def _sentence(doc: str) -> str:
    return doc[0].upper() + doc[1:] + "."


if __name__ == "__main__":
    sys.stdout.write(_whole())
