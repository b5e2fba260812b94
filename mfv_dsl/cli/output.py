"""What goes to a person: diagnostics and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import takewhile
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer

from mfv_dsl.base.diagnostics import Diagnostic, render
from mfv_dsl.base.errors import MfvError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.tree import Tree

    from mfv_dsl.execute.run_result import RunResult
    from mfv_dsl.execute.settings import Listener


def show_error(error: MfvError) -> None:
    """All diagnostics of an error on stderr, and how many."""
    show_diagnostics(error.diagnostics)


def show_diagnostics(diagnostics: tuple[Diagnostic, ...]) -> None:
    """Diagnostics on stderr, and how many errors if several."""
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    for diagnostic in diagnostics:
        print(render(diagnostic, colour), end="\n\n", file=sys.stderr)
    count = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    if count > 1:
        print(f"{count} errors", file=sys.stderr)


def show_failures(result: RunResult) -> None:
    """What of a run failed, on stderr."""
    for error in result.unsaved:
        show_error(error)
    codes = sorted({row.error["code"] for row in result.rows if row.error})
    errors = [*result.failures.values(), *result.unsaved]
    codes = codes or sorted({error.code for error in errors})
    rows = sum(bool(row.error) for row in result.rows)
    print(
        f"warning: something failed ({', '.join(codes)}): {rows} of "
        f"{len(result.rows)} rows have none.  The notes say why; the other rows stand.",
        file=sys.stderr,
    )


def print_json(data: Any) -> None:
    """``data`` on stdout, for programs."""
    typer.echo(json.dumps(data, indent=2, allow_nan=False))


def print_result(data: Any, table: Table | Tree, as_json: bool, lines: Sequence[str] = ()) -> None:
    """A result on stdout: ``data`` as JSON, or a table or tree with ``lines`` under it."""
    if as_json:
        print_json(data)
        return
    print_table(table)
    for line in lines:
        typer.echo(line)


def print_table(table: Table | Tree) -> None:
    """A table or tree on stdout.  Where stdout is a terminal, a table that is wider is folded: its
    columns go on below, behind those on the left that name the rows.  Elsewhere, as in a pipe or a
    file, a row is always one line."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(160, Console(width=10**6).measure(table).maximum))
    for part in _folded(table, console) if isinstance(table, Table) else (table,):
        console.print(part)


def _folded(table: Table, console: Console) -> Iterator[Table]:
    """The table in parts that are each as wide as the console at most, if columns let them."""

    def part(numbers: Sequence[int]) -> Table:
        one = copy(table)
        one.columns = [copy(table.columns[number]) for number in numbers]
        for place, column in enumerate(one.columns):
            column._index = place
        return one

    def fits(numbers: Sequence[int]) -> bool:
        return console.measure(part(numbers), options=wide).maximum <= console.width

    wide = console.options.update(max_width=10**6)
    names = list(takewhile(lambda i: table.columns[i].justify == "left", range(len(table.columns))))
    others = [number for number in range(len(table.columns)) if number not in names]
    if not names or not others or fits([*names, *others]):
        yield table
        return
    while others:
        counts = range(len(others), 1, -1)
        count = next((n for n in counts if fits([*names, *others[:n]])), 1)
        yield part([*names, *others[:count]])
        others = others[count:]


def print_notes(notes: Sequence[str]) -> None:
    """What must be said beside results, on stdout."""
    for note in notes:
        print(fill(note, 100, initial_indent=" note: ", subsequent_indent="   "))


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Listener]:
    """Progress bars on stderr, one per piece of work, gone when it is done."""
    from mfv_dsl.execute.settings import Silence

    if quiet:
        yield Silence()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    ) as bars:  # fmt: skip

        class Bars:
            """One bar for each piece of work under way."""

            def begin(self, label: str, total: int) -> Callable[[int], None]:
                task = bars.add_task(label, total=total)

                def advance(units: int) -> None:
                    nonlocal total
                    total -= units
                    bars.advance(task, units)
                    if total == 0:
                        bars.remove_task(task)

                return advance

        yield Bars()
