"""Scores of all heads on all relations as one array with names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.execute.rankings import Ranking, rankings

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False, eq=False)
class Effects(Short):
    """Scores of heads, ``values`` (layers, heads, relations), NaN where there is no head; the
    numbers of the layers and heads, and the relations' names; ``by`` says what they are, such as
    ``aie``.

    ``effects["left"]`` is that of one relation, (layers, heads); numpy takes the whole as an array.

    >>> effects = Effects(np.zeros((2, 3, 1)), (4, 5), (0, 1, 2), ("left",))
    >>> effects["left"].shape, np.asarray(effects).shape
    ((2, 3), (2, 3, 1))
    """

    values: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    by: str = "aie"

    def __getitem__(self, relation: str) -> np.ndarray:
        if relation not in self.relations:
            there = f"there are: {', '.join(self.relations)}"
            raise MfvError(
                "MFV6131", f"there is no relation `{relation}` among the effects",
                help=did_you_mean(relation, self.relations, there),
            )  # fmt: skip
        found: np.ndarray = self.values[:, :, self.relations.index(relation)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.asarray(self.values, dtype=dtype)
        return array.copy() if copy else array

    @property
    def mean(self) -> np.ndarray:
        """The mean over relations, (layers, heads)."""
        mean: np.ndarray = self.values.mean(axis=2)
        return mean

    def to_pandas(self) -> pandas.Series:
        """A series with the index (layer, head, relation).  Raises MfvError (MFV6134) without
        pandas."""
        from mfv_dsl.report.frames import pandas_library

        pandas = pandas_library()
        index = pandas.MultiIndex.from_product(
            [self.layers, self.heads, self.relations], names=["layer", "head", "relation"]
        )
        return pandas.Series(self.values.reshape(-1), index=index, name=self.by)


def effects_of(
    lines: Iterable[Mapping[str, Any]], value: str = "score"
) -> dict[str, Effects]:  # fmt: skip
    """Lines of ``heads.csv`` as arrays, one for each run and way of ranking, by what tells these
    apart (empty where there is one)."""
    return {one.title: ranking_effects(one, value) for one in rankings(lines)}


def ranking_effects(ranking: Ranking, value: str = "score") -> Effects:
    """The scores of one way of ranking, or ``low``, ``high``, ``p``, ``accuracy_change``."""
    rows = ranking.lines
    layers, heads = (tuple(sorted({row[name] for row in rows})) for name in ("layer", "head"))
    relations = ranking.relations
    values = np.full((len(layers), len(heads), len(relations)), np.nan)
    at_layer, at_head, at = (
        {name: place for place, name in enumerate(names)} for names in (layers, heads, relations)
    )
    for row in rows:
        if (score := row.get(value)) is not None:
            values[at_layer[row["layer"]], at_head[row["head"]], at[row["relation"]]] = score
    return Effects(values, layers, heads, relations, rows[0]["by"])
