"""``--over defaults.seed=0..4``: what a sweep varies, and over which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mfv_dsl.base.arguments import ArgumentError, shown
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.names import is_plain
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.from_python import as_syntax
from mfv_dsl.lang.literals import Unusable, number_of, plain, values_of
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import AnyNode, Axis, Expr, ListExpr, Name, Node, Range, Text, rewritten
from mfv_dsl.lang.unparse import unparse

#: What an option is called where it is shown.
OPTION = "--over"
_HELP = (
    "write --over NAME.ATTRIBUTE=VALUES, as in defaults.seed=0..4, or --over NAME=VALUES, as in "
    "--over flamingo='tiny()','tiny(\"llava\")'"
)


@dataclass(frozen=True)
class Value:
    """One of the values: its ``text`` in a recipe, and what results show; ``span`` is its place in
    the option."""

    text: str
    shown: int | float | str
    span: Span


@dataclass(frozen=True)
class Over:
    """What is varied, as ``--set`` would name it, and its values; ``start`` is where the name
    begins in the option."""

    option: str
    name: str
    values: tuple[Value, ...]
    start: int = 0

    @property
    def is_seed(self) -> bool:
        """Whether it is a seed, over which means are taken."""
        return self.name.rpartition(".")[2] == "seed"

    def axis(self, value: Value) -> Axis:
        """One of its values as a column of results."""
        return Axis(self.name, value.shown, self.is_seed)

    def change(self, value: Value) -> str:
        """The ``--set`` that gives the recipe one of its values."""
        return f"{self.name}={value.text}"

    def at(self, value: Value, span: Span) -> Span:
        """Where a place in :meth:`change` stands in the option."""
        behind = span.start - len(self.name) - 1
        if behind < 0:
            return Span(self.start + span.start, self.start + min(span.end, len(self.name)))
        if self.option[value.span.start : value.span.end] != value.text:
            return value.span
        first = value.span.start + behind
        return Span(first, first + span.end - span.start)


def read_overs(options: Sequence[str]) -> tuple[Over, ...]:
    """What the options vary, in their order.

    Raises RecipeError with everything that is wrong with them: MFV5690 for one that varies nothing,
    MFV5691 for what is given twice, and what is wrong with a value that cannot be read.

    >>> [[value.shown for value in over.values] for over in read_overs(["a.seed=0..2,7", "m=t(1)"])]
    [[0, 1, 2, 7], ['t(1)']]
    """
    found: list[Over] = []
    findings: list[Diagnostic] = []
    for option in options:
        try:
            over = _read(option)
            if any(other.name == over.name for other in found):
                raise _error(
                    "MFV5691", option, Span(over.start, over.start + len(over.name)),
                    f"`{over.name}` is varied twice", "give all of its values in one option",
                )  # fmt: skip
            found.append(over)
        except RecipeError as error:
            findings += error.diagnostics
    if findings:
        raise RecipeError(findings)
    return tuple(found)


def options_of(over: Any) -> tuple[str, ...]:
    """What Python varies as options: such options, or by name a text as in an option, a range, or a
    list of texts and values.  Raises ArgumentError (MFV5119) for anything else.

    >>> options_of({"defaults.seed": range(3), "flamingo": ["tiny()", 'tiny("llava")']})
    ('defaults.seed=0, 1, 2', 'flamingo=tiny(), tiny("llava")')
    """
    if isinstance(over, str):
        return (over,)
    if isinstance(over, Mapping):
        return tuple(
            f"{as_text(name, 'what a sweep varies')}={_values(values, name)}"
            for name, values in over.items()
        )
    if isinstance(over, list | tuple) and all(isinstance(option, str) for option in over):
        return tuple(over)
    raise ArgumentError(
        f"over has to be values by name, and this is {shown(over)}",
        'for example over={"defaults.seed": range(5)}',
    )


def _values(values: Any, name: str) -> str:
    if isinstance(values, str):
        return values
    if not isinstance(values, list | tuple | range):
        raise ArgumentError(
            f"{name} has to be varied over a list of values, and this is {shown(values)}",
            f"for example over={{{name!r}: range(5)}}",
        )
    parts = (part if isinstance(part, str) else unparse(as_syntax(part)) for part in values)
    return ", ".join(parts)


def _read(option: str) -> Over:
    path, equals, text = option.partition("=")
    name = target_name(path)
    whole = Span(0, len(option))
    if not equals or not name or not text.strip():
        raise _error("MFV5690", option, whole, "this varies nothing", _HELP)
    # a list, so that commas separate values as everywhere; each stands where it does in the option
    listed = _parsed(f"{' ' * len(path)}[{text}]", option)
    if not isinstance(listed, ListExpr):
        raise _error("MFV5690", option, whole, "this is no list of values", _HELP)
    values: list[Value] = []
    meanings: list[object] = []
    for item in listed.items:
        for node in _each(item, option):
            value = Value(unparse(node), plain(node), _within(item.span, option))
            if (meaning := _meaning(node)) in meanings:
                raise _error(
                    "MFV5691", option, value.span, f"the value {value.text} is there twice",
                    "leave one of them out",
                )  # fmt: skip
            values.append(value)
            meanings.append(meaning)
    if not values:
        raise _error("MFV5690", option, whole, "this varies nothing", _HELP)
    return Over(option, name, tuple(values), len(path) - len(path.lstrip()))


def target_name(path: str) -> str:
    """What an option is about, without blanks between its parts, which mean nothing.

    >>> target_name(" raw . layer ")
    'raw.layer'
    """
    return ".".join(part.strip() for part in path.split("."))


def _meaning(node: Expr) -> object:
    """What is equal of two values that are one: 1 and 1.0, [left] and ["left"]."""
    number = number_of(node)
    if number is not None:
        return number

    def unquoted(part: Node) -> Node | None:
        if part is node or not isinstance(part, Text) or not is_plain(part.value):
            return None
        return Name(part.value)

    meaning: AnyNode = rewritten(node, unquoted)
    return meaning


def _parsed(text: str, option: str) -> Expr:
    try:
        return parse_expression(Source(text, OPTION))
    except RecipeError as error:
        raise RecipeError(
            replace(
                finding, source=Source(option, OPTION), secondary=(), fixes=(),
                span=finding.span and _within(finding.span, option),
            )
            for finding in error.diagnostics
        ) from None  # fmt: skip


def _each(item: Expr, option: str) -> tuple[Expr, ...]:
    """The values that stand for themselves, and those of a range."""
    if not isinstance(item, Range):
        return (item,)
    try:
        return values_of(item)
    except Unusable as error:
        at = _within(error.node.span, option)
        message = error.message.format(f"`{unparse(item)}`")
        raise _error(error.code, option, at, message, None, error.label) from None


def _within(span: Span, option: str) -> Span:
    return Span(min(span.start, len(option)), min(span.end, len(option)))


def _error(
    code: str, option: str, span: Span, message: str, help: str | None, label: str = ""
) -> RecipeError:
    source = Source(option, OPTION)
    return RecipeError([Diagnostic(code, message, source, span, label, help=help)])
