"""The columns of tables of result rows, whoever draws them: the command line, a notebook, a card.

A row is plain data by field name, as a run's ``results.json`` and a vector's file hold it:
``eval``, ``relation``, ``shots``, ``layer``, ``scale``, ``n``, ``accuracy`` with ``ci_low`` and
``ci_high``, ``mean_p_answer``, ``difference`` with ``difference_low`` and ``difference_high``, and
sometimes ``vector``, ``k``, ``control``, ``written``, ``opened``, ``against``, ``answers`` and
``answers_other``; ``axes``, the values of sweeps by name, where an eval is read for several; and
``draws`` and ``spread`` of a mean over seeds; on datasets of files ``blind``; and figures of
questions with options.  A row with ``error`` has no numbers.

Over all relations ``relation`` is None, which no relation's name can be; :func:`with_names` puts
what people read in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mfv_dsl.base.numbers import p_value, percent, points

ResultFields = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: what of a row stands in it, None for nothing, and whether it holds words, which
    stand on the left.  A value is a KeyError, TypeError or ValueError for a row that lacks it."""

    value: Callable[[ResultFields], Any]
    words: bool = False


#: What people read for all relations together, for the mean over them, and for answers that are no
#: relation's object, unless a relation is called so; then it stands in parentheses.
ALL, MEAN, OTHER = "all", "mean", "other"


def free_name(word: str, relations: Iterable[str | None]) -> str:
    """``word``, in parentheses where a relation is called so.

    >>> free_name("all", ["left"]), free_name("all", ["left", "all"])
    ('all', '(all)')
    """
    return f"({word})" if word in relations else word


def relations_in(rows: Iterable[ResultFields]) -> set[str]:
    """The relations that rows name, as what was tested and as what was answered."""
    return {
        name
        for row in rows
        for name in (row.get("relation"), *row.get("answers", ()))
        if name is not None
    }


def with_names(
    rows: Sequence[ResultFields], relations: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Rows as people read them: with a name for all relations together, and among ``answers`` one
    for the share that is no relation's, which no relation in ``rows`` (or ``relations``) has.

    >>> with_names([{"relation": None, "n": 2}])
    [{'relation': 'all', 'n': 2}]
    """
    relations = relations_in(rows) if relations is None else set(relations)
    all_name, other_name = free_name(ALL, relations), free_name(OTHER, relations)
    named = []
    for row in rows:
        new = dict(row)
        if "relation" in row and row["relation"] is None:
            new["relation"] = all_name
        if "answers_other" in row:
            new["answers"] = {**row.get("answers", {}), other_name: new.pop("answers_other")}
        named.append(new)
    return named


def _field(name: str, row: ResultFields) -> Any:
    return row.get(name)


def _accuracy(row: ResultFields) -> str:
    if row.get("error"):
        return f"failed: {row['error']['code']}"
    return percent(row["accuracy"], row["ci_low"], row["ci_high"])


def _from_zero_shot(row: ResultFields) -> str:
    """The paired difference in accuracy from zero-shot."""
    if row.get("error"):
        return ""
    return percent(row["difference"], row["difference_low"], row["difference_high"], "+")


RESULT_COLUMNS: Mapping[str, Column] = {
    **{
        name: Column(partial(_field, name), words=True)
        for name in ("eval", "relation", "written", "vector", "control")
    },
    **{name: Column(partial(_field, name)) for name in ("shots", "k", "layer", "scale", "n")},
    "opened %": Column(lambda row: f"{100 * row['opened']:.0f}" if "opened" in row else ""),
    "accuracy %": Column(_accuracy),
    "sd over seeds": Column(lambda row: f"{100 * row['spread']:.1f}" if "spread" in row else ""),
    "blind %": Column(lambda row: f"{100 * row['blind']:.0f}" if "blind" in row else ""),
    "p(answer)": Column(lambda row: "" if row.get("error") else f"{row['mean_p_answer']:.2f}"),
    "vs zero-shot": Column(_from_zero_shot),
}


def difference_column(name: str) -> Column:
    """The paired difference in accuracy from the eval ``name``, where a row is compared with it."""

    def value(row: ResultFields) -> str | None:
        gain = row.get("against", {}).get(name)
        return gain and percent(gain["difference"], gain["low"], gain["high"], "+")

    return Column(value)


def comparison_columns(name: str) -> dict[str, Column]:
    """What tests say of the difference from the eval ``name``, by title: the p-value of all
    comparisons together (Holm's), and where there is a margin its verdicts."""

    def p(gain: Mapping[str, Any]) -> str:
        return p_value(gain["p_holm"]) if "p_holm" in gain else ""

    def verdict(field: str, word: str, gain: Mapping[str, Any]) -> str:
        if field not in gain:
            return ""
        return f"{word} {points(gain['margin'])}: {verdict_text(gain[field])}"

    made: dict[str, Callable[[Mapping[str, Any]], str]] = {
        f"p vs {name}": p,
        f"no worse than {name}": partial(verdict, "no_worse", "by"),
        f"equal to {name}": partial(verdict, "equivalent", "within"),
    }
    return {
        title: Column(lambda row, text=text: text(row.get("against", {}).get(name, {})))  # type: ignore[misc]
        for title, text in made.items()
    }


def _nats(off_task: Mapping[str, Any]) -> str:
    low, high = off_task["kl_low"], off_task["kl_high"]
    upper = "∞" if high is None else f"{high:.2f}"
    return f"{off_task['kl']:.2f} [{low:.2f}, {upper}]"


#: What is measured off the task, by title, with the metric that asks for it.
OFF_TASK_COLUMNS: Mapping[str, tuple[str, Column]] = {
    title: (metric, Column(lambda row, text=text: text(row["off_task"]) if row.get("off_task")
                           else ""))  # type: ignore[misc]
    for title, metric, text in (
        ("off-task KL", "off_task_kl", _nats),
        ("off-task %", "off_task_accuracy", lambda cost: percent(
            cost["accuracy"], cost["accuracy_low"], cost["accuracy_high"])),
        ("off-task change", "off_task_accuracy", lambda cost: percent(
            cost["change"], cost["change_low"], cost["change_high"], "+")),
    )
}  # fmt: skip


#: The fields of a row that are figures beside its accuracy, shares of items but for ``p_said``.
CHOICE_FIELDS = (
    "balanced_accuracy", "chance", "most_frequent", "letter_accuracy", "text_accuracy",
    "text_sum_accuracy", "p_said",
)  # fmt: skip


def _share(field: str, row: ResultFields) -> str:
    """A share in per cent."""
    return "" if row.get(field) is None else f"{100 * row[field]:.0f}"


#: Figures beside the accuracy, by title, with the metric that asks for each.
CHOICE_COLUMNS: Mapping[str, tuple[str, Column]] = {
    title: (metric, Column(partial(_share, field)))
    for title, metric, field in (
        ("balanced %", "balanced_accuracy", "balanced_accuracy"),
        ("letter in order %", "letter_accuracy", "letter_accuracy"),
        ("text %", "text_accuracy", "text_accuracy"),
        ("whole text %", "text_sum_accuracy", "text_sum_accuracy"),
        ("chance %", "chance", "chance"),
        ("most frequent %", "chance", "most_frequent"),
    )
}


def verdict_text(shown: bool) -> str:
    """Whether something is shown, in words."""
    return "shown" if shown else "not shown"


def answer_column(name: str) -> Column:
    """The items in per cent whose answer was the object of the relation ``name``."""

    def value(row: ResultFields) -> str | None:
        share = row.get("answers", {}).get(name)
        return None if share is None else f"{100 * share:.0f}"

    return Column(value)


def cell(value: Any) -> str:
    """A value as a table shows it; nothing for None."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
