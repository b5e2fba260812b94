"""Vector expressions as Python objects: the same trees and plans as in a recipe.

from mfv_dsl import fv, normalize

steer = fv("left") - fv("right") + fv("above")
vector = steer.vector(heads="top(10)")
with steer.bind(model, layer=1).attach():
    model(...)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.source import Source
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import Binary, Call, Expr, Keyword, Name, Number, Text, Unary
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.build import needed
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.expressions import Planner
from mfv_dsl.plan.steps import Plan

if TYPE_CHECKING:
    from mfv_dsl.engine.attach import HookPlan
    from mfv_dsl.execute.session import Listener
    from mfv_dsl.methods.vectors import Vector
    from mfv_dsl.models.sites import SiteSource

_MODEL, _DATASET, _RESULT = "model_", "dataset_", "result"


@dataclass(frozen=True)
class Expression:
    """A vector expression, such as ``fv(left) - fv(right) + fv(above)``.

    ``+``, ``-``, and ``*`` and ``/`` with numbers make new ones.
    """

    syntax: Expr

    @classmethod
    def parse(cls, text: str) -> Expression:
        """The expression that ``text`` writes; raises RecipeError."""
        return cls(parse_expression(Source(text, "<expression>")))

    def __str__(self) -> str:
        return unparse(self.syntax)

    def __repr__(self) -> str:
        return f"Expression({str(self)!r})"

    def __add__(self, other: Expression) -> Expression:
        return self._with("+", other)

    def __sub__(self, other: Expression) -> Expression:
        return self._with("-", other)

    def __mul__(self, factor: float | Expression) -> Expression:
        return self._with("*", factor)

    def __rmul__(self, factor: float) -> Expression:
        return Expression(Binary("*", _syntax(factor), self.syntax))

    def __truediv__(self, divisor: float | Expression) -> Expression:
        return self._with("/", divisor)

    def __neg__(self) -> Expression:
        return Expression(Unary("-", self.syntax))

    def _with(self, operator: str, other: object) -> Expression:
        return Expression(Binary(operator, self.syntax, _syntax(other)))

    def check(
        self, model: str = "tiny()", dataset: str = "scenes()", **defaults: object
    ) -> Checked:
        """Check it under a model, a dataset and ``defaults`` (as in a recipe: ``heads="top(10)"``,
        ``shots=4``, ``trials=50``); raises RecipeError with everything that is wrong."""
        lines = "".join(f"  {name} = {value}\n" for name, value in defaults.items())
        block = f"defaults {{\n{lines}}}\n" if lines else ""
        text = (
            f"mfv 1\nmodel {_MODEL} = {model}\ndataset {_DATASET} = {dataset}\n"
            f"{block}vector {_RESULT} = {self}\n"
        )
        return load_recipe(Source(text, "<expression>"))

    def plan(self, model: str = "tiny()", dataset: str = "scenes()", **defaults: object) -> Plan:
        """The steps that compute it."""
        return self._planned(self.check(model, dataset, **defaults))[0]

    def terms(self, dataset: str = "scenes()") -> Mapping[str, float]:
        """Its linear form: coefficient of every vector it is made of, like terms merged."""
        checked = self.check(dataset=dataset)
        planner = Planner(checked)
        form = planner.linear(checked.vectors[_RESULT].value, Context(_MODEL, _DATASET))
        return {planner.steps[key].label: value for key, value in form.items()}

    def vector(
        self,
        model: str = "tiny()",
        dataset: str = "scenes()",
        listener: Listener | None = None,
        **defaults: object,
    ) -> Vector:
        """Compute it: extract what it needs and combine.  Finished steps come from the store;
        ``listener`` is told how far it is."""
        from mfv_dsl.execute.loads import fetch_loads
        from mfv_dsl.execute.run import Silence, perform
        from mfv_dsl.execute.store import default_store

        plan, key = self._planned(self.check(model, dataset, **defaults))
        if fetch_loads(plan):
            plan, key = self._planned(self.check(model, dataset, **defaults))
        made: Vector = perform(plan, listener or Silence(), store=default_store()).values[key]
        return replace(made, expression=str(self))

    def bind(
        self,
        model: Any,
        layer: int | str,
        scale: float = 1.0,
        dataset: str = "scenes()",
        constructor: str = "tiny()",
        sites: SiteSource | None = None,
        **defaults: object,
    ) -> HookPlan:
        """Compute it on the model that ``constructor`` names and bind its injection at ``layer`` to
        ``model``, the user's own: ``with plan.attach(): model(...)``.  ``sites`` says where a model
        of another make keeps its parts (:func:`mfv_dsl.models.sites.find_sites`)."""
        from mfv_dsl.engine.attach import HookPlan
        from mfv_dsl.methods.evaluation import adding

        vector = self.vector(constructor, dataset, **defaults)
        return HookPlan.of(model, adding(vector, layer, scale), sites)

    @staticmethod
    def _planned(checked: Checked) -> tuple[Plan, str]:
        planner = Planner(checked)
        key = planner.vector(checked.vectors[_RESULT].value, Context(_MODEL, _DATASET))
        steps = needed(list(planner.steps.values()), [key])
        plan = Plan(checked.models, checked.datasets, steps, (), ())
        return plan, key


def fv(relation: str, **options: object) -> Expression:
    """``fv(relation, …)``; options as in a recipe, expressions as text: ``heads="top(5)"``."""
    return _call("fv", Name(relation), **options)


def load(path: str, name: str | None = None, allow_mismatch: bool = False) -> Expression:
    """``load("path", "name")``; a file takes no name."""
    where = (Text(path),) if name is None else (Text(path), Text(name))
    return _call("load", *where, **({"allow_mismatch": True} if allow_mismatch else {}))


def mean(*vectors: Expression) -> Expression:
    """``mean(v, w, …)``."""
    return _call("mean", *map(_syntax, vectors))


def normalize(vector: Expression) -> Expression:
    """``normalize(v)``."""
    return _call("normalize", vector.syntax)


def project(vector: Expression, onto: Expression) -> Expression:
    """``project(v, onto=w)``."""
    return _call("project", vector.syntax, onto=onto)


def reject(vector: Expression, direction: Expression) -> Expression:
    """``reject(v, from=w)``."""
    return _call("reject", vector.syntax, **{"from": direction})


def random_like(vector: Expression, seed: int = 0) -> Expression:
    """``random_like(v, seed=0)``."""
    return _call("random_like", vector.syntax, seed=seed)


def _call(function: str, *arguments: Expr, **options: object) -> Expression:
    keywords = tuple(Keyword(Name(name), _option(value)) for name, value in options.items())
    return Expression(Call(Name(function), arguments, keywords))


def _option(value: object) -> Expr:
    """An option's value: text stands for an expression of the language."""
    if isinstance(value, str):
        return parse_expression(Source(value, "<option>"))
    return _syntax(value)


def _syntax(value: object) -> Expr:
    if isinstance(value, Expression):
        return value.syntax
    if isinstance(value, bool):
        return Name("true" if value else "false")
    if isinstance(value, int | float):
        return Number(value) if value >= 0 else Unary("-", Number(-value))
    raise TypeError(f"a {type(value).__name__} does not belong in a vector expression")
