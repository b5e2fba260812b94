"""The Typer application: its commands come from one module per group.

``app`` is the whole of it, built when it is first asked for; :func:`app_for` has one command, and
loads the modules of others only on the way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command_name

#: the modules whose ``COMMANDS`` these are, in the order of the help
_MODULES = (
    "runs", "sweeps", "tables", "figures", "reports", "language", "direct", "analyses",
    "mechanisms", "attention", "serving", "installation",
)  # fmt: skip
#: the modules of the groups of commands
_GROUPS = {"data": "data", "cache": "store", "vectors": "vectors"}
#: where a command is looked for first
_ASKED_MOST = ("language", "runs")


def _version(wanted: bool) -> None:
    if wanted:
        _module("installation").version()
        raise typer.Exit


def mfv(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A language for experiments with multimodal function vectors."""


def help_(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(help="A command, such as run, or vectors push.")
    ] = None,
) -> None:
    """Show the help of a command."""
    assert context.parent is not None
    at: Any = context.parent
    for name in command or ():
        found = at.command.get_command(at, name) if hasattr(at.command, "get_command") else None
        if found is None:
            raise typer.BadParameter(f"there is no command `{' '.join(command or ())}`")
        at = type(at)(found, info_name=name, parent=at)
    typer.echo(at.get_help())


def _empty() -> typer.Typer:
    """The application without a command."""
    made = typer.Typer(
        name="mfv",
        help="A language for experiments with multimodal function vectors.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # which would take `[default: …]` for markup and leave it out
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(mfv)
    return made


@cache
def _whole() -> typer.Typer:
    made = _empty()
    made.command("help")(help_)
    for module in _MODULES:
        for command in _module(module).COMMANDS:
            made.command(_name(command))(command)
    for group, module in _GROUPS.items():
        made.add_typer(_module(module).app, name=group)
    return made


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command alone that ``arguments`` begin with: loading and building
    the others takes as long as a check.  All of them where that is none, or is about them."""
    asked = next(iter(arguments), "")
    made = _empty()
    if asked in _GROUPS:
        made.add_typer(_module(_GROUPS[asked]).app, name=asked)
        return made
    for module in dict.fromkeys((*_ASKED_MOST, *_MODULES) if asked else ()):
        for command in _module(module).COMMANDS:
            if _name(command) == asked:
                made.command(asked)(command)
                return made
    return _whole()


def _module(name: str) -> Any:
    return import_module(f"mfv_dsl.cli.{name}")


def _name(command: Callable[..., Any]) -> str:
    """What a command is called: a function may end in ``_`` where Python has its name already."""
    return get_command_name(command.__name__.rstrip("_"))


def __getattr__(name: str) -> Any:
    if name == "app":
        return _whole()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
