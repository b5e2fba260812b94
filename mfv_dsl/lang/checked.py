"""What checking yields: a recipe with every name resolved and every constant evaluated.

Still no torch and no weights: the planner reads this and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.facts import DatasetFacts, ModelFacts, VectorFacts
from mfv_dsl.base.short import Short
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.copies import Copies
from mfv_dsl.lang.syntax import Axis, Declaration, RecipeTree


@dataclass(frozen=True, repr=False)
class Constructed(Short):
    """A declared model or dataset: constructor, all its arguments as plain values, its facts.

    ``facts`` is None for a constructor whose facts cannot be had before it runs.
    """

    name: str
    constructor: str
    arguments: Mapping[str, Any]  # defaults filled in; numbers, texts, names (str), tuples
    facts: ModelFacts | DatasetFacts | None
    span: Span


@dataclass(frozen=True)
class Setting:
    """One attribute of a block after defaults.

    ``value``: a number, a text, a name (str), a tuple of these (lists and ranges are expanded), or,
    for attributes of type Vector or Heads, the expression itself.  ``origin`` says where it came
    from: ``written``, ``defaults`` or ``registry``.
    """

    value: Any
    origin: str
    span: Span | None


@dataclass(frozen=True, repr=False)
class CheckedBlock(Short):
    """An ``eval``, ``tune``, ``save`` or ``report`` with all its attributes; ``block["layer"]`` is
    the value of one, and ``block["numbers"]`` are the lines of a report."""

    kind: str  # eval | tune | save | report
    name: str  # the label; for save the folder; for report its kind
    settings: Mapping[str, Setting]
    model: str | None  # the model's name; None for blocks without one
    dataset: str | None
    span: Span
    #: the values of sweeps in this reading of the block, and of `defaults` that depend on them
    axes: tuple[Axis, ...] = ()
    settled: Mapping[str, Setting] = field(default_factory=dict)
    #: the vectors of a list of several, and the numbers of a report, as they are written
    listed: tuple[str, ...] = ()

    @property
    def own_name(self) -> str:
        """The name in the recipe, which all readings of the block have in common."""
        return self.name if self.kind == "save" else self.name.partition("[")[0]

    def __getitem__(self, attribute: str) -> Any:
        return self.settings[attribute].value


class FilePart(Protocol):
    """A file that a recipe uses."""

    @property
    def path(self) -> str:
        """Where it is, from the recipe."""

    @property
    def source(self) -> Source:
        """Its text."""


def _as_it_is(finding: Diagnostic) -> Diagnostic:
    return finding


@dataclass(frozen=True, repr=False)
class Checked(Short):
    """A recipe that passed: declarations by name, in source order.

    ``recipe`` is as it was written, with the changes of a profile and of options; all else is of
    the recipe written out (:mod:`mfv_dsl.lang.expansion`).
    """

    recipe: RecipeTree
    models: Mapping[str, Constructed]
    datasets: Mapping[str, Constructed]
    heads: Mapping[str, Declaration]
    vectors: Mapping[str, Declaration]
    blocks: tuple[CheckedBlock, ...]
    defaults: Mapping[str, Setting]
    #: what `defaults for` a function says, by the function's name
    reaching: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    #: type of every expression node, by span: Number, Text, Relation, Heads, Vector, Family, …
    types: Mapping[Span, str] = field(default_factory=dict)
    #: options of every call, by the call's span: written, else from defaults, else the registry's
    options: Mapping[Span, Mapping[str, Setting]] = field(default_factory=dict)
    #: what is known of every vector that is loaded, by path and name; None where it is not here
    loads: Mapping[tuple[str, str | None], VectorFacts | None] = field(default_factory=dict)
    #: findings that did not stop the recipe
    warnings: tuple[Diagnostic, ...] = ()
    #: what spans with a ``copy`` are of; ``copies.told`` shows a finding where it was written
    copies: Copies = field(default_factory=Copies)
    #: shows a finding in the text that it is of: an option, another file, or the recipe
    #: what `##` comments say of what has a name, and of attributes (``raw.layer``)
    docs: Mapping[str, str] = field(default_factory=dict)
    #: the files that the recipe uses, with their texts
    files: tuple[FilePart, ...] = ()
    show: Callable[[Diagnostic], Diagnostic] = _as_it_is

    @cached_property
    def tunes(self) -> dict[str, CheckedBlock]:
        """The `tune` blocks by name."""
        return {block.name: block for block in self.blocks if block.kind == "tune"}

    @cached_property
    def evals(self) -> dict[str, CheckedBlock]:
        """The `eval` blocks by name."""
        return {block.name: block for block in self.blocks if block.kind == "eval"}
