"""Vector expressions as Python objects: the same trees and plans as in a recipe.

from mfv_dsl import fv, normalize

steer = fv("left") - fv("right") + fv("above")
vector = steer.vector(heads="top(10)")
with steer.bind(model, layer=1).attach():
    model(...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.source import Source
from mfv_dsl.interactive import InteractivePlan
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.lang.constructed import as_call
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.syntax import (
    Binary,
    Call,
    Expr,
    Keyword,
    ListExpr,
    Name,
    Number,
    Text,
    Unary,
)
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.library.sources import at_hand
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.expressions import Planner
from mfv_dsl.plan.steps import needed

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

    >>> Expression.parse("fv(left)") - 2 * Expression.parse("fv(right)")
    Expression('fv(left) - 2 * fv(right)')
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
        """Check it as the vector of a recipe.

        Args:
            model: The constructor of its model; ``tiny`` is short for ``tiny()``.
            dataset: The constructor of its dataset, likewise.
            defaults: As in a recipe's ``defaults``: ``heads="top(10)"``, ``shots=4``.

        Raises:
            RecipeError: Everything that is wrong with it.
        """
        lines = "".join(f"  {name} = {value}\n" for name, value in defaults.items())
        block = f"defaults {{\n{lines}}}\n" if lines else ""
        text = (
            f"mfv 1\nmodel {_MODEL} = {as_call(model)}\n"
            f"dataset {_DATASET} = {as_call(dataset)}\n"
            f"{block}vector {_RESULT} = {self}\n"
        )
        return load_recipe(Source(text, "<expression>"), find=at_hand)

    def plan(
        self, model: str = "tiny()", dataset: str = "scenes()", **defaults: object
    ) -> InteractivePlan:
        """The steps that compute it; the arguments are those of :meth:`check`.

        Raises:
            RecipeError: Everything that is wrong with it.
            MfvError: MFV5306 for a number in it that is too large or divided by zero.

        >>> plan = Expression.parse("normalize(fv(left))").plan(heads="{L4H2}")
        >>> [step.operation for step in plan.steps]
        ['activations', 'head_set', 'extract', 'normalize']
        """
        return self._planned(self.check(model, dataset, **defaults))[0]

    def terms(self, dataset: str = "scenes()") -> Mapping[str, float]:
        """Its linear form: the coefficient of every vector it is made of, like terms merged.

        >>> Expression.parse("2 * fv(left) - (fv(left) + fv(right)) / 2").terms()
        {'fv(left)': 1.5, 'fv(right)': -0.5}
        """
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
        """Compute it: extract what it needs and combine.  Finished steps come from the store.

        Args:
            model: As for :meth:`check`, and so ``dataset`` and ``defaults``.
            dataset: Where prompts come from.
            listener: Who is told how far it is.
            defaults: Options of its calls.

        Returns:
            The vector, (d_model,) numbers, with its per-head parts where it has some.

        Raises:
            RecipeError: Everything that is wrong with it.
            MfvError: MFV6001 for a vector that is nowhere; what the steps raise as they run.
        """
        from mfv_dsl.execute.loads import fetch_loads
        from mfv_dsl.execute.run import perform

        plan, key = self._planned(self.check(model, dataset, **defaults))
        if fetch_loads(plan):
            plan, key = self._planned(self.check(model, dataset, **defaults))
        vector: Vector = perform(plan, listener).values[key]
        return replace(vector, expression=str(self))

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
        """Compute it and bind its injection to the user's own model.

        Args:
            model: One from ``load_model``, an ``open_flamingo.Flamingo`` or a transformers model of
                the same sizes as the one it is computed on.
            layer: The decoder layer to add it at, or ``native``: each head's own.
            scale: The factor before it.
            dataset: Where prompts come from.
            constructor: The model that it is computed on.
            sites: Where a model of another make keeps its parts
                (:func:`mfv_dsl.models.sites.find_sites`).
            defaults: As for :meth:`check`.

        Returns:
            The edit: ``with steer.bind(model, layer=1).attach(): model(...)``.

        Raises:
            MfvError: What :meth:`vector` raises; MFV51xx for a model that it does not fit.
        """
        from mfv_dsl.engine.attach import HookPlan
        from mfv_dsl.methods.evaluation import adding

        vector = self.vector(constructor, dataset, **defaults)
        return HookPlan.of(model, adding(vector, layer, scale), sites)

    @staticmethod
    def _planned(checked: Checked) -> tuple[InteractivePlan, str]:
        planner = Planner(checked)
        key = planner.vector(checked.vectors[_RESULT].value, Context(_MODEL, _DATASET))
        steps = needed(planner.steps.values(), [key])
        return InteractivePlan(checked.models, checked.datasets, steps, (), ()), key


def function(name: str) -> Callable[..., Expression]:
    """The function ``name`` of the language as a Python function.

    It takes what the language's takes, in the same order or by name; a name that Python keeps for
    itself has an underscore behind it (``from_``).  A relation, a path and a name are text; any
    other text is an expression of the language: ``heads="top(5)"``.

    >>> reject = function("reject")
    >>> str(reject(function("fv")("left"), function("fv")("above")))
    'reject(fv(left), from=fv(above))'
    """
    entry = FUNCTION[name]

    def call(*arguments: object, **options: object) -> Expression:
        values = {key.removesuffix("_"): value for key, value in options.items()}
        variadic = bool(entry.parameters) and entry.parameters[0].variadic
        if len(arguments) > len(entry.parameters) and not variadic:
            raise TypeError(f"{name}() takes {len(entry.parameters)} arguments")
        if not variadic:
            values |= {p.name: a for p, a in zip(entry.parameters, arguments, strict=False)}
            arguments = ()
        positional = [_syntax(argument) for argument in arguments]
        keywords = []
        for key, value in values.items():
            parameter = entry.parameter(key)
            if parameter is not None and parameter.positional and value is not None:
                positional.append(_argument(parameter, value))
            elif value is not None:
                keywords.append(Keyword(Name(key), _argument(parameter, value)))
        return Expression(Call(Name(name), tuple(positional), tuple(keywords)))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{entry.doc[0].upper()}{entry.doc[1:]}: ``{entry.example}``."
    return call


def _argument(parameter: Parameter | None, value: object) -> Expr:
    """An argument's value; text stands for an expression of the language, unless a relation or a
    text is wanted."""
    if not isinstance(value, str):
        return _syntax(value)
    if parameter is not None and parameter.types == ("Relation",):
        return Name(value)
    if parameter is not None and parameter.types == ("Text",):
        return Text(value)
    return parse_expression(Source(value, "<option>"))


def _syntax(value: object) -> Expr:
    if isinstance(value, Expression):
        return value.syntax
    if isinstance(value, bool):
        return Name("true" if value else "false")
    if isinstance(value, int | float):
        return Number(value) if value >= 0 else Unary("-", Number(-value))
    if isinstance(value, list | tuple):
        return ListExpr(tuple(_syntax(part) for part in value))
    raise TypeError(f"a {type(value).__name__} does not belong in a vector expression")
