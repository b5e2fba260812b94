"""Tables of what a vector does inside a model, drawn with rich."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from mfv_dsl.report.grid import grid

Row = Mapping[str, Any]


def lens_table(rows: Sequence[Row]) -> Table:
    """One row a layer: what the lens says of the answer without and, where there was one, with the
    vector; probabilities and shares in per cent."""
    several = len({row["vector"] for row in rows}) > 1
    table = grid({"layer": "right"})
    for name in ("", " with the vector")[: 1 + several]:
        for title in ("p(answer) %", "rank", "likeliest %"):
            table.add_column(f"{title}{name if title[0] == 'p' else ''}", justify="right")
        table.add_column("says")
    by_layer: dict[int, list[Row]] = {}
    for row in rows:
        by_layer.setdefault(row["layer"], []).append(row)
    for layer, own in by_layer.items():
        cells = []
        for row in own:
            cells += [
                interval(row, "p", 100, 1), f"{row['median_rank']:g}",
                f"{100 * row['likeliest_share']:.0f}", escape(row["says"]),
            ]  # fmt: skip
        table.add_row(str(layer), *cells)
    return table


def attribution_table(rows: Sequence[Row], top: int) -> Table:
    """The ``top`` parts with the largest change, or without a vector the largest share, and their
    sums by kind."""
    by = "change" if "change" in rows[0] else "without"
    values = ("without", "with", "change") if by == "change" else ("without",)
    table = grid({"part": "left", **dict.fromkeys(values, "right")})
    for row in sorted(rows, key=lambda row: -abs(row[by]))[:top]:
        table.add_row(
            escape(row["part"]),
            *(interval(row, v, 1, 3) if v == by else f"{row[v]:.3f}" for v in values),
        )
    table.add_section()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        if len(own) > 1:
            name = f"all of {kind}, {len(own)}"
            table.add_row(name, *(f"{sum(row[v] for row in own):.3f}" for v in values))
    table.add_row("the logit", *(f"{sum(row[v] for row in rows):.3f}" for v in values))
    return table


def paths_table(rows: Sequence[Row], top: int, unit: str) -> Table:
    """The whole effect, the path past all readers, and the ``top`` readers with the largest effect,
    of what is sent to them or taken from them."""
    effects = {"sent": "sent to it", "to_answer": "… straight to the answer",
               "removed": "taken from it"}  # fmt: skip
    table = grid({"reader": "left", **dict.fromkeys(effects.values(), "right")})
    whole, readers = rows[:2], rows[2:]

    def size(row: Row) -> float:
        return max(abs(row[f"{effect}_{unit}"]) for effect in ("sent", "removed"))

    chosen = sorted(readers, key=size, reverse=True)[:top]
    for row in (*whole, *chosen):
        names = [f"{effect}_{unit}" for effect in effects]
        table.add_row(
            escape(row["reader"]), *(interval(row, n, 1, 3) if n in row else "" for n in names)
        )
    return table


def looks_table(rows: Sequence[Row]) -> Table:
    """One row a head: how much it looks at each picture, and at which patch most."""
    names = [name for name in ("without", "with") if name in rows[0]]
    table = grid({"head": "left", "picture": "right"})
    for name in names:
        table.add_column(
            "on patches %" if name == "without" else "with the vector", justify="right"
        )
        table.add_column("most at", justify="left")
    keys = dict.fromkeys((r["head"], r["picture"]) for r in rows if r["latent"] is None)
    for head, picture in keys:
        own = [r for r in rows if (r["head"], r["picture"]) == (head, picture)
               and r["latent"] is None]  # fmt: skip
        cells = []
        for name in names:
            weights = [row.get(name, row["without"]) for row in own]
            most = own[max(range(len(own)), key=weights.__getitem__)]
            cells += [f"{100 * sum(weights):.1f}", f"row {most['row']}, column {most['column']}"]
        table.add_row(head, str(picture), *cells)
    return table


def interval(row: Row, name: str, factor: float, places: int) -> str:
    """A mean with its interval, where it has one."""
    low, high = row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan)
    mean = f"{factor * row[name]:.{places}f}"
    if math.isnan(low):
        return mean
    return f"{mean} [{factor * low:.{places}f}, {factor * high:.{places}f}]"
