"""Commands about the installation: models, recipes, doctor, version."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated

import typer

from mfv_dsl.cli.options import JsonFlag

if TYPE_CHECKING:
    from mfv_dsl.plan.machine import Machine


def models(as_json: JsonFlag = False) -> None:
    """List the models that recipes can name."""
    from mfv_dsl.cli.output import print_result
    from mfv_dsl.models.catalogue import catalogue
    from mfv_dsl.report.tables import models_table

    rows = catalogue()
    print_result([vars(row) for row in rows], models_table(rows), as_json)


def recipes(as_json: JsonFlag = False) -> None:
    """List the bundled recipes, each with the first sentence that it says of itself."""
    from mfv_dsl.base.places import bundled, bundled_recipes
    from mfv_dsl.cli.output import print_json

    rows = {
        name: _purpose((bundled("recipes") / f"{name}.mfv").read_text(encoding="utf-8"))
        for name in bundled_recipes()
    }
    if as_json:
        print_json([{"name": name, "purpose": purpose} for name, purpose in rows.items()])
        return
    width = max(map(len, rows))
    for name, purpose in rows.items():
        typer.echo(f"{name:<{width}}  {purpose}")


def _purpose(text: str) -> str:
    """The first sentence of a recipe's first comment."""
    lines = [line.strip() for line in text.splitlines()]
    start = next((i for i, line in enumerate(lines) if line.startswith("#")), len(lines))
    comment = takewhile(lambda line: line.startswith("#"), lines[start:])
    words = " ".join(line.lstrip("# ") for line in comment)
    return re.split(r"(?<=[.:?])\s", words, maxsplit=1)[0].rstrip(".:")


def doctor(
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure this machine's rates, too, and keep them for `mfv plan`: of its devices, "
            "of the start of a worker, of the store. Takes some seconds.",
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what is installed, what fits into memory, and what to type where something is missing.

    Exits with 1 if a bundled model does not run.
    """
    from mfv_dsl.cli.output import print_json
    from mfv_dsl.execute.environment import examine
    from mfv_dsl.plan.machine import kept_machine
    from mfv_dsl.report.environment import environment_text, machine_text

    environment = examine()
    can_measure = measure and environment.problem is None
    machine = _measured() if can_measure else kept_machine()
    if as_json:
        rates = None if machine is None else machine.to_json()
        print_json({**asdict(environment), "machine": rates})
    else:
        typer.echo(environment_text(environment), nl=False)
        typer.echo(machine_text(machine), nl=False)
    if measure and not can_measure:
        typer.echo("rates are not measured, as tiny() does not run", err=True)
    problems = (environment.problem, environment.llava_problem)
    raise typer.Exit(0 if problems == (None, None) else 1)


def _measured() -> Machine:
    """The rates of this machine, measured and kept."""
    from mfv_dsl.base.disk import disk_trouble
    from mfv_dsl.execute.machine_rates import measure_machine
    from mfv_dsl.execute.storage import storage_at
    from mfv_dsl.launch.shared import shared_home
    from mfv_dsl.plan.machine import keep_machine

    home = shared_home()
    with disk_trouble():
        machine = measure_machine(storage_at(home), home)
        typer.echo(f"rates kept in {keep_machine(machine)}", err=True)
    return machine


def version() -> None:
    """Print the version."""
    from mfv_dsl.version import __version__

    typer.echo(f"mfv-dsl {__version__}")


COMMANDS = (models, recipes, doctor, version)
