"""`tune` blocks in a plan: one step for each relation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.lang.checked import CheckedBlock
from mfv_dsl.lang.tunes import TRAINING_SPLIT

if TYPE_CHECKING:
    from mfv_dsl.plan.context import Context
    from mfv_dsl.plan.expressions import Planner

#: Demonstrations in the prompts of other relations that `kl` looks at.
OFF_TASK_SHOTS = 4

_SETTINGS = (
    "layer", "variable", "items", "shots", "epochs", "batch", "lr", "loss", "weight_decay",
    "max_norm", "kl", "sparsity", "select_on", "select_items", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class TuneRow:
    """What a `tune` shows: the step that trains the vector of one relation."""

    tune: str
    relation: str
    step: str


def tune_step(planner: Planner, block: CheckedBlock, relation: str, context: Context) -> str:
    """The step that trains a block's vector of ``relation``, under the block's own model and
    dataset."""
    assert block.model is not None and block.dataset is not None
    context = replace(
        context, model=block.model, dataset=block.dataset, relations={"each": relation}
    )
    label = f"{block.name}({relation})"
    parameters = {name: block[name] for name in _SETTINGS} | {"relation": relation}
    if parameters["kl"]:
        others = [name for name in planner.dataset_facts(context).relations if name != relation]
        parameters["off_task"] = tuple(others)
    inputs: tuple[str, ...] = ()
    if block["start"] != "random":
        if block["variable"] == "scale" and not planner.linear(block["start"], context):
            raise MfvError(
                "MFV5313", f"the start of `{label}` is zero, and no factor changes that",
                help="begin with another vector, or learn the vector itself: variable = vector",
            )  # fmt: skip
        inputs = (planner.vector(block["start"], context),)
    step = planner.add("tune", label, parameters, inputs, context, dataset=True)
    if not str(context.variation) and context.variation.k is None:
        planner.tuned[block.name, relation] = step
    return step


def tune_cost(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """Prefix passes and variants: every prompt's prefix is run once; a training prompt is a variant
    in each epoch, a validation prompt in each and at the start.  Off-task prompts are run once more
    without the vector."""
    p = parameters
    trained = p["items"] * (2 if p["kl"] else 1)
    passes = trained + p["select_items"]
    variants = p["epochs"] * trained + (p["epochs"] + 1) * p["select_items"]
    return passes, variants + (p["items"] if p["kl"] else 0)


def tune_reads(parameters: Mapping[str, Any]) -> str:
    """The prompts of a training, for people."""
    p = parameters
    text = (
        f"{p['items']} {p['shots']}-shot prompts of {p['relation']} from {TRAINING_SPLIT}, "
        f"and {p['select_items']} from {p['select_on']} to choose the epoch"
    )
    if p["kl"]:
        text += f"; {p['items']} {OFF_TASK_SHOTS}-shot prompts of {', '.join(p['off_task'])}"
    return text


def tune_writes(parameters: Mapping[str, Any], facts: ModelFacts) -> str:
    """What a training learns, where and in how many steps, for people."""
    p = parameters
    learned = {
        "vector": f"a vector of {facts.d_model} numbers",
        "scale": "a factor before the start",
        "head_scales": "a factor for each head of the start",
        "head_mask": "which heads of the start to keep",
    }[p["variable"]]
    steps = p["epochs"] * -(-p["items"] // p["batch"])
    return (
        f"{learned}, learned in {steps} steps of {p['batch']} prompts; added to lm.resid, layer "
        f"{p['layer']}, at the last token"
    )
