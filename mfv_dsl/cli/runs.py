"""Commands about whole recipes: run, plan, lock."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import (
    DeviceOption,
    DownloadFlag,
    FreshFlag,
    JsonFlag,
    LaunchOptions,
    OnlyOption,
    OutputOptions,
    ProfileOption,
    RecipeArgument,
    SetOptions,
    grouped,
)

if TYPE_CHECKING:
    from mfv_dsl.api import Recipe
    from mfv_dsl.execute.run_result import RunResult
    from mfv_dsl.launch.settings import LaunchSettings
    from mfv_dsl.plan.estimate import Estimate
    from mfv_dsl.plan.steps import Plan


@grouped
def run(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results. [default: runs/<recipe's path>, "
            "with the profile's name behind it]"
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
            help="Show the plan and run nothing; with --launcher slurm, the script that would be "
            "sent to Slurm.",
        ),
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Leave trace.txt: what was read and written where."),
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Load no vector but those that mfv.lock pins."),
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report", help="Leave report.html, too: the run as a page for a browser."),
    ] = False,
    *,
    launch: LaunchOptions,
    output: OutputOptions,
) -> None:
    """Run a recipe and print its table of results."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.cli.interruption import kept
    from mfv_dsl.cli.output import show_diagnostics
    from mfv_dsl.interruption import kept_steps

    checked = Recipe.from_file(recipe, sets or (), profile)
    show_diagnostics(checked.check())
    checked = checked.with_models() if download else checked
    steps = checked.plan(only)
    show_diagnostics(steps.warnings)
    if dry_run:
        crew = launch.settings(checked.file)
        if crew is None or not _show_script(crew, steps, output.as_json):
            _show_plan(checked, only, output.as_json)
        return
    _refuse(steps)
    if report:
        from mfv_dsl.run_report import check_ready

        check_ready(checked.folder if out is None else out)
    with (
        kept(lambda: kept_steps([step.key for step in steps.steps])),
        output.progress() as listener,
    ):
        result = checked.run(
            out, listener, device=device, fresh=fresh, only=only, trace=trace,
            download=download, locked=locked, **launch.as_arguments(),
        )  # fmt: skip
    made = None
    if report:
        made = result.report()
        typer.echo(f"report in {made}", err=True)
    show_result(result, output.as_json, **({} if made is None else {"report": str(made)}))


def _show_script(crew: LaunchSettings, plan: Plan, as_json: bool) -> bool:
    """The script that Slurm would be sent, on stdout, and for how many workers; False where the
    launcher sends none."""
    from mfv_dsl.cli.output import print_json
    from mfv_dsl.execute.storage import finished
    from mfv_dsl.launch.crews import script_of

    _refuse(plan)
    script = script_of(crew)
    if script is None:
        return False
    steps = len(plan.steps)
    done = len(finished(step.key for step in plan.steps))
    if as_json:
        print_json({"script": script, "workers": crew.workers, "steps": steps, "finished": done})
    else:
        typer.echo(script, nl=not script.endswith("\n"))
        workers = f"{crew.workers} workers, an array of jobs" if crew.workers != 1 else "1 worker"
        typer.echo(f"{workers}, for {steps} steps, {done} of them finished", err=True)
    return True


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
    from mfv_dsl.plan.explain import doc_lines
    from mfv_dsl.report.tables import (
        confusion_table,
        numbers_table,
        results_table,
        tuning_table,
        weights_table,
    )

    if result.rows:
        metrics = result.plan.metrics
        print_table(results_table(result.rows, metrics))
        if (table := confusion_table(result.rows, metrics)) is not None:
            print_table(table)
        for line in doc_lines(result.plan.docs):
            typer.echo(line)
        print_notes(result.notes)
    if result.weights:
        print_table(weights_table(result.weights))
    if result.numbers:
        print_table(numbers_table(result.numbers))
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
        typer.Option(help="Plan only this tune or eval, the save of this folder, or `report`."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Estimate the time on a100, h100, h200, rtx4090 or cpu (this processor); "
            "with --measure, where to run."
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(help="Estimate the time at a rate of arithmetic, such as 400TFLOPs."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Load the model and run a little of each kind of step, to tell time."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="NUMBER",
            help="Say what it would take on so many workers, too: units of work, the longest chain "
            "of them, time, memory, and what is read and written.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what running a recipe would do, step by step, and how long it would take: by --device,
    --rate or --measure, else by what `mfv doctor --measure` has measured of this machine.

    No model is loaded, unless to --measure.
    """
    from mfv_dsl.api import Recipe

    ask = _Ask(device, rate, measure, workers)
    _show_plan(Recipe.from_file(recipe, sets or (), profile), only, as_json, ask)


def _refuse(plan: Plan) -> None:
    """A plan with errors is not run."""
    from mfv_dsl.base.errors import RecipeError

    if plan.errors:
        raise RecipeError(plan.errors)


def lock(recipe: RecipeArgument) -> None:
    """Pin what a recipe loads in mfv.lock beside it, for `mfv run --locked`."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.library.lock import NAME

    pins = Recipe.from_file(recipe).pin()
    for (path, name), pin in pins.items():
        at = f" at {pin.revision}" if pin.revision else ""
        typer.echo(f"{path}{'/' + name if name else ''}{at}: {pin.content}")
    typer.echo(f"{len(pins)} vectors pinned in {NAME}", err=True)


@dataclass(frozen=True)
class _Ask:
    """How time is to be told, if it is."""

    device: str | None = None
    rate: str | None = None
    measure: bool = False
    workers: int | None = None


def _show_plan(
    recipe: Recipe, only: list[str] | None, as_json: bool, ask: _Ask | None = None
) -> None:
    from mfv_dsl.cli.output import print_json
    from mfv_dsl.execute.storage import finished
    from mfv_dsl.plan.explain import explain_plan, plan_text
    from mfv_dsl.plan.power import sights

    steps = recipe.plan(only)
    if ask is not None and ask.measure:
        _refuse(steps)
    done = finished(step.key for step in steps.steps)
    notes = explain_plan(steps, done)
    estimate = _estimate(steps, done, ask or _Ask())
    expected = None
    if ask is not None and ask.workers is not None:
        from mfv_dsl.launch.forecast import forecast
        from mfv_dsl.plan.machine import kept_machine

        expected = forecast([steps], done, ask.workers, estimate, kept_machine())
    if as_json:
        more: dict[str, Any] = {} if estimate is None else {"estimate": estimate.to_json()}
        more |= {} if expected is None else {"forecast": expected.to_json()}
        more["power"] = [sight.to_json() for sight in sights(steps)]
        print_json({**steps.to_json(), "notes": [note.to_json() for note in notes], **more})
    else:
        typer.echo(plan_text(steps, notes, estimate), nl=False)
        if expected is not None:
            typer.echo(f"\n{expected.to_text()}", nl=False)
    _refuse(steps)


def _estimate(steps: Plan, done: Collection[str], ask: _Ask) -> Estimate | None:
    """How long a plan will take, in the way that was asked for."""
    from mfv_dsl.cli.interruption import kept
    from mfv_dsl.estimates import estimate_of

    with kept(lambda: "a measurement keeps nothing") if ask.measure else nullcontext():
        return estimate_of(steps, done, ask.device, ask.rate, ask.measure)


COMMANDS = (run, plan, lock)
