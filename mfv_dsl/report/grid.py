"""The plain grid that every table in a terminal is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from rich import box
from rich.table import Table

Side = Literal["left", "right"]


def grid(
    columns: Mapping[str, Side], title: str | None = None, wrap: Collection[str] = ()
) -> Table:
    """An empty table with columns by title and the side that their cells stand on; ``wrap`` names
    those whose cells may run over several lines."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name, side in columns.items():
        table.add_column(name, justify=side, no_wrap=name not in wrap)
    return table
