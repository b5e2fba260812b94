"""Commands about whole recipes: run, plan, lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfv_dsl.cli.options import (
    JsonFlag,
    OutputOptions,
    ProfileOption,
    RecipeArgument,
    SetOptions,
    grouped,
)

if TYPE_CHECKING:
    from mfv_dsl.api import Recipe
    from mfv_dsl.execute.run_result import RunResult


@grouped
def run(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results. [default: runs/<recipe name>, "
            "with the profile's name behind it]"
        ),
    ] = None,
    profile: ProfileOption = None,
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
    *,
    output: OutputOptions,
) -> None:
    """Run a recipe and print its table of results."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.cli.output import show_diagnostics

    checked = Recipe.from_file(recipe, sets or (), profile)
    show_diagnostics(checked.check())
    checked = checked.with_models() if download else checked
    show_diagnostics(checked.plan(only).warnings)
    if dry_run:
        _show_plan(checked, only, output.as_json)
        return
    with output.progress() as listener:
        result = checked.run(
            out, listener, device=device, fresh=fresh, only=only, trace=trace,
            download=download, locked=locked,
        )  # fmt: skip
    show_result(result, output.as_json)


def show_result(result: RunResult, as_json: bool, **more: object) -> None:
    """The result, and ``more``, as JSON; or tables of results on stdout, and what was written where
    on stderr; exit 4 where some of the results came out as no numbers."""
    from mfv_dsl.cli.output import print_json, show_failures

    if as_json:
        print_json({**result.to_json(), **more})
    else:
        _show_tables(result)
    if result.failed:
        show_failures(result)
        raise typer.Exit(4)


def _show_tables(result: RunResult) -> None:
    from mfv_dsl.cli.output import print_notes, print_table
    from mfv_dsl.report.tables import (
        confusion_table,
        results_table,
        tuning_table,
        weights_table,
    )

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
    profile: ProfileOption = None,
    sets: SetOptions = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Plan only this tune or eval, or the save of this folder."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what running a recipe would do, step by step, without loading a model."""
    from mfv_dsl.api import Recipe

    _show_plan(Recipe.from_file(recipe, sets or (), profile), only, as_json)


def lock(recipe: RecipeArgument) -> None:
    """Pin what a recipe loads in mfv.lock beside it, for `mfv run --locked`."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.library.lock import NAME

    pins = Recipe.from_file(recipe).pin()
    for (path, name), pin in pins.items():
        at = f" at {pin.revision}" if pin.revision else ""
        typer.echo(f"{path}{'/' + name if name else ''}{at}: {pin.content}")
    typer.echo(f"{len(pins)} vectors pinned in {NAME}", err=True)


def _show_plan(recipe: Recipe, only: list[str] | None, as_json: bool) -> None:
    from mfv_dsl.base.places import finished
    from mfv_dsl.cli.output import print_json
    from mfv_dsl.plan.explain import explain_plan, plan_text

    steps = recipe.plan(only)
    notes = explain_plan(steps, finished(step.key for step in steps.steps))
    if as_json:
        print_json({**steps.to_json(), "notes": [note.to_json() for note in notes]})
    else:
        typer.echo(plan_text(steps, notes), nl=False)


COMMANDS = (run, plan, lock)
