"""How vectors were trained, epoch by epoch, and how long they are beside the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.report.figures.conditions import Row, is_number
from mfv_dsl.report.figures.curves import Curve, curves_figure
from mfv_dsl.report.figures.style import COLUMN, Drawing

#: What epochs hold: column -> what it is called, and its factor.
VALUES = {
    "accuracy": ("accuracy (%)", 100.0),
    "nll": ("NLL (nats)", 1.0),
    "loss": ("training loss", 1.0),
    "norm": ("length", 1.0),
    "off_task_kl": ("off-task KL (nats)", 1.0),
}
_OF_EPOCHS = (
    "run",
    "tune",
    "relation",
    "variable",
    "layer",
    "step",
    "n",
    "epoch",
    "chosen",
    *VALUES,
)
_MOST_CURVES = 40


def tuning_figure(
    rows: Sequence[Row], values: Sequence[str] = ("accuracy", "nll", "norm"), width: float = COLUMN
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """What was measured after every epoch, on validation prompts; a star is the epoch that was
    chosen.

    Args:
        rows: Rows of ``epochs.csv`` by column.
        values: Keys of :data:`VALUES`, a panel each.
        width: Inches.

    Raises:
        MfvError: MFV6131 for a value that epochs do not have, MFV6132 for more trainings than a
            figure can hold.
    """
    for value in values:
        if value not in VALUES:
            raise MfvError(
                "MFV6131", f"epochs have no value `{value}`",
                help=did_you_mean(value, VALUES, f"they have: {', '.join(VALUES)}"),
            )  # fmt: skip
    trainings: dict[str, list[Row]] = {}
    for name, row in zip(_trainings(rows), rows, strict=True):
        trainings.setdefault(name, []).append(row)
    if len(trainings) > _MOST_CURVES:
        raise MfvError(
            "MFV6132", f"{len(trainings)} trainings are too many for one figure",
            help="choose some by --relation or --where",
        )  # fmt: skip
    panels = {
        VALUES[value][0]: [_curve(name, epochs, value) for name, epochs in trainings.items()]
        for value in values
    }
    untitled = {" " * place: curves for place, curves in enumerate(panels.values())}
    return curves_figure(
        untitled, "epoch", list(panels), width, note="Stars: the epochs that were chosen.",
        share_y=False,
    )  # fmt: skip


def _trainings(rows: Sequence[Row]) -> list[str]:
    """What tells trainings apart: their tune, relation and sweeps, where there are several."""
    swept = dict.fromkeys(name for row in rows for name in row if name not in _OF_EPOCHS)
    fields = ("run", "tune", "relation", "variable", "layer", *swept)
    apart = [name for name in fields if len({str(row.get(name)) for row in rows}) > 1]
    plain = ("run", "tune", "relation", "variable")
    return [
        ", ".join(
            str(row[name]) if name in plain else f"{name} {row[name]}"
            for name in apart or ["tune"]
            if row.get(name) not in (None, "")
        )
        for row in rows
    ]


def _curve(name: str, epochs: Sequence[Row], value: str) -> Curve:
    factor = VALUES[value][1]
    kept = [row for row in epochs if is_number(row.get(value))]
    marked = [place for place, row in enumerate(kept) if row["chosen"] in (True, "True")]
    return Curve(
        name, [row["epoch"] for row in kept], [factor * row[value] for row in kept], marked=marked
    )


def norms_figure(
    rows: Sequence[Row], width: float = COLUMN
) -> tuple[Drawing, np.ndarray[Any, Any]]:
    """How long what each layer's heads give to a vector is.

    Args:
        rows: Rows of ``norms.csv`` by column: ``vector``, ``layer``, ``norm``.
        width: Inches.
    """
    several = len({row.get("run") for row in rows}) > 1
    vectors: dict[str, list[Row]] = {}
    for row in rows:
        name = f"{row['run']}, {row['vector']}" if several else row["vector"]
        vectors.setdefault(name, []).append(row)
    if len(vectors) > _MOST_CURVES:
        raise MfvError(
            "MFV6132", f"{len(vectors)} vectors are too many for one figure",
            help="choose some by --where vector=NAME",
        )  # fmt: skip
    curves = [
        Curve(name, [row["layer"] for row in own], [row["norm"] for row in own])
        for name, own in vectors.items()
    ]
    return curves_figure({"": curves}, "layer", "length of the layer's part", width, (0, None))


def stream_figure(
    layers: Sequence[int], stream: Sequence[float], deviation: Sequence[float], norm: float,
    vector: str, width: float = COLUMN,
) -> tuple[Drawing, np.ndarray[Any, Any]]:  # fmt: skip
    """The length of the residual stream by layer, with its standard deviation over prompts as a
    band, and the vector's length as a line."""
    low = [mean - sd for mean, sd in zip(stream, deviation, strict=True)]
    high = [mean + sd for mean, sd in zip(stream, deviation, strict=True)]
    curves = [
        Curve("residual stream (± sd over prompts)", list(layers), list(stream), low, high),
        Curve(vector, (), [norm]),
    ]
    return curves_figure({"": curves}, "layer", "length", width, (0, None))
