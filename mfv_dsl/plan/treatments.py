"""What the conditions of one evaluation write into the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Treatment:
    """What is written under some conditions of an evaluation: the control it belongs to (empty for
    the real thing), its vector's place in the eval's list, and the number of heads, where that is
    swept."""

    control: str = ""
    vector: int = 0
    k: int | None = None

    @property
    def ablated(self) -> str:
        """The name of the input that holds the heads that are taken away beside it:
        ``ablated``, ``ablated, k = 5``."""
        return "ablated" if self.k is None else f"ablated, k = {self.k}"

    @property
    def name(self) -> str:
        """The name of the evaluation's input that it is: ``real``, ``real[1]``,
        ``random_heads, k = 5``."""
        place = f"[{self.vector}]" if self.vector else ""
        heads = "" if self.k is None else f", k = {self.k}"
        return f"{self.control or 'real'}{place}{heads}"


def treatments(parameters: Mapping[str, Any]) -> list[Treatment]:
    """The treatments of an evaluation with these parameters, the real ones first.

    >>> [t.name for t in treatments({"ks": (5, 10), "controls": ("random_heads",)})]
    ['real, k = 5', 'real, k = 10', 'random_heads, k = 5', 'random_heads, k = 10']
    """
    return [
        Treatment(control, vector, k)
        for control in ("", *parameters.get("controls", ()))
        for vector in range(parameters.get("vectors", 1))
        for k in parameters.get("ks") or (None,)
    ]
