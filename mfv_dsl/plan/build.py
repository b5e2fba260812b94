"""From a checked recipe to a plan.

Expressions become steps; equal sub-expressions become the same step.  Sums, differences and
multiples of vectors are brought into one linear form over the vectors they are made of.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mfv_dsl.lang.checked import Checked, CheckedBlock, DatasetFacts, ModelFacts
from mfv_dsl.lang.diagnostics import MfvError
from mfv_dsl.lang.suggest import suggest
from mfv_dsl.lang.syntax import (
    Binary,
    Call,
    Expr,
    HeadLabel,
    Name,
    Number,
    SetExpr,
    Unary,
)
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.steps import Plan, Row, Save, Saved, Step, step_key

#: How many heads a function vector has when the recipe does not say.
DEFAULT_HEADS = 10


@dataclass(frozen=True)
class Context:
    """What an expression is evaluated under: a model, a dataset, and values of relation names."""

    model: str
    dataset: str
    relations: Mapping[str, str] = field(default_factory=dict)

    def relation(self, name: str) -> str:
        return self.relations.get(name, name)


#: A sum of multiples of vectors: step key -> coefficient, in order of first appearance.
Linear = dict[str, float]


class Planner:
    """Collects steps; every method that takes an expression returns the key of its step."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.steps: dict[str, Step] = {}
        #: linear forms of declared vectors and keys of declared heads: found once, used often
        self._forms: dict[tuple[str, ...], Linear] = {}
        self._sets: dict[tuple[str, ...], str] = {}

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
        fingerprint = dataset_hash = None
        if context is not None:
            fingerprint = self.model_facts(context).fingerprint
            dataset_hash = self.dataset_facts(context).hash if dataset else None
        key = step_key(operation, parameters, inputs, fingerprint, dataset_hash)
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
        form = self.linear(expr, context)
        for coefficient in form.values():
            _finite(coefficient)
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
            return _scaled(self.linear(expr.operand, context), -1.0 if expr.operator == "-" else 1)
        if isinstance(expr, Binary) and expr.operator in "+-":
            right = self.linear(expr.right, context)
            return _sum(
                self.linear(expr.left, context),
                right if expr.operator == "+" else _scaled(right, -1),
            )
        if isinstance(expr, Binary):
            return self._product(expr, context)
        if isinstance(expr, Name):
            return self._declared(expr.text, replace(context, relations={}))
        if isinstance(expr, Call):
            return self._call(expr, context)
        raise AssertionError(f"not a vector: {expr!r}")

    def _product(self, expr: Binary, context: Context) -> Linear:
        number_first = self.checked.types.get(expr.left.span) == "Number"
        number = self.number(expr.left if number_first else expr.right, context)
        vector = expr.right if number_first else expr.left
        if isinstance(number, float):
            factor = calculate("/", 1.0, number) if expr.operator == "/" else number
            return _scaled(self.linear(vector, context), factor)
        if expr.operator == "/":
            number = self.add("arithmetic", "1 / …", {"operator": "/", "left": 1.0}, (number,))
        inputs = (number, self.vector(vector, context))
        return {self.add("times", unparse(expr), {}, inputs, context): 1.0}

    def _call(self, call: Call, context: Context) -> Linear:
        name = call.function.text
        if name == "fv":
            return {self.extract(call, context): 1.0}
        if name == "mean":
            forms = [self.linear(argument, context) for argument in call.arguments]
            return _scaled(_sum(*forms), 1 / len(forms))
        if name == "zeros":
            return {}
        if name in self.checked.vectors:
            family = self.checked.vectors[name]
            assert family.parameter is not None
            bound = {family.parameter.text: context.relation(_only_name(call))}
            return self._declared(name, replace(context, relations=bound))
        options = self.options(call)
        if name == "load":
            parameters = {"path": options["path"], "name": options["name"]}
            return {self.add("load", unparse(call), parameters, (), context): 1.0}
        if name in ("normalize", "project", "reject", "random_like"):
            vectors = [part for part in (*call.arguments, *(k.value for k in call.keywords))
                       if self.checked.types.get(part.span) == "Vector"]  # fmt: skip
            inputs = tuple(self.vector(part, context) for part in vectors)
            parameters = {"seed": options["seed"]} if name == "random_like" else {}
            return {self.add(name, unparse(call), parameters, inputs, context): 1.0}
        raise MfvError("MFV5002", f"`{name}(…)` cannot be run yet")

    def _declared(self, name: str, context: Context) -> Linear:
        key = (name, context.model, context.dataset, *context.relations.values())
        if key not in self._forms:
            self._forms[key] = self.linear(self.checked.vectors[name].value, context)
        return self._forms[key]

    def extract(self, call: Call, context: Context) -> str:
        """``fv(relation, …)``: mean activations, heads, and the function vector of the two."""
        options = self.options(call)
        context = self.inner(options, context)
        relation = context.relation(_only_name(call))
        activations = self.activations(relation, options, context)
        if options["heads"] is None:
            effect = self.mediation(relation, options, context)
            heads = self.add("top", f"top {DEFAULT_HEADS} on {relation}", {"k": DEFAULT_HEADS},
                             (effect,))  # fmt: skip
        else:
            heads = self.heads(options["heads"], context)
        return self.add(
            "extract", f"fv({relation})", {"bias": options["bias"], "relation": relation},
            (activations, heads), context,
        )  # fmt: skip

    def activations(self, relation: str, options: Mapping[str, Any], context: Context) -> str:
        return self.add(
            "activations", f"mean head outputs on {relation}",
            {"relation": relation, **_prompting(options),
             "correct_only": options.get("correct_only", True)},
            (), context, dataset=True,
        )  # fmt: skip

    def mediation(self, relation: str, options: Mapping[str, Any], context: Context) -> str:
        activations = self.activations(relation, {**options, "correct_only": True}, context)
        return self.add(
            "mediation", f"effect of every head on {relation}",
            {"relation": relation, **_prompting(options), "corrupt": options["corrupt"]},
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
        return self.add(expr.function.text, unparse(expr), {}, vectors, context)

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
            key = (expr.text, context.model, context.dataset)
            if key not in self._sets:
                declared = self.checked.heads[expr.text].value
                self._sets[key] = self.heads(declared, replace(context, relations={}))
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
        facts = self.model_facts(context)
        every = [(i, j) for i in range(facts.n_layers) for j in range(facts.n_heads)]
        if name == "all":
            return self.head_set("all heads", every)
        if name == "layers":
            wanted = _sweep(options["which"])
            return self.head_set(unparse(call), [head for head in every if head[0] in wanted])
        if name == "random":
            chosen = random.Random(options["seed"]).sample(every, options["k"])
            return self.head_set(unparse(call), chosen)
        if options["by"] != "aie":
            raise MfvError("MFV5002", f"`top(…, by={options['by']})` cannot be run yet")
        names = options["on"] or self.dataset_facts(context).relations
        relations = [context.relation(relation) for relation in names]
        effects = tuple(self.mediation(relation, options, context) for relation in relations)
        return self.add("top", unparse(call), {"k": options["k"]}, effects)

    def head_set(self, label: str, heads: list[tuple[int, int]]) -> str:
        return self.add("head_set", label, {"heads": sorted({(int(i), int(j)) for i, j in heads})})

    # -- blocks ---------------------------------------------------------------------------------
    def evaluate(self, block: CheckedBlock) -> list[Row]:
        assert block.model is not None and block.dataset is not None
        base = Context(block.model, block.dataset)
        relations = block["on"] or self.dataset_facts(base).relations
        shots = block["shots"] if isinstance(block["shots"], tuple) else (block["shots"],)
        return [
            self._evaluate(block, replace(base, relations={"each": relation}), relation, k)
            for k in shots
            for relation in relations
        ]

    def _evaluate(self, block: CheckedBlock, context: Context, relation: str, shots: int) -> Row:
        parameters: dict[str, Any] = {
            "relation": relation, "shots": shots, "split": block["split"],
            "items": block["items"], "seed": block["seed"],
        }  # fmt: skip
        inputs: tuple[str, ...] = ()
        if block["add"] is not None:
            inputs = (self.vector(block["add"], context),)
            layers, scales = _sweep(block["layer"]), _sweep(block["scale"])
            parameters |= {"mode": "add", "layers": layers, "scales": scales}
            if block["choose"]:
                parameters |= {"choose": block["choose"], "select_on": block["select_on"]}
        elif block["patch"] is not None:
            inputs = (self.vector(block["patch"], context),)
            parameters |= {"mode": "patch"}
        elif block["ablate"] is not None:
            inputs = (self.heads(block["ablate"], context),)
            parameters |= {"mode": "ablate", "ablate_with": block["ablate_with"]}
            if block["ablate_with"] == "mean":
                inputs += (self._overall_mean(context),)
        label = f"{block.name}: {relation}, {shots} shots"
        step = self.add("evaluate", label, parameters, inputs, context, dataset=True)
        return Row(block.name, relation, shots, step)

    def _overall_mean(self, context: Context) -> str:
        """Mean head outputs over all relations, under the prompts that ``fv`` uses by default."""
        from mfv_dsl.lang.entries import FUNCTION

        options = {p.name: p.default for p in FUNCTION["fv"].parameters}
        options |= {
            name: setting.value
            for name, setting in self.checked.defaults.items()
            if name in options
        }
        relations = self.dataset_facts(context).relations
        means = tuple(self.activations(relation, options, context) for relation in relations)
        return self.add("overall_mean", "mean head outputs over all relations", {}, means)

    def save(self, block: CheckedBlock) -> Save:
        assert block.model is not None and block.dataset is not None
        base = Context(block.model, block.dataset)
        relations = block["on"] or self.dataset_facts(base).relations
        saved: list[Saved] = []
        for expr in block["vectors"]:
            each = any(isinstance(node, Name) and node.text == "each" for node in expr.walk())
            for relation in relations if each else [None]:
                bound = {} if relation is None else {"each": relation}
                context = replace(base, relations=bound)
                text = unparse(expr).replace("each", relation or "")
                saved.append(
                    Saved(vector_name(expr, context), self.vector(expr, context), text,
                          _relation_of(expr, context))
                )  # fmt: skip
        return Save(block.name, block["layer"], block.model, block.dataset, tuple(saved))


def build_plan(checked: Checked, only: Sequence[str] | None = None) -> Plan:
    """The plan of a checked recipe; with ``only``, of the evals and saves of these names alone."""
    names = [block.name for block in checked.blocks]
    for name in only or ():
        if name not in names:
            near = suggest(name, names)
            raise MfvError(
                "MFV5003",
                f"the recipe has no eval or save `{name}`",
                help=f"did you mean `{near}`?" if near else f"it has {', '.join(names)}",
            )
    planner = Planner(checked)
    rows: list[Row] = []
    saves: list[Save] = []
    try:
        for block in checked.blocks:
            if only and block.name not in only:
                continue
            if block.kind == "eval":
                rows += planner.evaluate(block)
            elif block.kind == "save":
                saves.append(planner.save(block))
            else:
                raise MfvError(
                    "MFV5002",
                    f"`{block.kind} {block.name}` cannot be run yet",
                    help="`mfv check` accepts it; take it out, or name what to run by --only",
                )
    except RecursionError:
        raise MfvError(
            "MFV5004",
            "the names of this recipe stand for one another through too many levels to follow",
            help="write long sums as one `mean(...)`, or with fewer names in between",
        ) from None
    return Plan(checked.models, checked.datasets, tuple(planner.steps.values()),
                tuple(rows), tuple(saves))  # fmt: skip


def vector_name(expr: Expr, context: Context) -> str:
    """The file name of a saved vector: ``left`` for fv(left), ``pure_left`` for pure(left)."""
    if isinstance(expr, Name):
        return expr.text
    if isinstance(expr, Call) and len(expr.arguments) == 1 and isinstance(expr.arguments[0], Name):
        relation = context.relation(expr.arguments[0].text)
        return relation if expr.function.text == "fv" else f"{expr.function.text}_{relation}"
    words = "".join(c if c.isalnum() else "_" for c in unparse(expr))
    return "_".join(word for word in words.split("_") if word)


def _relation_of(expr: Expr, context: Context) -> str | None:
    if isinstance(expr, Call) and expr.arguments and isinstance(expr.arguments[0], Name):
        return context.relation(expr.arguments[0].text)
    return None


def calculate(operator: str, left: float, right: float) -> float:
    """``left operator right``; an error (MFV5306) if that is no finite number."""
    if operator == "+":
        return _finite(left + right)
    if operator == "-":
        return _finite(left - right)
    if operator == "*":
        return _finite(left * right)
    if right == 0:
        raise MfvError(
            "MFV5306",
            "division by a number that came out as zero",
            help="the number is measured or calculated; look at the vectors it is made of",
        )
    return _finite(left / right)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise MfvError("MFV5306", "a number in this expression came out too large to hold")
    return number


def _prompting(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("shots", "trials", "split", "seed")}


def _only_name(call: Call) -> str:
    argument = call.arguments[0] if call.arguments else call.keywords[0].value
    assert isinstance(argument, Name)
    return argument.text


def _sweep(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _scaled(form: Linear, factor: float) -> Linear:
    return {key: factor * value for key, value in form.items() if factor * value != 0}


def _sum(*forms: Linear) -> Linear:
    total: Linear = {}
    for form in forms:
        for key, value in form.items():
            total[key] = total.get(key, 0.0) + value
    return {key: value for key, value in total.items() if value != 0}
