"""What must be said beside results: a best of many on the measured split is no measurement, items
were left out, a vector was not trained to the end, and a vector of heads behind a norm is not all
that these heads write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.conditions import Evaluation
from mfv_dsl.execute.results import ResultRow
from mfv_dsl.lang.entries import PLACED, VECTOR_WRITES
from mfv_dsl.lang.sweeps import reading_text
from mfv_dsl.methods.linearisation import MUCH, Linearisation
from mfv_dsl.methods.statistics import LEVEL, holm, sign_test
from mfv_dsl.plan.steps import EvalRow, Plan, Step, TuneRow, needed
from mfv_dsl.plan.treatments import treatments

#: How probable answers that are choices are at least, as the next token, without a note.
_SAID = 0.1
#: by mode, what is swept on one set of items, and whether `choose` could settle it
_SWEPT = ("layer", "scale", "k")
_CHOOSING = VECTOR_WRITES


def notes(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, str]]:
    """For every eval whose items the model has to answer correctly, how many there were; for every
    eval with letters that the model would hardly say, how probable they are; for every eval whose
    sweep is seen on the test split, how many conditions the best is the best of, and how many
    differences from zero-shot hold when all are tested together.  For every eval and save of
    vectors that were made linear: the error of this.  For every tune which of its vectors, and for
    every eval which of its adapters, were not trained to the end."""
    evals: dict[str, list[EvalRow]] = {}
    for row in plan.rows:
        evals.setdefault(row.eval, []).append(row)
    texts = []
    for name, rows in evals.items():
        text = _known_items(name, plan, values, rows)
        texts += [{"eval": name, "text": text}] if text else []
        text = _unsaid(name, [values[row.step] for row in rows])
        texts += [{"eval": name, "text": text}] if text else []
        if plan[rows[0].step].parameters["split"] == "test":
            settled = plan[rows[0].step].parameters.get("mode") in _CHOOSING
            readings = {tuple(a for a in row.axes if not a.is_seed) for row in rows}
            text = _note(name, [values[row.step] for row in rows], settled, len(readings))
            texts += [{"eval": name, "text": text}] if text else []
    return [*texts, *_linear_notes(plan, values, evals), *_unfinished(plan, values)]


def _unfinished(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, str]]:
    """For every tune the vectors whose loss was still falling when training ended."""
    falls: dict[str, dict[str, float]] = {}
    for row in plan.tunes:
        fall = values[row.step].training.still_falling
        if fall is not None:
            falls.setdefault(row.tune, {})[row.relation + _reading(row)] = fall
    adapters: dict[str, dict[str, float]] = {}
    for row in plan.rows:
        if plan[row.step].parameters.get("mode") == "adapter":
            (key,) = plan[row.step].input_keys
            fall = values[key].training.still_falling
            if fall is not None:
                adapters.setdefault(row.eval, {})[row.relation] = fall
    return [
        *({"tune": name, "text": _still_falling(name, own)} for name, own in falls.items()),
        *(
            {"eval": name, "text": _still_falling(f"the adapter of {name}", own)}
            for name, own in adapters.items()
        ),
    ]


def _still_falling(what: str, falls: Mapping[str, float]) -> str:
    """That something is not trained to the end; ``falls`` are those of the loss by relation."""
    by_relation = ", ".join(f"{fall:.2g} ({relation})" for relation, fall in falls.items())
    return (
        f"{what} is not trained to the end: in the second half of its epochs the loss still fell, "
        f"by {by_relation}. A larger `lr`, a smaller `batch` or more `epochs` train it further."
    )


def _known_items(
    name: str, plan: Plan, values: Mapping[str, Any], rows: list[EvalRow]
) -> str | None:
    """How many items `correct_with` left."""
    shots = plan[rows[0].step].parameters.get("correct_with")
    if shots is None:
        return None
    drawn = sum(plan[row.step].parameters["items"] for row in rows)
    left = sum(len(values[row.step].images) for row in rows)
    return (
        f"{name} measures the {left:,} of {drawn:,} items that the model answers correctly with "
        f"{shots} demonstrations."
    )


def _unsaid(name: str, evaluations: Sequence[Evaluation]) -> str | None:
    """That a model would hardly say what it is asked to choose from."""
    said = [
        condition.outcomes.choices.said
        for evaluation in evaluations
        for condition in evaluation.real
        if condition.outcomes.choices is not None
    ]
    if not said or (mean := float(np.concatenate(said).mean())) >= _SAID:
        return None
    return (
        f"{name}: all that counts as an answer, letters or yes and no, has a probability of "
        f"{mean:.2g} as the next token. The model would say something else, and which of them it "
        "prefers means little: `answer = choice_text`, or another `prompt` of the model."
    )


def failure_notes(
    plan: Plan, rows: Sequence[ResultRow], failures: Mapping[str, MfvError]
) -> list[dict[str, str]]:
    """What failed: the conditions of evals without numbers, and vectors that were not trained or
    saved."""
    errors: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        if row.error and row.relation is not None:
            errors.setdefault((row.eval, row.error["code"]), []).append(row.error)
    notes = [
        {"eval": name, "text": f"{name} has no numbers in {len(all_errors)} conditions. "
         f"{'The first: ' if len(all_errors) > 1 else ''}{code}: {all_errors[0]['message']}."
         f"{_advice(all_errors[0]['help'])}"}
        for (name, code), all_errors in errors.items()
    ]  # fmt: skip
    lost = {row.step: f"{row.tune}({row.relation}){_reading(row)}" for row in plan.tunes}
    lost |= {row.step: row.number for row in plan.numbers if row.step is not None}
    lost |= {saved.step: saved.name for save in plan.saves for saved in save.vectors}
    lost |= {
        row.off_task: f"the off-task cost of {row.eval}({row.relation}) was not measured"
        for row in plan.rows if row.off_task is not None and row.step not in failures
    }  # fmt: skip
    for key, what in lost.items():
        if key in failures:
            error = failures[key]
            said = what if what.endswith("measured") else f"{what} was not made"
            text = f"{said}. {error.code}: {error.message}.{_advice(error.help)}"
            notes.append({"eval": "save", "text": text})
    return notes


def comparison_notes(rows: Sequence[ResultRow]) -> list[dict[str, str]]:
    """Of a run with several comparisons by `against`: which of them are tested together."""
    families: dict[str, list[bool]] = {}
    for row in rows:
        for gain in row.against.values():
            families.setdefault(row.family, []).append((gain.p_holm or 0.0) <= LEVEL)
    parts = [f"{len(own)} {over} ({sum(own)})" for over, own in families.items() if len(own) > 1]
    if not parts:
        return []
    text = (
        "Comparisons by `against` that are tested together, and how many of them hold at 5 % "
        f"(Holm's correction): {'; '.join(parts)}."
    )
    return [{"eval": "against", "text": text}]


def _reading(row: TuneRow) -> str:
    """The values of sweeps that a vector was trained with."""
    return reading_text((axis.name.removeprefix(f"{row.tune}."), axis.value) for axis in row.axes)


def _advice(help: str | None) -> str:
    return f" What to do: {help}." if help else ""


def _note(name: str, evaluations: list[Evaluation], choosable: bool, readings: int) -> str | None:
    evaluations = [evaluation for evaluation in evaluations if evaluation.real]
    if not evaluations:
        return None
    points = [condition.at for condition in evaluations[0].real]
    swept = [name for name in _SWEPT if len({getattr(at, name) for at in points}) > 1]
    if not swept and readings == 1:
        return None
    p_values = [
        sign_test(
            condition.outcomes.correct.astype(np.float64) - evaluation.zero_shot.correct,
            evaluation.images,
        )
        for evaluation in evaluations
        for condition in evaluation.real
    ]
    held = int((holm(p_values) <= LEVEL).sum())
    cure = f"`choose = [{', '.join(swept)}]` settles it on another split. "
    cure = cure if choosable and swept else ""
    shown = len(points) * readings
    return (
        f"{name} shows {shown} conditions for each relation on the test split: the best of "
        f"them looks better than it is. {cure}"
        f"Of its {len(p_values)} differences from zero-shot {held} hold at 5 % for all "
        "together (exact sign tests on the paired items, Holm's correction)."
    )


# -- vectors of heads behind a norm ---------------------------------------------------------------
def linearised(plan: Plan, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every function vector that was made linear, with the mean scale of each layer's norm and the
    error that it brings."""
    return [
        {"vector": step.label, "step": step.key, **made.to_json()}
        for step, made in _made_linear(plan.steps, values)
    ]


def _made_linear(
    steps: Iterable[Step], values: Mapping[str, Any]
) -> list[tuple[Step, Linearisation]]:
    return [
        (step, values[step.key].linearised)
        for step in steps
        if step.operation == "extract"
        and step.key in values
        and values[step.key].linearised is not None
    ]


def _linear_notes(
    plan: Plan, values: Mapping[str, Any], evals: Mapping[str, list[EvalRow]]
) -> list[dict[str, str]]:
    """One note for all evals of the same vectors, and one for vectors that are only saved."""
    vectors = {name: _added(plan, rows) for name, rows in evals.items()}
    noted = {step.key for step in needed(plan.steps, set().union(*vectors.values()))}
    saved = {vector.step for save in plan.saves for vector in save.vectors}
    vectors["save"] = {step.key for step in needed(plan.steps, saved)} - noted
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, keys in vectors.items():
        made = _made_linear(needed(plan.steps, keys), values)
        groups.setdefault(tuple(step.key for step, _ in made), []).append(name)
    return [
        {"eval": ", ".join(names), "text": _linear_note(", ".join(names), steps)}
        for keys, names in groups.items()
        if (steps := _made_linear([plan[key] for key in keys], values))
    ]


def _added(plan: Plan, rows: Iterable[EvalRow]) -> set[str]:
    """The keys of the vectors that an eval adds; what it patches passes the norm by itself."""
    keys: set[str] = set()
    for step in (plan[row.step] for row in rows):
        if step.parameters.get("mode") == "blend":
            keys.update(step.inputs["candidates"])
        elif step.parameters.get("mode") in PLACED:
            real = [t.name for t in treatments(step.parameters) if not t.control]
            keys.update(key for name in real if isinstance(key := step.inputs[name], str))
    return keys


def _linear_note(names: str, made: Sequence[tuple[Step, Linearisation]]) -> str:
    step, worst = max(made, key=lambda one: one[1].error)
    errors, most = f"{worst.error:.2f}", ""
    if len(made) > 1:
        errors = f"{min(one.error for _, one in made):.2f} to {errors}"
        most = f", most for {step.label}"
    much = " That is much: these are rough pictures of what their heads write."
    return (
        f"{names}: a norm stands behind the heads, so what they write is made linear by its mean "
        f"scale. It differs from the exact change by {errors} of that change's length (mean over "
        f"{worst.prompts} extraction prompts{most}).{much if worst.error > MUCH else ''}"
    )
