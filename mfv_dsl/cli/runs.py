"""Commands about whole recipes: run, plan, lock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import (
    JsonFlag,
    LaunchOptions,
    OutputOptions,
    ProfileOption,
    RecipeArgument,
    SetOptions,
    grouped,
)

if TYPE_CHECKING:
    from mfv_dsl.api import Recipe
    from mfv_dsl.execute.run_result import RunResult
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
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only this tune or eval, the save of this folder, or `report`; repeatable."
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
    as_json: JsonFlag = False,
) -> None:
    """Show what running a recipe would do, step by step, and how long it would take.

    No model is loaded, unless to --measure.
    """
    from mfv_dsl.api import Recipe

    ask = _Ask(device, rate, measure)
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


def _show_plan(
    recipe: Recipe, only: list[str] | None, as_json: bool, ask: _Ask | None = None
) -> None:
    from mfv_dsl.base.places import finished
    from mfv_dsl.cli.output import print_json
    from mfv_dsl.plan.explain import explain_plan, plan_text
    from mfv_dsl.plan.power import sights

    steps = recipe.plan(only)
    if ask is not None and ask.measure:
        _refuse(steps)
    done = finished(step.key for step in steps.steps)
    notes = explain_plan(steps, done)
    estimate = _estimate(steps, done, ask or _Ask())
    if as_json:
        more: dict[str, Any] = {} if estimate is None else {"estimate": estimate.to_json()}
        more["power"] = [sight.to_json() for sight in sights(steps)]
        print_json({**steps.to_json(), "notes": [note.to_json() for note in notes], **more})
    else:
        typer.echo(plan_text(steps, notes, estimate), nl=False)
    _refuse(steps)


def _estimate(steps: Plan, done: Collection[str], ask: _Ask) -> Estimate | None:
    """How long a plan will take, in the way that was asked for."""
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.plan.estimate import estimate_by_arithmetic
    from mfv_dsl.plan.rates import device_rate, stated_rate

    if ask.rate is not None and (ask.device is not None or ask.measure):
        raise MfvError(
            "MFV5383", "a rate is stated beside another way to tell time",
            help="give `--rate` alone, `--device` alone, or `--measure` with or without `--device`",
        )  # fmt: skip
    if ask.measure:
        from mfv_dsl.cli.interruption import kept
        from mfv_dsl.execute.measure import measure_plan
        from mfv_dsl.execute.settings import RunSettings

        with kept(lambda: "a measurement keeps nothing"):
            return measure_plan(steps, done, RunSettings(device=ask.device))
    if ask.rate is not None:
        return estimate_by_arithmetic(steps, done, stated_rate(ask.rate))
    if ask.device == "cpu":
        from mfv_dsl.execute.measure import processor_rate

        return estimate_by_arithmetic(steps, done, processor_rate())
    if ask.device is not None:
        return estimate_by_arithmetic(steps, done, device_rate(ask.device))
    return None


COMMANDS = (run, plan, lock)
