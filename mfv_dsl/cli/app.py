"""The Typer application: its commands come from one module per group."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfv_dsl.cli import analyses, data, direct, installation, language, runs, store, tables, vectors

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


for module in (runs, tables, language, direct, analyses, installation):
    for command in module.COMMANDS:
        app.command()(command)
app.command("eval")(direct.eval_)
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="cache")
app.add_typer(vectors.app, name="vectors")
