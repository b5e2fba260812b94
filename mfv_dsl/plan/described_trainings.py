"""What trainings read, write and cost, and where what they make is written."""

from __future__ import annotations

from typing import Any

from mfv_dsl.lang.entries import TRAINING_SPLIT
from mfv_dsl.lang.states import Places, places_read
from mfv_dsl.plan.descriptions import (
    HEADS_WRITE,
    OFF_TASK_SHOTS,
    Description,
    cost,
    dataset_facts,
    memory_of,
    model_facts,
    places_text,
    tokens_at,
)
from mfv_dsl.plan.lengths import prompt_tokens
from mfv_dsl.plan.steps import Plan, Step

#: What a layer keeps of a token for the way back: about so many states, in float32.
_ACTIVATIONS, _NUMBERS = 16, 4
_LEARNED = {
    "vector": "a vector of {d_model} numbers",
    "scale": "a factor before the start",
    "head_scales": "a factor for each head of the start",
    "head_mask": "which heads of the start to keep",
    "place_scales": "a factor for each place of the start",
    "patch_mask": "which heads of the start to patch",
}


def tune(plan: Plan, step: Step) -> Description:
    """Of a training: every prompt's prefix is run once; a training prompt is a variant in each
    epoch, a validation prompt in each and at the start.  Off-task prompts are run once more without
    the vector."""
    p, facts = step.parameters, model_facts(plan, step)
    items = training_items(plan, step)
    reads = (
        f"{items} {p['shots']}-shot prompts of {p['relation']} from {TRAINING_SPLIT}, "
        f"and {p['select_items']} from {p['select_on']} to choose the epoch"
    )
    if p["kl"]:
        reads += f"; {items} {OFF_TASK_SHOTS}-shot prompts of {', '.join(p['off_task'])}"
    taught = items if p["loss"] == "teacher" else 0
    if taught:
        reads += f"; {items} {p['teacher_shots']}-shot prompts of {p['relation']}, by its teacher"
    trained = items * (2 if p["kl"] else 1)
    steps = p["epochs"] * -(-items // p["batch"])
    return Description(
        reads,
        f"{_learned(plan, step)}, learned in {steps} steps of {p['batch']} prompts; "
        f"{_trained_at(plan, step)}, at {tokens_at(p['position'])}",
        **cost(
            facts,
            trained + p["select_items"] + taught,
            taught
            + p["epochs"] * trained
            + (p["epochs"] + 1) * p["select_items"]
            + (items if p["kl"] else 0),
            memory_of(facts, items + p["select_items"], p["shots"])
            + (memory_of(facts, items, OFF_TASK_SHOTS) if p["kl"] else 0)
            + (memory_of(facts, min(items, p["batch"]), p["teacher_shots"]) if taught else 0),
            p["shots"],
            p["position"],
        ),
    )


def _learned(plan: Plan, step: Step) -> str:
    p, facts = step.parameters, model_facts(plan, step)
    text = _LEARNED[p["variable"]].format(d_model=facts.d_model)
    places = trained_places(plan, step)
    if p["variable"] == "vector" and len(places) > 1:
        return f"{text} for each of {len(places)} places"
    return text


def _trained_at(plan: Plan, step: Step) -> str:
    """Where a training writes, for people."""
    p, places = step.parameters, trained_places(plan, step)
    if p["variable"] == "patch_mask":
        return "patched at lm.attn, sets of them drawn for each prompt"
    if not places:
        return f"each head's part added to {HEADS_WRITE} of its layer"
    if len(places) > 1:
        return f"each part added at its own place: {places_text(places)}"
    ((site, layer),) = places
    return f"added to {site}, layer {layer}"


def trained_places(plan: Plan, step: Step) -> Places:
    """The places that a training writes at; none where that is where heads are."""
    p = step.parameters
    if p["layer"] != "native":
        return places_read(p["layer"], p["site"], model_facts(plan, step))
    return places_of(plan, step.inputs.get("start"))


def adapter(plan: Plan, step: Step) -> Description:
    """Of the training of an adapter: every step runs whole prompts."""
    p, facts = step.parameters, model_facts(plan, step)
    steps = p["epochs"] * -(-p["items"] // p["batch"])
    what = (
        f"{p['tokens']} embeddings before every prompt"
        if "tokens" in p
        else (
            f"matrices of rank {p['rank']} beside the linear maps of "
            + ("every layer" if p["modules"] == "all" else "every self-attention")
        )
    )
    passes = p["epochs"] * p["items"] + (p["epochs"] + 1) * p["select_items"]
    return Description(
        f"{p['items']} {p['shots']}-shot prompts of {p['relation']} from {TRAINING_SPLIT}, "
        f"and {p['select_items']} from {p['select_on']} to choose the epoch",
        f"{what}, learned in {steps} steps of {p['batch']} prompts",
        full_passes=passes,
        reason="as an adapter acts on every token",
        memory=_ACTIVATIONS
        * facts.d_model
        * _NUMBERS
        * facts.n_layers
        * prompt_tokens(facts, p["shots"])
        * min(p["items"], p["batch"]),
        length=prompt_tokens(facts, p["shots"]) if facts.picture_tokens else 0,
    )


def training_items(plan: Plan, step: Step) -> int:
    """How many prompts a training trains on."""
    items = step.parameters["items"]
    if items == "all":
        return dataset_facts(plan, step).counts[step.parameters["relation"]][TRAINING_SPLIT]
    return int(items)


def places_of(plan: Plan, key: Any) -> tuple[tuple[str, int], ...]:
    """The places of the vector that a step makes, none where it is of one."""
    work = [key] if isinstance(key, str) else []
    while work:
        step = plan[work.pop()]
        if step.operation in ("states", "load"):
            places = tuple(step.parameters["places"])
            return places if len(places) > 1 else ()
        if step.operation == "tune":
            places = trained_places(plan, step)
            return places if len(places) > 1 else ()
        if step.operation not in ("extract", "norm", "dot", "cosine"):
            work += step.input_keys
    return ()
