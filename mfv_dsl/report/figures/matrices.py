"""Square tables: what was answered for which relation, and how alike vectors are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from mfv_dsl.base.columns import OTHER, free_name
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.numbers import decimals
from mfv_dsl.report.figures.conditions import Row, called, without_draws
from mfv_dsl.report.figures.heat_maps import Scale, heat_map, only_finite, write_numbers
from mfv_dsl.report.figures.lettering import fitting, inches_of, letters_in, longest
from mfv_dsl.report.figures.style import (
    COLUMN,
    DIVERGING,
    PALE,
    SEQUENTIAL,
    Drawing,
    finish,
    new_figure,
    styled,
)

_MOST_PANELS = 24
_LEAST_LABELLED = 0.08  # inches of a column under which a name can stand
#: The names of a panel's rows, and the values (rows, answers).
_Panel: TypeAlias = tuple[list[str], np.ndarray]


def confusion_figure(
    rows: Sequence[Row], width: float = COLUMN
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """How many items in per cent of each relation got an answer that is right for which relation,
    a panel for each condition.

    Args:
        rows: Rows of ``confusion.csv`` by column: ``answered`` None for no relation's object.
        width: Inches.

    Raises:
        MfvError: MFV6130 without rows, MFV6132 for more conditions than a figure can hold.
    """
    kept = [
        row for row in without_draws(rows)
        if row.get("relation") is not None and row.get("share") is not None
    ]  # fmt: skip
    if not kept:
        raise MfvError("MFV6130", "there are no answers to draw", help="`mfv table` shows the rows")
    asked = list(dict.fromkeys(row["relation"] for row in kept))
    objects = list(dict.fromkeys(row["answered"] for row in kept if row["answered"] is not None))
    other = free_name(OTHER, {*asked, *objects})
    answers = [*sorted(objects, key=lambda name: _rank(name, asked)), other]
    panels: dict[str, dict[tuple[str, str], float]] = {}
    for name, row in zip(_conditions(kept), kept, strict=True):
        answered = other if row["answered"] is None else row["answered"]
        panels.setdefault(name, {})[row["relation"], answered] = row["share"]
    if len(panels) > _MOST_PANELS:
        raise MfvError(
            "MFV6132", f"{len(panels)} conditions are too many for one figure",
            help="choose some by --eval, --relation or --where",
        )  # fmt: skip
    arrays = {}
    for name, shares in panels.items():
        own = [relation for relation in asked if any(r == relation for r, _ in shares)]
        values = [[shares.get((r, answer), np.nan) for answer in answers] for r in own]
        arrays[name] = own, only_finite(100 * np.array(values, dtype=float))
    return _confusions(_gathered(arrays), answers, width)


def _gathered(panels: Mapping[str, _Panel]) -> dict[str, _Panel]:
    """Panels of one relation together in one, whose rows are the conditions, if there are some."""
    single = {name: panel for name, panel in panels.items() if len(panel[0]) == 1}
    if len(single) < 2:
        return dict(panels)
    relations = {relation for (relation,), _ in single.values()}
    title = next(iter(relations)) if len(relations) == 1 else ""
    names = [
        name if title or name.endswith(relation) else f"{name}: {relation}"
        for name, ((relation,), _) in single.items()
    ]
    rows = np.concatenate([values for _, values in single.values()])
    others = {name: panel for name, panel in panels.items() if name not in single}
    return {**others, title: (names, rows)}


def _conditions(rows: Sequence[Row]) -> list[str]:
    """The condition of each row: what an eval chose for a relation is no other condition."""
    chosen = {
        (row.get("run"), row["eval"], field)
        for row in rows
        for field in ("layer", "scale", "k", "vector")
        if _is_settled(rows, row, field)
    }
    plain = [
        {**row, **{f: None for f in ("layer", "scale", "k", "vector")
                   if (row.get("run"), row["eval"], f) in chosen}}
        for row in rows
    ]  # fmt: skip
    return called(plain)


def _is_settled(rows: Sequence[Row], row: Row, field: str) -> bool:
    """Whether no relation of an eval has several values of a field, though relations differ."""
    same = [r for r in rows if r["eval"] == row["eval"] and r.get("run") == row.get("run")]
    by_relation: dict[Any, set[str]] = {}
    for one in same:
        by_relation.setdefault(one["relation"], set()).add(str(one.get(field)))
    return all(len(values) == 1 for values in by_relation.values())


def _rank(name: str, asked: Sequence[str]) -> int:
    return asked.index(name) if name in asked else len(asked)


def _confusions(
    panels: Mapping[str, _Panel], answers: Sequence[str], width: float
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    names = [name for rows, _ in panels.values() for name in rows]
    aside = inches_of(longest(fitting(names, 14)), 7) + 0.35
    least = 0.2 * len(answers)
    across = max(1, min(len(panels), int((width - 0.5) / (least + aside))))
    down = ceil(len(panels) / across)
    side = (width - 0.5) / across - aside
    cell = side / len(answers)
    heights = []
    for line in range(down):
        part = list(panels.values())[line * across : (line + 1) * across]
        in_lines = any("\n" in name for rows, _ in part for name in fitting(rows, 14))
        least = 0.23 if in_lines else 0.16
        heights.append(max(len(rows) for rows, _ in part) * min(max(cell, least), 0.32))
    foot = 0.75 * inches_of(longest(fitting(answers, 14)), 7) + 0.15
    scale = Scale(SEQUENTIAL, 0, 100)
    with styled():
        figure = new_figure(width, sum(heights) + down * 0.27 + foot + 0.2)
        grid = figure.subplots(down, across, squeeze=False, height_ratios=heights)
        axes = grid.ravel()
        titles = fitting(list(panels), letters_in(side, 8), 3)
        for place, (panel, title, (rows, values)) in enumerate(
            zip(axes, titles, panels.values(), strict=False)
        ):
            image = heat_map(panel, values, fitting(rows, 14), (), scale)
            is_last = place + across >= len(panels)
            names = fitting(answers, 14) if is_last else [""] * len(answers)
            panel.set_xticks(
                range(len(answers)), names, rotation=45, ha="right", rotation_mode="anchor"
            )
            panel.set_title(title, pad=3)
            if cell >= 0.17:
                texts = [[f"{v:.0f}" for v in row] for row in np.nan_to_num(values)]
                write_numbers(panel, values, texts, scale, 5.5)
            if place % across == 0:
                panel.set_ylabel("asked", labelpad=2)
            if is_last:
                panel.set_xlabel("answered", labelpad=2)
        for panel in axes[len(panels) :]:
            panel.remove()
        shrink = min(1.0, 2.6 / figure.get_figheight())
        bar = figure.colorbar(
            image, ax=list(axes[: len(panels)]), aspect=25, pad=0.03, shrink=shrink, anchor=(0, 1)
        )
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=2)
        bar.set_label("items (%)")
        finish(figure, list(axes[: len(panels)]), 0.6 * min(heights), down)
    return figure, axes[: len(panels)]


def similarity_figure(
    names: Sequence[str], cosines: np.ndarray, width: float = COLUMN, cluster: bool = True
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """The cosine of every two vectors; like ones stand together, under the tree that joins them
    (mean linkage of 1 - cosine, in the order in which neighbours are most alike).

    Args:
        names: The vectors.
        cosines: Their cosines, (n, n); NaN (grey) with a vector that is zero, which comes last.
        width: Inches.
        cluster: Whether they are put into order; else they stay in theirs.

    Returns:
        The figure, and its axes: the heat map, and the tree if there is one.
    """
    cosines = only_finite(cosines)
    has_direction = np.isfinite(cosines.diagonal())
    directed = [int(i) for i in np.flatnonzero(has_direction)]
    tree = None
    if cluster and len(directed) > 2:
        distances = 1 - np.clip(np.nan_to_num(cosines[np.ix_(directed, directed)]), -1, 1)
        distances = (distances + distances.T) / 2
        np.fill_diagonal(distances, 0)
        joined = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
        tree = dendrogram(joined, no_plot=True)
        directed = [directed[leaf] for leaf in tree["leaves"]]
    order = [*directed, *(int(i) for i in np.flatnonzero(~has_direction))]
    values = cosines[np.ix_(order, order)]
    letters = 22 if width > 5 else 15
    lines = 2 if (width - 1.5) / len(order) >= 0.22 else 1  # of which the cells are high enough
    letters = letters if lines == 2 else letters + 5  # smaller ones, there is room for more
    shown = fitting([names[i] for i in order], letters, lines)
    aside = inches_of(longest(shown), 7)
    side = max(width - aside - 0.65, 0.9)
    cell = side / len(order)
    scale = Scale(DIVERGING, -1.0, 1.0)
    is_dense = cell < _LEAST_LABELLED  # the names stand on the left alone
    high = min(max(side, 0.075 * len(order)), 9.0, 0.6 * len(order))
    size = max(1.5, min(7.0, 60 * high / len(order)))
    with styled():
        above = 0.35 if tree is not None else 0.02
        figure = new_figure(width, high + above + (0.1 if is_dense else aside) + 0.2)
        if tree is not None:
            grid = figure.subplots(
                2, 1, height_ratios=(above, high), sharex=False, gridspec_kw={"hspace": 0}
            )
            top, panel = grid
            _draw_tree(top, tree, len(order))
            axes = np.array([panel, top], dtype=object)
        else:
            panel = figure.subplots()
            axes = np.array([panel], dtype=object)
        image = heat_map(panel, values, shown, () if is_dense else shown, scale)
        panel.tick_params(axis="x", rotation=90, labelsize=size)
        panel.tick_params(axis="y", labelsize=size)
        if cell >= 0.24:
            texts = [[decimals(value) for value in row] for row in np.nan_to_num(values)]
            write_numbers(panel, values, texts, scale, 5.5)
        bar = figure.colorbar(image, ax=list(axes), aspect=25, pad=0.03, shrink=0.7)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=2)
        bar.set_label("cosine")
        finish(figure, [panel], 0.7 * high)
    return figure, axes


def _draw_tree(panel: Axes, tree: Mapping[str, Any], columns: int) -> None:
    """The tree over the heat map: leaf i stands over column i."""
    for x, height in zip(tree["icoord"], tree["dcoord"], strict=True):
        panel.plot([(place - 5) / 10 for place in x], height, color=PALE, linewidth=0.7)
    panel.set_xlim(-0.5, columns - 0.5)
    panel.set_ylim(bottom=0)
    panel.set_axis_off()
