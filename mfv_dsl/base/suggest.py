"""The name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload


def distance(a: str, b: str, limit: int = 2) -> int:
    """The number of inserts, deletes, replacements and swaps of neighbours from ``a`` to ``b``, or
    ``limit + 1`` where it is above ``limit``.

    This is the restricted Damerau-Levenshtein distance (optimal string alignment).

    >>> distance("lfet", "left"), distance("left", "above")
    (1, 3)
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        for j, y in enumerate(b, 1):
            cost = min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return limit + 1
        before, previous = previous, current
    return min(previous[-1], limit + 1)


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """The nearest candidate within two edits (one for words of up to three letters), or None.

    A difference of case alone counts for one edit; of equally near candidates the first is taken,
    and the word itself is never suggested.

    >>> suggest("lfet", ["left", "right"])
    'left'
    """
    limit = 1 if len(word) <= 3 else 2
    best, nearest = None, limit + 1
    for candidate in candidates:
        if candidate == word:
            continue
        edits = distance(word, candidate, limit)
        if word.lower() == candidate.lower():
            edits = 1
        if edits < nearest:
            best, nearest = candidate, edits
    return best


@overload
def did_you_mean(word: str, candidates: Iterable[str], otherwise: str) -> str: ...


@overload
def did_you_mean(
    word: str, candidates: Iterable[str], otherwise: str | None = None
) -> str | None: ...


def did_you_mean(word: str, candidates: Iterable[str], otherwise: str | None = None) -> str | None:
    """The question after the name that was probably meant, as an error's help; ``otherwise`` where
    there is none.

    >>> did_you_mean("lfet", ["left", "right"], "there are: left, right")
    'did you mean `left`?'
    >>> did_you_mean("above", ["left", "right"], "there are: left, right")
    'there are: left, right'
    """
    near = suggest(word, candidates)
    return f"did you mean `{near}`?" if near else otherwise
