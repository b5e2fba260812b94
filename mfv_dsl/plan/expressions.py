"""Expressions to steps.

Equal sub-expressions become the same step.  Sums, differences and multiples of vectors are brought
into one linear form over the vectors they are made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular
from mfv_dsl.base.names import quoted_relation
from mfv_dsl.lang.checked import Checked, CheckedBlock
from mfv_dsl.lang.destinations import DRAWN
from mfv_dsl.lang.entries import DEFAULT_HEADS, FUNCTION, ITEM, TRAINING_SPLIT
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.relations import relation_text
from mfv_dsl.lang.sweeps import reading_text
from mfv_dsl.lang.syntax import Binary, Call, Expr, Match, Name, Number, Unary, spine
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.arithmetic import Linear, calculate, finite, scaled, summed
from mfv_dsl.plan.context import Context, case_of, text_of
from mfv_dsl.plan.operations import options_in_key
from mfv_dsl.plan.planner import parameters_of, relation_argument
from mfv_dsl.plan.states import StatesPlanner
from mfv_dsl.plan.steps import keys_of, needed

#: What is learned of each head of a start.
_HEAD_BY_HEAD = ("head_scales", "head_mask", "patch_mask")


class Planner(StatesPlanner):
    """Plans expressions; every method that takes one returns the key of its step."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        #: linear forms of declared vectors: found once, used often
        self._forms: dict[tuple[Any, ...], Linear] = {}
        #: functions of vectors that are not one operation of their own name
        self.expansions: Mapping[str, Callable[[Call, Context], Linear]] = {
            "fv": lambda call, context: {self.extract(call, context): 1.0},
            "load": lambda call, context: {self.load(call, context): 1.0},
            "mean": self._mean,
            "zeros": lambda call, context: {},
            "states": lambda call, context: {self.states(call, context): 1.0},
            "blend": self._blend,
        }

    # -- vectors ----------------------------------------------------------------------------------
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
        self.check_pairs(keys)
        label = " + ".join(f"{form[key]:g}·{self.steps[key].label}" for key in form) or "zero"
        parameters = {"coefficients": [form[key] for key in keys], **self.rows_among(keys)}
        key = self.add(
            "linear", label.replace("+ -", "− "), parameters, {"vectors": tuple(keys)}, context
        )
        return self.of_rows(key, keys)

    def linear(self, expr: Expr, context: Context) -> Linear:
        """The linear form of a vector expression; like terms are merged, zero terms dropped."""
        if isinstance(expr, Unary):
            return scaled(self.linear(expr.operand, context), -1.0 if expr.operator == "-" else 1)
        if isinstance(expr, Binary) and expr.operator in "+-":
            return self._chain(expr, context)
        if isinstance(expr, Binary):
            return self._product(expr, context)
        if isinstance(expr, Match):
            return self.linear(case_of(expr, context), context)
        if isinstance(expr, Name):
            return self._declared(expr.text, replace(context, relations={}))
        if isinstance(expr, Call):
            return self._call(expr, context)
        raise AssertionError(f"not a vector: {expr!r}")

    def _chain(self, expr: Binary, context: Context) -> Linear:
        """A sum from its first term on; each step of it as if it stood alone."""
        terms = [expr]
        while isinstance(terms[-1].left, Binary) and terms[-1].left.operator in "+-":
            terms.append(terms[-1].left)
        rights = [self.linear(term.right, context) for term in terms]
        total = self.linear(terms[-1].left, context)
        for term, right in zip(reversed(terms), reversed(rights), strict=True):
            total = self._sum(term, total, right if term.operator == "+" else scaled(right, -1))
        return total

    def _sum(self, expr: Expr, *forms: Linear) -> Linear:
        """The sum of the forms; a term that cancels in it is warned of."""
        total, cancelled = summed(*forms)
        for key in cancelled:
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
        return self.multiple(form, expr.operator, by, text_of(expr, context), context)

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
            parameters = {"operator": "/", "left": 1.0}
            number = self.add("arithmetic", "1 / …", parameters, {"right": number})
        vector = self.combination(form, context)
        inputs = {"factor": number, "vector": vector}
        step = self.add("times", label, self.rows_among([vector]), inputs, context)
        return {self.of_rows(step, [vector]): 1.0}

    def _call(self, call: Call, context: Context) -> Linear:
        name = call.function.text
        if name in self.checked.vectors:
            return self._declared(name, self.member(call, context))
        if name in self.checked.tunes:
            relation = context.relation(relation_argument(call))
            return {self.tuned_vector(self.checked.tunes[name], relation, context): 1.0}
        if name in self.expansions:
            return self.expansions[name](call, context)
        if name == "pca":
            self.check_component(call, context)
        return {self.operation_of(call, context): 1.0}

    def member(self, call: Call, context: Context) -> Context:
        """The context in which a family's value stands for its member ``call``."""
        family = self.checked.vectors[call.function.text]
        relations = [relation_text(argument) for argument in call.arguments]
        bound = {
            parameter.text: context.relation(relation)
            for parameter, relation in zip(family.parameters, relations, strict=True)
            if relation is not None
        }
        return replace(context, relations=bound)

    def _declared(self, name: str, context: Context) -> Linear:
        key = (name, context.model, context.dataset, context.variation, *context.relations.values())
        if key not in self._forms:
            self._forms[key] = self.linear(self.checked.vectors[name].value, context)
        return self._forms[key]

    # -- functions --------------------------------------------------------------------------------
    def adapter(self, expr: Expr, context: Context) -> str:
        """The step that trains an adapter.  Raises MfvError (MFV5620) where peft is missing."""
        assert isinstance(expr, Call), f"not an adapter: {expr!r}"
        if find_spec("peft") is None:
            raise MfvError(
                "MFV5620", f"`{expr.function.text}` needs the package peft",
                help="`pip install 'mfv-dsl[peft]'`",
            )  # fmt: skip
        return self.operation_of(expr, context)

    def operation_of(self, call: Call, context: Context) -> str:
        """The step of a function that is one operation of its own name: what steps make is its
        inputs, all its other options that its entry does not keep out of the key parameters."""
        entry, options = FUNCTION[call.function.text], self.options(call)
        context = self.inner(options, context)
        inputs = {
            p.name: self._input(p, options[p.name], context)
            for p in entry.parameters
            if p.is_input and options[p.name] is not None
        }
        parameters = {
            p.stored_name: context.relation(options[p.name])
            if "Relation" in p.types
            else options[p.name]
            for p in options_in_key(entry)
        }
        if parameters.get("items") == "all":
            parameters["items"] = self.all_items(parameters["relation"], context)
        reads_data = entry.parameter("dataset") is not None
        label = text_of(call, context)
        return self.add(entry.name, label, parameters, inputs, context, dataset=reads_data)

    def _input(self, parameter: Parameter, value: Any, context: Context) -> str | tuple[str, ...]:
        if "States" in parameter.types:
            return self.rows(value, context)
        plan = self.vector
        if "Heads" in parameter.types:
            plan = self.heads
        elif "Adapter" in parameter.types:
            plan = self.adapter
        if isinstance(value, tuple):
            return tuple(plan(part, context) for part in value)
        return plan(value, context)

    def extract(self, call: Call, context: Context) -> str:
        """``fv(relation, …)``: mean activations, heads, and the function vector of the two."""
        options = self.options(call)
        context = self.inner(options, context)
        relation = context.relation(relation_argument(call))
        site = "attention"
        if options["heads"] is not None:
            site = self.site_of(options["heads"], context)
            options["site"] = site
        if context.variation.shuffled:
            mean = self.shuffled_activations(relation, options, context)
        else:
            mean = self.activations(relation, options, context)
        if options["heads"] is None:
            heads = self.best_on(relation, options, DEFAULT_HEADS, context)
        else:
            heads = self.heads(options["heads"], replace(context, about=relation))
        parameters = parameters_of("extract", options) | {"relation": relation}
        label = f"fv({quoted_relation(relation)}){context.variation}"
        if parameters.pop("site", "attention") != "attention":
            parameters["site"] = site
            label += f" of {site}"
        inputs = {"mean": mean, "heads": heads}
        return self.add("extract", label, parameters, inputs, context)

    def load(self, call: Call, context: Context) -> str:
        """``load(path, name)``: its key holds the file's content, so that what is made of it is
        made anew when it changes; None where the file is not here, which the run will tell."""
        options = self.options(call)
        facts = self.checked.loads.get((options["path"], options["name"]))
        parameters = parameters_of("load", options) | {
            "revision": facts.revision if facts else None,
            "content": _content(facts.file) if facts else None,
            "places": facts.places if facts else (),
        }
        return self.add("load", unparse(call), parameters, {}, context)

    def _mean(self, call: Call, context: Context) -> Linear:
        if self.checked.types.get(call.arguments[0].span) == "States":
            rows, label = self.rows(call.arguments[0], context), text_of(call, context)
            label += str(context.variation)
            return {self.add("mean_states", label, {}, {"states": rows}, context): 1.0}
        forms = [self.linear(argument, context) for argument in call.arguments]
        return scaled(self._sum(call, *forms), 1 / len(forms))

    def _blend(self, call: Call, context: Context) -> Linear:
        raise MfvError(
            "MFV5351",
            "a blend is another vector for every item, so it has no value of its own",
            help="let an `eval` add it",
        )

    def all_items(self, relation: str, context: Context) -> int:
        """How many items a relation has to train on; 1 of none, which the run refuses."""
        return max(1, self.dataset_facts(context).counts[relation].get(TRAINING_SPLIT, 0))

    def check_parts(self, inputs: Mapping[str, str | tuple[str, ...]]) -> None:
        """Refuse (MFV5565) vectors of heads of cross-attention where heads' parts are needed."""
        for step in needed(tuple(self.steps.values()), keys_of(inputs)):
            if step.operation == "extract" and "site" in step.parameters:
                raise MfvError(
                    "MFV5565", f"`{step.label}` is made of heads of cross-attention, and is not "
                    "known head by head",
                    help="add it at a layer, as `layer = 4`",
                )  # fmt: skip

    # -- trained vectors --------------------------------------------------------------------------
    def tuned_vector(self, block: CheckedBlock, relation: str, context: Context) -> str:
        """The step that trains a block's vector of ``relation``, under the block's own model and
        dataset."""
        assert block.model is not None and block.dataset is not None
        context = replace(
            context, model=block.model, dataset=block.dataset, relations={"each": relation}
        )
        label = f"{titled(block)}({quoted_relation(relation)})"
        parameters = {p.stored_name: block[p.name] for p in options_in_key(ITEM["tune"])}
        parameters["relation"] = relation
        if parameters["items"] == "all":
            parameters["items"] = self.all_items(relation, context)
        if parameters["kl"]:
            others = [name for name in self.dataset_facts(context).relations if name != relation]
            parameters["off_task"] = tuple(others)
        inputs: dict[str, str] = {}
        if block["start"] in DRAWN:
            parameters["start"] = block["start"]
        else:
            factors = block["variable"] in ("scale", "place_scales")
            if factors and not self.linear(block["start"], context):
                raise MfvError(
                    "MFV5313", f"the start of `{label}` is zero, and no factor changes that",
                    help="begin with another vector, or learn the vector itself: variable = vector",
                )  # fmt: skip
            inputs["start"] = self.vector(block["start"], context)
            if block["variable"] in _HEAD_BY_HEAD:
                self.check_parts(inputs)
        step = self.add("tune", label, parameters, inputs, context, dataset=True)
        if not str(context.variation) and context.variation.k is None:
            self.tuned[block.name, relation] = step
        return step

    # -- numbers ----------------------------------------------------------------------------------
    def number(self, expr: Expr, context: Context) -> float | str:
        """A number known now, or the step that will compute it."""
        if isinstance(expr, Number):
            return float(expr.value)
        if isinstance(expr, Unary):
            value = self.number(expr.operand, context)
            if expr.operator == "+":
                return value
            return -value if isinstance(value, float) else self._arithmetic("*", -1.0, value)
        if isinstance(expr, Match):
            return self.number(case_of(expr, context), context)
        if isinstance(expr, Binary):
            first, chain = spine(expr)
            value = self.number(first, context)
            for operation in chain:
                right = self.number(operation.right, context)
                value = self._arithmetic(operation.operator, value, right)
            return value
        assert isinstance(expr, Call)
        return self.operation_of(expr, context)

    def _arithmetic(self, operator: str, left: float | str, right: float | str) -> float | str:
        if isinstance(left, float) and isinstance(right, float):
            return calculate(operator, left, right)
        sides = {"left": left, "right": right}
        numbers = {side: value for side, value in sides.items() if isinstance(value, float)}
        steps = {side: value for side, value in sides.items() if isinstance(value, str)}
        parameters = {"operator": operator, **numbers}
        return self.add("arithmetic", f"… {operator} …", parameters, steps)


def titled(block: CheckedBlock) -> str:
    """A block's name, and the values of sweeps where it is read for several."""
    own = f"{block.own_name}."  # of a tune's own sweeps
    axes = ((axis.name.removeprefix(own), axis.value) for axis in block.axes)
    return block.own_name + reading_text(axes)


def _content(path: str) -> str | None:
    """SHA-256 of a file; None where it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None
