"""Models behind one protocol.  :func:`load` is the only way a model comes to be."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfv_dsl.lang.diagnostics import MfvError

if TYPE_CHECKING:
    from mfv_dsl.backends.openflamingo import OpenFlamingo

#: constructor -> "module:function" that loads it
LOADERS: Mapping[str, str] = {"tiny": "mfv_dsl.backends.tiny.load:load"}


def load(constructor: str, device: str | None = None, **arguments: Any) -> OpenFlamingo:
    """Load the model that ``constructor(**arguments)`` names in a recipe."""
    if constructor not in LOADERS:
        raise MfvError(
            "MFV7001",
            f"models of the kind `{constructor}` cannot be loaded yet",
            help=f"these can: {', '.join(LOADERS)}",
        )
    module, function = LOADERS[constructor].split(":")
    loaded: OpenFlamingo = getattr(importlib.import_module(module), function)(
        device=device, **arguments
    )
    return loaded
