"""Commands about the installation: models, recipes, doctor, version."""

from __future__ import annotations

import re
from dataclasses import asdict
from itertools import takewhile

import typer

from mfv_dsl.cli.options import JsonFlag


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


COMMANDS = (models, recipes, doctor, version)
