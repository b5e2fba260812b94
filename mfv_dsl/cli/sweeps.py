"""The command that runs one recipe under several values of what it declares: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfv_dsl.cli.options import (
    DeviceOption,
    DownloadFlag,
    FreshFlag,
    LaunchOptions,
    OnlyOption,
    OutputOptions,
    ProfileOption,
    RecipeArgument,
    SetOptions,
    grouped,
)

if TYPE_CHECKING:
    from mfv_dsl.launch.settings import LaunchSettings
    from mfv_dsl.sweeping.sweep import SweepResult
    from mfv_dsl.sweeping.variants import Variants


@grouped
def sweep(
    recipe: RecipeArgument,
    over: Annotated[
        list[str],
        typer.Option(
            "--over",
            metavar="NAME[.ATTRIBUTE]=VALUES",
            help="What is varied, named as by --set, and its values with commas or as a range; of "
            "several the last varies fastest: --over flamingo='tiny()','tiny(\"llava\")' --over "
            "defaults.seed=0..4",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for all variants. [default: runs/<recipe's path>-sweep-<what varies>]"
        ),
    ] = None,
    profile: ProfileOption = None,
    sets: SetOptions = None,
    only: OnlyOption = None,
    device: DeviceOption = None,
    download: DownloadFlag = False,
    fresh: FreshFlag = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the variants and run nothing; with --workers, what they will take on these, "
            "and with --launcher slurm the script that would be sent to Slurm.",
        ),
    ] = False,
    *,
    launch: LaunchOptions,
    output: OutputOptions,
) -> None:
    """Run a recipe under several values of what it declares, and print one table of all.

    Every variant is a run in a folder of its own; steps that variants share are run once.
    """
    from mfv_dsl.cli.interruption import kept
    from mfv_dsl.cli.output import print_json, show_diagnostics
    from mfv_dsl.interruption import kept_steps
    from mfv_dsl.sweeping.sweep import planned, run_variants

    variants = planned(recipe, over, profile, sets or (), only)
    show_diagnostics(variants.warnings)
    crew = launch.settings(variants.recipe.file)
    if dry_run:
        _show_variants(variants, crew, output.as_json)
        return
    keys = dict.fromkeys(step.key for variant in variants.all for step in variant.plan.steps)
    typer.echo(variants.summary, err=True)
    with kept(lambda: kept_steps(keys)), output.progress() as listener:
        result = run_variants(
            variants, out, device, fresh=fresh, download=download, listener=listener, crew=crew
        )
    if output.as_json:
        print_json(result.to_json())
    else:
        _show(result, variants)
    if result.failed:
        _show_failures(result)
        raise typer.Exit(4)


def _show_variants(variants: Variants, crew: LaunchSettings | None, as_json: bool) -> None:
    """The variants; what they will take on workers, and the script that Slurm would be sent, where
    these are asked for."""
    from mfv_dsl.cli.output import print_json

    script = told = None
    if crew is not None:
        from mfv_dsl.launch.crews import script_of
        from mfv_dsl.sweeping.sweep import expected

        script = script_of(crew)
        if isinstance(crew.workers, int):
            told = expected(variants, crew.workers)
    if as_json:
        more = {} if told is None else {"forecast": told.to_json()}
        print_json({**variants.to_json(), **more, **({"script": script} if script else {})})
    elif script is not None:
        typer.echo(script, nl=not script.endswith("\n"))
        typer.echo(variants.to_text(), nl=False, err=True)
    else:
        typer.echo(variants.to_text(), nl=False)
    if told is not None and not as_json:
        typer.echo(f"\n{told.to_text()}", nl=False, err=script is not None)


def _show(result: SweepResult, variants: Variants) -> None:
    """Tables on stdout, and on stderr what lies where."""
    from mfv_dsl.cli.output import print_notes, print_table
    from mfv_dsl.report.tables import numbers_table, results_table, tuning_table

    if result.shown:
        print_table(results_table(result.shown, result.metrics))
        print_notes(result.notes)
    if result.results.numbers:
        print_table(numbers_table(result.results.numbers))
    if result.results.tunes:
        print_table(tuning_table(result.results.tunes))
    saved = [path for outcome in result.variants for path in outcome.saved]
    for folder in dict.fromkeys(path.parent for path in saved):
        count = sum(path.parent == folder for path in saved)
        typer.echo(f"saved {count} vectors into {folder}", err=True)
    if len(result.shown) < len(result.rows):
        typer.echo("means over seeds; the rows of each are in results.csv", err=True)
    typer.echo(
        f"results in {result.folder} and its {len(variants.all)} folders ({result.seconds:.0f} s)",
        err=True,
    )


def _show_failures(result: SweepResult) -> None:
    """What failed of which variant, on stderr."""
    from mfv_dsl.cli.output import show_error

    lost = [outcome for outcome in result.variants if outcome.failed]
    for outcome in lost:
        for error in (outcome.error, *outcome.unsaved):
            if error is not None:
                show_error(error)
    names = ", ".join(outcome.variant.name for outcome in lost)
    typer.echo(
        f"warning: something failed in {len(lost)} of {len(result.variants)} variants: {names}.  "
        "The notes say why; the other rows stand.",
        err=True,
    )


COMMANDS = (sweep,)
