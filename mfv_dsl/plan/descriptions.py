"""What steps read, write and cost, told before they run.

Costs are counted in prompts: a *prefix pass* runs a prompt once, a *variant* is one more copy of
its last token under some edits.  They are upper bounds where they depend on how many prompts the
model answers correctly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from mfv_dsl.base.facts import PRECISIONS, DatasetFacts, ModelFacts
from mfv_dsl.lang.entries import OFF_TASK_KINDS, PLACED, POOLED, TRAINING_SPLIT
from mfv_dsl.lang.states import Places, places_read
from mfv_dsl.lang.writing import SITES, is_text
from mfv_dsl.plan.lengths import prompt_tokens
from mfv_dsl.plan.steps import Plan, Step, needed
from mfv_dsl.plan.treatments import treatments
from mfv_dsl.plan.writes import also_done

BATCH = 64  # prompts a pass, at most: fewer where memory suggests it
#: Demonstrations in the prompts of other relations that the `kl` of a `tune` looks at.
OFF_TASK_SHOTS = 4
#: Passes over the prompts in which a mask over heads is learned, and prompts a step.
MASK_EPOCHS, MASK_BATCH = 10, 16
_HEADS_SHOWN = 12
#: What a layer keeps of a token for the way back: about so many states, in float32.
_ACTIVATIONS, _NUMBERS = 16, 4
#: The site at which heads add what they write.
HEADS_WRITE = SITES["attention"]
_LEARNED = {
    "vector": "a vector of {d_model} numbers",
    "scale": "a factor before the start",
    "head_scales": "a factor for each head of the start",
    "head_mask": "which heads of the start to keep",
    "place_scales": "a factor for each place of the start",
    "patch_mask": "which heads of the start to patch",
}


@dataclass(frozen=True)
class Description:
    """What a step reads and writes, for people; prompts run once; copies of their last tokens; full
    passes, where each copy needs one, and the ``reason``; about how many bytes of keys and values
    are held at a time; and about how many tokens a prompt has, where its pictures are some."""

    reads: str = ""
    writes: str = ""
    prefix_passes: int = 0
    variants: int = 0
    full_passes: int = 0
    reason: str = ""
    memory: int = 0
    length: int = 0


def _cost(
    facts: ModelFacts,
    prefix_passes: int,
    variants: int,
    memory: int,
    shots: int,
    position: str = "last",
) -> dict[str, Any]:
    """What running costs: a model whose prompts see their last token has no shared prefix, nor is
    there one where more is written to than the last token."""
    length = prompt_tokens(facts, shots) if facts.picture_tokens else 0
    passes: dict[str, Any] = {"prefix_passes": prefix_passes, "variants": variants}
    if not facts.shares_prefix:
        passes = {"full_passes": variants, "reason": "as this model shares no prefix"}
    elif position != "last":
        reason = f"as the prompts see what is written at {tokens_at(position)}"
        passes = {"full_passes": variants, "reason": reason}
    return {**passes, "memory": memory, "length": length}


def tokens_at(position: str) -> str:
    """The tokens that an eval's `position` means, in words.

    >>> tokens_at("all"), tokens_at("Q:")
    ('every token', 'the tokens of "Q:"')
    """
    if is_text(position):
        return f'the tokens of "{position}"'
    return {"last": "the last token", "all": "every token", "images": "the tokens of pictures"}[
        position
    ]


def shares_prefix(facts: ModelFacts, parameters: Mapping[str, Any]) -> bool:
    """Whether an evaluation runs the earlier tokens of its prompts once for all conditions."""
    return facts.shares_prefix and parameters.get("position", "last") == "last"


def nothing(plan: Plan, step: Step) -> Description:
    """Of a step that runs no model."""
    return Description()


def activations(plan: Plan, step: Step) -> Description:
    """Of mean head outputs."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        _prompts(p, p["trials"]) + (f", corrupted by {p['corrupt']}" if p.get("corrupt") else ""),
        f"nothing; reads {_heads_read(p, facts)}"
        + (", and the scale of the norm behind them" if p.get("norm") else ""),
        **_cost(facts, p["trials"], p["trials"],
                _memory(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def states(plan: Plan, step: Step) -> Description:
    """Of rows of states, which are held beside the keys and values of a batch."""
    p, facts = step.parameters, model_facts(plan, step)
    twins = f", corrupted by {p['corrupt']}{_pool(plan, step)}" if p["corrupt"] else ""
    rows, tokens = row_bytes(p, facts), tokens_at(p["position"])
    if p["position"] == "demonstrations":
        tokens = "the tokens before the answers of demonstrations"
    return Description(
        _prompts(p, p["trials"]) + twins,
        f"nothing; reads {places_text(p['places'])} at {tokens}",
        **_cost(facts, p["trials"], p["trials"],
                _memory(facts, min(p["trials"], BATCH), p["shots"]) + rows, p["shots"]),
    )  # fmt: skip


def row_bytes(p: Mapping[str, Any], facts: ModelFacts) -> int:
    """The bytes that the rows of a step of states take."""
    return int(4 * p["trials"] * len(p["places"]) * facts.d_model)


def places_text(places: Sequence[tuple[str, int]]) -> str:
    """Places for people, by site.

    >>> places_text([("lm.mlp", 3), ("lm.resid", 3), ("lm.resid", 5)])
    'lm.mlp of layer 3, lm.resid of layers 3, 5'
    """
    layers: dict[str, list[int]] = {}
    for site, layer in places:
        layers.setdefault(site, []).append(layer)
    parts = []
    for site, own in layers.items():
        if len(own) > 2 and own == list(range(own[0], own[-1] + 1)):
            parts.append(f"{site} of layers {own[0]}–{own[-1]}")
        else:
            parts.append(f"{site} of layer{'s' if own[1:] else ''} {', '.join(map(str, own))}")
    return ", ".join(parts)


def mediation(plan: Plan, step: Step) -> Description:
    """Of the effects of all heads."""
    p, facts = step.parameters, model_facts(plan, step)
    heads = 2 if p["by"] == "relp" else 1 + facts.head_count
    return Description(
        f"{_prompts(p, p['trials'])}, corrupted by {p['corrupt']}{_pool(plan, step)}",
        "nothing; the answer's relevance goes back through the last token"
        if p["by"] == "relp"
        else "each head's mean in its place, one head a variant, at "
        f"{p.get('site', 'lm.attn')} (last token)",
        **_cost(facts, p["trials"], p["trials"] * heads,
                _memory(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def head_outputs(plan: Plan, step: Step) -> Description:
    """Of head outputs prompt by prompt."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        _prompts(p, p["trials"]),
        f"nothing; reads {_heads_read(p, facts)}",
        **_cost(facts, p["trials"], p["trials"],
                _memory(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def head_relevance(plan: Plan, step: Step) -> Description:
    """Of the relevance of all heads: a pass and a backward pass."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        _prompts(p, p["trials"]),
        "nothing; the answer's relevance goes back through the last token",
        **_cost(facts, p["trials"], 2 * p["trials"],
                _memory(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def head_mask(plan: Plan, step: Step) -> Description:
    """Of a mask over all heads: every twin's prefix is run once, its last token in each epoch."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        f"{_prompts(p, p['trials'])}, corrupted by {p['corrupt']}{_pool(plan, step)}",
        "every head's mean in its place in part, at lm.attn (last token), learned in "
        f"{MASK_EPOCHS} epochs",
        **_cost(facts, p["trials"], 2 * MASK_EPOCHS * p["trials"],
                _memory(facts, p["trials"], p["shots"]), p["shots"]),
    )  # fmt: skip


def head_probe(plan: Plan, step: Step) -> Description:
    """Of linear probes: what they are fitted to."""
    others = [plan[key].parameters["relation"] for key in step.inputs["others"]]
    return Description(f"outputs on {step.parameters['relation']} against {', '.join(others)}")


def _pool(plan: Plan, step: Step) -> str:
    """The relations that a twin's demonstrations take turns in."""
    p = step.parameters
    if p.get("corrupt") not in POOLED or not p["shots"]:
        return ""
    return f" of {', '.join(p.get('pool') or dataset_facts(plan, step).relations)}"


def head_set(plan: Plan, step: Step) -> Description:
    """Of heads that a recipe names."""
    heads = step.parameters["heads"]
    shown = ", ".join(f"L{layer}H{head}" for layer, head in heads[:_HEADS_SHOWN])
    more = f", … ({len(heads)} heads)" if len(heads) > _HEADS_SHOWN else ""
    return Description(writes=shown + more)


def top(plan: Plan, step: Step) -> Description:
    """Of chosen heads: of which relations they are the heads."""
    scores = [plan[key] for key in step.input_keys]
    relations = [s.parameters.get("relation") or _relation_behind(plan, s) for s in scores]
    if len(relations) > 1:
        return Description(f"one set for {', '.join(relations)} (pooled)")
    return Description(f"the set of {relations[0]}")


def _relation_behind(plan: Plan, step: Step) -> str:
    """The relation of the means that scores are made of."""
    return str(plan[step.input_keys[0]].parameters["relation"])


def extract(plan: Plan, step: Step) -> Description:
    """Of a function vector: whether what its heads write has to be made linear."""
    if model_facts(plan, step).heads_add_up:
        return Description()
    return Description(
        writes="nothing; a norm stands behind the heads, so what they write is made linear by the "
        "norm's mean scale, and the error of this is measured"
    )


def times_asked(plan: Plan, step: Step) -> float:
    """How many prompts ask one item: with `answer = choice` one for each turn of its options, on
    average over the dataset, and one for their texts."""
    if step.parameters.get("answer") != "choice" or step.parameters.get("mode") == "classify":
        return 1
    return 1 + options_of(plan, step)


def options_of(plan: Plan, step: Step) -> float:
    """How many options a question of the step's dataset has, on average."""
    facts = plan.datasets[step.dataset].facts if step.dataset is not None else None
    return facts.options if isinstance(facts, DatasetFacts) and facts.options else 2


def answers(plan: Plan, step: Step) -> Description:
    """Of what the unedited model answers."""
    p, facts = step.parameters, model_facts(plan, step)
    copies = 2 if p["answer"] == "generate" and not facts.shares_prefix else 1
    asked = times_asked(plan, step)
    return Description(
        _prompts(p, p["items"]), "nothing",
        **_cost(facts, round(p["items"] * asked), round(p["items"] * copies * asked),
                _memory(facts, min(p["items"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def evaluate(plan: Plan, step: Step) -> Description:
    """Of all conditions of an eval on one relation."""
    p, facts = step.parameters, model_facts(plan, step)
    if "unedited" in step.references:
        return Description(f"what is answered to {_prompts(p, p['items'])}", "nothing")
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
        _prompts(p, p["items"])
        + (", each asked in all turns of its options and by their texts" if asked > 1 else "")
        + (f", and as many from {p['select_on']}" if trials else "")
        + (", each with a source pair" if blend else "")
        + ("" if known is None else f"; only what is answered correctly with {known} shots"),
        _writes(plan, step, facts),
        **_cost(
            facts, p["items"] * passes, p["items"] * variants,
            _memory(facts, min(p["items"], BATCH), p["shots"]), p["shots"],
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
        **_cost(
            facts, p["items"], p["items"] * (p["conditions"] + 1),
            _memory(facts, min(p["items"], BATCH), shots), shots,
            evaluation.parameters.get("position", "last"),
        ),
    )  # fmt: skip


def _key_of(step: Step, name: str) -> str:
    """The key of the one step that an input is."""
    key = step.inputs[name]
    assert isinstance(key, str)
    return key


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
        **_cost(
            facts,
            trained + p["select_items"] + taught,
            taught
            + p["epochs"] * trained
            + (p["epochs"] + 1) * p["select_items"]
            + (items if p["kl"] else 0),
            _memory(facts, items + p["select_items"], p["shots"])
            + (_memory(facts, items, OFF_TASK_SHOTS) if p["kl"] else 0)
            + (_memory(facts, min(items, p["batch"]), p["teacher_shots"]) if taught else 0),
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
    return _places_of(plan, step.inputs.get("start"))


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


def _heads_read(p: Mapping[str, Any], facts: ModelFacts) -> str:
    """The heads that are read."""
    if p.get("site") == "xattn":
        return "the heads of cross-attention (xattn)"
    return f"lm.attn of {_head_layers(facts)}, {facts.n_heads} heads each"


def _head_layers(facts: ModelFacts) -> str:
    """The layers that have heads."""
    last = f"layers 0–{facts.n_layers - 1}"
    return last if not facts.layers_without_heads else f"{len(facts.head_layers)} of the {last}"


def model_facts(plan: Plan, step: Step) -> ModelFacts:
    """The facts of the model that a step runs."""
    assert step.model is not None
    facts = plan.models[step.model].facts
    assert isinstance(facts, ModelFacts)
    return facts


def dataset_facts(plan: Plan, step: Step) -> DatasetFacts:
    """The facts of the dataset that a step reads."""
    assert step.dataset is not None
    facts = plan.datasets[step.dataset].facts
    assert isinstance(facts, DatasetFacts)
    return facts


def distinct(labels: Iterable[str]) -> list[str]:
    """Labels in their order, each once: numbers of heads make different steps of one label."""
    return list(dict.fromkeys(labels))


def _prompts(p: Mapping[str, Any], n: int) -> str:
    return f"{n} {p['shots']}-shot prompts of {p['relation']} from {p['split']}"


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
        if native and (parts := _places_of(plan, step.inputs.get("real"))):
            where = f"the states, each part at its own place: {places_text(parts)}"
        return f"{scaled} {verb} {where}, at {tokens}{how}{chosen}"
    tokens = tokens.removeprefix("the ")
    if mode == "patch":
        return f"per-head parts of {treatment} in place of lm.attn ({tokens}){chosen}"
    return f"{p['ablate_with']} in place of {treatment} at {_of(plan, step)} ({tokens}){chosen}"


def _places_of(plan: Plan, key: Any) -> tuple[tuple[str, int], ...]:
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


def _memory(facts: ModelFacts, prompts: int, shots: int) -> int:
    """Keys and values of a batch of prompts."""
    tokens = prompt_tokens(facts, shots)
    width = facts.kv_width or facts.d_model
    return 2 * PRECISIONS[facts.precision] * facts.n_layers * width * tokens * prompts
