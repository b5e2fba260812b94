"""Datasets behind one protocol.  :func:`open_dataset` is the only way one comes to be, and
:func:`read_table` shows what a dataset of files is made of, mistakes included."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError

if TYPE_CHECKING:
    from mfv_dsl.data.items import Dataset
    from mfv_dsl.data.table import Table

#: constructor -> the module that reads it, with `read`, `facts` and `dataset`
FILES: Mapping[str, str] = {
    "metadata_csv": "mfv_dsl.data.metadata",
    "gqa": "mfv_dsl.data.gqa",
    "pairs": "mfv_dsl.data.pairs",
    "hf_dataset": "mfv_dsl.data.hub",
}
#: constructor -> the module that reads or draws it, with `facts` and `dataset`
READERS: Mapping[str, str] = {"scenes": "mfv_dsl.data.scenes", **FILES}


def open_dataset(constructor: str, **arguments: Any) -> Dataset:
    """The dataset that ``constructor(**arguments)`` names in a recipe."""
    if constructor not in READERS:
        raise MfvError(
            "MFV7002",
            f"datasets of the kind `{constructor}` cannot be read yet",
            help=f"these can: {', '.join(READERS)}",
        )
    opened: Dataset = importlib.import_module(READERS[constructor]).dataset(**arguments)
    return opened


def read_table(constructor: str, **arguments: Any) -> Table:
    """The table behind a dataset of files, with what is wrong with it."""
    table: Table = importlib.import_module(FILES[constructor]).read(**arguments)
    return table
