"""``mfv doctor``: what this machine and this installation can run."""

from __future__ import annotations

import json

import typer

from mfv_dsl.cli.options import JsonFlag


def doctor(as_json: JsonFlag = False) -> None:
    """Say what is installed, what fits into memory, and what to type where something is missing.

    Exits with 1 if the bundled model does not run.
    """
    from dataclasses import asdict

    from mfv_dsl.execute.environment import examine
    from mfv_dsl.report.environment import environment_text

    found = examine()
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        typer.echo(environment_text(found), nl=False)
    raise typer.Exit(0 if found.problem is None else 1)
