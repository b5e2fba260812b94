"""Models and datasets that the Python interface is given: as text, as in a recipe, or as objects
that are loaded already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mfv_dsl import data
from mfv_dsl.base.arguments import ArgumentError, known_options, shown, texts
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.origin import Origin
from mfv_dsl.lang.constructed import as_call as call_of_text
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.from_python import as_call, as_syntax
from mfv_dsl.lang.registry import Entry
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.models.loaded import origin_of as origin_of_model

Kind = Literal["model", "dataset"]


def origin_of(kind: Kind, value: Any) -> Origin | None:
    """What a recipe would call an object of this kind; None of any other."""
    return origin_of_model(value) if kind == "model" else data.origin_of(value)


def call_of(kind: Kind, value: Any) -> str:
    """The call that constructs a model or dataset: of a text as it is typed, or of an object.

    Raises:
        ArgumentError: MFV5119 for what is neither text nor an object.
        MfvError: MFV5118 for an object that mfv-dsl has not loaded.
        RecipeError: For a text that is no expression.
    """
    if isinstance(value, str):
        return call_of_text(value)
    origin = origin_of(kind, value)
    if origin is not None:
        return unparse(as_call(CONSTRUCTOR[kind][origin.constructor], (), origin.arguments))
    if value is None or isinstance(value, bool | int | float | list | tuple | dict | bytes):
        raise ArgumentError(
            f"a {kind} has to be text or one that is loaded, and this is {shown(value)}",
            f'for example {kind}="{"tiny" if kind == "model" else "scenes(seed=3)"}"',
        )
    raise not_loaded(kind, value)


def not_loaded(kind: Kind, value: object) -> MfvError:
    """MFV5118: an object that is no model or dataset of mfv-dsl."""
    return MfvError(
        "MFV5118",
        f"{shown(value)} is no {kind} that mfv-dsl has loaded, so nothing can be computed on it",
        help=f"give one of mfv_dsl.load_{kind}, or its text as in a recipe"
        + (': constructor="tiny"' if kind == "model" else ""),
    )


@dataclass(frozen=True)
class Given:
    """Objects by the names that a recipe has for its models and datasets."""

    objects: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Mapping[str, tuple[Kind, Any]]) -> Given:
        """Those of the values, (kind, text or object) by name, that are objects."""
        objects = {name: value for name, (_, value) in names.items()}
        return cls({name: value for name, value in objects.items() if not isinstance(value, str)})

    def facts(self, entry: Entry, arguments: Mapping[str, Any]) -> ModelFacts | DatasetFacts | None:
        """Facts of the constructor with these arguments: those of an object that was made so, else
        those that its module knows."""
        from mfv_dsl.lang.checker import registry_facts

        kind: Kind = "model" if entry.result == "Model" else "dataset"
        for value in self.objects.values():
            origin = origin_of(kind, value)
            if origin is not None and same_call(origin, entry, arguments):
                facts: ModelFacts | DatasetFacts = (
                    value.facts if kind == "model" else data.facts_of(value)
                )
                return facts
        return registry_facts(entry, arguments)


def same_call(origin: Origin, entry: Entry, arguments: Mapping[str, Any]) -> bool:
    """Whether an object was made by this constructor with these arguments; where it runs is no
    matter."""
    if origin.constructor != entry.name:
        return False
    return all(
        _plain(origin.arguments.get(p.name, p.default)) == _plain(arguments.get(p.name, p.default))
        for p in entry.parameters
        if p.name != "device"
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def options_of(overrides: Any) -> tuple[str, ...]:
    """Overrides as ``NAME.ATTRIBUTE=VALUE`` each: a list of such texts, one of them, or values by
    ``NAME.ATTRIBUTE``.  Raises ArgumentError (MFV5119) for anything else.

    >>> options_of({"raw.layer": [1, 2], "defaults.shots": 4})
    ('raw.layer=[1, 2]', 'defaults.shots=4')
    """
    if isinstance(overrides, Mapping):
        return tuple(
            f"{as_text(name, 'what an override sets')}="
            f"{value if isinstance(value, str) else unparse(as_syntax(value))}"
            for name, value in overrides.items()
        )
    return texts(overrides, "overrides")


def by_name(kind: Kind, value: Any, declared: Mapping[str, Any]) -> dict[str, Any]:
    """What is given for a recipe's models or datasets, by their names in the recipe."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        known_options(map(str, value), declared, f"`{kind}=`")
        return dict(value)
    if len(declared) != 1:
        raise MfvError(
            "MFV5118", f"the recipe has {len(declared)} {kind}s, and which is meant is not said",
            help=f"give them by name: {kind}={{{next(iter(declared), 'name')!r}: ...}}",
        )  # fmt: skip
    return {next(iter(declared)): value}
