"""Text to tree: every statement by itself, so that one mistake costs one statement at most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lark import Token

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.files import read_regular
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.texts import BadText, decode
from mfv_dsl.lang.docs import documented
from mfv_dsl.lang.layout import lay_out, span
from mfv_dsl.lang.lexer import lex
from mfv_dsl.lang.recovery import Recovery, expression_of
from mfv_dsl.lang.syntax import Expr, Inclusion, Item, Number, RecipeTree

VERSION = 1
LARGEST = 16 << 20  # bytes of a recipe's file


@dataclass(frozen=True)
class ParseResult:
    """A tree and what was wrong; with errors the tree is partial, with gaps, or None."""

    recipe: RecipeTree | None
    diagnostics: tuple[Diagnostic, ...]


def read_source(path: str | Path, name: str | None = None) -> Source:
    """The text of a regular file; see :mod:`mfv_dsl.base.texts`.

    Raises RecipeError (MFV1017) for a file that is not text; OSError where it cannot be read.
    """
    return source_from_bytes(read_regular(path, LARGEST), name or str(path))


def source_from_bytes(data: bytes, name: str) -> Source:
    """The same for bytes already read; ``name`` is what they are shown under."""
    try:
        return Source(decode(data), name)
    except BadText as error:
        readable = Source(error.readable, name)
        at = Span(len(readable.text), len(readable.text))
        diagnostic = Diagnostic(
            "MFV1017", "this is not a text file in UTF-8", readable, at, str(error), help=error.help
        )
        raise RecipeError([diagnostic]) from None


@lru_cache(maxsize=4)
def parse(source: Source) -> ParseResult:
    """The tree of a recipe; never raises, whatever the text.  The last few are kept: a recipe is
    checked once for itself and once for each of its profiles.

    >>> result = parse(Source("mfv 1\\nvector steer = 2 * fv(left)\\n"))
    >>> result.recipe.items[0].name.text, result.diagnostics
    ('steer', ())
    >>> parse(Source("mfv 1\\nvector steer = 2fv(left)\\n")).diagnostics[0].code
    'MFV1004'
    """
    result = lex(source)
    if not result.complete:
        return ParseResult(None, result.diagnostics)
    statements, findings = lay_out(source, result.tokens)
    recovery = Recovery(source)
    version, ends = _version(recovery, statements)
    if ends:
        return ParseResult(None, _in_order([*recovery.findings]))
    items: list[Item] = []
    inclusions: list[Inclusion] = []
    for statement in recovery.rejoined(statements):
        if not _is_version(statement):
            item = recovery.item(statement)
            if isinstance(item, Inclusion):
                inclusions.append(item)
            elif item is not None:
                items.append(item)
    items = documented(source, result.docs, items)
    recipe = RecipeTree(
        version, tuple(items), tuple(inclusions), source=source, span=Span(0, len(source.text))
    )
    return ParseResult(recipe, _in_order([*result.diagnostics, *findings, *recovery.findings]))


def parse_expression(source: Source) -> Expr:
    """The tree of a single expression; newlines do not matter.

    Raises RecipeError with everything that is wrong in the text.

    >>> parse_expression(Source("fv(left)")).function.text
    'fv'
    """
    result = lex(source)
    findings: list[Diagnostic] = list(result.diagnostics)
    expression: Expr | None = None
    if result.complete:
        tokens = [item for item in result.tokens if item.type != "NEWLINE"]
        # Inside parentheses every brace is a set's.
        statements, unbalanced = lay_out(source, [_OPEN, *tokens, _CLOSE])
        findings += unbalanced
        if not unbalanced:
            expression, more = expression_of(source, statements[0][1:-1])
            findings += more
    if expression is None or findings:
        raise RecipeError(_in_order(findings))
    return expression


_OPEN = Token("LPAR", "(", start_pos=0, end_pos=0)
_CLOSE = Token("RPAR", ")", start_pos=0, end_pos=0)


def _in_order(findings: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(findings, key=lambda d: (d.span.start, d.span.end) if d.span else (0, 0)))


# -- the version ----------------------------------------------------------------------------------
def _is_version(statement: list[Token]) -> bool:
    """``mfv`` and anything that is not the rest of an item."""
    if statement[0] != "mfv":
        return False
    return len(statement) == 1 or statement[1].type in ("INT", "FLOAT", "STRING", "BAD", "MINUS")


def _version(recovery: Recovery, statements: list[list[Token]]) -> tuple[Number | None, bool]:
    """The version, and whether it is one that makes reading on pointless."""
    versions = [statement for statement in statements if _is_version(statement)]
    if not versions:
        start = statements[0][0].start_pos or 0 if statements else 0
        recovery.report(
            "MFV1009", Span(start, start), "a recipe begins with its version",
            "expected `mfv 1`", f"write `mfv {VERSION}` on the first line",
            (Fix(f"write `mfv {VERSION}`", Span(start, start), f"mfv {VERSION}\n\n"),),
        )  # fmt: skip
        return None, False
    first = versions[0]
    if first is not statements[0]:
        recovery.report("MFV1011", span(first[0]), "the version comes first", "not here")
    for other in versions[1:]:
        recovery.findings.append(
            Diagnostic(
                "MFV1011", "the version is given twice", recovery.source, span(other[0]),
                "and again", secondary=(Label(span(first[0]), "given here"),),
            )
        )  # fmt: skip
    if any(item.type == "BAD" for item in first):
        return None, False
    whole = span(first[0]).to(span(first[-1]))
    text = recovery.source.text[whole.start : whole.end]
    if len(first) == 1:
        recovery.report(
            "MFV1010", whole, "the version has no number", "", f"write `mfv {VERSION}`",
            (Fix(f"write `mfv {VERSION}`", whole, f"mfv {VERSION}"),),
        )  # fmt: skip
        return None, False
    if first[1].type == "INT" and len(first) > 2:
        recovery.unexpected(first, 2, "the end of the line after the version")
    elif first[1].type != "INT" or int(first[1]) != VERSION:
        recovery.report(
            "MFV1010", whole, f"`{text}` is not a version that this program reads", "",
            f"it reads `mfv {VERSION}`; a newer one may need a newer mfv-dsl",
        )  # fmt: skip
        return None, True
    return Number(int(first[1]), span=span(first[1])), False
