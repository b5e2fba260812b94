"""Names of relations and of vectors: in recipes, and as file names on every system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from unicodedata import combining, normalize

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.texts import tidy

SUFFIX = ".safetensors"
LONGEST = 100

#: Relations that scene graphs of photographs call otherwise than the other datasets.
RENAMED = {"to the left of": "left", "to the right of": "right"}

#: As a recipe writes a name; `L12H3` is a head.
_WORD = re.compile(r"(?!L[0-9]+H[0-9]+\Z)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FILE_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)
_SLUG = 50  # characters of a file's name before the hash of the whole name
_FORM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
#: names that Windows keeps for devices, whatever follows after a dot
DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}


def is_vector_file(path: str) -> bool:
    """Whether a path names a vector's file, not a library's folder.

    >>> is_vector_file("vectors/LEFT.SAFETENSORS"), is_vector_file("vectors/left")
    (True, False)
    """
    return path.lower().endswith(SUFFIX)


def check_name(name: str) -> str:
    """``name``, if a file may be called so on every system.

    Raises MfvError (MFV6005) otherwise, which says what a name must be.
    """
    reason = None
    if not name or len(name) > LONGEST:
        reason = f"it is {len(name)} characters long" if name else "it is empty"
    elif not _FORM.fullmatch(name) or name.endswith("."):
        reason = "it has other characters, or a dot at an end"
    elif name.split(".")[0].lower() in DEVICES:
        reason = "Windows keeps it for a device"
    if reason is None:
        return name
    excerpt = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    raise MfvError(
        "MFV6005",
        f"a vector cannot be called `{excerpt}`: {reason}",
        help=f"use up to {LONGEST} letters, digits, `_`, `-` and `.`, none of the last two first",
    )


def check_clash(name: str, others: Iterable[str]) -> None:
    """Raises MfvError (MFV6006) where one of ``others`` differs from ``name`` by capitals alone."""
    for other in others:
        if other != name and other.lower() == name.lower():
            raise MfvError(
                "MFV6006",
                f"`{name}` and `{other}` differ by capitals alone, and some systems keep one file "
                "for both",
                help="give one of them another name",
            )


def plain(text: str, empty: str = "unnamed") -> str:
    """``text`` with ``_`` for all but letters and digits, as far as a name may be long.

    >>> plain("fv(left) - fv(right)")
    'fv_left_fv_right'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:LONGEST] or empty


def checked_name(name: str) -> str:
    """``name``, a relative path with ``/`` between its parts; ValueError if it could lead out of
    the folder that it is relative to, or if a part of it begins with a full stop.

    >>> checked_name("steps/ab/abcd.safetensors")
    'steps/ab/abcd.safetensors'
    """
    parts = name.split("/")
    if any(not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        raise ValueError(f"no name of a storage: {name!r}")
    return name


# -- relations ------------------------------------------------------------------------------------
def is_plain(relation: str) -> bool:
    """Whether a recipe writes a relation without quotes.

    >>> is_plain("left"), is_plain("leaning against"), is_plain("each")
    (True, False, False)
    """
    return (
        _WORD.fullmatch(relation) is not None
        and relation not in ("each", "else")
        and len(relation) <= LONGEST
    )


def quoted_relation(relation: str) -> str:
    """A relation as a recipe writes it.

    >>> print(quoted_relation("left"), quoted_relation("leaning against"))
    left "leaning against"
    """
    if is_plain(relation):
        return relation
    escaped = relation.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def listed_relations(relations: Iterable[str], most: int = 60) -> str:
    """Relations as a recipe writes them, the first of many: some sets have thousands.

    >>> print(listed_relations(["left", "next to"]), "|", listed_relations(["a", "b", "c"], 2))
    left, "next to" | a, b, … (3 in all)
    """
    names = [quoted_relation(relation) for relation in relations]
    more = f", … ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@lru_cache(maxsize=100_000)  # of few relations, for every statement of a set
def plain_spelling(relation: str) -> str:
    """A relation with `_` for what letters and digits are not, by which a recipe may call it, too.
    Letters lose their accents; a text that has other scripts stays as it is.

    >>> plain_spelling("sitting on"), plain_spelling("à gauche"), plain_spelling("左")
    ('sitting_on', 'a_gauche', '左')
    """
    plain = "".join(filter(_is_seen, normalize("NFKD", tidy(relation))))
    if not plain.isascii() and any(c.isalnum() and not c.isascii() for c in plain):
        return tidy(relation)
    return re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_") or tidy(relation)


def _is_seen(character: str) -> bool:
    return not combining(character)


def meant_relation(text: str, relations: Collection[str]) -> str | None:
    """The one of ``relations`` that ``text`` calls: by its name, as it stands or tidied, or by its
    plain spelling, which no other may have.  None where there is none.

    >>> meant_relation("sitting_on", ["sitting on", "on"]), meant_relation("of", ["on"])
    ('sitting on', None)
    """
    if text in relations:
        return text
    for other in (tidy(text), RENAMED.get(tidy(text).lower())):
        if other in relations:
            return other
    spelled = [relation for relation in relations if plain_spelling(relation) == text]
    return spelled[0] if len(spelled) == 1 else None


def file_name(relation: str) -> str:
    """What a file about a relation is called on every system: the relation with `_` for blanks, or,
    where it has other characters or is kept for a device, what is plain of it and a hash.

    It depends on nothing but the relation.  Two that differ in `_` and a blank, or in capital
    letters, have one name on some systems, which whoever writes both looks to.

    >>> file_name("left"), file_name("leaning against"), file_name("CON"), file_name("左边")
    ('left', 'leaning_against', 'CON-a3dbc4b6', 'r-6a0ef384')
    """
    words = relation.replace(" ", "_")
    fits = _FILE_WORD.fullmatch(words) is not None and words.lower() not in DEVICES
    if fits and (len(words) <= _SLUG or (is_plain(relation) and len(words) <= LONGEST)):
        return words
    return f"{plain(plain_spelling(relation), 'r')[:_SLUG]}-{_hash(relation)}"


def fitting(name: str) -> str:
    """``name``, shortened where it is longer than a vector's may be, with a hash of all of it."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}-{_hash(name)}"


def file_names(relations: Iterable[str]) -> dict[str, str]:
    """The files' names of relations that are written side by side: those that would have one name
    on some system have a hash, too.

    >>> file_names(["on", "On", "left"])["left"], len(set(file_names(["on", "On"]).values()))
    ('left', 2)
    """
    named = {relation: file_name(relation) for relation in relations}
    count: dict[str, int] = {}
    for name in named.values():
        count[name.lower()] = count.get(name.lower(), 0) + 1
    return {
        relation: name if count[name.lower()] == 1 else f"{name}-{_hash(relation)}"
        for relation, name in named.items()
    }


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
