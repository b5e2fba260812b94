"""What a run gave, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.columns import RESULT_COLUMNS
from mfv_dsl.plan.explain import doc_lines
from mfv_dsl.report.columns import confusion_columns, result_columns
from mfv_dsl.report.html.elements import MOST_ROWS, counted, of_rich, remark, table, title

if TYPE_CHECKING:
    from mfv_dsl.execute.run_result import RunResult

_WORDS = tuple(name for name, column in RESULT_COLUMNS.items() if column.words)


def result_html(result: RunResult) -> str:
    """Rows, answers, numbers, weights and trainings, the first of each; notes and failures."""
    seconds = f"{result.seconds:.0f} s" if result.seconds >= 1 else "less than a second"
    store = f", {result.cached:,} steps from the store" if result.cached else ""
    more = f"{counted(len(result.rows), 'row')} in {result.folder}, {seconds}{store}"
    lines = [title("Result", more)]
    shown, metrics = result.rows[:MOST_ROWS], result.plan.metrics
    rest = "`result.rows` and results.csv have all"
    if shown:
        lines.append(_of_columns(result_columns(shown, metrics), len(result.rows), rest))
        if (answers := confusion_columns(shown, metrics)) is not None:
            lines.append(title("Answers", "in per cent, by the relation they are right for"))
            lines.append(_of_columns(answers, len(result.rows), rest))
    lines += _further_tables(result)
    lines += map(remark, doc_lines(result.plan.docs))
    lines += _some([f"note: {note}" for note in result.notes], "notes", "`result.notes` has all")
    lines += _some([f"saved {path}" for path in result.saved], "files", "`result.saved` has all")
    lines += _failures(result)
    return "".join(lines)


def _of_columns(columns: Mapping[str, Sequence[str]], total: int, rest: str) -> str:
    rows = list(zip(*columns.values(), strict=True))
    return table(list(columns), rows, _WORDS, total=total, rest=rest)


def _further_tables(result: RunResult) -> list[str]:
    """Weights of blends, numbers of reports, and trainings, where there are any."""
    from mfv_dsl.report.tables import numbers_table, tuning_table, weights_table

    tables: tuple[tuple[str, Sequence[Any], Any, str], ...] = (
        ("Weights", result.weights, weights_table, "`result.weights` has all"),
        ("Numbers", result.numbers, numbers_table, "`result.numbers` and numbers.csv have all"),
        ("Trainings", result.tunes, tuning_table, "`result.tunes` has all"),
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
