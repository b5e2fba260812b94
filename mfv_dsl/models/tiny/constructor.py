"""``tiny()``: the bundled model by the words of a recipe.  No torch until it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.tiny.facts import WEIGHTS, folder_facts

if TYPE_CHECKING:
    from mfv_dsl.models.openflamingo import OpenFlamingo


def facts() -> ModelFacts:
    """Facts of ``tiny()``."""
    return folder_facts(WEIGHTS)


def load(device: Any = None, download: bool = False) -> OpenFlamingo:
    """The model ``tiny()``.  There is nothing to ``download``: the weights come with mfv-dsl."""
    from mfv_dsl.models.tiny.load import load_folder

    return load_folder(WEIGHTS, device)


def sources() -> dict[str, dict[str, str]]:
    """Its files come with mfv-dsl."""
    return {}
