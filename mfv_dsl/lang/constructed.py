"""Models and datasets as they are typed outside a recipe: ``tiny``, ``scenes(seed=3)``,
``openflamingo("…", dtype=bf16)``."""

from __future__ import annotations

from typing import Literal

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.checker import load_recipe, registry_facts
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import Name

_SHOWN_AS = "<command line>"  # what errors call the text


def as_call(text: str) -> str:
    """A constructor as it is typed as the call that it means: a bare name has no arguments.

    RecipeError, which shows the text alone, if it is no expression.

    >>> as_call("tiny"), as_call("scenes(seed=3)")
    ('tiny()', 'scenes(seed=3)')
    """
    syntax = parse_expression(Source(text, _SHOWN_AS))
    return f"{text}()" if isinstance(syntax, Name) else text


def constructed(
    kind: Literal["model", "dataset"], text: str, with_facts: bool = True
) -> Constructed:
    """The model or dataset that a text constructs, checked.

    Args:
        kind: What the text has to construct.
        text: A constructor's name, or a call of it, as in a recipe.
        with_facts: Whether its facts are looked up too, which reads a dataset's files; without
            them, what is wrong with its files is not found.

    Returns:
        The constructor with all its arguments, under the name ``it``.

    Raises:
        RecipeError: Everything that is wrong with the text.

    >>> constructed("dataset", "scenes(seed=3)").arguments["seed"]
    3
    """
    source = Source(f"mfv 1\n{kind} it = {as_call(text)}\n", _SHOWN_AS)
    checked = load_recipe(source, registry_facts if with_facts else lambda entry, arguments: None)
    return (checked.models if kind == "model" else checked.datasets)["it"]


def model_id(model: Constructed) -> str:
    """What a model is called in files: its path, or the constructor with the name of a model that
    is not its first."""
    name = model.arguments.get("name")
    other = name not in (None, CONSTRUCTOR["model"][model.constructor].parameters[0].default)
    return model.arguments.get("path") or model.constructor + (f"-{name}" if other else "")


def calls_of_id(id: str) -> list[str]:
    """The constructors that :func:`model_id` may have made ``id`` of, as they are typed.

    >>> calls_of_id("tiny-llava")[0], calls_of_id("org/model")
    ('tiny("llava")', ['openflamingo("org/model")', 'hf("org/model")'])
    """
    if '"' in id or "\\" in id or not id.isprintable():
        return []
    calls = []
    for entry in CONSTRUCTOR["model"].values():
        first = entry.parameters[0]
        if first.name == "path":
            calls.append(f'{entry.name}("{id}")')
        elif id == entry.name:
            calls.append(f"{entry.name}()")
        elif id.startswith(f"{entry.name}-"):
            calls.append(f'{entry.name}("{id.removeprefix(f"{entry.name}-")}")')
    return calls
