"""Datasets behind one protocol.  :func:`open_dataset` is the only way one comes to be, and
:func:`read_table` shows what a dataset of files is made of, mistakes included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.base.collecting import uncollected
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.origin import Origin
from mfv_dsl.lang.constructors import constructor_module

if TYPE_CHECKING:
    from mfv_dsl.data.items import Dataset
    from mfv_dsl.data.table import Table


def open_dataset(constructor: str, **arguments: Any) -> Dataset:
    """The dataset that ``constructor(**arguments)`` names in a recipe.

    Args:
        constructor: A name of ``DATASETS`` in ``lang/entries.py``, whose row names the module that
            makes it.
        arguments: As the recipe has them; those left out are at their defaults.

    Raises:
        MfvError: MFV7002 for a constructor that there is not; and what its module raises, for one
            of files everything that is wrong with them.

    >>> open_dataset("scenes", relations=["left"], count=10).items("left", "test")[0].query
    'yellow diamond'
    """
    dataset: Any = constructor_module("dataset", constructor).dataset(**arguments)
    dataset.origin = Origin(constructor, dict(arguments))
    opened: Dataset = dataset
    return opened


def origin_of(dataset: Any) -> Origin | None:
    """What a recipe would call an opened dataset; None of any other object."""
    origin = getattr(dataset, "origin", None)
    return origin if isinstance(origin, Origin) and hasattr(dataset, "items") else None


def facts_of(dataset: Any) -> DatasetFacts:
    """Facts of an opened dataset that has an origin, without reading its files again."""
    origin = dataset.origin
    facts: DatasetFacts = (
        dataset.table.facts
        if hasattr(dataset, "table")
        else constructor_module("dataset", origin.constructor).facts(**origin.arguments)
    )
    return facts


def is_of_files(constructor: str) -> bool:
    """Whether a dataset is made of the user's files, so that :func:`read_table` can read it."""
    return hasattr(constructor_module("dataset", constructor), "read")


@uncollected()
def read_table(constructor: str, **arguments: Any) -> Table:
    """The table behind a dataset of files, with what is wrong with it among its findings.

    Raises:
        MfvError: MFV7106 for a file that cannot be read at all, and where nothing is left.
    """
    table: Table = constructor_module("dataset", constructor).read(**arguments)
    return table
