"""What stands behind ``%%mfv``: a name, and options that are those of ``mfv run``.

A value ``$name`` is the value of that name in the notebook: ``--set raw.layer=$layers``,
``--model $flamingo``.
"""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.suggest import suggest
from mfv_dsl.given import options_of

_BY_NAME = re.compile(r"([A-Za-z_]\w*)=(?!=)(.+)", re.DOTALL)
_CHANGE = re.compile(r"([^=]+)=\$([A-Za-z_]\w*)")


@dataclass(frozen=True)
class CellOptions:
    """How a cell is run.

    Attributes:
        name: What the result is called in the notebook; None: it is the cell's output alone.
        overrides: ``NAME.ATTRIBUTE=VALUE`` each.
        models: In place of the recipe's own: text or an object; None, or several by name.
        datasets: Likewise.
        ask: ``run``, or what is asked for instead: ``check`` or ``plan``.
    """

    name: str | None = None
    profile: str | None = None
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    out: str | None = None
    models: Any = None
    datasets: Any = None
    device: str | None = None
    download: bool = False
    fresh: bool = False
    quiet: bool = False
    ask: str = "run"


def read_options(line: str, values: Mapping[str, Any]) -> CellOptions:
    """The options of a cell's first line; ``values`` are the notebook's.

    Raises ArgumentError (MFV5119) for an option that there is not, a name that no value can have,
    and a ``$name`` that the notebook does not have.

    >>> read_options("steer --set raw.layer=$layers --only raw", {"layers": [1, 2]}).overrides
    ('raw.layer=[1, 2]',)
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ArgumentError(f"this line cannot be read: {error}", "close the quotes") from None
    given = parser().parse_args(words)
    if given.name is not None and (not given.name.isidentifier() or keyword.iskeyword(given.name)):
        raise ArgumentError(
            f"the result cannot be called {given.name!r}: that is no name in Python",
            "the first word behind %%mfv is the result's name, such as `result`",
        )
    if given.check and given.plan:
        raise ArgumentError("--check and --plan are given together", "give one of them")
    return CellOptions(
        given.name, given.profile, _overrides(given.set, values),
        None if given.only is None else tuple(given.only), given.out,
        _objects("model", given.model, values), _objects("dataset", given.dataset, values),
        given.device, given.download, given.fresh, given.quiet,
        "check" if given.check else "plan" if given.plan else "run",
    )  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Says what is wrong by an error of ours."""

    def error(self, message: str) -> NoReturn:
        unknown = re.fullmatch(r"unrecognized arguments: (\S+).*", message)
        known = [name for action in self._actions for name in action.option_strings]
        near = suggest(unknown[1], known) if unknown else None
        help = f"did you mean `{near}`?" if near else self.format_usage().strip()
        raise ArgumentError(f"%%mfv: {message}", help)


@cache
def parser() -> argparse.ArgumentParser:
    """The parser of a cell's first line."""
    found = _Parser(
        prog="%%mfv", add_help=False, allow_abbrev=False,
        description="Check and run the recipe in this cell, and show its result.",
        epilog="A value $name is the notebook's value of that name.\n"
        "%mfv reference WORD and %mfv explain CODE look things up.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    found.add_argument("name", nargs="?", metavar="NAME", help="what the result is called here")
    add = found.add_argument
    add("--profile", metavar="P", help="one of the recipe's profiles")
    add("--set", action="append", default=[], metavar="NAME.ATTRIBUTE=VALUE",
        help="in place of what the recipe says; may be given again")  # fmt: skip
    add("--only", action="append", metavar="NAME",
        help="run this tune or eval, or save of this folder; may be given again")  # fmt: skip
    add("--model", action="append", default=[], metavar="[NAME=]MODEL",
        help="in place of the recipe's model: as in a recipe, or $value")  # fmt: skip
    add("--dataset", action="append", default=[], metavar="[NAME=]DATASET",
        help="in place of the recipe's dataset, likewise")  # fmt: skip
    add("--out", metavar="FOLDER", help="the folder of results; runs/NAME if left out")
    add("--device", metavar="DEVICE", help="where models run")
    add("--download", action="store_true", help="fetch files of models that are missing")
    add("--fresh", action="store_true", help="run every step, also those in the store")
    add("--check", action="store_true", help="check the recipe and run nothing")
    add("--plan", action="store_true", help="show the plan and run nothing")
    add("--quiet", action="store_true", help="show neither progress nor the result")
    return found


def _overrides(texts: Sequence[str], values: Mapping[str, Any]) -> tuple[str, ...]:
    changes: list[str] = []
    for text in texts:
        found = _CHANGE.fullmatch(text)
        changes += options_of({found[1]: _value(found[2], values)}) if found else (text,)
    return tuple(changes)


def _objects(kind: str, texts: Sequence[str], values: Mapping[str, Any]) -> Any:
    """What is given for the recipe's models or datasets: nothing, one, or several by name."""
    named: dict[str, Any] = {}
    for text in texts:
        found = _BY_NAME.fullmatch(text)
        name, said = (found[1], found[2]) if found else ("", text)
        if name in named or ("" in (*named, name) and named):
            raise ArgumentError(
                f"--{kind} is given twice, and which is meant is not said",
                f"give each by its name in the recipe: --{kind} NAME=VALUE",
            )
        named[name] = _value(said[1:], values) if said.startswith("$") else said
    return named.get("", named or None)


def _value(name: str, values: Mapping[str, Any]) -> Any:
    """A value of the notebook."""
    if name in values:
        return values[name]
    near = suggest(name, [known for known in values if not known.startswith("_")])
    raise ArgumentError(
        f"the notebook has no value `{name}`", f"did you mean `${near}`?" if near else None
    )
