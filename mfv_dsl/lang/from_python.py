"""Values of Python as expressions of the language: ``4``, ``"left"``, ``[(4, 1), (2, 6)]``."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, cast

from mfv_dsl.base.arguments import (
    ArgumentError,
    is_finite,
    is_truth,
    known_options,
    plain_number,
    shown,
)
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Source
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.syntax import (
    Call,
    Expr,
    HeadLabel,
    Keyword,
    ListExpr,
    Name,
    Node,
    Number,
    SetExpr,
    Text,
    Unary,
)

#: Types whose values are names of the recipe or of the dataset.
_RELATIONS = frozenset(("Relation", "List[Relation]", "Name", "List[Name]"))
_NAMES = ("Relation", "Name", "Split", "Model", "Dataset", "Eval")


def as_syntax(value: object, parameter: Parameter | None = None) -> Expr:
    """The expression that ``value`` stands for as the value of ``parameter``.

    Text is a name where one is wanted, a text where that is, and otherwise an expression of the
    language: ``heads="top(5)"``.  Pairs (layer, head) are heads.

    Raises:
        ArgumentError: MFV5119 for a value that the language cannot say.
        MfvError: MFV4002 for a negative head.
        RecipeError: That a text is no expression.

    >>> from mfv_dsl.lang.unparse import unparse
    >>> unparse(as_syntax([(4, 1), (2, 6)])), unparse(as_syntax(-2)), unparse(as_syntax(True))
    ('{L4H1, L2H6}', '-2', 'true')
    """
    node = getattr(value, "syntax", None)
    if isinstance(node, Node):
        return cast("Expr", node)
    if isinstance(value, str):
        return _of_text(value, parameter)
    if isinstance(value, PathLike):
        if parameter is not None and not _RELATIONS.isdisjoint(parameter.types):
            raise ArgumentError(f"`{parameter.name}` has to be a name, and this is {shown(value)}")
        return Text(str(fspath(value)))
    if is_truth(value):
        return _of_truth(bool(value), parameter)
    if (number := plain_number(value)) is not None:
        if not is_finite(number):
            raise ArgumentError(f"{shown(number)} is no number to calculate with")
        return Number(number) if number >= 0 else Unary("-", Number(-number))
    chosen = getattr(value, "chosen", value)  # of a set of heads, as a step gives it
    if isinstance(chosen, set | frozenset) and parameter and "Layers" in parameter.types:
        return SetExpr(tuple(as_syntax(one) for one in sorted(chosen)))
    if isinstance(chosen, list | tuple | set | frozenset | range):
        return _of_list(list(chosen), parameter)
    what = f" as `{parameter.name}`" if parameter is not None else ""
    raise ArgumentError(
        f"{shown(value)} does not belong in a vector expression{what}",
        "a vector that was computed takes part once it is saved: load(path, name)"
        if type(value).__name__ in ("Vector", "StoredVector", "Tensor", "ndarray")
        else 'an expression is made of functions such as fv("left"), and of numbers',
    )


def as_call(entry: Entry, arguments: tuple[object, ...], options: Mapping[str, object]) -> Call:
    """The call of a function or constructor of the language with these values of Python.

    A name that Python keeps for itself has an underscore behind it (``from_``).  None leaves an
    option out.

    Raises:
        ArgumentError: MFV5119 for options that it does not take, or that are given twice, and what
            :func:`as_syntax` refuses.
    """
    variadic = bool(entry.parameters) and entry.parameters[0].variadic
    given = {_stripped(key, entry): value for key, value in options.items()}
    known_options(given, [p.name for p in entry.parameters], f"{entry.name}()")
    if variadic:
        positional = [as_syntax(value, entry.parameters[0]) for value in arguments]
    else:
        if len(arguments) > len(entry.parameters):
            raise ArgumentError(
                f"{entry.name}() takes {len(entry.parameters)} arguments, and these are "
                f"{len(arguments)}",
                f"for example {entry.example}" if entry.example else None,
            )
        positional = []
        for parameter, value in zip(entry.parameters, arguments, strict=False):
            if parameter.name in given:
                raise ArgumentError(f"{entry.name}() is given `{parameter.name}` twice")
            given[parameter.name] = value
    keywords = []
    for parameter in entry.parameters:
        if parameter.name not in given:
            continue
        value = given[parameter.name]
        if value is None:
            if parameter.required:
                raise ArgumentError(f"{entry.name}() needs `{parameter.name}`, and this is None")
        elif parameter.positional and not (variadic and positional):
            positional.append(as_syntax(value, parameter))
        else:
            keywords.append(Keyword(Name(parameter.name), as_syntax(value, parameter)))
    return Call(Name(entry.name), tuple(positional), tuple(keywords))


def _stripped(key: str, entry: Entry) -> str:
    return key if entry.parameter(key) is not None else key.removesuffix("_")


def _of_text(value: str, parameter: Parameter | None) -> Expr:
    types = () if parameter is None else parameter.types
    element = [name.removeprefix("List[").removesuffix("]") for name in types]
    if parameter is not None and value in parameter.choices:
        return Name(value)
    if any(name in _NAMES for name in element):
        return _name(value, parameter)
    if "Text" in element:
        return Text(value)
    if parameter is not None and "Vector" in element and value.isidentifier():
        raise ArgumentError(
            f"`{parameter.name}` has to be a vector, and this is {shown(value)}",
            f'a relation\'s vector is fv("{value}")',
        )
    if "Choice" in element and value.isidentifier() and value.isascii():
        return Name(value)
    return parse_expression(Source(value, "<option>"))


def _of_truth(value: bool, parameter: Parameter | None) -> Expr:
    if parameter is not None and "Boolean" not in parameter.types:
        raise ArgumentError(f"`{parameter.name}` is no truth value, and this is {value}")
    return Name("true" if value else "false")


def _name(value: str, parameter: Parameter | None) -> Expr:
    """A name; a word of the language such as ``each`` is one too.  A relation may be any text."""
    if value.isidentifier() and value.isascii():
        return Name(value)
    types = () if parameter is None else parameter.types
    if not _RELATIONS.isdisjoint(types) and value.strip() and value.isprintable():
        return Text(value)
    what = parameter.name if parameter is not None else "a name"
    raise ArgumentError(
        f"`{what}` has to be a name, and this is {shown(value)}",
        "names are letters, digits and `_`",
    )


def _of_list(values: list[Any], parameter: Parameter | None) -> Expr:
    pairs = [_pair(value) for value in values]
    if values and all(pair is not None for pair in pairs):
        return SetExpr(tuple(HeadLabel(*pair) for pair in pairs if pair is not None))
    if parameter is None or "Heads" not in parameter.types:
        return ListExpr(tuple(as_syntax(value, parameter) for value in values))
    if parameter.read_again and (one := _pair(values)) is None and not _labels(values):
        return ListExpr(tuple(as_syntax(value, parameter) for value in values))
    if (one := _pair(values)) is not None:
        return SetExpr((HeadLabel(*one),))
    if labels := _labels(values):
        return SetExpr(labels)
    raise ArgumentError(
        f"`{parameter.name}` has to be heads, and this is {shown(values)}",
        'write pairs of a layer and a head, [(4, 1), (2, 6)], or text, "top(10)"',
    )


def _labels(values: list[Any]) -> tuple[HeadLabel, ...]:
    """Heads as they are written, ``["L1H2", "L3H4"]``; none where one is something else."""
    labels = [as_syntax(value) for value in values if isinstance(value, str)]
    heads = tuple(label for label in labels if isinstance(label, HeadLabel))
    return heads if len(heads) == len(values) else ()


def _pair(value: object) -> tuple[int, int] | None:
    """(layer, head), None of what is no pair of whole numbers."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    numbers = [plain_number(part) for part in value]
    if not all(isinstance(part, int) for part in numbers):
        return None
    layer, head = (int(part) for part in numbers if part is not None)
    if layer < 0 or head < 0:
        raise MfvError(
            "MFV4002", f"there is no head ({layer}, {head})",
            help="layers and heads are counted from 0",
        )  # fmt: skip
    return layer, head
