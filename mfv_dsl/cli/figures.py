"""The command that draws figures of runs that are done: plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.tables import folder_of, kept_by

if TYPE_CHECKING:
    from mfv_dsl.plots import Plots

#: What `--kind` takes to draw everything.
_ALL = "all"


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, or their names in runs/.", metavar="RUN..."),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="accuracy, evals, aie, tuning, choices, confusion, similarity, norms, or all of "
            "them. [default: the first that the run has]"
        ),
    ] = None,
    evals: Annotated[
        list[str] | None,
        typer.Option("--eval", metavar="NAME", help="Only this eval; may be repeated."),
    ] = None,
    relations: Annotated[
        list[str] | None,
        typer.Option(
            "--relation",
            metavar="NAME",
            help="Only this relation, `all` for all together, of heads `mean` for the mean; may be "
            "repeated.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Only where the column of the CSV file is this, `none` for nothing; may be "
            "repeated.",
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option("--x", metavar="COLUMN", help="What runs along: layer, scale, k, a sweep."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            help="What runs up: accuracy, difference, vs_NAME, p; of heads score, "
            "accuracy_change; of trainings accuracy, nll, loss, norm."
        ),
    ] = None,
    width: Annotated[
        str,
        typer.Option(help="A length such as 3.3in or 84mm, column (3.3in) or page (6.9in)."),
    ] = "column",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .pdf, .svg or .png file, or a folder. [default: the folder figures in the "
            "run's]",
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="pdf, svg or png, of files in a folder.")
    ] = "pdf",
) -> None:
    """Draw a figure of what runs gave, fit for a column of a paper.

    Every number that is drawn stands in the CSV files of the run's folder.
    """
    from mfv_dsl.execute.run_tables import RunTables
    from mfv_dsl.plots import Plots
    from mfv_dsl.report.figures.kinds import kind_named
    from mfv_dsl.report.figures.style import inches

    options: dict[str, Any] = {"eval": evals or (), "relation": relations or (),
                               "where": kept_by(where), "x": x, "value": value,
                               "width": inches(width)}  # fmt: skip
    if format_ not in ("pdf", "svg", "png"):
        raise typer.BadParameter(f"`{format_}` is none of pdf, svg, png")
    if kind not in (None, _ALL):
        kind_named(kind)
    folders = list(dict.fromkeys(folder_of(run) for run in runs))
    plots = Plots([RunTables(folder) for folder in folders])
    inside = folders[0] / "figures"
    if kind == _ALL:
        if any((evals, relations, where, x, value)):
            raise typer.BadParameter("`--kind all` draws everything as it is: leave out the others")
        _draw_all(plots, out or inside, format_, options)
        return
    drawn = plots.kinds
    chosen = kind or next(iter(drawn), None)
    if out is None or out.is_dir():
        _draw(plots, chosen, (out or inside) / f"{chosen}.{format_}", options, out is None)
    else:
        _draw(plots, chosen, out, options)
    others = ", ".join(name for name in drawn if name != chosen)
    if kind is None and others:
        typer.echo(f"drawn: {chosen}; there are also (--kind): {others}", err=True)


def _draw_all(plots: Plots, folder: Path, ending: str, options: dict[str, Any]) -> None:
    """Draw all kinds that the runs have; what cannot be drawn in one figure is told, and the others
    are drawn."""
    from mfv_dsl.base.errors import MfvError

    if folder.suffix and not folder.is_dir():
        raise typer.BadParameter(f"`--kind all` writes several files: {folder} has to be a folder")
    errors = []
    kinds = plots.kinds
    for name in kinds or [None]:
        try:
            _draw(plots, name, folder / f"{name}.{ending}", options, make=True)
        except MfvError as error:
            if error.code != "MFV6132":
                raise
            errors.append(error)
            typer.echo(f"not drawn: {name}: {error.message}", err=True)
    if len(errors) == len(kinds):
        raise errors[0]


def _draw(
    plots: Plots, kind: str | None, path: Path, options: dict[str, Any], make: bool = False
) -> None:
    """Draw a kind into a file, into a folder that is made where ``make`` says so."""
    from contextlib import nullcontext

    from mfv_dsl.base.disk import folder_for
    from mfv_dsl.cli.options import check_picture, save_picture

    if not make:
        check_picture(path)
    figure, _ = plots.draw(kind, **options)
    with folder_for(path.parent, code="MFV5355") if make else nullcontext():
        save_picture(figure, path)


COMMANDS = (plot,)
