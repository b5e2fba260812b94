"""Evals to steps: every condition of an eval on one relation is measured by one step.

The step's inputs are what is written into the model: in order of control, vector and number of
heads, the heads' overall mean behind them where an ablation needs it (see :func:`written`); of a
blend its candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mfv_dsl.lang.checked import CheckedBlock
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.evals import each_of, mode_of
from mfv_dsl.lang.syntax import Expr
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.analogy import candidates
from mfv_dsl.plan.arithmetic import sweep
from mfv_dsl.plan.context import Context, Variation
from mfv_dsl.plan.expressions import Planner
from mfv_dsl.plan.steps import Row


@dataclass(frozen=True)
class Written:
    """What one input of an evaluation is: the control it belongs to (empty for the real thing), its
    vector's place in the eval's list, and the number of heads, where that is swept."""

    control: str = ""
    vector: int = 0
    k: int | None = None


def written(parameters: Mapping[str, Any]) -> list[Written]:
    """What the inputs of an evaluation with these parameters are, in their order."""
    return [
        Written(control, vector, k)
        for control in ("", *parameters.get("controls", ()))
        for vector in range(parameters.get("vectors", 1))
        for k in parameters.get("ks") or (None,)
    ]


class EvalPlanner(Planner):
    """Plans evals."""

    def evaluate(self, block: CheckedBlock) -> list[Row]:
        """The rows of an eval: a step for each number of shots and relation."""
        evals = {other.name: other for other in self.checked.blocks if other.kind == "eval"}
        mode = mode_of(block.settings)
        vectors = each_of(block[mode]) if mode else ()
        return [
            Row(
                block.name, relation, shots, self._evaluate(block, relation, shots),
                tuple(map(unparse, vectors)) if len(vectors) > 1 else (),
                tuple(
                    (name, self._evaluate(evals[name], relation, *sweep(evals[name]["shots"])))
                    for name in each_of(block["against"])
                ),
                block["metrics"],
            )
            for shots in sweep(block["shots"])
            for relation in self.relations_of(block)
        ]  # fmt: skip

    def relations_of(self, block: CheckedBlock) -> tuple[str, ...]:
        """The relations that a block is about."""
        relations: tuple[str, ...] = block["on"]
        return relations or self.dataset_facts(self.context_of(block)).relations

    def context_of(self, block: CheckedBlock) -> Context:
        assert block.model is not None and block.dataset is not None
        return Context(block.model, block.dataset)

    def _evaluate(self, block: CheckedBlock, relation: str, shots: int) -> str:
        context = replace(self.context_of(block), relations={"each": relation})
        mode = mode_of(block.settings)
        parameters: dict[str, Any] = {
            "relation": relation, "shots": shots, "split": block["split"],
            "items": block["items"], "seed": block["seed"], "answer": block["answer"],
        }  # fmt: skip
        inputs: tuple[str, ...] = ()
        if mode is not None:
            expressions = each_of(block[mode])
            parameters |= {"mode": mode, "vectors": len(expressions), "controls": block["controls"]}
            if block["k"] is not None:
                parameters["ks"] = sweep(block["k"])
            blend = candidates(self, expressions[0], context) if mode == "add" else None
            inputs = blend or tuple(
                self._written(block, mode, expressions[one.vector], one, context)
                for one in written(parameters)
            )
            if blend:
                parameters["mode"] = "blend"
        if mode == "add":
            parameters |= {"layers": sweep(block["layer"]), "scales": sweep(block["scale"])}
        if mode == "ablate":
            parameters["ablate_with"] = block["ablate_with"]
            if block["ablate_with"] == "mean":
                inputs += (self._overall_mean(context),)
        # `patch` writes each head's part in its place: there is no layer and no scale to choose
        settled = [name for name in block["choose"] if mode == "add" or name == "k"]
        if settled and mode in ("add", "patch"):
            parameters |= {"choose": tuple(settled), "select_on": block["select_on"]}
        label = f"{block.name}: {relation}, {shots} shots"
        return self.add("evaluate", label, parameters, inputs, context, dataset=True)

    def _written(
        self, block: CheckedBlock, mode: str, expression: Expr, one: Written, context: Context
    ) -> str:
        """The step of one vector or set of heads that the eval writes."""
        at_random = block["seed"] if one.control == "random_heads" else None
        variation = Variation(one.k, at_random, one.control == "shuffled")
        context = replace(context, variation=variation)
        if one.control == "other_relation":
            relation = self._other(block, context.relation("each"))
            context = replace(context, relations={"each": relation})
        if mode == "ablate":
            return self.heads(expression, context)
        vector = self.vector(expression, context)
        if one.control != "random_vector":
            return vector
        label = f"random, as long as {self.steps[vector].label}"
        return self.add("random_like", label, {"seed": block["seed"]}, (vector,), context)

    def _other(self, block: CheckedBlock, relation: str) -> str:
        """The relation half-way round the eval's list, or the dataset's where the eval has one:
        above for left in [left, right, above, below], so that it is not always the opposite."""
        names = self.relations_of(block)
        if len(names) == 1:
            names = self.dataset_facts(self.context_of(block)).relations
        return names[(names.index(relation) + len(names) // 2) % len(names)]

    def _overall_mean(self, context: Context) -> str:
        """Mean head outputs over all relations, under the prompts that ``fv`` uses by default."""
        options = {p.name: p.default for p in FUNCTION["fv"].parameters}
        options |= {
            name: setting.value
            for name, setting in self.checked.defaults.items()
            if name in options
        }
        relations = self.dataset_facts(context).relations
        means = tuple(self.activations(relation, options, context) for relation in relations)
        return self.add("overall_mean", "mean head outputs over all relations", {}, means)
