"""The command that makes a page of runs that are done: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfv_dsl.cli.options import QuietFlag, parse_items
from mfv_dsl.cli.tables import folder_of

ItemsOfReport = Annotated[
    str,
    typer.Option(
        "--items", metavar="N|all", help="How many items it shows with their pictures, or all."
    ),
]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, or their names in runs/.", metavar="RUN..."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file. [default: report.html in the run's folder, in the current folder for "
            "several runs]",
        ),
    ] = None,
    items: ItemsOfReport = "400",
    quiet: QuietFlag = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Make a page of one or several runs, for any browser: tables, figures, items, provenance.

    It is one file that needs no network, and may be sent to others.  Several runs stand side by
    side, with paired differences where they measured the same items.
    """
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.run_report import open_in_browser
    from mfv_dsl.run_report import report as make

    with progress_bars(quiet) as listener:
        file = make([folder_of(run) for run in runs], out, parse_items(items), listener)
    typer.echo(str(file))
    if show:
        open_in_browser(file)


COMMANDS = (report,)
