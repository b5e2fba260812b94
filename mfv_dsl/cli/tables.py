"""The command that makes tables of runs that are done: table."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer


def table(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, or their names in runs/.", metavar="RUN..."),
    ],
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="Field that runs down: eval, relation, shots, k, layer, scale, control, vector, "
            "condition, run, value, head, number, tune; several with commas. [default: condition, "
            "or what the kind of results is of, and what else tells rows apart]"
        ),
    ] = None,
    cols: Annotated[
        list[str] | None,
        typer.Option(help="Field that runs across. [default: relation; of answers, answered]"),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(
            help="What stands in the cells: accuracy, difference, vs_NAME, p, n, or a field; may "
            "be repeated."
        ),
    ] = None,
    evals: Annotated[
        list[str] | None,
        typer.Option("--eval", metavar="NAME", help="Only this eval; may be repeated."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Only where the field is this, `none` for nothing; may be repeated.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[FIELD.]NAME=TEXT",
            help="Another name; `*` stands for anything, and what gets one name becomes one row "
            "or column. May be repeated.",
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="Which results: results, answers, choices, numbers, heads, weights, tunes, cost. "
            "[default: those that have the fields]"
        ),
    ] = None,
    first: Annotated[int | None, typer.Option(min=1, help="Only so many rows.")] = None,
    corner: Annotated[
        str | None, typer.Option(help="What stands over the rows' names. [default: their fields]")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="As LaTeX (booktabs).")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
) -> None:
    """Print results of runs as a table of rows and columns, as they stand in an article."""
    from mfv_dsl.base.table_text import FORMS
    from mfv_dsl.execute import records

    asked = [name for name, flag in (("markdown", markdown), ("latex", latex), ("csv", as_csv))
             if flag]  # fmt: skip
    if len(asked) > 1:
        raise typer.BadParameter("take one of --markdown, --latex and --csv")
    kept = kept_by(where)
    if evals:
        kept.setdefault("eval", []).extend(evals)
    labels = [records.label_of(name, text) for name, text in pairs(label, "--label")]
    folders = [folder_of(run) for run in runs]
    made = records.table(folders, rows, cols, value, kept, labels, of, first, corner)
    if not asked and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        typer.echo("\n".join(f"{part}\n" for part in made.folded(width)), nl=False)
    else:
        typer.echo(FORMS[asked[0] if asked else "text"](made), nl=False)


def folder_of(run: Path) -> Path:
    """The folder of a run that is named, by its path or by its name in ``runs/``."""
    inside = Path("runs") / run
    return inside if not run.exists() and inside.is_dir() else run


def kept_by(where: list[str] | None) -> dict[str, list[str]]:
    """What ``--where`` keeps, by field: texts with commas between them, but for those of a set, as
    in ``layer={3, 5}``."""
    kept: dict[str, list[str]] = {}
    for name, text in pairs(where, "--where"):
        parts = re.split(r",(?![^{]*\})", text)
        kept.setdefault(name, []).extend(part.strip() for part in parts)
    return kept


def pairs(texts: list[str] | None, option: str) -> list[tuple[str, str]]:
    """What stands before and behind the ``=`` of each text."""
    found = []
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option} takes NAME=TEXT, and `{text}` has no `=`")
        found.append((name.strip(), value))
    return found


COMMANDS = (table,)
