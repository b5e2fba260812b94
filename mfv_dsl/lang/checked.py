"""What checking yields: a recipe with every name resolved and every constant evaluated.

Still no torch and no weights: the planner reads this and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mfv_dsl.lang.diagnostics import Diagnostic
from mfv_dsl.lang.source import Span
from mfv_dsl.lang.syntax import Declaration, Recipe

#: Precisions of a model's weights, and the bytes that one number takes.
PRECISIONS = {"bf16": 2, "fp16": 2, "fp32": 4}


@dataclass(frozen=True)
class ModelFacts:
    """A model's shape, known from its configuration.

    ``fingerprint`` says which weights these are, whatever their ``precision``, one of
    :data:`PRECISIONS`; ``family`` is the kind of its language model, of
    ``mfv_dsl.backends.families``.
    """

    n_layers: int
    n_heads: int
    head_dim: int
    d_model: int
    fingerprint: str
    description: str = ""
    precision: str = "fp32"
    family: str = "gpt_neox"

    @property
    def identity(self) -> str:
        """Fingerprint and precision: models of one identity give the same results.  Vectors of one
        fingerprint belong together; finished steps are found again by identity."""
        if self.precision == "fp32":
            return self.fingerprint
        return f"{self.fingerprint}:{self.precision}"


@dataclass(frozen=True)
class DatasetFacts:
    """What a dataset offers, known without reading images."""

    relations: tuple[str, ...]
    splits: tuple[str, ...]
    hash: str
    description: str = ""


@dataclass(frozen=True)
class VectorFacts:
    """What a stored vector's file says of it, known without reading its numbers.

    ``model`` names the model, ``content`` is the hash of its numbers, ``revision`` the commit of
    the Hub that it comes from, ``pinned`` the content that ``mfv.lock`` asks for, if it does.
    """

    file: str
    model: str
    fingerprint: str
    d_model: int
    site: str
    bias: str
    parts: bool
    content: str
    revision: str | None = None
    pinned: str | None = None


@dataclass(frozen=True)
class Constructed:
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


@dataclass(frozen=True)
class CheckedBlock:
    kind: str  # eval | tune | save
    name: str  # the label; for save the folder
    settings: Mapping[str, Setting]
    model: str | None  # the model's name; None for blocks without one
    dataset: str | None
    span: Span

    def __getitem__(self, attribute: str) -> Any:
        return self.settings[attribute].value


@dataclass(frozen=True)
class Checked:
    """A recipe that passed: declarations by name, in source order."""

    recipe: Recipe
    models: Mapping[str, Constructed]
    datasets: Mapping[str, Constructed]
    heads: Mapping[str, Declaration]
    vectors: Mapping[str, Declaration]
    blocks: tuple[CheckedBlock, ...]
    defaults: Mapping[str, Setting]
    #: type of every expression node, by span: Number, Text, Relation, Heads, Vector, Family, …
    types: Mapping[Span, str] = field(default_factory=dict)
    #: options of every call, by the call's span: written, else from defaults, else the registry's
    options: Mapping[Span, Mapping[str, Setting]] = field(default_factory=dict)
    #: what is known of every vector that is loaded, by path and name; None where it is not here
    loads: Mapping[tuple[str, str | None], VectorFacts | None] = field(default_factory=dict)
    #: findings that did not stop the recipe
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def tunes(self) -> dict[str, CheckedBlock]:
        """The `tune` blocks by name."""
        return {block.name: block for block in self.blocks if block.kind == "tune"}
