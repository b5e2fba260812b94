"""Which tokens hold which part of a text.

A tokenizer's own offsets are those of the text that it got, in which a processor has put many marks
for each picture.  So tokens are compared with the end of the text by what they say, blanks aside:
not every tokenizer gives these back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def behind_pictures(texts: Sequence[str], mark: str) -> tuple[str, ...]:
    """What stands in each of ``texts`` behind its last ``mark``; all of one without.

    >>> behind_pictures(["<image>Q:cup. A:", "a cup"], "<image>")
    ('Q:cup. A:', 'a cup')
    """
    return tuple(text.rpartition(mark)[2] for text in texts)


def tokens_of(
    surface: Callable[[Sequence[int]], str],
    tokens: Sequence[int],
    text: str,
    start: int,
    end: int,
) -> range | None:
    """The places in ``tokens`` of those that hold some of ``text[start:end]``, and of all between.

    ``tokens`` end where ``text`` ends, and may begin before; ``surface`` gives the text of some.
    None where what they say does not end in ``text``, so that it is not known which hold what.

    >>> said = {1: "Q:", 2: "cup", 3: ".", 4: "A:"}
    >>> tokens_of(lambda few: " ".join(said[t] for t in few), [1, 2, 3, 4], "Q:cup. A:", 2, 5)
    range(1, 2)
    """
    whole, wanted = squeezed(surface(tokens)), squeezed(text)
    if not wanted or not whole.endswith(wanted):
        return None
    before = len(whole) - len(wanted)
    first = before + len(squeezed(text[:start]))
    last = before + len(squeezed(text[:end]))
    said = [squeezed(surface(tokens[: number + 1])) for number in range(len(tokens))]
    ends = [_alike(part, whole) for part in said]
    places, begin = [], 0
    for place, end_here in enumerate(ends):
        reached = end_here
        if end_here <= begin and len(said[place]) > end_here:  # a part of a character
            reached = next((later for later in ends[place:] if later > begin), begin)
        if reached > begin and begin < last and reached > first:
            places.append(place)
        begin = max(begin, end_here)
    return range(places[0], places[-1] + 1) if places else None


def ends_of_tokens(
    surface: Callable[[Sequence[int]], str], tokens: Sequence[int]
) -> tuple[str, list[int]]:
    """What ``tokens`` say, without blanks, and how many characters of it there are up to the end of
    each token.

    >>> ends_of_tokens(lambda few: " ".join(["Q:", "cup", "."][t] for t in few), [0, 1, 2])
    ('Q:cup.', [2, 5, 6])
    """
    whole = squeezed(surface(tokens))
    said = [squeezed(surface(tokens[: number + 1])) for number in range(len(tokens))]
    return whole, [_alike(part, whole) for part in said]


def squeezed(text: str) -> str:
    """A text without blanks."""
    return "".join(text.split())


def _alike(text: str, other: str) -> int:
    """How many characters two texts have in common from the beginning."""
    length = min(len(text), len(other))
    return next((n for n in range(length) if text[n] != other[n]), length)
