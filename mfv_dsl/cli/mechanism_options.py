"""Options that several commands that look inside a model take, and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import (
    DefaultLayerOption,
    OptionGroup,
    OutputOptions,
    PlotOption,
    ScaleOption,
    VectorOptions,
    WithOption,
    check_picture,
    injection,
    parse_layer,
)

if TYPE_CHECKING:
    from rich.table import Table

    from mfv_dsl.execute.settings import Listener
    from mfv_dsl.mechanisms import Added, Asked


@dataclass(frozen=True)
class PromptOptions(OptionGroup):
    """Which prompts are asked."""

    relations: Annotated[
        list[str] | None,
        typer.Option(
            "--relation", metavar="NAME",
            help="What is asked; may be repeated. [default: all of the dataset]",
        ),
    ] = None  # fmt: skip
    items: Annotated[int, typer.Option("--items", min=1, help="Prompts of each relation.")] = 25
    demonstrations: Annotated[
        int, typer.Option("--demonstrations", min=0, help="Demonstrations in each prompt.")
    ] = 0
    split: Annotated[str, typer.Option("--split", help="The split that prompts come from.")] = (
        "test"
    )

    def asked(self, seed: int | None) -> Asked:
        """The prompts; ``seed`` is that of everything drawn."""
        from mfv_dsl.mechanisms import USUAL, Asked

        return Asked(
            tuple(self.relations or ()), self.items, self.demonstrations, self.split,
            USUAL.seed if seed is None else seed,
        )  # fmt: skip


@dataclass(frozen=True)
class AddedOptions(OptionGroup):
    """A vector as it is typed, and where it is added."""

    vector: WithOption = None
    layer: DefaultLayerOption = None
    scale: ScaleOption = 1.0

    def read(self, options: VectorOptions, listener: Listener) -> Added:
        """The vector."""
        from mfv_dsl.mechanisms import NOTHING, Added

        at = None if self.layer is None else parse_layer(self.layer)
        if self.vector is None:
            if at is not None:
                message = "`--layer` says where a vector is added: name one by --with"
                raise typer.BadParameter(message)
            return NOTHING
        return Added(options.read_vector(self.vector, listener), at, self.scale)

    def said(self, at: int | str | None) -> str:
        """What was added where; ``at`` is the layer, None without a vector."""
        if self.vector is None or at is None:
            return "no vector"
        return f"with {injection(self.vector, at, self.scale)}"


@dataclass(frozen=True)
class FileOptions(OptionGroup):
    """Files that are written besides."""

    plot: PlotOption = None
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write every number, as a .csv file."),
    ] = None

    def check(self) -> None:
        """Refuse, before any work, a file that could not be written after it."""
        check_picture(self.plot)
        if self.out is not None:
            if self.out.suffix != ".csv":
                raise typer.BadParameter(f"`{self.out}` has to be a .csv file")
            check_place(self.out)

    def show(
        self, output: OutputOptions, rows: Sequence[dict[str, Any]], table: Table,
        lines: Sequence[str],
    ) -> None:  # fmt: skip
        """Rows as a table or as JSON, and as a CSV file where one is wanted."""
        finite = [
            {key: None if isinstance(value, float) and isnan(value) else value
             for key, value in row.items()}
            for row in rows
        ]  # fmt: skip
        output.show(finite, table, lines)
        if self.out is not None:
            from mfv_dsl.base.csv_text import csv_text
            from mfv_dsl.base.disk import disk_trouble
            from mfv_dsl.base.files import write_atomically

            with disk_trouble(self.out, what="cannot write", code="MFV6102"):
                write_atomically(self.out, csv_text(finite, ()).encode())
            typer.echo(f"wrote {self.out}", err=True)


def check_place(path: Path) -> None:
    """Refuse a file that could not be written."""
    from mfv_dsl.base.disk import check_path

    if path.is_dir() or not path.parent.is_dir():
        reason = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise typer.BadParameter(f"cannot write {path}: {reason}")
    check_path(path if not path.exists() else path.parent)
