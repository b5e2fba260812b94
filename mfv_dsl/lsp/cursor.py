"""What stands before the cursor, also in a text that does not parse: the item, the block, the
attribute, the calls and the string that are open there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from lark import Token

from mfv_dsl.base.source import Span
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import FUNCTION, ITEM, takers
from mfv_dsl.lang.layout import BEFORE_SET, OPERATORS
from mfv_dsl.lang.lexer import raw_tokens
from mfv_dsl.lang.registry import Entry, Parameter

#: A line that begins an item: two words, or a word and a brace, at the left edge.
_ITEM = re.compile(
    r'^[A-Za-z_]\w*(?:[ \t]+(?:[A-Za-z_]\w*|"[^"\r\n]*"?))?[ \t]*[={(]'
    r'|^[A-Za-z_]\w*[ \t]+[A-Za-z_"]'
)
_FARTHEST = 2_000  # lines that are looked back for the beginning of an item
_WORD = re.compile(r"[A-Za-z_]\w*$")

Where = Literal[
    "item",
    "label",
    "attribute",
    "case",
    "subject",
    "value",
    "keyword",
    "text",
    "comment",
    "nowhere",
]


@dataclass
class Frame:
    """A bracket that is open: a block's, a call's, a list's, a set's, a `match`'s, or one of an
    expression."""

    kind: Literal["block", "call", "list", "set", "group", "match"]
    word: str = ""  # what is called
    start: int = 0  # where that begins
    index: int = 0  # of the argument that the cursor is in
    keyword: str | None = None  # its name, where it has one
    given: list[str] = field(default_factory=list)  # names of arguments or attributes before it
    arguments: list[list[Token]] = field(default_factory=list)  # what is written of each


@dataclass
class Place:
    """A cursor's place.

    ``where`` is what is being typed: an item's kind, the name of an item, the name of an attribute,
    the relation of a case, what a `match` is by, a value, a value or the name of an argument
    (``keyword``), a text in quotes, a comment, or what nobody can help with.
    """

    where: Where
    word: str  # what stands of a word before the cursor, or of a text in quotes
    span: Span  # where that stands
    kind: str = ""  # kind word of the item
    label: str = ""
    reach: str = ""  # what a `defaults for` is for
    parameters: tuple[str, ...] = ()  # of a family that is being declared
    attribute: str | None = None  # whose value is being typed
    frames: list[Frame] = field(default_factory=list)  # the outermost first
    given: list[str] = field(default_factory=list)  # attributes of the block before the cursor
    of: str | None = None  # in a profile: the item whose attribute is being typed

    @property
    def call(self) -> Frame | None:
        """The innermost call that is open."""
        return next((frame for frame in reversed(self.frames) if frame.kind == "call"), None)

    def entry(self, frame: Frame) -> Entry | None:
        """The entry of the word that is called: a function, or of a declaration a constructor."""
        if self.kind in CONSTRUCTOR and frame is self.frames[0]:
            return CONSTRUCTOR[self.kind].get(frame.word)
        return FUNCTION.get(frame.word)

    def expected(self) -> tuple[Parameter | None, bool]:
        """The argument or attribute whose value is being typed, None where it is not known, and
        whether the cursor is in a list of such values."""
        in_list = False
        for frame in reversed(self.frames):
            if frame.kind == "call":
                entry = self.entry(frame)
                return (None if entry is None else argument_at(entry, frame)), in_list
            if frame.kind == "block":
                break
            in_list = in_list or frame.kind == "list"
        if self.attribute is not None and self.kind == "defaults":
            return next((parameter for _, parameter in takers(self.attribute)), None), in_list
        if self.attribute is not None and self.kind in ITEM:
            return ITEM[self.kind].parameter(self.attribute), in_list
        return None, in_list


def argument_at(entry: Entry, frame: Frame) -> Parameter | None:
    """The parameter that the argument at the cursor is for."""
    if frame.keyword is not None:
        return entry.parameter(frame.keyword)
    positional = [p for p in entry.parameters if p.positional]
    if frame.index < len(positional):
        return positional[frame.index]
    return positional[-1] if positional and positional[-1].variadic else None


def item_start(text: str, offset: int) -> int:
    """Where the item begins that an offset is in, as far as the left edge of lines tells it."""
    end = offset
    for _ in range(_FARTHEST):
        start = max(text.rfind("\n", 0, end), text.rfind("\r", 0, end)) + 1
        if _ITEM.match(text[start : start + 300]):
            return start
        if start == 0:
            return 0
        end = start - 1
    return start


def place_at(text: str, offset: int) -> Place:
    """The place of the cursor between two characters of a text.

    >>> place = place_at("eval raw {\\n  add = fv(left, sh", 30)
    >>> place.where, place.word, place.kind, place.attribute, place.call.word, place.call.index
    ('keyword', 'sh', 'eval', 'add', 'fv', 1)
    """
    walk = _Walk(offset)
    start = item_start(text, offset)
    for item in raw_tokens(text[start:offset]):
        walk.take(item, start)
    return walk.place()


class _Walk:
    """Reads the tokens before the cursor."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.head: list[Token] = []  # of the item, before its first bracket or `=`
        self.assigned = False  # whether the `=` of a declaration stands before the cursor
        self.attribute: str | None = None
        self.names: list[str] = []  # attributes given
        self.parameters: list[str] = []
        self.last: Token | None = None
        self.before: Token | None = None
        self.frames: list[Frame] = []
        self.ended = False  # whether a line end stands before the cursor that may end the item
        self.end: Token | None = None  # the token that ends at the cursor
        self.end_span = Span(offset, offset)

    def take(self, item: Token, shift: int) -> None:
        """Read on by one token; one that ends at the cursor waits, as it may be half of one."""
        if self.end is not None:
            self.read(self.end)
        self.end = item
        self.end_span = Span((item.start_pos or 0) + shift, (item.end_pos or 0) + shift)

    def read(self, item: Token) -> None:
        kind = item.type
        frame = self.frames[-1] if self.frames else None
        if kind == "COMMENT":
            return
        if kind == "NEWLINE":
            if frame is None or frame.kind in ("block", "match"):
                self.ended = True
            return
        if self.ended and not (kind in OPERATORS and (self.assigned or self.attribute)):
            self.end_line(frame)
        self.ended = False
        if kind in ("LPAR", "LSQB", "LBRACE"):
            self.open(item)
        elif kind in ("RPAR", "RSQB", "RBRACE"):
            if frame is not None:
                self.frames.pop()
                if frame.kind == "block":
                    self.attribute, self.names = None, []
        elif kind == "COMMA" and frame is not None:
            self.comma(frame)
        elif kind == "EQUAL":
            self.equal(frame)
        elif frame is None and not self.assigned:
            self.head.append(item)
        elif (
            kind == "NAME"
            and not self.assigned
            and len(self.frames) == 1
            and (self.frames[0].kind == "group")
        ):
            self.parameters.append(str(item))
        if frame is not None and frame.kind == "call" and kind not in ("COMMA", "RPAR"):
            while len(frame.arguments) <= frame.index:
                frame.arguments.append([])
            frame.arguments[frame.index].append(item)
        self.before, self.last = self.last, item

    def end_line(self, frame: Frame | None) -> None:
        """Forget what a line end ended: an attribute, or outside blocks the item."""
        if frame is None:
            self.head, self.assigned, self.names, self.parameters = [], False, [], []
        if frame is None or frame.kind == "block":
            self.attribute = None
        self.before = self.last = None

    def open(self, item: Token) -> None:
        last = self.last
        start = self.end_span.start
        if item.type == "LBRACE":
            top = not self.frames or self.frames[-1].kind == "block"
            inside = not top or self.assigned or self.attribute is not None
            if inside and self.before is not None and str(self.before) == "match":
                self.frames.append(Frame("match", start=start))
                return
            is_set = last is not None and (last.type in BEFORE_SET or not top or self.assigned)
            self.frames.append(Frame("set" if is_set else "block", start=start))
        elif item.type == "LSQB":
            self.frames.append(Frame("list", start=start))
        elif last is not None and last.type == "NAME" and (self.assigned or self.frames):
            self.frames.append(Frame("call", str(last), start))
        else:
            self.frames.append(Frame("group", start=start))

    def comma(self, frame: Frame) -> None:
        if frame.kind == "block":
            self.attribute = None
        elif frame.kind == "call":
            frame.index += 1
            frame.keyword = None

    def equal(self, frame: Frame | None) -> None:
        name = str(self.last) if self.last is not None and self.last.type == "NAME" else None
        if frame is None:
            self.assigned = True
        elif frame.kind == "block" and name is not None:
            self.attribute = name
            self.names.append(name)
        elif frame.kind == "call" and name is not None:
            frame.keyword = name
            frame.given.append(name)

    # -- the answer -------------------------------------------------------------------------------
    def place(self) -> Place:
        """What is being typed."""
        word, span = "", Span(self.offset, self.offset)
        end = self.end
        where: Where | None = None
        if end is not None and end.type == "COMMENT":
            where = "comment"
        elif end is not None and end.type in ("BAD_STRING", "BAD_QUOTES"):
            where, word = "text", str(end)[1:]
            span = Span(self.end_span.start + 1, self.offset)
        elif (
            end is not None
            and end.type in ("NAME", "HEAD", "BAD_NAME")
            and (self.end_span.end == self.offset)
        ):
            word, span = str(end), self.end_span
        elif (
            end is not None
            and end.type in ("INT", "FLOAT", "BAD_NUMBER", "STRING")
            and (self.end_span.end == self.offset)
        ):
            where = "nowhere"
        elif end is not None:
            self.read(end)
        if self.ended:
            self.end_line(self.frames[-1] if self.frames else None)
        labels = [str(token) for token in self.head[1:2] if token.type in ("NAME", "STRING")]
        return Place(
            where or self.where(), word, span,
            str(self.head[0]) if self.head else "", labels[0].strip('"') if labels else "",
            str(self.head[2]) if len(self.head) > 2 and labels == ["for"] else "",
            tuple(self.parameters), self.attribute, self.frames, self.names, self.of(),
        )  # fmt: skip

    def of(self) -> str | None:
        """The item whose attribute is being typed."""
        if self.last is None or self.last.type != "DOT" or self.before is None:
            return None
        return str(self.before).strip('"')

    def where(self) -> Where:
        frame = self.frames[-1] if self.frames else None
        if str(self.last) == "match" and (self.assigned or self.attribute is not None):
            return "subject"
        if frame is None:
            if self.assigned:
                return "value" if self.after_operator() else "nowhere"
            words = 2 if self.head and str(self.head[0]) == "defaults" else 1
            return "item" if not self.head else "label" if len(self.head) <= words else "nowhere"
        if frame.kind == "block":
            if self.attribute is None:
                begins = self.last is None or self.last.type in ("LBRACE", "COMMA", "DOT")
                return "attribute" if begins else "nowhere"
            return "value" if self.after_operator() else "nowhere"
        if frame.kind == "match" and (self.last is None or self.last.type in ("LBRACE", "COMMA")):
            return "case"
        if frame.kind == "group" and not self.assigned and len(self.frames) == 1:
            return "nowhere"  # the parameter of a family
        if frame.kind == "set":
            return "nowhere"
        if not self.after_operator():
            return "nowhere"
        first = self.last is not None and self.last.type in ("LPAR", "COMMA")
        return "keyword" if frame.kind == "call" and first else "value"

    def after_operator(self) -> bool:
        """Whether an operand is wanted here."""
        return self.last is None or self.last.type in BEFORE_SET | {"EQUAL", "DOT"}


def word_at(text: str, offset: int) -> tuple[str, Span]:
    """The word that an offset is in or at the end of."""
    start = offset
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    end = offset
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return text[start:end], Span(start, end)
