"""What steps read, write and cost, told before they run.

Costs are counted in prompts: a *prefix pass* runs a prompt once, a *variant* is one more copy of
its last token under some edits.  They are upper bounds where they depend on how many prompts the
model answers correctly.  Evaluations and trainings have modules of their own
(:mod:`mfv_dsl.plan.described_evaluations`, :mod:`mfv_dsl.plan.described_trainings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.facts import PRECISIONS, DatasetFacts, ModelFacts
from mfv_dsl.lang.functions import POOLED
from mfv_dsl.lang.writing import SITES, is_text
from mfv_dsl.plan.lengths import prompt_tokens
from mfv_dsl.plan.steps import Plan, Step

BATCH = 64  # prompts a pass, at most: fewer where memory suggests it
#: Demonstrations in the prompts of other relations that the `kl` of a `tune` looks at.
OFF_TASK_SHOTS = 4
#: Passes over the prompts in which a mask over heads is learned, and prompts a step.
MASK_EPOCHS, MASK_BATCH = 10, 16
_HEADS_SHOWN = 12
#: The site at which heads add what they write.
HEADS_WRITE = SITES["attention"]


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


def cost(
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
        prompts_of(p, p["trials"]) + (f", corrupted by {p['corrupt']}" if p.get("corrupt") else ""),
        f"nothing; reads {_heads_read(p, facts)}"
        + (", and the scale of the norm behind them" if p.get("norm") else ""),
        **cost(facts, p["trials"], p["trials"],
               memory_of(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def states(plan: Plan, step: Step) -> Description:
    """Of rows of states, which are held beside the keys and values of a batch."""
    p, facts = step.parameters, model_facts(plan, step)
    twins = f", corrupted by {p['corrupt']}{_pool(plan, step)}" if p["corrupt"] else ""
    rows, tokens = row_bytes(p, facts), tokens_at(p["position"])
    if p["position"] == "demonstrations":
        tokens = "the tokens before the answers of demonstrations"
    return Description(
        prompts_of(p, p["trials"]) + twins,
        f"nothing; reads {places_text(p['places'])} at {tokens}",
        **cost(facts, p["trials"], p["trials"],
               memory_of(facts, min(p["trials"], BATCH), p["shots"]) + rows, p["shots"]),
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
        f"{prompts_of(p, p['trials'])}, corrupted by {p['corrupt']}{_pool(plan, step)}",
        "nothing; the answer's relevance goes back through the last token"
        if p["by"] == "relp"
        else "each head's mean in its place, one head a variant, at "
        f"{p.get('site', 'lm.attn')} (last token)",
        **cost(facts, p["trials"], p["trials"] * heads,
               memory_of(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def head_outputs(plan: Plan, step: Step) -> Description:
    """Of head outputs prompt by prompt."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        prompts_of(p, p["trials"]),
        f"nothing; reads {_heads_read(p, facts)}",
        **cost(facts, p["trials"], p["trials"],
               memory_of(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def head_relevance(plan: Plan, step: Step) -> Description:
    """Of the relevance of all heads: a pass and a backward pass."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        prompts_of(p, p["trials"]),
        "nothing; the answer's relevance goes back through the last token",
        **cost(facts, p["trials"], 2 * p["trials"],
               memory_of(facts, min(p["trials"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


def head_mask(plan: Plan, step: Step) -> Description:
    """Of a mask over all heads: every twin's prefix is run once, its last token in each epoch."""
    p, facts = step.parameters, model_facts(plan, step)
    return Description(
        f"{prompts_of(p, p['trials'])}, corrupted by {p['corrupt']}{_pool(plan, step)}",
        "every head's mean in its place in part, at lm.attn (last token), learned in "
        f"{MASK_EPOCHS} epochs",
        **cost(facts, p["trials"], 2 * MASK_EPOCHS * p["trials"],
               memory_of(facts, p["trials"], p["shots"]), p["shots"]),
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
        prompts_of(p, p["items"]), "nothing",
        **cost(facts, round(p["items"] * asked), round(p["items"] * copies * asked),
               memory_of(facts, min(p["items"], BATCH), p["shots"]), p["shots"]),
    )  # fmt: skip


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


def prompts_of(p: Mapping[str, Any], n: int) -> str:
    """``n`` prompts of a step with the parameters ``p``, in words."""
    return f"{n} {p['shots']}-shot prompts of {p['relation']} from {p['split']}"


def memory_of(facts: ModelFacts, prompts: int, shots: int) -> int:
    """Keys and values of a batch of prompts."""
    tokens = prompt_tokens(facts, shots)
    width = facts.kv_width or facts.d_model
    return 2 * PRECISIONS[facts.precision] * facts.n_layers * width * tokens * prompts
