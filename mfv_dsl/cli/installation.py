"""Commands about the installation: models, doctor, version."""

from __future__ import annotations

from dataclasses import asdict

import typer

from mfv_dsl.cli.options import JsonFlag


def models(as_json: JsonFlag = False) -> None:
    """List the models that recipes can name."""
    from mfv_dsl.cli.output import print_result
    from mfv_dsl.models.catalogue import catalogue
    from mfv_dsl.report.tables import models_table

    rows = catalogue()
    print_result([vars(row) for row in rows], models_table(rows), as_json)


def doctor(as_json: JsonFlag = False) -> None:
    """Say what is installed, what fits into memory, and what to type where something is missing.

    Exits with 1 if a bundled model does not run.
    """
    from mfv_dsl.cli.output import print_json
    from mfv_dsl.execute.environment import examine
    from mfv_dsl.report.environment import environment_text

    environment = examine()
    if as_json:
        print_json(asdict(environment))
    else:
        typer.echo(environment_text(environment), nl=False)
    problems = (environment.problem, environment.llava_problem)
    raise typer.Exit(0 if problems == (None, None) else 1)


def version() -> None:
    """Print the version."""
    from mfv_dsl.version import __version__

    typer.echo(f"mfv-dsl {__version__}")


COMMANDS = (models, doctor, version)
