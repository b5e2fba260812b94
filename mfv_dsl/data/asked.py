"""Prompts that ask the questions with options of items, with demonstrations in the same form.

Three forms, each a question as a whole text and what comes behind it:

* by letter: the options, each behind its letter on a line of its own, and :data:`BY_LETTER`;
* by text: nothing, the options being continuations;
* yes or no: :data:`YES_NO`.

``by_letter(prompt, turn)`` begins the list with the option ``turn``, so that in as many prompts as
there are options each option has stood behind each letter once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.choices import LETTERS, Choice
from mfv_dsl.data.items import Item, Prompt

#: What stands behind the options.  Source: LLaVA's evaluation of multiple choice (Liu et al.,
#: arXiv:2310.03744), which lmms-eval took over.
BY_LETTER = "Answer with the option's letter from the given choices directly."
#: What stands behind a question of yes or no.  Source: VLMEvalKit's prompt of such sets.
YES_NO = "Please answer yes or no."


def by_letter(prompt: Prompt, turn: int) -> Prompt:
    """The prompt that asks for a letter, the options of all its items turned by ``turn``.

    >>> item = Item("1.png", "cup", "lamp", "left", choice=Choice(("fork", "lamp"), 1))
    >>> print(by_letter(Prompt((), item), 1).query.query)
    cup
    A. lamp
    B. fork
    Answer with the option's letter from the given choices directly.
    """
    return _asked(prompt, lambda item: _lettered(item, turn))


def by_text(prompt: Prompt) -> Prompt:
    """The prompt behind which options stand as they are; a query that is no question is asked in
    the words of the model's template."""
    if not choice_of_item(prompt.query).question:
        return replace(prompt, demonstrations=tuple(map(_named, prompt.demonstrations)),
                       query=_named(prompt.query))  # fmt: skip
    return _asked(prompt, lambda item: (question_of(item), choice_of_item(item).answer))


def yes_or_no(prompt: Prompt) -> Prompt:
    """The prompt that asks for yes or no."""
    return _asked(
        prompt,
        lambda item: (f"{question_of(item)}\n{YES_NO}", choice_of_item(item).answer.lower()),
    )


def question_of(item: Item) -> str:
    """What the question of an item asks."""
    return choice_of_item(item).question or item.query


def choice_of_item(item: Item) -> Choice:
    """The choice of an item.  Raises MfvError (MFV5710) for one without."""
    if item.choice is None:
        raise MfvError(
            "MFV5710", f"the item {item.place or item.image} has no options to choose from",
            help="`answer = first` asks for the object itself",
        )  # fmt: skip
    return item.choice


def _named(item: Item) -> Item:
    return Item(item.image, item.query, choice_of_item(item).answer, item.relation)


def _lettered(item: Item, turn: int) -> tuple[str, str]:
    choice = choice_of_item(item)
    order = turned(len(choice.options), turn)
    lines = [f"{LETTERS[place]}. {choice.options[n]}" for place, n in enumerate(order)]
    text = "\n".join([question_of(item), *lines, BY_LETTER])
    return text, LETTERS[order.index(choice.right)]


def turned(n: int, turn: int) -> list[int]:
    """The numbers of ``n`` options in their order, from ``turn`` on.

    >>> turned(3, 1), turned(2, 3)
    ([1, 2, 0], [1, 0])
    """
    return [(place + turn) % n for place in range(n)]


def _asked(prompt: Prompt, ask: Callable[[Item], tuple[str, str]]) -> Prompt:
    """The prompt with whole texts in place of queries; ``ask`` gives that of an item, and the
    answer to it."""

    def asked(item: Item) -> Item:
        query, answer = ask(item)
        return Item(item.image, query, answer, item.relation, place=item.place)

    return Prompt(tuple(map(asked, prompt.demonstrations)), asked(prompt.query), whole=True)
