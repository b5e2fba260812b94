"""The Typer application: its commands come from one module per group."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

from mfv_dsl.cli import (
    analyses,
    data,
    direct,
    installation,
    language,
    reports,
    runs,
    serving,
    store,
    tables,
    vectors,
)

app = typer.Typer(
    name="mfv",
    help="A language for experiments with multimodal function vectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # which would take `[default: …]` for markup and leave it out
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        installation.version()
        raise typer.Exit


@app.callback()
def mfv(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A language for experiments with multimodal function vectors."""


@app.command("help")
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


for module in (runs, tables, reports, language, direct, analyses, serving, installation):
    for command in module.COMMANDS:
        app.command()(command)
app.command("eval")(direct.eval_)
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="cache")
app.add_typer(vectors.app, name="vectors")


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command alone that ``arguments`` begin with: building the others
    takes as long as a check.  All of them where that is none, or is about them."""
    asked = next(iter(arguments), "")
    commands = [c for c in app.registered_commands if _name(c) == asked]
    groups = [group for group in app.registered_groups if group.name == asked]
    if asked == "help" or not (commands or groups):
        return app
    narrow = copy(app)
    narrow.registered_commands, narrow.registered_groups = commands, groups
    return narrow


def _name(command: CommandInfo) -> str:
    assert command.callback is not None
    return command.name or get_command_name(command.callback.__name__)
