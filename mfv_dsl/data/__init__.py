"""Datasets behind one protocol.  :func:`open_dataset` is the only way one comes to be."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfv_dsl.lang.diagnostics import MfvError

if TYPE_CHECKING:
    from mfv_dsl.data.items import Dataset

#: constructor -> "module:class" that reads or draws it
READERS: Mapping[str, str] = {"scenes": "mfv_dsl.data.scenes:Scenes"}


def open_dataset(constructor: str, **arguments: Any) -> Dataset:
    """The dataset that ``constructor(**arguments)`` names in a recipe."""
    if constructor not in READERS:
        raise MfvError(
            "MFV7002",
            f"datasets of the kind `{constructor}` cannot be read yet",
            help=f"these can: {', '.join(READERS)}",
        )
    module, name = READERS[constructor].split(":")
    opened: Dataset = getattr(importlib.import_module(module), name)(**arguments)
    return opened
