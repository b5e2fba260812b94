"""The words of the language by what a highlighter makes of them, from the registry."""

from __future__ import annotations

from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM, all_entries

ITEMS = tuple(sorted(ITEM))
CONSTRUCTORS = tuple(sorted({name for entries in CONSTRUCTOR.values() for name in entries}))
FUNCTIONS = tuple(sorted(FUNCTION))
#: Words that stand for values, wherever they may stand.
VALUES = tuple(
    sorted(
        {choice for entry in all_entries() for p in entry.parameters for choice in p.choices}
        | {"each", *CONSTANTS}
    )
)
