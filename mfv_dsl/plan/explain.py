"""A plan for people: what each step reads, writes and costs, and whether it will run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.plan.descriptions import Description, distinct
from mfv_dsl.plan.estimate import Estimate, duration
from mfv_dsl.plan.images import new_images
from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.power import sight_lines
from mfv_dsl.plan.steps import Plan

_SHORTEST = 0.01  # seconds of a step that are shown


@dataclass(frozen=True, kw_only=True)
class Note(Description):
    """What is known of a step before it runs; ``inputs`` are labels, ``images`` how many images it
    encodes, at most: those that no step before it does."""

    key: str
    cached: bool
    why: str
    images: int = 0
    inputs: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The note as plain data."""
        return asdict(self)


def explain_plan(plan: Plan, finished: Collection[str]) -> list[Note]:
    """What is known of every step before it runs.

    Args:
        plan: The steps.
        finished: The keys of the steps whose values the store holds.

    Returns:
        One note a step, in the plan's order: whether it will run and why, what it reads and
        writes, and its cost in prompts and bytes.

    >>> from mfv_dsl.base.source import Source
    >>> from mfv_dsl.lang.checker import load_recipe
    >>> from mfv_dsl.plan.build import build_plan
    >>> text = "mfv 1\\nmodel m = tiny()\\ndataset d = scenes(relations=[left])\\neval raw {\\n}\\n"
    >>> answers, raw = explain_plan(build_plan(load_recipe(Source(text))), finished=())
    >>> answers.cached, answers.reads, answers.prefix_passes
    (False, '100 0-shot prompts of left from test', 100)
    >>> raw.inputs, raw.prefix_passes
    (['unedited model: left from test, 0 shots'], 0)
    """
    cached: dict[str, bool] = {}
    notes = []
    images = new_images(plan, [step for step in plan.steps if step.key not in finished])
    for step in plan.steps:
        cached[step.key] = step.key in finished
        if cached[step.key]:
            why = "its result is in the store"
        else:
            new = next((plan[key].label for key in step.follows_from if not cached[key]), None)
            why = "no finished step has this key" if new is None else f"it follows from {new}"
        description = OPERATIONS[step.operation].describe(plan, step)
        inputs = distinct(plan[key].label for key in step.follows_from)
        notes.append(
            Note(
                key=step.key,
                cached=cached[step.key],
                why=why,
                images=images.get(step.key, 0),
                inputs=inputs,
                **vars(description),
            )
        )
    return notes


def plan_text(plan: Plan, notes: list[Note], estimate: Estimate | None = None) -> str:
    """The whole plan as text.

    Args:
        plan: The plan.
        notes: What :func:`explain_plan` gives for it.
        estimate: How long it will take, if that was asked for.

    Returns:
        A line for every model and dataset, a paragraph for every step, the sum of costs, what the
        items of evals can show, and a line for every save, as ``mfv plan`` prints it.

    >>> from mfv_dsl.base.source import Source
    >>> from mfv_dsl.lang.checker import load_recipe
    >>> from mfv_dsl.plan.build import build_plan
    >>> text = "mfv 1\\nmodel m = tiny()\\ndataset d = scenes(relations=[left])\\neval raw {\\n}\\n"
    >>> plan = build_plan(load_recipe(Source(text)))
    >>> print(plan_text(plan, explain_plan(plan, finished=())).splitlines()[3])
      1  answers: unedited model: left from test, 0 shots
    """
    lines = []
    for name, declaration in {**plan.models, **plan.datasets}.items():
        facts = declaration.facts
        kind = "dataset" if isinstance(facts, DatasetFacts) else "model"
        lines.append(f"{kind} {name}: {declaration.constructor}, {_shape(facts)}")
    lines += doc_lines(plan.docs)
    for number, (step, note) in enumerate(zip(plan.steps, notes, strict=True), 1):
        state = "cached" if note.cached else "run"
        lines.append(f"\n{number:>3}  {step.operation}: {step.label}")
        cost = ""
        if note.prefix_passes:
            cost = f"{note.prefix_passes} prefix passes, {note.variants} variants, "
        elif note.full_passes:
            cost = f"{note.full_passes} full passes, {note.reason}, "
        shown = f"at most {note.images:,} new images, " if note.images else ""
        memory = f"about {note.memory / 2**20:.1f} MiB of keys and values" if note.memory else ""
        length = f", prompts of about {note.length:,} tokens" if note.length else ""
        for title, text in (
            ("from", ", ".join(note.inputs)), ("reads", note.reads), ("writes", note.writes),
            ("cost", cost + shown + memory + length), ("time", _time(estimate, step.key)),
            (state, f"{note.why} ({step.key[:12]})"),
        ):  # fmt: skip
            if text:
                lines.append(f"     {title:<7}{text}")
    to_run = [note for note in notes if not note.cached]
    passes = sum(note.full_passes for note in to_run)
    by_full_passes = f"{passes:,} full passes, " if passes else ""
    lines.append(
        f"\n{len(notes)} steps, {len(notes) - len(to_run)} cached; to run: {by_full_passes}"
        f"{sum(note.prefix_passes for note in to_run):,} prefix passes, "
        f"{sum(note.variants for note in to_run):,} variants (one full pass per variant "
        f"would be the plain way); at most {sum(note.images for note in to_run):,} different "
        "images to encode"
    )
    if estimate is not None:
        lines += estimate.to_text().splitlines()
    lines += sight_lines(plan)
    if plan.numbers:
        texts = dict.fromkeys(row.number for row in plan.numbers)
        lines.append(f"reports {', '.join(texts)}")
    for save in plan.saves:
        names = ", ".join(vector.name for vector in save.vectors)
        lines.append(f"saves {names} into {save.folder}")
    return "\n".join(lines) + "\n"


def doc_lines(docs: Mapping[str, str]) -> list[str]:
    """What comments say of a recipe's parts, a line for each.

    >>> doc_lines({"raw": "How well\\nit does."})
    ['raw: How well it does.']
    """
    return [f"{name}: {' '.join(text.split())}" for name, text in docs.items()]


def _time(estimate: Estimate | None, key: str) -> str:
    seconds = 0.0 if estimate is None else estimate.seconds.get(key, 0.0)
    return f"about {duration(seconds)}" if seconds >= _SHORTEST else ""


def _shape(facts: ModelFacts | DatasetFacts | None) -> str:
    if isinstance(facts, ModelFacts):
        some = f" ({len(facts.head_layers)} with heads)" if facts.layers_without_heads else ""
        picture = f"about {facts.picture_tokens} tokens a picture, " if facts.picture_tokens else ""
        amount = f"about {facts.weights / 2**20:,.1f} MiB"
        held = f", {amount} of weights ({facts.weights_as})" if facts.weights else ""
        return (
            f"{facts.n_layers} layers{some} × {facts.n_heads} heads of {facts.head_dim}, "
            f"d = {facts.d_model}, {picture}fingerprint {facts.fingerprint[:12]}{held}"
        )
    if isinstance(facts, DatasetFacts):
        return f"{facts.description}, hash {facts.hash[:12]}"
    return "shape unknown"
