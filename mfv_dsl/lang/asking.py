"""What an `eval` asks for as an answer, and the metrics that are about such answers."""

from __future__ import annotations

from collections.abc import Mapping

from mfv_dsl.base.source import Span
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.entries import CHOICE_METRICS, CHOOSING
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, ListExpr, Name, Node


def check_answer(
    scope: Scope, attributes: Mapping[str, Attribute], settings: Mapping[str, Setting],
    context: TypingContext, subject: str,
) -> None:  # fmt: skip
    """Check `answer` against what the dataset asks, and `metrics` against `answer`."""
    answer, at = settings["answer"].value, settings["answer"].span
    if answer in CHOOSING and at is not None:
        _check_dataset(scope, at, answer, context, subject)
        if settings["classify"].value is not None:
            scope.error(
                "MFV5714", at,
                f"{subject} classifies by heads, which choose among objects, not among options",
                "", "take `answer` out, or measure the model's own output",
            )  # fmt: skip
    metrics, place = settings["metrics"].value, settings["metrics"].span
    if not isinstance(metrics, tuple) or not isinstance(answer, str) or place is None:
        return
    own = attributes.get("metrics")
    for metric in metrics:
        ways = CHOICE_METRICS.get(metric)
        if ways is not None and answer not in ways:
            scope.error(
                "MFV5715", place if own is None else _named(own.value, metric),
                f"`answer = {answer}` of {subject} gives no `{metric}`",
                "", f"it goes with {' or '.join(f'`answer = {way}`' for way in ways)}",
            )  # fmt: skip


def _check_dataset(
    scope: Scope, at: Span, answer: str, context: TypingContext, subject: str
) -> None:
    wanted = "yes_no" if answer == "yes_no" else "choice"
    for facts in scope.dataset_facts(context):
        if wanted in facts.asks or not scope.once(f"{answer} of {facts.hash} at {at}"):
            continue
        if wanted == "yes_no" and "choice" in facts.asks:
            scope.error(
                "MFV5711", at, "the options of the dataset's questions are not yes and no",
                f"what {subject} asks for", "`answer = choice` takes any options",
            )  # fmt: skip
        else:
            scope.error(
                "MFV5710", at, "the dataset's items have no questions with options",
                f"what {subject} chooses from", "of published sets `ask = question` or `ask = "
                "truth` gives them, in files the key or column `options`",
            )  # fmt: skip
        return


def _named(value: Node, name: str) -> Node:
    """Where a name stands in a list, or the whole."""
    names = value.items if isinstance(value, ListExpr) else (value,)
    return next((node for node in names if isinstance(node, Name) and node.text == name), value)
