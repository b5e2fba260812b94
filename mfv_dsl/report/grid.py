"""The plain grid that every table in a terminal is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

Side = Literal["left", "right"]


class Grid(Table):
    """A table whose texts are no markup of rich's: names of data may hold brackets."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """A row; texts stand as they are."""
        super().add_row(*map(_as_it_is, cells), **options)

    def add_column(self, header: Any = "", *arguments: Any, **options: Any) -> None:
        """A column; its title stands as it is."""
        super().add_column(_as_it_is(header), *arguments, **options)


def _as_it_is(text: Any) -> Any:
    return Text(text) if isinstance(text, str) else text


def grid(
    columns: Mapping[str, Side], title: str | None = None, wrap: Collection[str] = ()
) -> Table:
    """An empty table with columns by title and the side that their cells stand on; ``wrap`` names
    those whose cells may run over several lines."""
    table = Grid(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name, side in columns.items():
        table.add_column(name, justify=side, no_wrap=name not in wrap)
    return table
