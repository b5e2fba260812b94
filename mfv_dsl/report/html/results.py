"""What a run gave, as tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.columns import RESULT_COLUMNS
from mfv_dsl.plan.explain import doc_lines
from mfv_dsl.report.columns import confusion_columns, result_columns
from mfv_dsl.report.html.elements import MOST_ROWS, counted, of_rich, remark, table, title

if TYPE_CHECKING:
    from mfv_dsl.execute.rows import Results
    from mfv_dsl.execute.run_result import RunResult

_WORDS = tuple(name for name, column in RESULT_COLUMNS.items() if column.words)


def result_html(result: RunResult) -> str:
    """What a run gave, and how it went: rows and other tables, the first lines of each; notes,
    saved files and failures."""
    seconds = f"{result.seconds:.0f} s" if result.seconds >= 1 else "less than a second"
    store = f", {result.cached:,} steps from the store" if result.cached else ""
    more = f"{counted(len(result.rows), 'row')} in {result.folder}, {seconds}{store}"
    lines = [title("Result", more), *_tables(result.results, result.plan.metrics)]
    lines += _some([f"saved {path}" for path in result.saved], "files", "`result.saved` has all")
    lines += _failures(result)
    return "".join(lines)


def run_html(folder: Path, results: Results, metrics: Mapping[str, Collection[str]]) -> str:
    """What the run in a folder gave; ``metrics`` are what each eval reports."""
    more = f"{counted(len(results.rows), 'row')} in {folder}"
    return "".join([title("Run", more), *_tables(results, metrics)])


def _tables(results: Results, metrics: Mapping[str, Collection[str]]) -> list[str]:
    """Rows, answers, weights, numbers and trainings; what comments and notes say."""
    lines, shown = [], results.rows[:MOST_ROWS]
    rest = "`rows` and results.csv have all"
    if shown:
        lines.append(_of_columns(result_columns(shown, metrics), len(results.rows), rest))
        if (answers := confusion_columns(shown, metrics)) is not None:
            lines.append(title("Answers", "in per cent, by the relation they are right for"))
            lines.append(_of_columns(answers, len(results.rows), rest))
    lines += _further_tables(results)
    lines += map(remark, doc_lines(results.docs))
    notes = [f"note: {note['text']}" for note in results.notes]
    return [*lines, *_some(notes, "notes", "results.json has all")]


def _of_columns(columns: Mapping[str, Sequence[str]], total: int, rest: str) -> str:
    rows = list(zip(*columns.values(), strict=True))
    return table(list(columns), rows, _WORDS, total=total, rest=rest)


def _further_tables(results: Results) -> list[str]:
    """Weights of blends, numbers of reports, and trainings, where there are any."""
    from mfv_dsl.report.tables import numbers_table, tuning_table, weights_table

    tables: tuple[tuple[str, Sequence[Any], Any, str], ...] = (
        ("Weights", results.weights, weights_table, "weights.csv has all"),
        ("Numbers", results.numbers, numbers_table, "numbers.csv has all"),
        ("Trainings", results.tunes, tuning_table, "tunes.csv has all"),
    )  # fmt: skip
    return [
        title(name) + of_rich(draw(rows[:MOST_ROWS]), len(rows), rest)
        for name, rows, draw, rest in tables
        if rows
    ]


def _some(texts: Sequence[str], what: str, rest: str, most: int = 10) -> list[str]:
    """The first of several remarks."""
    shown = [remark(text) for text in texts[:most]]
    if len(texts) > most:
        shown.append(remark(f"the first {most} of {len(texts):,} {what}; {rest}"))
    return shown


def _failures(result: RunResult) -> list[str]:
    """What has no numbers, and which folders were not written."""
    failed = sum(bool(row.error) for row in result.rows)
    texts = [f"{error.code}: {error.message}"
             for error in (*result.failures.values(), *result.unsaved)]  # fmt: skip
    lines = _some(list(dict.fromkeys(texts)), "failures", "`result.failures` has all")
    if failed:
        lines.insert(0, remark(f"{failed:,} of {counted(len(result.rows), 'row')} have no numbers"))
    return lines
