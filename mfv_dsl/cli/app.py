"""The Typer application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="mfv",
    help="A language for experiments with multimodal function vectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a bundled one.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. [default: runs/<recipe name>]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to run: cpu, cuda, cuda:1, … [default: cpu]")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a recipe and print its table of results."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.cli.output import progress_bars

    loaded = Recipe.from_file(recipe)
    with progress_bars(quiet) as listener:
        result = loaded.run(out, listener, device)
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
        return
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.report.tables import results_table

    print_table(results_table(result.rows))
    for path in result.saved:
        typer.echo(f"saved {path}", err=True)
    typer.echo(f"results in {result.folder} ({result.seconds:.0f} s)", err=True)


@app.command()
def check(
    recipes: Annotated[list[str], typer.Argument(help="Recipe files.")],
    as_json: JsonFlag = False,
) -> None:
    """Check recipes without loading a model."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.cli.output import show_diagnostics
    from mfv_dsl.lang.diagnostics import MfvError, to_json

    found = []
    for recipe in recipes:
        try:
            Recipe.from_file(recipe)
        except MfvError as error:
            found += error.diagnostics
        else:
            if not as_json:
                typer.echo(f"{recipe}: ok")
    if as_json:
        typer.echo(json.dumps([to_json(diagnostic) for diagnostic in found], indent=2))
    elif found:
        show_diagnostics(tuple(found))
    raise typer.Exit(1 if any(diagnostic.severity == "error" for diagnostic in found) else 0)


@app.command()
def models(as_json: JsonFlag = False) -> None:
    """List the models that recipes can name."""
    from mfv_dsl.backends.catalogue import catalogue

    known = catalogue()
    if as_json:
        typer.echo(json.dumps([vars(row) for row in known], indent=2))
        return
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.report.tables import models_table

    print_table(models_table(known))


@app.command()
def version() -> None:
    """Print the version."""
    from mfv_dsl.version import __version__

    typer.echo(f"mfv-dsl {__version__}")
