"""Expressions to steps.

Equal sub-expressions become the same step.  Sums, differences and multiples of vectors are brought
into one linear form over the vectors they are made of.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.entries import DEFAULT_HEADS
from mfv_dsl.lang.syntax import Binary, Call, Expr, HeadLabel, Name, Number, SetExpr, Unary
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.arithmetic import Linear, calculate, finite, scaled, summed, sweep
from mfv_dsl.plan.context import Context, said
from mfv_dsl.plan.steps import Step, step_key
from mfv_dsl.plan.tuning import tune_step


class Planner:
    """Collects steps; every method that takes an expression returns the key of its step."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.steps: dict[str, Step] = {}
        #: linear forms of declared vectors and keys of declared heads: found once, used often
        self._forms: dict[tuple[Any, ...], Linear] = {}
        self._sets: dict[tuple[Any, ...], str] = {}
        self.warnings: dict[tuple[str, str], Diagnostic] = {}
        self.tuned: dict[tuple[str, str], str] = {}  # (name of the tune, relation) -> step

    # -- steps ----------------------------------------------------------------------------------
    def add(
        self,
        operation: str,
        label: str,
        parameters: Mapping[str, Any],
        inputs: tuple[str, ...] = (),
        context: Context | None = None,
        dataset: bool = False,
    ) -> str:
        """Add a step, or find the equal one; ``context`` where it depends on the model, with
        ``dataset`` where it depends on the dataset too."""
        identity = dataset_hash = None
        if context is not None:
            identity = self.model_facts(context).identity
            dataset_hash = self.dataset_facts(context).hash if dataset else None
        key = step_key(operation, parameters, inputs, identity, dataset_hash)
        if key not in self.steps:
            self.steps[key] = Step(
                key, operation, label, dict(parameters), inputs,
                None if context is None else context.model,
                context.dataset if context is not None and dataset else None,
            )  # fmt: skip
        return key

    def model_facts(self, context: Context) -> ModelFacts:
        facts = self.checked.models[context.model].facts
        if not isinstance(facts, ModelFacts):
            raise MfvError("MFV5001", f"the shape of the model `{context.model}` is not known")
        return facts

    def dataset_facts(self, context: Context) -> DatasetFacts:
        facts = self.checked.datasets[context.dataset].facts
        if not isinstance(facts, DatasetFacts):
            raise MfvError("MFV5001", f"what the dataset `{context.dataset}` holds is not known")
        return facts

    def options(self, call: Call) -> dict[str, Any]:
        return {name: setting.value for name, setting in self.checked.options[call.span].items()}

    def inner(self, options: Mapping[str, Any], context: Context) -> Context:
        """The context after a call's own ``model=`` and ``dataset=``."""
        return replace(
            context,
            model=options.get("model") or context.model,
            dataset=options.get("dataset") or context.dataset,
        )

    # -- vectors --------------------------------------------------------------------------------
    def vector(self, expr: Expr, context: Context) -> str:
        """The step of a vector: the vector itself, or the linear combination that it is."""
        return self.combination(self.linear(expr, context), context)

    def combination(self, form: Linear, context: Context) -> str:
        """The step of a linear form."""
        for coefficient in form.values():
            finite(coefficient)
        if list(form.values()) == [1.0]:
            return next(iter(form))
        keys = sorted(form)
        label = " + ".join(f"{form[key]:g}·{self.steps[key].label}" for key in form) or "zero"
        return self.add(
            "linear", label.replace("+ -", "− "), {"coefficients": [form[key] for key in keys]},
            tuple(keys), context,
        )  # fmt: skip

    def linear(self, expr: Expr, context: Context) -> Linear:
        """The linear form of a vector expression; like terms are merged, zero terms dropped."""
        if isinstance(expr, Unary):
            return scaled(self.linear(expr.operand, context), -1.0 if expr.operator == "-" else 1)
        if isinstance(expr, Binary) and expr.operator in "+-":
            right = self.linear(expr.right, context)
            signed = right if expr.operator == "+" else scaled(right, -1)
            return self._sum(expr, self.linear(expr.left, context), signed)
        if isinstance(expr, Binary):
            return self._product(expr, context)
        if isinstance(expr, Name):
            return self._declared(expr.text, replace(context, relations={}))
        if isinstance(expr, Call):
            return self._call(expr, context)
        raise AssertionError(f"not a vector: {expr!r}")

    def _sum(self, expr: Expr, *forms: Linear) -> Linear:
        """The sum of the forms; a term that cancels in it is warned of."""
        total, gone = summed(*forms)
        for key in gone:
            label, text = self.steps[key].label, unparse(expr)
            self.warnings[label, text] = Diagnostic(
                "MFV5005", f"{label} cancels out of `{text}`", self.checked.recipe.source,
                expr.span, severity="warning",
            )  # fmt: skip
        return total

    def _product(self, expr: Binary, context: Context) -> Linear:
        number, vector = self.factors(expr)
        by = self.number(number, context)
        form = self.linear(vector, context)
        return self.multiple(form, expr.operator, by, said(expr, context), context)

    def factors(self, expr: Binary) -> tuple[Expr, Expr]:
        """The number and the vector of a product or quotient."""
        number_first = self.checked.types.get(expr.left.span) == "Number"
        return (expr.left, expr.right) if number_first else (expr.right, expr.left)

    def multiple(
        self, form: Linear, operator: str, number: float | str, label: str, context: Context
    ) -> Linear:
        """``form`` ``*`` or ``/`` a number that is known now or computed by a step."""
        if isinstance(number, float):
            return scaled(form, calculate("/", 1.0, number) if operator == "/" else number)
        if operator == "/":
            number = self.add("arithmetic", "1 / …", {"operator": "/", "left": 1.0}, (number,))
        inputs = (number, self.combination(form, context))
        return {self.add("times", label, {}, inputs, context): 1.0}

    def _call(self, call: Call, context: Context) -> Linear:
        name = call.function.text
        if name == "fv":
            return {self.extract(call, context): 1.0}
        if name == "mean":
            forms = [self.linear(argument, context) for argument in call.arguments]
            return scaled(self._sum(call, *forms), 1 / len(forms))
        if name == "zeros":
            return {}
        if name in self.checked.vectors:
            return self._declared(name, self.member(call, context))
        if name == "blend":
            raise MfvError(
                "MFV5351",
                "a blend is another vector for every item, so it has no value of its own",
                help="let an `eval` add it",
            )
        if name in self.checked.tunes:
            block, relation = self.checked.tunes[name], context.relation(_only_name(call))
            return {tune_step(self, block, relation, context): 1.0}
        options = self.options(call)
        if name == "load":
            return {self.load(call, options, context): 1.0}
        if name in ("normalize", "project", "reject", "random_like"):
            vectors = [part for part in (*call.arguments, *(k.value for k in call.keywords))
                       if self.checked.types.get(part.span) == "Vector"]  # fmt: skip
            inputs = tuple(self.vector(part, context) for part in vectors)
            parameters = {"seed": options["seed"]} if name == "random_like" else {}
            return {self.add(name, said(call, context), parameters, inputs, context): 1.0}
        raise AssertionError(f"no plan for {name}")

    def member(self, call: Call, context: Context) -> Context:
        """The context in which a family's value stands for its member ``call``."""
        family = self.checked.vectors[call.function.text]
        assert family.parameter is not None
        bound = {family.parameter.text: context.relation(_only_name(call))}
        return replace(context, relations=bound)

    def load(self, call: Call, options: Mapping[str, Any], context: Context) -> str:
        """``load(path, name)``: its key holds the file's content, so that what is made of it is
        made anew when it changes; None where the file is not here, which the run will tell."""
        path, name = options["path"], options["name"]
        facts = self.checked.loads.get((path, name))
        parameters = {
            "path": path, "name": name, "allow_mismatch": options["allow_mismatch"],
            "revision": facts.revision if facts else None,
            "content": _content(facts.file) if facts else None,
        }  # fmt: skip
        return self.add("load", unparse(call), parameters, (), context)

    def _declared(self, name: str, context: Context) -> Linear:
        key = (name, context.model, context.dataset, context.variation, *context.relations.values())
        if key not in self._forms:
            self._forms[key] = self.linear(self.checked.vectors[name].value, context)
        return self._forms[key]

    def extract(self, call: Call, context: Context) -> str:
        """``fv(relation, …)``: mean activations, heads, and the function vector of the two."""
        options = self.options(call)
        context = self.inner(options, context)
        relation = context.relation(_only_name(call))
        if context.variation.shuffled:
            activations = self.shuffled_activations(relation, options, context)
        else:
            activations = self.activations(relation, options, context)
        if options["heads"] is None:
            effect = self.mediation(relation, options, context)
            k = context.variation.k or DEFAULT_HEADS
            best = self.add("top", f"top {k} on {relation}", {"k": k}, (effect,))
            heads = self._chosen(best, k, context)
        else:
            heads = self.heads(options["heads"], context)
        return self.add(
            "extract", f"fv({relation}){context.variation}",
            {"bias": options["bias"], "relation": relation}, (activations, heads), context,
        )  # fmt: skip

    def activations(self, relation: str, options: Mapping[str, Any], context: Context) -> str:
        return self.add(
            "activations", f"mean head outputs on {relation}",
            {"relation": relation, **_prompting(options),
             "correct_only": options.get("correct_only", True)},
            (), context, dataset=True,
        )  # fmt: skip

    def shuffled_activations(
        self, relation: str, options: Mapping[str, Any], context: Context
    ) -> str:
        """Means over all prompts of a relation, their demonstrations' answers shuffled."""
        return self.add(
            "activations", f"mean head outputs on {relation}, answers shuffled",
            {"relation": relation, **_prompting(options), "correct_only": False,
             "corrupt": "shuffle"},
            (), context, dataset=True,
        )  # fmt: skip

    def mediation(
        self, relation: str, options: Mapping[str, Any], context: Context, by: str = "aie"
    ) -> str:
        """Effects of every head on a relation, exact (``aie``) or estimated (``gradient``)."""
        activations = self.activations(relation, options, context)
        return self.add(
            "mediation", f"effect of every head on {relation}",
            {"relation": relation, **_prompting(options), "corrupt": options["corrupt"], "by": by,
             "correct_only": options["correct_only"]},
            (activations,), context, dataset=True,
        )  # fmt: skip

    # -- numbers --------------------------------------------------------------------------------
    def number(self, expr: Expr, context: Context) -> float | str:
        """A number known now, or the step that will compute it."""
        if isinstance(expr, Number):
            return float(expr.value)
        if isinstance(expr, Unary):
            value = self.number(expr.operand, context)
            if expr.operator == "+":
                return value
            return -value if isinstance(value, float) else self._arithmetic("*", -1.0, value)
        if isinstance(expr, Binary):
            return self._arithmetic(
                expr.operator, self.number(expr.left, context), self.number(expr.right, context)
            )
        assert isinstance(expr, Call)
        vectors = tuple(self.vector(argument, context) for argument in expr.arguments)
        return self.add(expr.function.text, said(expr, context), {}, vectors, context)

    def _arithmetic(self, operator: str, left: float | str, right: float | str) -> float | str:
        if isinstance(left, float) and isinstance(right, float):
            return calculate(operator, left, right)
        parameters: dict[str, Any] = {"operator": operator}
        inputs = []
        for side, value in (("left", left), ("right", right)):
            if isinstance(value, float):
                parameters[side] = value
            else:
                inputs.append(value)
        return self.add("arithmetic", f"… {operator} …", parameters, tuple(inputs))

    # -- heads ----------------------------------------------------------------------------------
    def heads(self, expr: Expr, context: Context) -> str:
        if isinstance(expr, Name):
            here = replace(context, relations={})
            key = (expr.text, context.model, context.dataset, context.variation)
            if key not in self._sets:
                self._sets[key] = self.heads(self.checked.heads[expr.text].value, here)
            return self._sets[key]
        if isinstance(expr, Binary):
            operation = {"|": "head_union", "&": "head_intersection", "-": "head_difference"}
            inputs = (self.heads(expr.left, context), self.heads(expr.right, context))
            return self.add(operation[expr.operator], unparse(expr), {}, inputs)
        if isinstance(expr, SetExpr):
            labels = [(part.layer, part.head) for part in expr.items if isinstance(part, HeadLabel)]
            return self.head_set(unparse(expr), labels)
        assert isinstance(expr, Call)
        return self._head_call(expr, context)

    def _head_call(self, call: Call, context: Context) -> str:
        name, options = call.function.text, self.options(call)
        context = self.inner(options, context)
        every = self._every(context)
        if name == "all":
            return self.head_set("all heads", every)
        if name == "layers":
            wanted = sweep(options["which"])
            return self.head_set(unparse(call), [head for head in every if head[0] in wanted])
        if name == "random":
            chosen = random.Random(options["seed"]).sample(every, options["k"])
            return self.head_set(unparse(call), chosen)
        return self._top(call, options, context)

    def _top(self, call: Call, options: Mapping[str, Any], context: Context) -> str:
        k = context.variation.k or options["k"]
        label = unparse(replace(call, arguments=(Number(k),)))
        if options["by"] == "random":
            drawn = random.Random(options["seed"]).sample(self._every(context), k)
            return self._chosen(self.head_set(label, drawn), k, context)
        names = options["on"] or self.dataset_facts(context).relations
        scores = tuple(
            self._scores(context.relation(relation), options, context) for relation in names
        )
        return self._chosen(self.add("top", label, {"k": k}, scores), k, context)

    def _chosen(self, best: str, k: int, context: Context) -> str:
        """The heads that `top` chose, or where the eval varies it as many random others."""
        seed = context.variation.random_heads
        if seed is None:
            return best
        facts = self.model_facts(context)
        parameters = {"k": k, "seed": seed, "layers": facts.n_layers, "heads": facts.n_heads}
        return self.add("other_heads", f"random heads ({k})", parameters, (best,))

    def _every(self, context: Context) -> list[tuple[int, int]]:
        """All heads of the model."""
        facts = self.model_facts(context)
        return [(layer, head) for layer in range(facts.n_layers) for head in range(facts.n_heads)]

    def _scores(self, relation: str, options: Mapping[str, Any], context: Context) -> str:
        """What ``top`` ranks heads by on one relation."""
        if options["by"] == "norm":
            mean = self.activations(relation, options, context)
            return self.add("head_norms", f"output norms on {relation}", {}, (mean,), context)
        return self.mediation(relation, options, context, options["by"])

    def head_set(self, label: str, heads: list[tuple[int, int]]) -> str:
        return self.add("head_set", label, {"heads": sorted({(int(i), int(j)) for i, j in heads})})


def _content(path: str) -> str | None:
    """SHA-256 of a file; None where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


def _prompting(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("shots", "trials", "split", "seed")}


def _only_name(call: Call) -> str:
    argument = call.arguments[0] if call.arguments else call.keywords[0].value
    assert isinstance(argument, Name)
    return argument.text
