"""The results of all variants as one: rows with a column for everything that varied, and means over
seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.columns import MEAN
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.notes import comparison_notes
from mfv_dsl.execute.results import Variant as Measured
from mfv_dsl.execute.results import result_rows, rows_over_variants
from mfv_dsl.execute.rows import ResultRow, Results
from mfv_dsl.sweeping.overs import Over
from mfv_dsl.sweeping.variants import Variant


@dataclass(frozen=True)
class Outcome:
    """What became of one variant: its results, or why there are none; ``values`` and ``failures``
    are those of its steps by key."""

    variant: Variant
    folder: Path
    results: Results | None = None
    error: MfvError | None = None
    saved: tuple[Path, ...] = ()
    unsaved: tuple[MfvError, ...] = ()
    seconds: float = 0.0
    cached: int = 0
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    failures: Mapping[str, MfvError] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether something that it asks for failed."""
        rows = self.results.rows if self.results is not None else ()
        return self.error is not None or bool(
            self.failures or self.unsaved or any(row.error for row in rows)
        )


def joined(outcomes: Sequence[Outcome], overs: Sequence[Over]) -> Results:
    """The results of all variants, in their order; the values in which they differ stand among the
    axes of each row, as those of sweeps do.  Behind those that differ in seeds alone come the rows
    of means over these."""
    rows: list[ResultRow] = []
    choices: list[dict[str, Any]] = []
    weights: list[dict[str, Any]] = []
    tunes, linearised, numbers, notes = [], [], [], list[dict[str, str]]()
    for group in _alike_but_for_seeds(outcomes, overs):
        for outcome in group:
            own, values = _results(outcome), outcome.variant.values
            rows += [replace(row, axes=_both(values, row.axes)) for row in own.rows]
            choices += [_with_axes(choice, values) for choice in own.choices]
            weights += [_with_axes(row, values) for row in own.weights]
            tunes += [replace(row, axes=_both(values, row.axes)) for row in own.tunes]
            numbers += [replace(row, axes=_both(values, row.axes)) for row in own.numbers]
            linearised += [_with_axes(row, values) for row in own.linearised]
        if len(group) > 1:
            mean_rows = rows_over_variants([_measured(outcome) for outcome in group])
            rows += mean_rows
            notes += [
                {**note, "text": f"{_alike(group[0])}{note['text']}"}
                for note in comparison_notes(mean_rows)
            ]
    docs = outcomes[0].variant.plan.docs
    return Results(
        rows, choices, weights, tunes, [*_notes(outcomes), *notes], linearised, numbers, dict(docs)
    )


def means(rows: Iterable[ResultRow], overs: Sequence[Over]) -> list[ResultRow]:
    """Those of the rows that are means over seeds which the sweep varies."""
    seeds = {over.name for over in overs if over.is_seed and len(over.values) > 1}
    return [row for row in rows if any(row.axes.get(name) == MEAN for name in seeds)]


def metrics_of(outcomes: Sequence[Outcome]) -> dict[str, tuple[str, ...]]:
    """What each eval reports, in any of the variants."""
    metrics: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        for name, own in outcome.variant.plan.metrics.items():
            metrics.setdefault(name, {}).update(dict.fromkeys(own))
    return {name: tuple(own) for name, own in metrics.items()}


def _alike_but_for_seeds(outcomes: Sequence[Outcome], overs: Sequence[Over]) -> list[list[Outcome]]:
    """The outcomes, those together that differ in seeds alone."""
    places = [number for number, over in enumerate(overs) if not over.is_seed]
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        key = tuple(outcome.variant.axes[place].value for place in places)
        groups.setdefault(key, []).append(outcome)
    if any(over.is_seed for over in overs):
        return list(groups.values())
    return [[outcome] for outcome in outcomes]


def _alike(outcome: Outcome) -> str:
    """What variants that differ in seeds alone have in common, in words."""
    values = [f"{a.name}={a.value}" for a in outcome.variant.axes if not a.is_seed]
    return f"{', '.join(values)}: " if values else ""


def _results(outcome: Outcome) -> Results:
    """Its results; of a variant that failed as a whole, rows that say so."""
    if outcome.results is not None:
        return outcome.results
    rows = result_rows(outcome.variant.plan, {}, _failures(outcome))
    return Results(rows, [], [], [], [])


def _measured(outcome: Outcome) -> Measured:
    values = outcome.values if outcome.results is not None else {}
    return Measured(outcome.variant.axes, outcome.variant.plan, values, _failures(outcome))


def _failures(outcome: Outcome) -> Mapping[str, MfvError]:
    if outcome.error is None:
        return outcome.failures
    return dict.fromkeys((step.key for step in outcome.variant.plan.steps), outcome.error)


def _both(values: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, **{name: value for name, value in axes.items() if name not in values}}


def _with_axes(row: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of plain data with the values of its variant among its axes."""
    return {**row, "axes": _both(values, row.get("axes", {}))}


def _notes(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """The notes of all variants, each once, with the variants that it is of unless of all."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for outcome in outcomes:
        name = outcome.variant.text
        for note in outcome.results.notes if outcome.results is not None else ():
            found.setdefault(tuple(note.items()), []).append(name)
        if outcome.error is not None:
            text = f"nothing came of {name}. {outcome.error.code}: {outcome.error.message}."
            found.setdefault((("eval", "sweep"), ("text", text)), []).extend([name] * len(outcomes))
    notes = []
    for items, names in found.items():
        note = dict(items)
        if len(names) < len(outcomes):
            others = f" and {len(names) - 1} others" if names[1:] else ""
            note["text"] = f"{names[0]}{others}: {note['text']}"
        notes.append(note)
    return notes
