"""Whether a dataset has as many items and images as a step asks for, before any is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.pools import shortages_of_pool
from mfv_dsl.lang.entries import OFF_TASK_KINDS, TRAINING_SPLIT
from mfv_dsl.plan.descriptions import OFF_TASK_SHOTS

#: What a step draws: so many prompts of a split, each with so many demonstrations, and the names of
#: the attributes that say these numbers.
_Draw: TypeAlias = tuple[tuple[str, int], str, tuple[str, int]]
#: The same behind its relation, and the split before the numbers.
_Pool: TypeAlias = tuple[str, str, tuple[str, int], tuple[str, int]]

#: Operations that draw `trials` prompts.
OF_TRIALS = ("activations", "mediation", "head_outputs", "head_relevance", "head_mask", "states")


def shortages(
    facts: DatasetFacts, operation: str, parameters: Mapping[str, Any]
) -> Iterator[MfvError]:
    """Why a step cannot draw its prompts (MFV7110, MFV7111); each error's ``argument`` names the
    attribute that asks for more than there is."""
    for pool in _pools(operation, parameters):
        yield from shortages_of_pool(facts, *pool)


def _pools(operation: str, parameters: Mapping[str, Any]) -> Iterator[_Pool]:
    for prompts, split, shots in _draws(operation, parameters):
        yield parameters["relation"], split, prompts, shots
    if operation == "off_task":
        others, demonstrations = parameters["off_task"], OFF_TASK_KINDS[parameters["kind"]]
        each = -(-parameters["items"] // len(others))
        for other in others:
            yield (
                other, parameters["split"], ("off_task_items", each), ("off_task", demonstrations),
            )  # fmt: skip
    if operation == "tune" and parameters["kl"] and parameters["items"] != "all":
        others = parameters["off_task"]
        each = -(-parameters["items"] // max(1, len(others)))
        for other in others:
            yield other, TRAINING_SPLIT, ("items", each), ("kl", OFF_TASK_SHOTS)


def _draws(operation: str, p: Mapping[str, Any]) -> Iterator[_Draw]:
    if operation in OF_TRIALS:
        yield ("trials", p["trials"]), p["split"], ("shots", p["shots"])
    elif operation == "evaluate":
        splits = [p["split"], *([p["select_on"]] if p.get("choose") else [])]
        shots = ("shots", max(p["shots"], 1 if p.get("mode") == "blend" else 0))
        for split in splits:
            yield ("items", p["items"]), split, shots
            yield ("items", p["items"]), split, ("correct_with", p.get("correct_with") or 0)
    elif operation in ("tune", "lora", "soft_prompt"):
        items = 1 if p["items"] == "all" else p["items"]
        yield ("items", items), TRAINING_SPLIT, ("shots", p["shots"])
        if p.get("loss") == "teacher":
            yield ("items", items), TRAINING_SPLIT, ("teacher_shots", p["teacher_shots"])
        yield ("select_items", p["select_items"]), p["select_on"], ("shots", p["shots"])
