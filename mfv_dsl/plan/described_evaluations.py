"""What evaluations read, write and cost, and how many conditions they have."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.lang.entries import OFF_TASK_KINDS, PLACED
from mfv_dsl.lang.writing import SITES
from mfv_dsl.plan.described_trainings import places_of
from mfv_dsl.plan.descriptions import (
    BATCH,
    Description,
    cost,
    distinct,
    memory_of,
    model_facts,
    places_text,
    prompts_of,
    shares_prefix,
    times_asked,
    tokens_at,
)
from mfv_dsl.plan.steps import Plan, Step, needed
from mfv_dsl.plan.treatments import treatments
from mfv_dsl.plan.writes import also_done


def evaluate(plan: Plan, step: Step) -> Description:
    """Of all conditions of an eval on one relation."""
    p, facts = step.parameters, model_facts(plan, step)
    if "unedited" in step.references:
        return Description(f"what is answered to {prompts_of(p, p['items'])}", "nothing")
    trials, measured = conditions(p)
    passes, variants = 2 if trials else 1, trials + measured
    if "when" in step.inputs:  # the unedited prompts are looked at first
        variants += passes
    blend = p.get("mode") == "blend"
    if blend:  # it asks about a source pair first, once for each candidate
        passes, variants = 2 * passes, variants * (len(step.inputs["candidates"]) + 1)
    known = p.get("correct_with")
    if p.get("mode") == "classify":  # one pass, whatever heads vote
        passes = variants = 1
    if p["answer"] == "generate" and not shares_prefix(facts, p):
        variants *= 2  # the first token is scored by a pass of its own
    asked = times_asked(plan, step)
    if asked > 1:
        passes, variants = round(passes * asked), round(variants * asked)
    return Description(
        prompts_of(p, p["items"])
        + (", each asked in all turns of its options and by their texts" if asked > 1 else "")
        + (f", and as many from {p['select_on']}" if trials else "")
        + (", each with a source pair" if blend else "")
        + ("" if known is None else f"; only what is answered correctly with {known} shots"),
        _writes(plan, step, facts),
        **cost(
            facts, p["items"] * passes, p["items"] * variants,
            memory_of(facts, min(p["items"], BATCH), p["shots"]), p["shots"],
            p.get("position", "last"),
        ),
    )  # fmt: skip


def off_task(plan: Plan, step: Step) -> Description:
    """Of what an evaluation's conditions cost on off-task prompts."""
    p, facts = step.parameters, model_facts(plan, step)
    evaluation, shots = plan[_key_of(step, "evaluation")], OFF_TASK_KINDS[p["kind"]]
    return Description(
        f"{p['items']} off-task prompts ({p['kind']}, {shots} shots) of {', '.join(p['off_task'])} "
        f"from {p['split']}",
        f"what {evaluation.label} writes",
        **cost(
            facts, p["items"], p["items"] * (p["conditions"] + 1),
            memory_of(facts, min(p["items"], BATCH), shots), shots,
            evaluation.parameters.get("position", "last"),
        ),
    )  # fmt: skip


def _key_of(step: Step, name: str) -> str:
    """The key of the one step that an input is."""
    key = step.inputs[name]
    assert isinstance(key, str)
    return key


def _writes(plan: Plan, step: Step, facts: ModelFacts) -> str:
    """What an evaluation writes where."""
    p = step.parameters
    mode = p.get("mode", "none")
    if mode == "none":
        return "nothing"
    if mode == "classify":
        return f"nothing; {_real(plan, step)} vote for the answer, by {p['examples']} examples" + (
            f"; beside it {', '.join(p['controls'])}" if p.get("controls") else ""
        )
    if mode == "adapter":
        (key,) = step.input_keys
        return f"{plan[key].label} in the model"
    treatment, tokens = _real(plan, step), tokens_at(p.get("position", "last"))
    if mode == "blend":
        treatment = f"a blend of {', '.join(plan[key].label for key in step.inputs['candidates'])}"
    best = ["vector" if name in PLACED else name for name in p.get("choose", ())]
    chosen = f"; best {' and '.join(best)} by accuracy" if best else ""
    if p.get("ablates"):
        heads = distinct(plan[key].label for name, key in step.inputs.items()
                         if name.startswith("ablated") and isinstance(key, str))  # fmt: skip
        chosen = (
            f"; {p['ablate_with']} in place of {' | '.join(heads)} at {_of(plan, step)}{chosen}"
        )
    if p.get("controls"):
        chosen += f"; beside it {', '.join(p['controls'])}"
    if "when" in step.inputs:
        direction = plan[str(step.inputs["when"])].label
        chosen += (
            f"; in prompts alone whose unedited last state behind layer {p['when_layer']} has a "
            f"cosine above {p['above']:g} with {direction}"
        )
    if mode in ("add", "blend", *PLACED):
        layers = ", ".join(map(str, p["layers"]))
        scales = ", ".join(f"{scale:g}" for scale in p.get("scales", ()))
        scaled = f"{scales} × ({treatment})" if scales else treatment
        native = p["layers"] == ("native",)
        name = SITES["attention" if native else p.get("site", "residual")]
        site = f"{name} ({facts.paths[name]})" if name in facts.paths else name
        verb = {"replace": "in place of", "project_out": "projected out of"}.get(mode, "added to")
        how, where = also_done(p), f"{site}, layer {layers}"
        if native and (parts := places_of(plan, step.inputs.get("real"))):
            where = f"the states, each part at its own place: {places_text(parts)}"
        return f"{scaled} {verb} {where}, at {tokens}{how}{chosen}"
    tokens = tokens.removeprefix("the ")
    if mode == "patch":
        return f"per-head parts of {treatment} in place of lm.attn ({tokens}){chosen}"
    return f"{p['ablate_with']} in place of {treatment} at {_of(plan, step)} ({tokens}){chosen}"


def _of(plan: Plan, step: Step) -> str:
    """The site of heads that are taken away."""
    keys = [key for name, key in step.inputs.items() if name != "overall_mean"]
    behind = needed(plan.steps, [key for key in keys if isinstance(key, str)])
    sites = [
        s.parameters["site"] for s in behind if s.operation == "top" and "site" in s.parameters
    ]
    return sites[0] if sites and step.parameters["mode"] == "ablate" else "lm.attn"


def _real(plan: Plan, step: Step) -> str:
    """What an evaluation writes, without its controls: each vector or set of heads once."""
    labels = []
    for treatment in treatments(step.parameters):
        key = step.inputs.get(treatment.name)
        if isinstance(key, str) and not treatment.control:
            labels.append(plan[key].label)
    ks = step.parameters.get("ks")
    heads = f", k = {', '.join(map(str, ks))}" if ks else ""
    return " | ".join(distinct(labels)) + heads


def conditions(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """How many conditions an evaluation tries to settle `choose`, and how many it then measures."""
    sizes = {
        "layer": len(parameters.get("layers") or (None,)),
        "scale": len(parameters.get("scales") or (None,)),
        "k": len(parameters.get("ks") or (None,)),
        "vector": parameters.get("vectors", 1),
    }
    total = prod(sizes.values())
    chosen = ["vector" if name in PLACED else name for name in parameters.get("choose", ())]
    remaining = total // prod(sizes[name] for name in chosen)
    return total if chosen else 0, remaining * (1 + len(parameters.get("controls", ())))
