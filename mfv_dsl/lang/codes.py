"""Every error code of the language and its page, for ``mfv explain CODE``.

Ranges: MFV1xxx syntax, MFV2xxx names, MFV3xxx types and units, MFV4xxx values out of range,
MFV5xxx plan and run, MFV6xxx vectors and files, MFV7xxx models and data.

A new error takes two things: the place that raises or reports it, with its code as a literal
(``MfvError("MFVnnnn", …)``, ``scope.error("MFVnnnn", …)``), and its page, ``pages/MFVnnnn.md``.
The names of these files are the only list of codes.  A page is a heading (the title), the text,
and, for what a recipe can show, a recipe that has this error alone and the same recipe put right::

    # a bracket is never closed

    The marked bracket has no partner before the next statement begins.

    ```mfv wrong
    vector steer = fv(left
    ```

    ```mfv right
    vector steer = fv(left)
    ```

Examples go on from a version, a model ``flamingo`` and a dataset ``shapes`` that the tests put
before them; one that begins with its own version is marked ``mfv wrong whole``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from mfv_dsl.base.suggest import suggest

_PAGES = resources.files("mfv_dsl.lang").joinpath("pages")
_EXAMPLE = re.compile(r"^```mfv (wrong|right)( whole)?\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """One code's page.

    ``wrong`` and ``right`` are examples as they are written, ``""`` where no recipe can show the
    error or its absence.  ``whole`` says that they are whole recipes.
    """

    title: str
    text: str
    wrong: str = ""
    right: str = ""
    whole: bool = False


@cache
def all_codes() -> tuple[str, ...]:
    """Every code that has a page, in order; no page is read for it."""
    names = (file.name for file in _PAGES.iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def page_file(code: str) -> Path | None:
    """The file of a code's page, None for a code without one."""
    return Path(str(_PAGES.joinpath(f"{code}.md"))) if code in all_codes() else None


def page(code: str) -> Page:
    """The page of a code, read from its file.

    Raises KeyError for a code without one, with the nearest code, or None, as its argument.
    """
    if code not in all_codes():
        raise KeyError(suggest(code, all_codes()))
    markdown = _PAGES.joinpath(f"{code}.md").read_text(encoding="utf-8")
    heading, _, body = markdown.partition("\n")
    examples = _EXAMPLE.findall(body)
    recipes = {word: recipe for word, _, recipe in examples}
    return Page(
        title=heading.removeprefix("# "),
        text=_EXAMPLE.sub("", body).strip(),
        wrong=recipes.get("wrong", ""),
        right=recipes.get("right", ""),
        whole=any(mark for _, mark, _ in examples),
    )


def explain(code: str) -> str:
    """The page of a code as text for a terminal, its examples indented.

    Raises KeyError as :func:`page` does.

    >>> print(explain("MFV1003"), end="")
    MFV1003: a closing bracket without its opening one
    <BLANKLINE>
    Either no bracket is open at the marked place, or the one that is open is of another kind.
    <BLANKLINE>
    Wrong:
    <BLANKLINE>
        eval few { on = [left, right) }
    <BLANKLINE>
    Right:
    <BLANKLINE>
        eval few { on = [left, right] }
    """
    described = page(code)
    parts = [f"{code}: {described.title}", described.text]
    for word, example in (("Wrong", described.wrong), ("Right", described.right)):
        if example:
            lines = example.rstrip("\n").split("\n")
            indented = "\n".join(f"    {line}".rstrip() for line in lines)
            parts.append(f"{word}:\n\n{indented}")
    return "\n\n".join(parts) + "\n"
