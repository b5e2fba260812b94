"""How the words of the language are declared: entries, parameters, units, rankings, controls.

The words themselves are in :mod:`mfv_dsl.lang.entries`, :mod:`mfv_dsl.lang.functions` and
:mod:`mfv_dsl.lang.constructors`.
Checking, suggestions, the reference and what enters a step's key are generated from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
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
    Dataset, Eval, Heads, Vector, States, Adapter, Code, Range, Layers (a set of them), or
    ``List[...]`` of one of these.  A list of something else than relations may hold the choices and
    such sets too, where there are any.  A default of None means that the doc says what happens.

    ``key`` says how the value enters the key of the step that it acts on: where it is not the
    default (``changed``, so that a new option changes no key of old), ``always``, or ``never``,
    because results do not depend on it or because it is in the key by another way.  Vectors and
    heads are in a key as inputs.  In the step the value is called ``stored_as``, by default
    ``name``.  ``acts_in`` names the attributes of a block with one of which alone it has an effect.
    """

    name: str
    types: tuple[str, ...]
    doc: str
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    later: tuple[str, ...] = ()  # choices newer than the language: a recipe may declare such a name
    apart: bool = False  # a text is never one of the choices, which stand without quotes
    unit: str | None = None
    positional: bool = False
    variadic: bool = False  # takes all remaining positional arguments, at least one
    from_defaults: bool = False  # a `defaults` block may give it
    may_be_empty: bool = False  # of a list: none of them is an answer, too
    read_again: bool = False  # a list or range: the block is read once for each of its values
    since: str = "1"
    key: Literal["changed", "always", "never"] = "changed"
    stored_as: str = ""
    acts_in: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Whether it has to be written."""
        return self.default is REQUIRED

    @cached_property
    def element(self) -> str | None:
        """What a list is of, where it may be one."""
        return next((t[5:-1] for t in self.types if t.startswith("List[")), None)

    @cached_property
    def scalars(self) -> tuple[str, ...]:
        """Its types but for lists and ranges."""
        return tuple(t for t in self.types if t != "Range" and not t.startswith("List["))

    @property
    def is_input(self) -> bool:
        """Whether its value is made by other steps."""
        made = ("Vector", "List[Vector]", "Heads", "States", "Adapter")
        return any(name in self.types for name in made)

    @property
    def stored_name(self) -> str:
        """Its name among the parameters of a step."""
        return self.stored_as or self.name

    @property
    def sweeps(self) -> bool:
        """Whether a list or range of numbers makes a sweep within one step."""
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
    form: Literal["", "declaration", "block", "inclusion"] = ""
    label: Literal["", "name", "text"] = ""  # what a block is called by
    example: str = ""
    lines: bool = False  # of a block: lines that are expressions alone stand in it
    #: which per-head parts a function's vector has: those that all its vectors have, none, or
    #: those of the parameter of this name
    parts: str = "all"
    #: whether the planner makes steps of other operations of a function, or none; otherwise it is
    #: one operation of its own name
    expanded: bool = False
    version: int = 1  # of a function: raised when the same arguments would give another value
    since: str = "1"

    @property
    def executable(self) -> bool:
        """Whether what a constructor names can be made."""
        return self.kind != "constructor" or self.module is not None

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name, None where there is none."""
        return self._by_name.get(name)

    @cached_property
    def positional(self) -> tuple[Parameter, ...]:
        """The parameters that are given without their names."""
        return tuple(parameter for parameter in self.parameters if parameter.positional)

    @cached_property
    def required(self) -> tuple[Parameter, ...]:
        """The parameters that have to be written."""
        return tuple(parameter for parameter in self.parameters if parameter.required)

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}


def by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by their names, in their order."""
    return {entry.name: entry for entry in entries}


@dataclass(frozen=True)
class Ranking:
    """A way for ``top(by=...)`` to rank heads.

    ``operation`` measures a score of every head on one relation; the ``options`` of ``top`` enter
    its key.  Without one the heads are drawn.  It is given its ``inputs``: the relation's ``mean``
    head outputs, or the ``outputs`` of heads prompt by prompt, and those on the ``others`` of the
    pool.  ``label`` is the step's, with ``{relation}``; ``version`` is raised when the scores would
    be others.  ``zero_shot``: it is meant for prompts without demonstrations, too;
    ``of_cross_attention``: heads of cross-attention, too, can be ranked by it.
    """

    name: str
    doc: str
    operation: str | None = None
    label: str = ""
    options: tuple[str, ...] = ()
    version: int = 1
    inputs: tuple[str, ...] = ("mean",)
    zero_shot: bool = False
    of_cross_attention: bool = True

    def reads(self, option: str) -> bool:
        """Whether scores depend on an option of ``top``, also by the means that they are given."""
        through_means = option == "correct_only" and "mean" in self.inputs
        return self.operation is not None and (option in self.options or through_means)


@dataclass(frozen=True)
class Control:
    """What an eval may measure beside the real thing; ``of`` are the attributes whose value it can
    take the place of."""

    name: str
    doc: str
    of: tuple[str, ...] = ("add", "replace", "project_out", "patch")
