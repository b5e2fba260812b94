"""``mfv data``: check datasets, look at prompts, make datasets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfv_dsl.cli.options import (
    OutputOptions,
    ProfileOption,
    QuietFlag,
    SetOptions,
    check_picture,
    grouped,
    save_picture,
)

if TYPE_CHECKING:
    from mfv_dsl.lang.checked import Constructed
    from mfv_dsl.models.openflamingo import OpenFlamingo

app = typer.Typer(
    help="Datasets: check them, look at prompts, make them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Corruption(str, Enum):
    """How a prompt's corrupted twin is made; see `corrupt` in the reference."""

    mix = "mix"
    same_images = "same_images"
    shuffle = "shuffle"
    none = "none"


DatasetArgument = Annotated[
    str,
    typer.Argument(
        help="A dataset as in a recipe, 'metadata_csv(\"folder\")', or a recipe file, whose "
        "datasets are meant.",
        metavar="DATASET",
    ),
]
ModelOption = Annotated[
    str, typer.Option(help="A model as in a recipe: tiny, or 'openflamingo(\"folder\")'.")
]


@app.command()
@grouped
def check(
    dataset: DatasetArgument,
    sets: SetOptions = None,
    profile: ProfileOption = None,
    shots: Annotated[int, typer.Option(help="Demonstrations of the prompts tried.", min=0)] = 4,
    prompts: Annotated[int, typer.Option(help="Prompts tried of a relation.", min=1)] = 100,
    model: Annotated[
        str | None,
        typer.Option(help="Also find answers that this model, e.g. tiny, scores alike."),
    ] = None,
    *,
    output: OutputOptions,
) -> None:
    """Read a dataset and all its images, and report what is wrong; exit 1 on errors."""
    from mfv_dsl.cli.output import print_json, print_table
    from mfv_dsl.data.check import check_dataset
    from mfv_dsl.report.data import data_tables

    datasets = _datasets(dataset, sets, profile)
    backend = None if model is None else _open_model(model)
    with output.progress() as listener:
        reports = [
            check_dataset(declared, listener.begin, shots, prompts, backend)
            for declared in datasets.values()
        ]
    if output.as_json:
        print_json([report.to_json() for report in reports])
    else:
        for report in reports:
            typer.echo(f"{report.name}: {report.description or 'cannot be read'}")
            for table in data_tables(report):
                print_table(table)
            severities = [finding.severity for finding in report.findings]
            counts = {name: severities.count(name) for name in ("error", "warning")}
            typer.echo(f"{counts['error']} errors, {counts['warning']} warnings")
    raise typer.Exit(1 if any(report.failed for report in reports) else 0)


@app.command()
@grouped
def stats(
    dataset: DatasetArgument,
    sets: SetOptions = None,
    profile: ProfileOption = None,
    *,
    output: OutputOptions,
) -> None:
    """Count relations and objects, and how far a guess without the pictures gets."""
    from mfv_dsl.cli.output import print_json, print_table
    from mfv_dsl.data import open_dataset
    from mfv_dsl.data.statistics import statistics_of
    from mfv_dsl.report.data import statistics_tables

    found = []
    for declared in _datasets(dataset, sets, profile).values():
        opened = open_dataset(declared.constructor, **declared.arguments)
        found.append(statistics_of(declared.name, opened))
    if output.as_json:
        print_json([one.to_json() for one in found])
        return
    for one in found:
        typer.echo(one.name)
        for table in statistics_tables(one):
            print_table(table)


@app.command()
@grouped
def convert(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Argument(help="The new file of JSON lines, `.jsonl`.")],
    refer: Annotated[
        bool, typer.Option("--refer", help="Name images where they are; copied otherwise.")
    ] = False,
    sets: SetOptions = None,
    profile: ProfileOption = None,
    quiet: QuietFlag = False,
) -> None:
    """Write a dataset's items as lines that `pairs` reads, with their splits and images."""
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.data import is_of_files, open_dataset
    from mfv_dsl.data.convert import convert as convert_table

    declared = list(_datasets(dataset, sets, profile).values())
    if len(declared) != 1:
        raise typer.BadParameter(f"{dataset} has {len(declared)} datasets; name one as in a recipe")
    if not is_of_files(declared[0].constructor):
        raise MfvError(
            "MFV7144", f"`{declared[0].constructor}` is no dataset of files",
            help="`mfv data make` makes scenes into files",
        )  # fmt: skip
    opened = open_dataset(declared[0].constructor, **declared[0].arguments)
    table = opened.table  # type: ignore[attr-defined]
    with progress_bars(quiet) as listener:
        done = listener.begin(f"images of {declared[0].name}", len(table.images))
        count = convert_table(table, out, refer, done)
    typer.echo(f"wrote {count:,} items to {out}", err=True)


@app.command()
def show(
    dataset: DatasetArgument,
    relation: Annotated[str, typer.Option(help="The relation asked about.")],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("prompt.png"),
    prompt: Annotated[int, typer.Option(help="Which prompt of a run, from 0.", min=0)] = 0,
    shots: Annotated[int, typer.Option(help="Demonstrations.", min=0)] = 4,
    split: Annotated[str, typer.Option(help="The split it comes from.")] = "test",
    seed: Annotated[int, typer.Option(help="Seed of the prompts.", min=0)] = 1234,
    corrupt: Annotated[
        Corruption, typer.Option(help="How its corrupted twin is made.")
    ] = Corruption.mix,
    model: ModelOption = "tiny",
    sets: SetOptions = None,
    profile: ProfileOption = None,
) -> None:
    """Draw one prompt as a model gets it, and its corrupted twin."""
    check_picture(out)
    from mfv_dsl.data import open_dataset
    from mfv_dsl.inspection import prompt_rows
    from mfv_dsl.report.figures.prompts import prompt_figure

    declared = next(iter(_datasets(dataset, sets, profile).values()))
    opened = open_dataset(declared.constructor, **declared.arguments)
    rows = prompt_rows(
        _open_model(model), opened, relation, split, prompt, shots, seed, corrupt.value
    )
    save_picture(prompt_figure(rows)[0], out)


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    count: Annotated[int, typer.Option(help="How many images.")] = 4000,
    size: Annotated[int, typer.Option(help="Side of an image in pixels.")] = 800,
    relations: Annotated[
        str, typer.Option(help="Relations to write down, with commas between.")
    ] = "left,right,above,below",
    seed: Annotated[int, typer.Option(help="Seed of the scenes.", min=0)] = 0,
    kinds: Annotated[str, typer.Option(help="Kinds of object: things or shapes.")] = "things",
    objects: Annotated[
        str, typer.Option(help="Which of them: familiar, novel (held out) or all.")
    ] = "familiar",
    format: Annotated[str, typer.Option(help="png or jpg.")] = "png",
    workers: Annotated[int, typer.Option(help="Processes that draw.", min=1)] = 2,
    quiet: QuietFlag = False,
) -> None:
    """Render scenes into a folder that `metadata_csv` reads; the same files for the same seed."""
    from mfv_dsl.cli.interruption import kept
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.data.make import Order, unfinished
    from mfv_dsl.data.make import make as make_files

    names = tuple(name.strip() for name in relations.split(",") if name.strip())
    order = Order(out, count, size, names, seed, kinds, objects, format)
    with kept(lambda: unfinished(order)), progress_bars(quiet) as listener:
        make_files(order, workers, listener.begin(f"images in {out}", count))
    typer.echo(f"wrote {count:,} images and metadata.csv into {out}", err=True)


def _datasets(text: str, sets: list[str] | None, profile: str | None) -> Mapping[str, Constructed]:
    from mfv_dsl.data.declarations import declared_datasets, is_recipe

    if not is_recipe(text):
        if sets:
            raise typer.BadParameter("--set changes a recipe; change the expression itself")
        if profile is not None:
            raise typer.BadParameter("--profile is for a recipe; an expression has none")
    return declared_datasets(text, sets or (), profile)


def _open_model(model: str) -> OpenFlamingo:
    from mfv_dsl import models
    from mfv_dsl.lang.constructed import constructed

    declared = constructed("model", model, with_facts=False)
    return models.load(declared.constructor, **declared.arguments)
