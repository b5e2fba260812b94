"""Values of Python as they are written into a recipe that is built in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfv_dsl.base.arguments import ArgumentError, by_name, known_options
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.lang.entries import takers
from mfv_dsl.lang.from_python import as_syntax
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.sharing import written_size
from mfv_dsl.lang.syntax import Attribute, Declared, Expr, Name, Node, Number, Range, rewritten

#: what a relation is given as
RELATION = Parameter("a relation", ("Relation",), "")
#: what a name of the recipe's own is given as
_OWN = Parameter("a name", ("Eval",), "")
#: words and signs of one value, which is written out
_LONGEST = 200_000


def drafted(value: object, parameter: Parameter | None = None) -> Expr:
    """What a value is in the language, with plain names in it; ``range(0, 6)`` is ``0..5``.

    Raises ArgumentError (MFV5119) for what is too long to write, and as
    :func:`~mfv_dsl.lang.from_python.as_syntax`.

    >>> from mfv_dsl.lang.unparse import unparse
    >>> unparse(drafted(range(0, 31, 10))), unparse(drafted([1, 2]))
    ('0..30:10', '[1, 2]')
    """
    node = _range(value) if isinstance(value, range) else as_syntax(value, parameter)
    size = written_size(node)
    if size > _LONGEST:
        raise ArgumentError(
            f"this is {size:,} words and signs long when it is written out",
            'give its parts names of their own: part = draft.vector("part", ...)',
        )
    return plain(node)


def plain(node: Expr) -> Expr:
    """An expression with plain names for what a draft has declared."""

    def own(part: Node) -> Node:
        return Name(part.text) if isinstance(part, Declared) else part

    written: Expr = rewritten(node, lambda part: None, own)
    return written


def attributes_of(
    entry: Entry, values: Mapping[str, Any], docs: Mapping[str, str] | None = None
) -> tuple[Attribute, ...]:
    """The lines of a block; ``docs`` are what `##` says above them.  None leaves one out."""
    docs = by_name({} if docs is None else docs, "docs")
    known_options([*values, *docs], [p.name for p in entry.parameters], f"`{entry.name}`")
    return tuple(
        Attribute(
            Name(key), drafted(value, entry.parameter(key)), doc=as_text(docs.get(key, ""), "docs")
        )
        for key, value in values.items()
        if value is not None
    )


def of_defaults(word: str) -> Parameter | None:
    """What the first block or function takes that a value of `defaults` of this name reaches."""
    return next((parameter for _, parameter in takers(word)), None)


def name_of(name: object) -> Name:
    """A name of the recipe's own."""
    node = as_syntax(as_text(name, "a name"), _OWN)
    assert isinstance(node, Name)
    return node


def _range(numbers: range) -> Expr:
    """``0..5`` of ``range(0, 6)``; a list of what no range of the language is."""
    if len(numbers) < 2 or numbers.step < 0:
        return as_syntax(list(numbers))
    step = None if numbers.step == 1 else Number(numbers.step)
    return Range(as_syntax(numbers[0]), as_syntax(numbers[-1]), step)
