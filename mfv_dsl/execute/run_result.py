"""What a run gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import kind_of, names, short
from mfv_dsl.plan.steps import Plan

if TYPE_CHECKING:
    from mfv_dsl.base.table_text import TextTable
    from mfv_dsl.execute.rows import ReportedNumber, ResultRow, Results, TuningRow


class StoredValues(Mapping[str, Any]):
    """Values of finished steps by key, each read from the store when it is first asked for;
    ``shown`` makes of a value what is given."""

    def __init__(
        self, operations: Mapping[str, str], home: str, shown: Callable[[Any], Any] | None = None
    ) -> None:
        self._home = home if "://" in home else str(Path(home).absolute())
        self._operations, self._shown = dict(operations), shown
        self._read: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._read:
            from mfv_dsl.execute.store import store_at

            value = store_at(self._home).get(key, self._operations[key])
            self._read[key] = value if self._shown is None else self._shown(value)
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def shown_as(self, shown: Callable[[Any], Any]) -> StoredValues:
        """The same values as ``shown`` makes them."""
        return StoredValues(self._operations, self._home, shown)


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a run gave: its plan, its results, its folder, the files that ``save`` wrote, every
    step's value by key, how many steps were found in the store, by key why steps have no value, and
    why folders of ``save`` were not written."""

    plan: Plan
    results: Results
    folder: Path
    saved: list[Path]
    seconds: float
    values: Mapping[str, Any]
    cached: int = 0  # steps that were found in the store
    failures: dict[str, MfvError] = field(default_factory=dict)
    unsaved: list[MfvError] = field(default_factory=list)

    def __repr__(self) -> str:
        evals = names(dict.fromkeys(row.eval for row in self.rows))
        parts = [
            f"{len(self.rows)} rows" + (f" of {evals}" if evals else ""),
            f"{len(self.tunes)} trainings" if self.tunes else "",
            f"{len(self.numbers)} numbers" if self.numbers else "",
            f"{len(self.saved)} vectors saved" if self.saved else "",
            f"{len(self.notes)} notes" if self.notes else "",
            f"{len(self.failures)} steps failed" if self.failures else "",
            f"in {short(self.folder)}, {self.seconds:.0f} s",
        ]
        return f"{kind_of(self)}({', '.join(filter(None, parts))})"

    @property
    def rows(self) -> list[ResultRow]:
        """A row for every condition of every eval, in the order of the recipe."""
        return self.results.rows

    @property
    def failed(self) -> bool:
        """Whether something that the recipe asks for failed."""
        return bool(self.failures or self.unsaved) or any(row.error for row in self.rows)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """What was tried to settle ``choose``, and what was chosen."""
        return self.results.choices

    @property
    def weights(self) -> list[dict[str, Any]]:
        """The mean weights of blends' candidates."""
        return self.results.weights

    @property
    def notes(self) -> list[str]:
        """What must be said beside the rows."""
        return [note["text"] for note in self.results.notes]

    @property
    def tunes(self) -> list[TuningRow]:
        """A row for every vector that was trained."""
        return self.results.tunes

    @property
    def numbers(self) -> list[ReportedNumber]:
        """The numbers of its reports."""
        return self.results.numbers

    def table(
        self,
        rows: Sequence[str] | str | None = None,
        cols: Sequence[str] | str | None = None,
        value: Sequence[str] | str | None = None,
        **options: Any,
    ) -> TextTable:
        """The results as a table of rows and columns: ``result.table("eval", "layer",
        "difference", where={"relation": "all"}).markdown()``; the options are those of
        :func:`mfv_dsl.execute.records.table`."""
        from mfv_dsl.execute.records import table

        return table([self.folder], rows, cols, value, **options)

    def to_json(self) -> dict[str, Any]:
        """Rows, choices, weights, trainings, notes, numbers and places as plain data."""
        return {
            **self.results.to_json(),
            "folder": str(self.folder),
            "saved": [str(path) for path in self.saved],
            "seconds": round(self.seconds, 2),
        }
