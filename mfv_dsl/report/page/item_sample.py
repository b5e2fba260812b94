"""Which items a report shows, and how many there are of each kind."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mfv_dsl.report.page.tables import Group, PageTable

if TYPE_CHECKING:
    from mfv_dsl.execute.item_lines import ItemLine
    from mfv_dsl.execute.recorded_run import RecordedRun

#: What became of an item: first without, then with what the eval does.
OUTCOMES = ("wrong → right", "right → wrong", "both right", "both wrong")
_SEED = 0
#: The fields of a condition, and how it says each.
_FIELDS = {"vector": "", "control": "control ", "shots": "shots ", "k": "k ", "layer": "layer ",
           "scale": "scale "}  # fmt: skip
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True)
class ShownItem:
    """An item under one condition: ``run`` and ``eval``, the ``condition`` in words as the filter
    names it, what was settled for its relation, and the options of its question, if it has any."""

    run: str
    line: ItemLine
    condition: str
    settled: str
    dataset: str
    options: str

    @property
    def outcome(self) -> int:
        """The place of what became of it among :data:`OUTCOMES`."""
        before, after = self.line.correct_unedited, self.line.correct
        return (3, 0, 1, 2)[2 * before + after]


def all_items(runs: Sequence[RecordedRun]) -> list[ShownItem]:
    """Every item under every condition that the runs keep, with the conditions' names."""
    shown = []
    for run in runs:
        words = condition_words(run)
        for line in run.items or ():
            chosen = [name for name in run.choose.get(line.eval, ()) if getattr(line, name, "")]
            shown.append(
                ShownItem(
                    run.name, line, words(line),
                    ", ".join(_FIELDS[name] + getattr(line, name) for name in chosen),
                    run.dataset_of(line), run.options_of(line),
                )
            )  # fmt: skip
    return shown


def condition_words(run: RecordedRun) -> Callable[[ItemLine], str]:
    """How the eval of a line writes, where that is not as usual, and what tells its condition from
    others of the eval, in words."""
    varying, written = _varying(run), _written(run)

    def words(line: ItemLine) -> str:
        own = _words(run.settled(line), varying[line.eval])
        return "; ".join(filter(None, (written.get(line.eval), own)))

    return words


def _written(run: RecordedRun) -> dict[str, str]:
    """By eval how it writes, where all its conditions do so alike; what is swept is said anyway."""
    found: dict[str, set[str]] = {}
    for row in run.results.rows:
        found.setdefault(row.eval, set()).add(row.written)
    return {name: next(iter(texts)) for name, texts in found.items() if len(texts) == 1}


def _varying(run: RecordedRun) -> dict[str, list[str]]:
    """By eval the fields of which its conditions have several values, sweeps last."""
    values: dict[str, dict[str, set[str]]] = {}
    for line in run.items or ():
        alike = run.settled(line)
        seen = values.setdefault(line.eval, {})
        for name in _FIELDS:
            seen.setdefault(name, set()).add(getattr(alike, name))
        for name, value in alike.axes:
            seen.setdefault(f"={name}", set()).add(value)
    return {
        name: [field for field, texts in seen.items() if len(texts) > 1]
        for name, seen in values.items()
    }


def _words(line: ItemLine, varying: Sequence[str]) -> str:
    """What a line has in the fields that vary."""
    axes = dict(line.axes)
    parts = ["the real thing"] if "control" in varying and not line.control else []
    for name in varying:
        is_sweep = name.startswith("=")
        value = axes.get(name[1:], "") if is_sweep else getattr(line, name)
        if value:
            parts.append(f"{name[1:]} {value}" if is_sweep else f"{_FIELDS[name]}{value}")
    return ", ".join(parts)


def sampled(items: Sequence[ShownItem], most: int | None) -> list[ShownItem]:
    """At most ``most`` items (None for all), in their order: as many of every eval, relation and
    outcome as can be, within these of every condition.  Of a relation the same items are taken
    under all evals, as far as they have the outcome."""
    if most is None or len(items) <= most:
        return list(items)
    pools: dict[tuple[str, str, str, int], dict[str, list[int]]] = {}
    for number, item in enumerate(items):
        line = item.line
        pool = pools.setdefault((item.run, line.eval, line.relation, item.outcome), {})
        pool.setdefault(item.condition, []).append(number)

    def place(number: int) -> int:
        return zlib.crc32(repr((_SEED, items[number].line.item)).encode())

    orders = [
        list(_in_turn([sorted(numbers, key=place) for numbers in pool.values()]))
        for pool in pools.values()
    ]
    kept = list(_in_turn(orders))[:most]
    return [items[number] for number in sorted(kept)]


def _in_turn(lists: Sequence[Sequence[Value]]) -> Iterable[Value]:
    """The first of each list, then the second of each, and so on."""
    for turn in range(max(map(len, lists), default=0)):
        for one in lists:
            if turn < len(one):
                yield one[turn]


def counts(items: Iterable[ShownItem]) -> dict[tuple[str, str, str, str], list[int]]:
    """By run, eval, condition and relation, how many items had each of the outcomes."""
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for item in items:
        key = item.run, item.line.eval, item.condition, item.line.relation
        found.setdefault(key, [0] * len(OUTCOMES))[item.outcome] += 1
    return found


def outcomes_table(
    found: Mapping[tuple[str, str, str, str], Sequence[int]], several_runs: bool
) -> PageTable:
    """How many items went from wrong to right and so on, without and with what the eval does."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for (run, name, condition, relation), numbers in found.items():
        title = f"{run}: {name}" if several_runs else name
        row = (relation, condition, *(f"{n:,}" for n in numbers), f"{sum(numbers):,}")
        groups.setdefault(title, []).append(row)
    columns = ("relation", "condition", *OUTCOMES, "items")
    caption = "Items: answers of the unedited model → answers under the eval"
    words = tuple(name in columns[:2] for name in columns)
    shown = tuple(Group(tuple(rows), title) for title, rows in groups.items())
    return PageTable(caption, columns, words, shown).without_empty()
