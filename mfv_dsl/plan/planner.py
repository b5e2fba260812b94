"""The ground of planning: steps, each added once, and what calls and models are known to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.lang.checked import Checked, CheckedBlock
from mfv_dsl.lang.relations import relation_text
from mfv_dsl.lang.syntax import Call
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.lengths import check_pictures
from mfv_dsl.plan.operations import OPERATIONS, step_key
from mfv_dsl.plan.sizes import shortages
from mfv_dsl.plan.steps import Inputs, Step


class StepPlanner:
    """Collects steps."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.steps: dict[str, Step] = {}
        self.warnings: dict[tuple[str, str], Diagnostic] = {}
        self.shortages: list[MfvError] = []  # what the datasets have too little of
        self.tuned: dict[tuple[str, str], str] = {}  # (name of the tune, relation) -> step

    def add(
        self,
        operation: str,
        label: str,
        parameters: Mapping[str, Any],
        inputs: Inputs | None = None,
        context: Context | None = None,
        *,
        dataset: bool = False,
        references: Mapping[str, str] | None = None,
    ) -> str:
        """Add a step, or find the equal one.

        Args:
            operation: Its name in ``OPERATIONS``.
            label: What people see; of equal steps the first one's stays.
            parameters: Values by the names that the operation declares.
            inputs: Keys of the steps whose values it takes, by name.
            context: Where it depends on the model.
            dataset: Whether it depends on the context's dataset, too.
            references: Keys of further steps whose values it takes, by name, which follow from its
                parameters.

        Returns:
            The step's key.

        Raises:
            MfvError: MFV7286 for prompts whose pictures are more than the model takes.
        """
        undeclared = set(parameters) - set(OPERATIONS[operation].parameters)
        assert not undeclared, f"the operation `{operation}` declares no {undeclared}"
        inputs = inputs or {}
        identity = dataset_hash = None
        if context is not None:
            facts = self.model_facts(context)
            identity = facts.identity
            check_pictures(facts, context.model, parameters.get("shots", 0))
            if dataset:
                items = self.dataset_facts(context)
                dataset_hash = items.hash
                self.shortages += shortages(items, operation, parameters)
        key = step_key(operation, parameters, inputs, identity, dataset_hash)
        if key not in self.steps:
            self.steps[key] = Step(
                key, operation, label, dict(parameters), dict(inputs),
                None if context is None else context.model,
                context.dataset if context is not None and dataset else None, references or {},
            )  # fmt: skip
        return key

    def model_facts(self, context: Context) -> ModelFacts:
        """The shape of the context's model; MFV5001 where it is not known."""
        facts = self.checked.models[context.model].facts
        if not isinstance(facts, ModelFacts):
            raise MfvError(
                "MFV5001", f"the shape of the model `{context.model}` is not known",
                help="its files are not on this machine: `mfv run --download` fetches them",
            )  # fmt: skip
        return facts

    def dataset_facts(self, context: Context) -> DatasetFacts:
        """What the context's dataset holds; MFV5001 where it is not known."""
        facts = self.checked.datasets[context.dataset].facts
        if not isinstance(facts, DatasetFacts):
            raise MfvError("MFV5001", f"what the dataset `{context.dataset}` holds is not known")
        return facts

    def context_of(self, block: CheckedBlock) -> Context:
        """The model and dataset that a block is for."""
        assert block.model is not None and block.dataset is not None
        return Context(block.model, block.dataset)

    def relations_of(self, block: CheckedBlock) -> tuple[str, ...]:
        """The relations that a block is about."""
        relations = tuple(str(relation) for relation in block["on"] or ())
        return relations or self.dataset_facts(self.context_of(block)).relations

    def options(self, call: Call) -> dict[str, Any]:
        """The options of a call, those left out at their defaults."""
        return {name: setting.value for name, setting in self.checked.options[call.span].items()}

    def inner(self, options: Mapping[str, Any], context: Context) -> Context:
        """The context after a call's own ``model=`` and ``dataset=``."""
        return replace(
            context,
            model=options.get("model") or context.model,
            dataset=options.get("dataset") or context.dataset,
        )


def parameters_of(operation: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that the operation declares as its parameters."""
    return {name: options[name] for name in OPERATIONS[operation].parameters if name in options}


def relation_argument(call: Call) -> str:
    """The name of a relation, or of what stands for one, that a call is about."""
    argument = call.arguments[0] if call.arguments else call.keywords[0].value
    relation = relation_text(argument)
    assert relation is not None, f"not a relation: {argument!r}"
    return relation
