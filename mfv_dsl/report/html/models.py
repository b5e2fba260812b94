"""A loaded model: its shape, and what a recipe calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.report.html.elements import facts, title

if TYPE_CHECKING:
    from mfv_dsl.models.base import Backend


def model_html(model: Backend, call: str | None = None) -> str:
    """A model's facts; ``call`` is what constructs it in a recipe."""
    known, place = model.facts, getattr(model, "device", None)
    without = len(known.layers_without_heads)
    values: dict[str, Any] = {
        "in a recipe": call,
        "language model": known.family,
        "layers": f"{known.n_layers}, {without} without heads" if without else known.n_layers,
        "heads of a layer": f"{known.n_heads}, each {known.head_dim} wide",
        "residual stream": f"{known.d_model} wide",
        "parameters": f"{known.parameters:,}" if known.parameters else "",
        "weights": f"{known.weights_as}, about {known.weights / 2**20:,.0f} MiB"
        if known.weights
        else known.weights_as,
        "context": f"{known.context:,} tokens" if known.context else "",
        "device": "" if place is None else str(place),
        "fingerprint": known.fingerprint[:12],
    }
    return title("Model", known.description) + facts(values)
