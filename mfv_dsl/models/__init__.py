"""Models behind one protocol.  :func:`load` is the only way a model comes to be."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError

if TYPE_CHECKING:
    from mfv_dsl.models.openflamingo import OpenFlamingo

#: constructor -> "module:function" that loads it
LOADERS: Mapping[str, str] = {
    "tiny": "mfv_dsl.models.tiny.load:load",
    "openflamingo": "mfv_dsl.models.checkpoints.load:load",
}
#: constructor -> "module:function" that says where its files come from
SOURCES: Mapping[str, str] = {"openflamingo": "mfv_dsl.models.checkpoints.locate:resolved"}


def load(
    constructor: str, device: str | None = None, download: bool = False, **arguments: Any
) -> OpenFlamingo:
    """Load the model that ``constructor(**arguments)`` names in a recipe.

    ``device`` comes before the constructor's own argument; ``download`` lets files that are missing
    be fetched.
    """
    if constructor not in LOADERS:
        raise MfvError(
            "MFV7001",
            f"models of the kind `{constructor}` cannot be loaded yet",
            help=f"these can: {', '.join(LOADERS)}",
        )
    module, function = LOADERS[constructor].split(":")
    if device is not None:
        arguments["device"] = device
    loaded: OpenFlamingo = getattr(importlib.import_module(module), function)(
        download=download, **arguments
    )
    return loaded


def sources(constructor: str, **arguments: Any) -> dict[str, dict[str, str]]:
    """Where the files of ``constructor(**arguments)`` come from, part by part: a ``folder``, or a
    ``repository`` at a ``commit``.  Nothing for a model that comes with mfv-dsl."""
    if constructor not in SOURCES:
        return {}
    module, function = SOURCES[constructor].split(":")
    found: dict[str, dict[str, str]] = getattr(importlib.import_module(module), function)(
        **arguments
    )
    return found
