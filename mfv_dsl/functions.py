"""The functions of the language as functions of Python: ``mfv_dsl.fv("left")``."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from inspect import Parameter as Argument
from inspect import Signature

from mfv_dsl.expression import Expression, check_form
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.from_python import as_call
from mfv_dsl.lang.reference import parameter_line
from mfv_dsl.lang.registry import Entry, Parameter


def function(name: str) -> Callable[..., Expression]:
    """The function ``name`` of the language as a Python function.

    It takes what the language's takes, in the same order or by name; a name that Python keeps for
    itself has an underscore behind it (``from_``).  A relation, a path and a name are text; any
    other text is an expression of the language: ``heads="top(5)"``.  Heads may be pairs
    ``[(4, 1), (2, 6)]``.  What is wrong with the call whatever its model and dataset is raised at
    once: RecipeError, and ArgumentError (MFV5119) for values that the language does not have.

    >>> reject = function("reject")
    >>> str(reject(function("fv")("left"), function("fv")("above")))
    'reject(fv(left), from=fv(above))'
    """
    entry = FUNCTION[name]

    def call(*arguments: object, **options: object) -> Expression:
        made = Expression(as_call(entry, arguments, options))
        check_form(made)
        return made

    call.__name__ = call.__qualname__ = name
    call.__module__ = "mfv_dsl"
    call.__doc__ = _documentation(entry)
    call.__signature__ = _signature(entry)  # type: ignore[attr-defined]
    return call


def _signature(entry: Entry) -> Signature:
    """What the function takes, for help and for completion; a default that the language finds
    elsewhere is None."""
    by_place = True
    arguments = []
    for parameter in entry.parameters:
        if parameter.variadic:
            kind, by_place = Argument.VAR_POSITIONAL, False
        else:
            kind = Argument.POSITIONAL_OR_KEYWORD if by_place else Argument.KEYWORD_ONLY
        default = Argument.empty if parameter.required else parameter.default
        if parameter.variadic:
            default = Argument.empty
        elif default is Argument.empty and any(one.default is not one.empty for one in arguments):
            kind, by_place = Argument.KEYWORD_ONLY, False  # behind one that may be left out
        arguments.append(Argument(_name(parameter), kind, default=default))
    return Signature(arguments, return_annotation="Expression")


def _documentation(entry: Entry) -> str:
    """What the function does, and a line on each argument."""
    lines = [f"{entry.doc[0].upper()}{entry.doc[1:]}: ``{entry.example}``.", ""]
    if entry.parameters:
        lines += ["Args:"]
    for parameter in entry.parameters:
        text = parameter_line(parameter).removeprefix(f"- `{parameter.name}`")
        text = text.replace("`", "").replace("; *defaults*", "")
        lines.append(f"    {_name(parameter)}{text}")
    return "\n".join([*lines, "", "Returns:", f"    An expression: {_RESULTS[entry.result]}."])


_RESULTS = {
    "Vector": "a vector",
    "Heads": "a set of heads",
    "Number": "a number",
    "Adapter": "an adapter",
    "States": "rows of states",
}


def _name(parameter: Parameter) -> str:
    """What an argument is called in Python."""
    return f"{parameter.name}_" if keyword.iskeyword(parameter.name) else parameter.name
