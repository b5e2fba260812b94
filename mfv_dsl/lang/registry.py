"""How the words of the language are declared: entries, parameters, units.

The words themselves are in :mod:`mfv_dsl.lang.entries`.  Checking, suggestions and the reference
are generated from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


@dataclass(frozen=True)
class Unit:
    """What a number counts or measures, and the numbers that make sense."""

    name: str
    doc: str
    whole: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None  # exclusive minimum


@dataclass(frozen=True)
class Parameter:
    """An argument of a constructor or function, or an attribute of a block.

    ``types`` are alternatives: Number, Text, Boolean, Name, Choice, Relation, Split, Model,
    Dataset, Eval, Heads, Vector, Range, ``List[...]`` of one of these.  A list of something else
    may hold the choices too, where there are any.  A default of None means that the doc says what
    happens.
    """

    name: str
    types: tuple[str, ...]
    doc: str
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    unit: str | None = None
    positional: bool = False
    variadic: bool = False  # takes all remaining positional arguments, at least one
    from_defaults: bool = False  # a `defaults` block may give it
    since: str = "1"

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def sweeps(self) -> bool:
        """Whether a list or range of numbers makes a sweep."""
        return "Range" in self.types and "Number" in self.types


@dataclass(frozen=True)
class Entry:
    """One word of the language."""

    kind: Literal["item", "constructor", "function"]
    name: str
    doc: str
    parameters: tuple[Parameter, ...] = ()
    result: str = ""  # type of a function's or constructor's value, or of a declaration's
    #: the module that knows a constructor: ``facts(**arguments)``; for a model also ``load`` and
    #: ``sources``; for a dataset ``dataset``, and ``read`` where it is made of the user's files
    module: str | None = None
    form: Literal["", "declaration", "block"] = ""
    label: Literal["", "name", "text"] = ""  # what a block is called by
    example: str = ""
    since: str = "1"

    @property
    def executable(self) -> bool:
        """Whether what a constructor names can be made."""
        return self.kind != "constructor" or self.module is not None

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)
