"""``openflamingo(…)`` by the words of a recipe.  No torch until one is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.models.checkpoints.facts import facts
from mfv_dsl.models.checkpoints.layout import checkpoint_layout
from mfv_dsl.models.checkpoints.locate import locate, resolved

if TYPE_CHECKING:
    from mfv_dsl.models.openflamingo import OpenFlamingo

__all__ = ["facts", "fetch", "load", "sources"]


def fetch(path: str, **_: Any) -> None:
    """Download its files, if they are not on this machine: once, before workers load them."""
    locate(checkpoint_layout(path), download=True)


def load(download: bool = False, **arguments: Any) -> OpenFlamingo:
    """The model ``openflamingo(…)``; :func:`mfv_dsl.models.checkpoints.load.load_checkpoint`."""
    from mfv_dsl.models.checkpoints.load import load_checkpoint

    return load_checkpoint(download=download, **arguments)


def sources(**arguments: Any) -> dict[str, dict[str, str]]:
    """Where each part's files come from: a folder, or a repository at a commit."""
    return resolved(**arguments)
