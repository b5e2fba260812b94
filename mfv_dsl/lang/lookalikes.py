"""Characters that look like ASCII ones, and which."""

from __future__ import annotations

import unicodedata

_ALIKE = {
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2018": "'", "\u2019": "'", "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-",
    "\u2014": "-", "\u2212": "-", "\u00d7": "*", "\u2217": "*", "\u22c5": "*", "\u00b7": "*",
    "\u00f7": "/", "\u2215": "/", "\u2044": "/", "\u2223": "|", "\u222a": "|", "\u2229": "&",
    "\u2216": "-", "\u2236": ":", "\ua789": ":", "\u037e": ";", "\u201a": ",", "\u3001": ",",
    "\u2026": "..", "\u2025": "..", "\u3010": "[", "\u3011": "]", "\u27e8": "(", "\u27e9": ")",
    # Cyrillic and Greek letters drawn as Latin ones
    "\u0430": "a", "\u0435": "e", "\u043e": "o", "\u0440": "p", "\u0441": "c", "\u0443": "y",
    "\u0445": "x", "\u0456": "i", "\u0458": "j", "\u0455": "s", "\u0501": "d", "\u04bb": "h",
    "\u051b": "q", "\u051d": "w", "\u0410": "A", "\u0412": "B", "\u0415": "E", "\u041a": "K",
    "\u041c": "M", "\u041d": "H", "\u041e": "O", "\u0420": "P", "\u0421": "C", "\u0422": "T",
    "\u0425": "X", "\u0406": "I", "\u0408": "J", "\u0405": "S", "\u0391": "A", "\u0392": "B",
    "\u0395": "E", "\u0397": "H", "\u0399": "I", "\u039a": "K", "\u039c": "M", "\u039d": "N",
    "\u039f": "O", "\u03a1": "P", "\u03a4": "T", "\u03a5": "Y", "\u03a7": "X", "\u0396": "Z",
    "\u03bf": "o", "\u03bd": "v", "\u03b1": "a", "\u03c1": "p", "\u0131": "i", "\u0261": "g",
}  # fmt: skip


def ascii_for(character: str) -> str | None:
    """The ASCII text that was probably meant: ``" "`` for odd blanks, None if nothing is alike.

    >>> ascii_for("×"), ascii_for("…"), ascii_for("猫")
    ('*', '..', None)
    """
    if character in _ALIKE:
        return _ALIKE[character]
    if character.isspace() or unicodedata.category(character) == "Zs":
        return " "
    folded = unicodedata.normalize("NFKC", character)
    return folded if folded.isascii() and folded.isprintable() and folded else None


def described(character: str) -> str:
    """`×` (U+00D7 MULTIPLICATION SIGN), or the code point alone where it cannot be shown."""
    name = unicodedata.name(character, "")
    point = f"U+{ord(character):04X}" + (f" {name}" if name else "")
    return f"`{character}` ({point})" if character.isprintable() else point
