"""What the parser found and would take, in the words of a message."""

from __future__ import annotations

from lark import Token

from mfv_dsl.lang.layout import SHOWN

#: what an operand begins with
OPERAND = frozenset({"NAME", "INT", "FLOAT", "STRING", "HEAD", "LPAR", "LSQB", "LSET", "MATCH"})
#: what stands between operands
INFIX = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "VBAR", "AMPERSAND"})
_WORDS = {
    "NAME": "a name", "INT": "a whole number", "FLOAT": "a number", "STRING": 'a string in `"`',
    "HEAD": "a head such as `L3H1`", "COMMA": "`,`", "EQUAL": "`=`", "COLON": "`:`",
    "DOTS": "`..`", "DOT": "`.`", "NEWLINE": "the end of the line", "$END": "the end of the line",
    "LBRACE": "`{`", "LCASE": "`{`",
}  # fmt: skip


def shown(item: Token) -> str:
    """A token as a message names it."""
    if item.type == "NEWLINE":
        return "the end of the line"
    text = SHOWN.get(item.type, str(item))
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


def words(accepts: frozenset[str]) -> str:
    """What would be taken next, in words that do not depend on the parser's tables."""
    left = set(accepts)
    named = []
    if left == {"NAME", "STRING"}:  # an attribute, which few blocks name by a string
        left.discard("STRING")
    if "EQUAL" in left:
        left.discard("DOT")
    if {"INT", "LSQB", "NAME"} <= left:
        named.append("an expression")
        left -= OPERAND | {"MINUS", "PLUS"}
    if left >= INFIX:
        named.append("an operator")
        left -= INFIX | {"DOTS", "COLON"}
    if "$END" in left:
        left.discard("NEWLINE")
    named += sorted(_WORDS.get(kind) or f"`{SHOWN[kind]}`" for kind in left)
    if len(named) < 2:
        return "".join(named) or "nothing more"
    return f"{', '.join(named[:-1])} or {named[-1]}"
