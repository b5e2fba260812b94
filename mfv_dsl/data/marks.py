"""Names that would be read as something else than names."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.texts import tidy

#: What models write for pictures, ends of texts, turns and padding: <image>, <|endofchunk|>, </s>;
#: of some families in square brackets, [IMG] and [/INST].
_MARK = re.compile(
    r"<[^<>\s]+>|<[|｜][^<>]*[|｜]>|\[/?(?:IMG|IMG_BREAK|IMG_END|INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|"
    r"TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|PREFIX|MIDDLE|SUFFIX|THINK|CLS|SEP|PAD|UNK|MASK|BOS|EOS)\]"
)

#: Letters of Hangul that fill a place and are not seen.
_FILLERS = dict.fromkeys((0x115F, 0x1160))


def is_blank(name: str) -> bool:
    """Whether nothing of ``name`` is seen: blanks, or characters without a shape.

    >>> is_blank(" \\u200b"), is_blank("cup")
    (True, False)
    """
    if name.isascii() and name.isprintable():
        return not name.strip()
    seen = tidy(name).translate(_FILLERS)
    return not any(unicodedata.category(character)[0] in "LNPS" for character in seen)


def mark_in(name: str, marks: Collection[str] = ()) -> str | None:
    """A mark in ``name``, one of ``marks`` or what looks like one of some model's, else None.

    >>> mark_in("cup<|endofchunk|>"), mark_in("[IMG]", ["[IMG]"]), mark_in("a <3 b")
    ('<|endofchunk|>', '[IMG]', None)
    """
    for mark in marks:
        if mark in name:
            return mark
    found = _MARK.search(name)
    return None if found is None else found[0]


def check_name(name: str, marks: Collection[str] = (), where: str = "") -> None:
    """Refuse (MFV7124) a name that is blank, or that holds one of a model's own ``marks``."""
    before = f"{where}: " if where else ""
    if is_blank(name):
        raise MfvError("MFV7124", f"{before}a name is blank", help="give it a name")
    mark = mark_in(name, marks)
    if mark is not None:
        raise MfvError(
            "MFV7124", f"{before}the name `{name}` holds `{mark}`, a mark of the model's own",
            help="the model would read it as a picture or the end of a text; take it out of the "
            "name",
        )  # fmt: skip


def differing_by_case(
    names: Iterable[str], key: Callable[[str], str] = str.casefold
) -> list[list[str]]:
    """Groups of ``names`` that differ in capital letters alone, or whose ``key`` is the same.

    >>> differing_by_case(["Cup", "cup", "lamp"])
    [['Cup', 'cup']]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]
