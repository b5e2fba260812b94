"""Evals to steps: every condition of an eval on one relation is measured by one step.

The step's inputs are what is written into the model: one for each treatment, by its name, and
``overall_mean`` where an ablation needs it; of a blend its ``candidates``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.checked import CheckedBlock
from mfv_dsl.lang.entries import (
    EXAMPLES_SPLIT,
    FUNCTION,
    ITEM,
    OFF_TASKS_BY_CELL,
    PLACED,
    WRITERS,
    WRITES,
    off_task_metrics,
)
from mfv_dsl.lang.evals import each_of, mode_of
from mfv_dsl.lang.syntax import Expr
from mfv_dsl.plan.analogy import candidates
from mfv_dsl.plan.arithmetic import sweep
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.controls import SUBSTITUTES
from mfv_dsl.plan.described_evaluations import conditions
from mfv_dsl.plan.expressions import Planner, titled
from mfv_dsl.plan.operations import options_in_key
from mfv_dsl.plan.steps import EvalRow
from mfv_dsl.plan.treatments import Treatment, treatments


class EvalPlanner(Planner):
    """Plans evals."""

    def evaluate(self, block: CheckedBlock) -> list[EvalRow]:
        """The rows of an eval: a step for each number of shots and relation."""
        rows = []
        for shots in sweep(block["shots"]):
            for relation in self.relations_of(block):
                step = self._evaluate(block, relation, shots)
                rows.append(EvalRow(
                    block.own_name, relation, shots, step, block.listed,
                    tuple(self._comparisons(block, relation)), block["metrics"], block.axes,
                    block["margin"] if block["against"] else None,
                    self._off_task(block, relation, step),
                ))  # fmt: skip
        return rows

    def _off_task(self, block: CheckedBlock, relation: str, evaluation: str) -> str | None:
        """The step that measures the conditions of an evaluation off their task; None where that is
        not asked for, or nothing is written.

        Raises MfvError: MFV5354 for a dataset without another relation, MFV5600 for a kind of
        prompts that it does not have, MFV5604 where heads classify.
        """
        measured = self.steps[evaluation]
        if not off_task_metrics(block["metrics"]) or "mode" not in measured.parameters:
            return None
        if measured.parameters["mode"] == "classify":
            raise MfvError(
                "MFV5604", f"{titled(block)} writes no vector and ablates no heads that could be "
                "measured off its task",
                help="give it `metrics = [accuracy, p_answer]`",
            )  # fmt: skip
        context, kind = self.context_of(block), block["off_task"]
        others = tuple(r for r in self.dataset_facts(context).relations if r != relation)
        if not others:
            raise MfvError(
                "MFV5354", f"the dataset has no relation but `{relation}`, so nothing is off its "
                "task",
                help="take the off-task metrics out, or a dataset with more relations",
            )  # fmt: skip
        constructor = self.checked.datasets[context.dataset].constructor
        if kind in OFF_TASKS_BY_CELL and constructor != "scenes":
            raise MfvError(
                "MFV5600", f"`off_task = {kind}` asks about the cells of a grid, and "
                f"`{constructor}` has none",
                help="`few_shot` and `named` go with every dataset",
            )  # fmt: skip
        parameters = {
            "relation": relation, "off_task": others, "kind": kind, "split": block["split"],
            "items": block["off_task_items"], "seed": block["seed"],
            "conditions": conditions(measured.parameters)[1],
        }  # fmt: skip
        return self.add(
            "off_task", f"{titled(block)}, off its task: {relation}", parameters,
            {"evaluation": evaluation}, context, dataset=True,
            references={n: key for n, key in measured.inputs.items() if isinstance(key, str)},
        )  # fmt: skip

    def _comparisons(self, block: CheckedBlock, relation: str) -> Iterator[tuple[str, str]]:
        """The evals that a block is compared with, each with the step that measures the relation
        there; the checker sees to it that these have one number of shots."""
        evals = self.checked.evals
        for name in each_of(block["against"]):
            (shots,) = sweep(evals[name]["shots"])
            yield evals[name].own_name, self._evaluate(evals[name], relation, shots)

    def _evaluate(self, block: CheckedBlock, relation: str, shots: int) -> str:
        context = replace(self.context_of(block), relations={"each": relation})
        mode = mode_of(block.settings)
        adapter = block["adapter"]
        ablates = block["ablate"] is not None
        parameters = _parameters(block) | {"relation": relation, "shots": shots}
        inputs: dict[str, str | tuple[str, ...]] = {}
        if adapter is not None:
            parameters["mode"] = "adapter"
            inputs["real"] = self.adapter(adapter, context)
        elif mode is not None:
            expressions = each_of(block[mode])
            parameters |= {"mode": mode, "vectors": len(expressions)}
            if ablates and mode != "ablate":
                parameters["ablates"] = True
            if mode == "add" and (blend := candidates(self, expressions[0], context)):
                parameters["mode"] = "blend"
                inputs["candidates"] = blend
            else:
                for treatment in treatments(parameters):
                    expression = expressions[treatment.vector]
                    inputs[treatment.name] = self._treatment(
                        block, mode, expression, treatment, context
                    )
                for treatment in treatments({**parameters, "controls": (), "vectors": 1}):
                    if parameters.get("ablates"):
                        variation = replace(context.variation, k=treatment.k)
                        inputs[treatment.ablated] = self.heads(
                            block["ablate"], replace(context, variation=variation)
                        )
        if mode in WRITERS and block["when"] is not None:
            inputs["when"] = self.vector(block["when"], context)
        if mode == "classify":
            site = self.site_of(block["classify"], context)
            inputs["support"] = self._support(relation, shots, site, block, context)
        if mode == "patch" or "native" in parameters.get("layers", ()):
            self.check_parts(inputs)
        if ablates and block["ablate_with"] == "mean":
            inputs["overall_mean"] = self._overall_mean(block, context)
        label = f"{titled(block)}: {relation}, {shots} shots"
        return self.add(
            "evaluate", label, parameters, inputs, context, dataset=True,
            references=self._references(parameters, context),
        )  # fmt: skip

    def _references(self, p: Mapping[str, Any], context: Context) -> dict[str, str]:
        """What the unedited model answers to the items of an evaluation with the parameters ``p``:
        without demonstrations (``zero_shot``), with those that decide which items are measured
        (``known``, and ``known_select`` on the split that settles ``choose``), and what an
        evaluation measures that writes nothing (``unedited``)."""
        known, split = p.get("correct_with"), p["split"]
        asked = {"zero_shot": (0, split)}
        if known is not None:
            asked["known"] = known, split
            if p.get("choose"):
                asked["known_select"] = known, p["select_on"]
        if "mode" not in p and known in (None, p["shots"]):
            asked["unedited"] = p["shots"], split
        return {name: self._unedited(p, context, *where) for name, where in asked.items()}

    def _unedited(self, p: Mapping[str, Any], context: Context, shots: int, split: str) -> str:
        own = {name: p[name] for name in ("relation", "items", "seed", "answer")}
        label = f"unedited model: {p['relation']} from {split}, {shots} shots"
        return self.add(
            "answers", label, {**own, "shots": shots, "split": split}, None, context, dataset=True
        )

    def _support(
        self, relation: str, shots: int, site: str, block: CheckedBlock, context: Context
    ) -> str:
        """The head outputs that a classification by heads learns from."""
        options = {
            "shots": shots, "trials": block["examples"], "split": EXAMPLES_SPLIT,
            "seed": block["seed"], "site": site,
        }  # fmt: skip
        known = len(self.shortages)
        support = self.head_outputs(relation, options, context)
        for error in self.shortages[known:]:
            error.argument = "examples" if error.argument == "trials" else error.argument
        return support

    def _treatment(
        self, block: CheckedBlock, mode: str, expression: Expr, treatment: Treatment,
        context: Context,
    ) -> str:  # fmt: skip
        """The step of one vector or set of heads that the eval writes."""
        variation = replace(context.variation, k=treatment.k)
        substitute = SUBSTITUTES[treatment.control]
        return substitute(self, block, mode, expression, replace(context, variation=variation))

    def _overall_mean(self, block: CheckedBlock, context: Context) -> str:
        """Mean head outputs over all relations, under the prompts that ``fv`` uses by default."""
        options = {p.name: p.default for p in FUNCTION["fv"].parameters}
        options |= {
            name: setting.value
            for given in (self.checked.defaults, self.checked.reaching.get("fv", {}), block.settled)
            for name, setting in given.items()
            if name in options
        }
        if block["ablate"] is not None:
            options["site"] = self.site_of(block["ablate"], context)
        relations = self.dataset_facts(context).relations
        means = tuple(self.activations(relation, options, context) for relation in relations)
        label = "mean head outputs over all relations"
        return self.add("overall_mean", label, {}, {"means": means})


def _parameters(block: CheckedBlock) -> dict[str, Any]:
    """The attributes of an eval that have an effect with what it writes, as parameters of its
    steps."""
    mode = mode_of(block.settings)
    written = {name for name in WRITES if block[name] is not None}
    if mode in WRITERS and block["when"] is not None:
        written.add("when")
    parameters: dict[str, Any] = {}
    for p in options_in_key(ITEM["eval"]):
        if not p.acts_in or not written.isdisjoint(p.acts_in):
            value = block[p.name]
            parameters[p.stored_name] = sweep(value) if p.sweeps and value is not None else value
    # `patch` writes each head's part in its place: there is no layer and no scale to choose
    chosen = tuple(name for name in parameters.get("choose", ()) if mode in PLACED or name == "k")
    if "choose" in parameters:
        parameters["choose"] = chosen
        if not chosen:  # nothing is settled on another split
            del parameters["select_on"]
    return parameters
