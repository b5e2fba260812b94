"""Commands that plan and run recipes, and what they need to know of the installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfv_dsl.cli.options import JsonFlag, RecipeArgument, SetOptions

if TYPE_CHECKING:
    from mfv_dsl.execute.run import RunResult


def run(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. [default: runs/<recipe name>]")
    ] = None,
    sets: SetOptions = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only this tune or eval, or the save of this folder; may be repeated."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to run: cpu, cuda, cuda:1, mps, balanced (all GPUs). "
            "[default: what the recipe says, for tiny the cpu]"
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch files of models that are missing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run every step, also those in the store.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and run nothing.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Leave trace.txt: what was read and written where."),
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Load no vector but those that mfv.lock pins."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a recipe and print its table of results."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.cli.output import progress_bars, show_diagnostics

    loaded = Recipe.from_file(recipe, sets or ())
    show_diagnostics(loaded.check())
    show_diagnostics(loaded.plan(only).warnings)
    if dry_run:
        _show_plan(loaded, only, as_json)
        return
    with progress_bars(quiet) as listener:
        result = loaded.run(
            out, listener, device=device, fresh=fresh, only=only, trace=trace,
            download=download, locked=locked,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        show_result(result)


def show_result(result: RunResult) -> None:
    """Tables of results on stdout; what was written where on stderr."""
    from mfv_dsl.cli.output import print_notes, print_table
    from mfv_dsl.report.probing import weights_table
    from mfv_dsl.report.tables import confusion_table, results_table, tuning_table

    if result.rows:
        metrics = result.plan.metrics
        print_table(results_table(result.rows, metrics))
        if (table := confusion_table(result.rows, metrics)) is not None:
            print_table(table)
        print_notes(result.notes)
    if result.weights:
        print_table(weights_table(result.weights))
    if result.tunes:
        print_table(tuning_table(result.tunes))
    for path in result.saved:
        typer.echo(f"saved {path}", err=True)
    reused = f", {result.cached} steps from the store" if result.cached else ""
    typer.echo(f"results in {result.folder} ({result.seconds:.0f} s{reused})", err=True)


def plan(
    recipe: RecipeArgument,
    sets: SetOptions = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Plan only this tune or eval, or the save of this folder."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what running a recipe would do, step by step, without loading a model."""
    from mfv_dsl.api import Recipe

    _show_plan(Recipe.from_file(recipe, sets or ()), only, as_json)


def lock(recipe: RecipeArgument) -> None:
    """Pin what a recipe loads in mfv.lock beside it, for `mfv run --locked`."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.library.lock import NAME

    pins = Recipe.from_file(recipe).pin()
    for (path, name), pin in pins.items():
        at = f" at {pin.revision}" if pin.revision else ""
        typer.echo(f"{path}{'/' + name if name else ''}{at}: {pin.content}")
    typer.echo(f"{len(pins)} vectors pinned in {NAME}", err=True)


def _show_plan(recipe: object, only: list[str] | None, as_json: bool) -> None:
    from mfv_dsl.api import Recipe
    from mfv_dsl.base.places import finished
    from mfv_dsl.plan.explain import explain_plan, plan_text

    assert isinstance(recipe, Recipe)
    made = recipe.plan(only)
    explained = explain_plan(made, finished(step.key for step in made.steps))
    if as_json:
        notes = [note.to_json() for note in explained]
        typer.echo(json.dumps({**made.to_json(), "notes": notes}, indent=2))
    else:
        typer.echo(plan_text(made, explained), nl=False)


def models(as_json: JsonFlag = False) -> None:
    """List the models that recipes can name."""
    from mfv_dsl.models.catalogue import catalogue

    known = catalogue()
    if as_json:
        typer.echo(json.dumps([vars(row) for row in known], indent=2))
        return
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.report.tables import models_table

    print_table(models_table(known))


def version() -> None:
    """Print the version."""
    from mfv_dsl.version import __version__

    typer.echo(f"mfv-dsl {__version__}")
