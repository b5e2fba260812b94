"""Questions with options, of which one is right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.texts import excerpt, tidy
from mfv_dsl.data.json_values import BadValue, cell_shown
from mfv_dsl.data.marks import is_blank, mark_in

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Characters of an option or of a question at most; a longer one is a broken file.
LONGEST_TEXT = 20_000
_LETTER = re.compile(r"\(?(?P<letter>[A-Za-z])\)?[.:]?")


class BadChoice(BadValue):
    """Options that are no choice."""

    code, trouble = "MFV7160", "cannot be asked"


@dataclass(frozen=True)
class Choice:
    """A question with ``options``, of which the one with the number ``right`` is right.  Without a
    ``question`` the item's own query is what is asked."""

    options: tuple[str, ...]
    right: int
    question: str = ""

    @property
    def answer(self) -> str:
        """The right option."""
        return self.options[self.right]

    @property
    def is_yes_no(self) -> bool:
        """Whether the options are yes and no."""
        return is_yes_no(self.options)


def is_yes_no(options: Sequence[str]) -> bool:
    """Whether options are yes and no, in either order.

    >>> is_yes_no(["No", "yes"]), is_yes_no(["true", "false"])
    (True, False)
    """
    return sorted(option.casefold() for option in options) == ["no", "yes"]


def yes_or_no(question: str, holds: bool) -> Choice:
    """A question that is answered with yes where what it asks ``holds``, else with no."""
    return Choice(("yes", "no"), 0 if holds else 1, question)


def choice_of(options: Sequence[Any], right: int, question: str = "") -> Choice:
    """The choice between options; numbers are written as texts.

    Raises BadChoice for fewer than two options or more than letters, for one that is blank, endless
    or a model's mark, for two that are the same, and where there is no option ``right``.

    >>> choice_of(["left ", "right"], 1).answer
    'right'
    """
    texts = tuple(map(_text, options))
    if len(texts) < 2:
        raise BadChoice(f"a question has {len(texts) or 'no'} option{'s' * (not texts)}")
    if len(texts) > len(LETTERS):
        raise BadChoice(f"a question has {len(texts)} options, more than there are letters")
    twice = [text for text, count in Counter(texts).items() if count > 1]
    if twice:
        raise BadChoice(f"two options are the same: {excerpt(twice[0], 60)}")
    if not 0 <= right < len(texts):
        raise BadChoice(f"there is no option {right}: there are {len(texts)}, counted from 0")
    _check_text(question, "the question", may_be_empty=True)
    for text in texts:
        _check_text(text, "an option")
    return Choice(texts, right, tidy_lines(question))


def _text(option: Any) -> str:
    if isinstance(option, bool) or not isinstance(option, str | int | float):
        raise BadChoice(f"an option is {cell_shown(option)}, not a text")
    return tidy(str(option))


def _check_text(text: str, what: str, may_be_empty: bool = False) -> None:
    if is_blank(text) and not (may_be_empty and not text):
        raise BadChoice(f"{what} is blank")
    if len(text) > LONGEST_TEXT:
        raise BadChoice(f"{what} has {len(text):,} characters")
    if (mark := mark_in(text)) is not None:
        raise BadChoice(f"{what} holds `{mark}`, which models read as a mark")


def tidy_lines(text: str) -> str:
    """A text of several lines, each tidy, without empty ones at its ends.

    >>> tidy_lines(" Where  is it?\\n A. here ")
    'Where is it?\\nA. here'
    """
    return "\n".join(map(tidy, text.splitlines())).strip("\n")


def right_of(answer: Any, options: Sequence[Any]) -> int:
    """Which of the options an answer is: its number from 0, or as a text the option itself, else
    its letter (``B``, ``(B)``, ``B.``), else its number.

    Raises BadChoice where it is none of them, and for a number that is another option as a text.

    >>> right_of("(B)", ["cup", "lamp"]), right_of("cup", ["cup", "lamp"]), right_of(1, ["0", "2"])
    (1, 0, 1)
    """
    texts = [_text(option) for option in options]
    if isinstance(answer, float) and answer.is_integer():  # as data frames hold whole numbers
        answer = int(answer)
    if isinstance(answer, int) and not isinstance(answer, bool):
        if str(answer) in texts and texts.index(str(answer)) != answer:
            raise BadChoice(
                f"the answer {answer} may be the option with this number or the option `{answer}`: "
                "write it as text, or its letter"
            )
        if 0 <= answer < len(texts):
            return answer
    if isinstance(answer, str):
        text = tidy(answer)
        if text in texts:
            return texts.index(text)
        letter = _LETTER.fullmatch(text)
        place = LETTERS.index(letter["letter"].upper()) if letter else len(texts)
        if text.isascii() and text.isdigit():
            place = int(text[:4])
        if place < len(texts):
            return place
    raise BadChoice(
        f"the answer {cell_shown(answer)} is none of the {len(texts)} options, and no letter or "
        "number of one"
    )


def answered(
    record: Mapping[str, Any], answer: str, options: str | None
) -> tuple[str, Choice | None]:
    """The answer of a record under the key ``answer``, and the choice between the options under
    ``options``, of which it is the right one, as :func:`right_of` reads it.

    Raises BadValue where the answer is no text and there are no ``options``, BadChoice for options
    that are no choice.

    >>> answered({"a": "B", "o": ["cup", "lamp"]}, "a", "o")[0]
    'lamp'
    """
    value = record[answer]
    if options is None:
        if not isinstance(value, str):
            raise BadValue(f"`{answer}` is {cell_shown(value)}, not a text")
        return tidy(value), None
    listed = record[options]
    if not isinstance(listed, list | tuple):
        raise BadChoice(f"`{options}` is {cell_shown(listed)}, not a list of texts")
    choice = choice_of(listed, right_of(value, listed))
    return choice.answer, choice
