"""A plan: what a recipe will do, as data, without a model and without torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.places import identity_of_place
from mfv_dsl.base.short import Short, kind_of, names
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.syntax import Axis

#: The steps that a step takes its inputs from, by the name of the input: one key, or several.
Inputs: TypeAlias = Mapping[str, "str | tuple[str, ...]"]


def keys_of(inputs: Inputs) -> tuple[str, ...]:
    """The keys of ``inputs`` in their order.

    >>> keys_of({"mean": "a", "scores": ("b", "c")})
    ('a', 'b', 'c')
    """
    keys: list[str] = []
    for value in inputs.values():
        keys += [value] if isinstance(value, str) else value
    return tuple(keys)


@dataclass(frozen=True, repr=False)
class Step(Short):
    """One step.  ``label`` is for people and not part of ``key``; ``inputs`` are keys by name.

    ``references`` are further steps that it takes values of: which they are follows from the step's
    own parameters, so that they are not part of its key either.
    """

    key: str
    operation: str
    label: str
    parameters: Mapping[str, Any]
    inputs: Inputs = field(default_factory=dict)
    model: str | None = None
    dataset: str | None = None
    references: Mapping[str, str] = field(default_factory=dict)

    @property
    def input_keys(self) -> tuple[str, ...]:
        """The keys of its inputs, in their order."""
        return keys_of(self.inputs)

    @property
    def follows_from(self) -> tuple[str, ...]:
        """The keys of all steps that this one takes values of, each once."""
        return tuple(dict.fromkeys((*self.input_keys, *self.references.values())))


#: The fields of a plan's rows of evals that are there whatever was asked for.
_ROW = ("eval", "relation", "shots", "step", "vectors", "against", "metrics", "axes")


@dataclass(frozen=True, repr=False)
class EvalRow(Short):
    """What an ``eval`` shows: the step that measures one relation under one number of shots.

    ``vectors`` are the texts of the vectors where the eval lists several; ``against`` pairs the
    names of evals to compare with and the steps that measure this relation there; ``axes`` are the
    values of sweeps that the eval is read for; ``margin`` is the difference in accuracy that a
    comparison tells from a loss, and ``off_task`` the step that measures what is written off its
    task.
    """

    eval: str
    relation: str
    shots: int
    step: str
    vectors: tuple[str, ...] = ()
    against: tuple[tuple[str, str], ...] = ()
    metrics: tuple[str, ...] = ("accuracy", "p_answer")
    axes: tuple[Axis, ...] = ()
    margin: float | None = None
    off_task: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as plain data; without what was not asked for."""
        row = {**vars(self), "axes": values_of(self.axes)}
        return {name: value for name, value in row.items() if name in _ROW or value is not None}


@dataclass(frozen=True)
class TuneRow:
    """What a `tune` shows: the step that trains the vector of one relation, for these values of
    sweeps."""

    tune: str
    relation: str
    step: str
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class NumberRow:
    """What a `report` shows: the text of a number, and the step that computes it, or the number
    itself where it is known now; ``relation`` is that which `each` stands for in it, ``axes`` the
    values of sweeps."""

    number: str
    relation: str | None
    step: str | None
    value: float | None = None
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class Saved:
    """A vector that a ``save`` writes: its file's name, its step, its normalised source text."""

    name: str
    step: str
    expression: str
    relation: str | None
    about: str = ""  # what a `##` comment says of it


@dataclass(frozen=True, repr=False)
class Save(Short):
    """A ``save``: the library's folder, the layer and licence that are noted in the files, the
    model and dataset that it is for, the vectors, and the warnings that it allows."""

    folder: str
    layer: int | None
    license: str | None
    model: str
    dataset: str
    vectors: tuple[Saved, ...]
    allow: tuple[str, ...] = ()


def written_in(saves: Iterable[Save], code: str) -> list[tuple[str, dict[str, str]]]:
    """The folders that saves write into, but for those that allow a warning, each with the keys of
    the steps of all vectors that are saved there, by name."""
    steps: dict[object, dict[str, str]] = {}
    folders: dict[object, str] = {}
    for save in saves:
        place = identity_of_place(save.folder)
        steps.setdefault(place, {}).update((vector.name, vector.step) for vector in save.vectors)
        if code not in save.allow:
            folders.setdefault(place, save.folder)
    return [(folder, steps[place]) for place, folder in folders.items()]


@dataclass(frozen=True, repr=False)
class Plan:
    """Steps in an order in which each comes after its inputs, and what is shown and written.

    A plan with ``errors`` can be looked at and not be run.
    """

    models: Mapping[str, Constructed]
    datasets: Mapping[str, Constructed]
    steps: tuple[Step, ...]
    rows: tuple[EvalRow, ...]
    saves: tuple[Save, ...]
    warnings: tuple[Diagnostic, ...] = ()
    tunes: tuple[TuneRow, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    numbers: tuple[NumberRow, ...] = ()
    #: what the recipe's `##` comments say of what has a name, and of attributes (``raw.layer``)
    docs: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = {
            "steps": [str(len(self.steps))] if self.steps else [],
            "evals": dict.fromkeys(row.eval for row in self.rows),
            "tunes": dict.fromkeys(row.tune for row in self.tunes),
            "numbers": dict.fromkeys(row.number for row in self.numbers),
            "saves": [save.folder for save in self.saves],
        }
        parts = [f"{what}: {names(values)}" for what, values in shown.items() if values]
        return f"{kind_of(self)}({'; '.join(parts) or 'nothing'})"

    def __getitem__(self, key: str) -> Step:
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, Step]:
        return {step.key: step for step in self.steps}

    @property
    def metrics(self) -> Mapping[str, tuple[str, ...]]:
        """What each eval reports."""
        return {row.eval: row.metrics for row in self.rows}

    def without(self, keys: Collection[str]) -> Plan:
        """The plan without the steps of ``keys``, and without what is shown and written of them."""
        if not keys:
            return self
        saves = [
            replace(save, vectors=tuple(v for v in save.vectors if v.step not in keys))
            for save in self.saves
        ]
        return replace(
            self,
            steps=tuple(step for step in self.steps if step.key not in keys),
            rows=tuple(row for row in self.rows if row.step not in keys),
            tunes=tuple(row for row in self.tunes if row.step not in keys),
            saves=tuple(save for save in saves if save.vectors),
            numbers=tuple(row for row in self.numbers if row.step not in keys),
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "models": {name: _constructed(model) for name, model in self.models.items()},
            "datasets": {name: _constructed(dataset) for name, dataset in self.datasets.items()},
            "steps": [
                {**vars(step), "parameters": dict(step.parameters), "inputs": dict(step.inputs),
                 "references": dict(step.references)}
                for step in self.steps
            ],
            "rows": [row.to_json() for row in self.rows],
            "tunes": [{**vars(row), "axes": values_of(row.axes)} for row in self.tunes],
            **({"numbers": [{**vars(row), "axes": values_of(row.axes)} for row in self.numbers]}
               if self.numbers else {}),
            **({"docs": dict(self.docs)} if self.docs else {}),
            "saves": [
                {"folder": save.folder, "layer": save.layer, "license": save.license,
                 "vectors": [{name: value for name, value in vars(vector).items()
                              if value or name != "about"} for vector in save.vectors]}
                for save in self.saves
            ],
        }  # fmt: skip


def values_of(axes: Iterable[Axis]) -> dict[str, int | float | str]:
    """The values of sweeps by name."""
    return {axis.name: axis.value for axis in axes}


def needed(steps: Iterable[Step], keys: Iterable[str]) -> tuple[Step, ...]:
    """Those of ``steps``, in their order, that ``keys`` follow from."""
    steps, ancestors = tuple(steps), set(keys)
    for step in reversed(steps):
        if step.key in ancestors:
            ancestors.update(step.follows_from)
    return tuple(step for step in steps if step.key in ancestors)


def _constructed(declaration: Constructed) -> dict[str, Any]:
    return {
        "constructor": declaration.constructor,
        "arguments": dict(declaration.arguments),
        "facts": None if declaration.facts is None else vars(declaration.facts),
    }
