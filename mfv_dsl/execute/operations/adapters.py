"""Adapters: trained beside vectors at equal data, and what evaluations measure with one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mfv_dsl.execute.operations.registry import Values, performs
from mfv_dsl.execute.session import Session, batched
from mfv_dsl.lang.entries import TRAINING_SPLIT
from mfv_dsl.methods.adapter_training import Adapter, AdapterSettings, train_adapter
from mfv_dsl.models.adapters import Lora, SoftPrompt
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.plan.steps import Step


@performs("lora")
def lora(session: Session, step: Step, inputs: Values) -> Adapter:
    """Low-rank matrices beside the linear maps of the decoder layers, trained on one relation."""
    p = step.parameters
    return _trained(session, step, Lora(p["rank"], float(p["alpha"]), p["modules"]))


@performs("soft_prompt")
def soft_prompt(session: Session, step: Step, inputs: Values) -> Adapter:
    """Embeddings before every prompt, trained on one relation."""
    return _trained(session, step, SoftPrompt(step.parameters["tokens"]))


@performs("learned_numbers")
def learned_numbers(session: Session, step: Step, inputs: Values) -> float:
    """How many numbers of an adapter are learned."""
    adapter: Adapter = inputs["adapter"]
    return float(adapter.learned)


def _trained(session: Session, step: Step, form: Lora | SoftPrompt) -> Adapter:
    """Every finished epoch is kept as a part of its step."""
    p = step.parameters

    def prompts(
        n: int, split: str, size: int | None = None
    ) -> Callable[[Backend], Sequence[PromptBatch]]:
        drawn = session.prompts(step, n, split, p["shots"])
        return lambda backend: list(batched(backend, session.dataset(step), drawn, size))

    items = p["items"]
    total = p["epochs"] * -(-items // p["batch"])
    return train_adapter(
        session.backend(step), form,
        prompts(items, TRAINING_SPLIT, p["batch"]), prompts(p["select_items"], p["select_on"]),
        AdapterSettings(p["epochs"], p["lr"], p["seed"]),
        keep=lambda name, make: session.part(step, name, make),
        progress=session.listener.begin(step.label, total),
    )  # fmt: skip
