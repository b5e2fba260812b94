"""A plan for people: what each step reads, writes and costs, and whether it will run.

Costs are counted in prompts: a *prefix pass* runs a prompt once, a *variant* is one more copy of
its last token under some edits.  They are upper bounds where they depend on how many prompts the
model answers correctly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from mfv_dsl.base.facts import PRECISIONS, DatasetFacts, ModelFacts
from mfv_dsl.models.families import family_of
from mfv_dsl.models.sites import flamingo_sites
from mfv_dsl.plan.evals import written
from mfv_dsl.plan.steps import Plan, Step
from mfv_dsl.plan.tuning import OFF_TASK_SHOTS, tune_cost, tune_reads, tune_writes

BATCH = 64  # prompts a pass
#: Tokens of a demonstration and of a query in the prompt template, about.
_SHOT_TOKENS, _QUERY_TOKENS = 9, 6


@dataclass(frozen=True)
class Note:
    """What is known of a step before it runs."""

    key: str
    cached: bool
    why: str
    reads: str = ""
    writes: str = ""
    prefix_passes: int = 0
    variants: int = 0
    memory: int = 0  # bytes of keys and values held at a time, about
    inputs: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain_plan(plan: Plan, finished: Collection[str]) -> list[Note]:
    """One note a step, in order; ``finished`` are the keys that the store holds."""
    cached: dict[str, bool] = {}
    notes = []
    for step in plan.steps:
        cached[step.key] = step.key in finished
        if cached[step.key]:
            why = "its result is in the store"
        else:
            new = next((plan[key].label for key in step.inputs if not cached[key]), None)
            why = "no finished step has this key" if new is None else f"it follows from {new}"
        notes.append(_note(plan, step, cached[step.key], why))
    return notes


def _note(plan: Plan, step: Step, cached: bool, why: str) -> Note:
    p = step.parameters
    known: dict[str, Any] = {"inputs": _distinct(plan[key].label for key in step.inputs)}
    if step.operation in ("activations", "mediation", "evaluate"):
        prompts = p["items"] if step.operation == "evaluate" else p["trials"]
        facts = _model(plan, step)
        tried, measured = _conditions(p)
        variants = {
            "activations": 1, "mediation": 1 + facts.n_layers * facts.n_heads,
            "evaluate": tried + measured,
        }[step.operation]  # fmt: skip
        passes = 2 if tried else 1
        blend = p.get("mode") == "blend"
        if blend:  # it asks about a source pair first, once for each candidate
            passes, variants = 2 * passes, variants * (len(step.inputs) + 1)
        # whole answers need the prompt anew under each condition; `generate` also scores the first
        passes = {"full": variants, "generate": passes + variants}.get(p.get("answer", ""), passes)
        known |= {
            "reads": f"{prompts} {p['shots']}-shot prompts of {p['relation']} from {p['split']}"
            + (f", and as many from {p['select_on']}" if tried else "")
            + (", each with a source pair" if blend else "")
            + (f", corrupted by {p['corrupt']}" if "corrupt" in p else ""),
            "prefix_passes": prompts * passes,
            "variants": prompts * variants,
            "memory": _memory(facts, min(prompts, BATCH), p["shots"]),
        }
        known["writes"] = _writes(plan, step, facts)
    elif step.operation == "tune":
        facts = _model(plan, step)
        passes, variants = tune_cost(p)
        known |= {
            "reads": tune_reads(p),
            "writes": tune_writes(p, facts),
            "prefix_passes": passes,
            "variants": variants,
            "memory": _memory(facts, p["items"] + p["select_items"], p["shots"])
            + (_memory(facts, p["items"], OFF_TASK_SHOTS) if p["kl"] else 0),
        }
    elif step.operation == "head_set":
        known["writes"] = ", ".join(f"L{layer}H{head}" for layer, head in p["heads"][:12]) + (
            f", … ({len(p['heads'])} heads)" if len(p["heads"]) > 12 else ""
        )
    return Note(step.key, cached, why, **known)


def _writes(plan: Plan, step: Step, facts: ModelFacts) -> str:
    """What is written where, for people."""
    p = step.parameters
    if step.operation == "activations":
        return (
            f"nothing; reads lm.attn of layers 0–{facts.n_layers - 1}, {facts.n_heads} heads each"
        )
    if step.operation == "mediation":
        return "each head's mean in its place, one head a variant, at lm.attn (last token)"
    mode = p.get("mode", "none")
    if mode == "none":
        return "nothing"
    what = _inputs(plan, step)
    if mode == "blend":
        what = f"a blend of {', '.join(plan[key].label for key in step.inputs)}"
    chosen = f"; best {' and '.join(p['choose'])} by accuracy" if p.get("choose") else ""
    if p.get("controls"):
        chosen += f"; beside it {', '.join(p['controls'])}"
    if mode in ("add", "blend"):
        layers = ", ".join(map(str, p["layers"]))
        scales = ", ".join(f"{scale:g}" for scale in p["scales"])
        name = "lm.attn.out" if p["layers"] == ("native",) else "lm.resid"
        site = f"{name} ({flamingo_sites(family_of(facts.family), facts)[name].path})"
        return f"{scales} × ({what}) added to {site}, layer {layers}, at the last token{chosen}"
    if mode == "patch":
        return f"per-head parts of {what} in place of lm.attn (last token){chosen}"
    return f"{p['ablate_with']} in place of {what} at lm.attn (last token){chosen}"


def _inputs(plan: Plan, step: Step) -> str:
    """What the step writes, without its controls: each vector or set of heads once."""
    real = [
        plan[key].label
        for key, one in zip(step.inputs, written(step.parameters), strict=False)
        if not one.control
    ]
    ks = step.parameters.get("ks")
    heads = f", k = {', '.join(map(str, ks))}" if ks else ""
    return " | ".join(_distinct(real)) + heads


def _distinct(labels: Iterable[str]) -> list[str]:
    """Labels in their order, each once: numbers of heads make different steps of one label."""
    return list(dict.fromkeys(labels))


def _conditions(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """How many conditions an evaluation tries to settle `choose`, and how many it then measures."""
    sizes = {
        "layer": len(parameters.get("layers") or (None,)),
        "scale": len(parameters.get("scales") or (None,)),
        "k": len(parameters.get("ks") or (None,)),
    }
    total, chosen = prod(sizes.values()), parameters.get("choose", ())
    vectors = parameters.get("vectors", 1)
    kept = total // prod(sizes[name] for name in chosen)
    tried = vectors * total if chosen else 0
    return tried, vectors * kept * (1 + len(parameters.get("controls", ())))


def _memory(facts: ModelFacts, prompts: int, shots: int) -> int:
    """Keys and values of a batch of prompts."""
    tokens = shots * _SHOT_TOKENS + _QUERY_TOKENS
    return 2 * PRECISIONS[facts.precision] * facts.n_layers * facts.d_model * tokens * prompts


def _model(plan: Plan, step: Step) -> ModelFacts:
    assert step.model is not None
    facts = plan.models[step.model].facts
    assert isinstance(facts, ModelFacts)
    return facts


def plan_text(plan: Plan, notes: list[Note]) -> str:
    """The whole plan as text."""
    lines = []
    for name, made in {**plan.models, **plan.datasets}.items():
        facts = made.facts
        kind = "dataset" if isinstance(facts, DatasetFacts) else "model"
        lines.append(f"{kind} {name}: {made.constructor}, {_shape(facts)}")
    for number, (step, note) in enumerate(zip(plan.steps, notes, strict=True), 1):
        state = "cached" if note.cached else "run"
        lines.append(f"\n{number:>3}  {step.operation}: {step.label}")
        cost = f"{note.prefix_passes} prefix passes, {note.variants} variants, " if (
            note.prefix_passes
        ) else ""  # fmt: skip
        memory = f"about {note.memory / 2**20:.1f} MiB of keys and values" if note.memory else ""
        for title, text in (
            ("from", ", ".join(note.inputs)), ("reads", note.reads), ("writes", note.writes),
            ("cost", cost + memory), (state, f"{note.why} ({step.key[:12]})"),
        ):  # fmt: skip
            if text:
                lines.append(f"     {title:<7}{text}")
    to_run = [note for note in notes if not note.cached]
    lines.append(
        f"\n{len(notes)} steps, {len(notes) - len(to_run)} cached; to run: "
        f"{sum(note.prefix_passes for note in to_run):,} prefix passes, "
        f"{sum(note.variants for note in to_run):,} variants (one full pass per variant "
        "would be the plain way)"
    )
    for save in plan.saves:
        names = ", ".join(vector.name for vector in save.vectors)
        lines.append(f"saves {names} into {save.folder}")
    return "\n".join(lines) + "\n"


def _shape(facts: ModelFacts | DatasetFacts | None) -> str:
    if isinstance(facts, ModelFacts):
        return (
            f"{facts.n_layers} layers × {facts.n_heads} heads of {facts.head_dim}, "
            f"d = {facts.d_model}, fingerprint {facts.fingerprint[:12]}"
        )
    if isinstance(facts, DatasetFacts):
        return f"{facts.description}, hash {facts.hash[:12]}"
    return "shape unknown"
