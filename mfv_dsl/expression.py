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
from typing import TYPE_CHECKING, Any, TypeAlias

from mfv_dsl.base.arguments import ArgumentError, known_options, shown
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.given import Given, call_of, not_loaded, origin_of
from mfv_dsl.interactive import InteractivePlan
from mfv_dsl.interruption import interruptible
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import check_source, load_recipe
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lang.from_python import as_syntax
from mfv_dsl.lang.functions import FUNCTIONS
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.sharing import each_once, shared_parts, short_text
from mfv_dsl.lang.syntax import (
    Binary,
    Call,
    Declared,
    Expr,
    ListExpr,
    Name,
    Number,
    SetExpr,
    Text,
    Unary,
)
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.library.sources import at_hand
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.expressions import Planner
from mfv_dsl.plan.steps import needed
from mfv_dsl.progress import Progress, listening

if TYPE_CHECKING:
    from mfv_dsl.data.items import Dataset
    from mfv_dsl.engine.attach import HookPlan
    from mfv_dsl.execute.settings import Listener
    from mfv_dsl.methods.vectors import Vector
    from mfv_dsl.models.base import Backend
    from mfv_dsl.models.sites import SiteSource
    from mfv_dsl.vector_objects import InteractiveVector

#: A model as text, as in a recipe, or one of :func:`mfv_dsl.load_model`.
ModelLike: TypeAlias = "str | Backend"
#: A dataset as text, as in a recipe, or one of :func:`mfv_dsl.load_dataset`.
DatasetLike: TypeAlias = "str | Dataset"
_MODEL, _DATASET, _RESULT = "model_", "dataset_", "result"
#: Errors that depend on where in a recipe an expression stands.
_OF_ITS_PLACE = ("MFV2010", "MFV5351")
#: An option of `defaults` that is a set of heads.
_HEADS = Parameter("heads", ("Heads",), "")


@dataclass(frozen=True)
class Expression:
    """A vector expression, such as ``fv(left) - fv(right) + fv(above)``.

    ``+``, ``-``, and ``*`` and ``/`` with numbers make new ones.  Sets of heads, such as
    ``top(10)``, are expressions too; they take ``|``, ``&`` and ``-``.

    >>> Expression.parse("fv(left)") - 2 * Expression.parse("fv(right)")
    Expression('fv(left) - 2 * fv(right)')
    """

    syntax: Expr

    #: numpy leaves products with its numbers to this class
    __array_ufunc__ = None

    @classmethod
    def parse(cls, text: str) -> Expression:
        """The expression that ``text`` writes; raises RecipeError, and ArgumentError (MFV5119) for
        what is no text."""
        return cls(parse_expression(Source(as_text(text, "an expression"), "<expression>")))

    def __str__(self) -> str:
        """Its text; of one that is too long to write, its last step, with names for its parts."""
        return short_text(self.syntax)

    def __repr__(self) -> str:
        text = str(self)
        return f"Expression({text if len(text) <= 500 else text[:500] + ' …'!r})"

    def __add__(self, other: Expression) -> Expression:
        return self._joined("+", other)

    def __radd__(self, other: object) -> Expression:
        return self if _is_nothing(other) else self._joined("+", other, other_first=True)

    def __sub__(self, other: Expression) -> Expression:
        return self._joined("-", other)

    def __rsub__(self, other: object) -> Expression:
        return self._joined("-", other, other_first=True)

    def __mul__(self, factor: float | Expression) -> Expression:
        return self._joined("*", factor)

    def __rmul__(self, factor: float) -> Expression:
        return self._joined("*", factor, other_first=True)

    def __truediv__(self, divisor: float | Expression) -> Expression:
        return self._joined("/", divisor)

    def __rtruediv__(self, dividend: object) -> Expression:
        return self._joined("/", dividend, other_first=True)

    def __or__(self, other: object) -> Expression:
        return self._joined("|", other)

    def __ror__(self, other: object) -> Expression:
        return self._joined("|", other, other_first=True)

    def __and__(self, other: object) -> Expression:
        return self._joined("&", other)

    def __rand__(self, other: object) -> Expression:
        return self._joined("&", other, other_first=True)

    def __neg__(self) -> Expression:
        negative = Expression(Unary("-", self.syntax))
        if _kind(self.syntax) not in ("Vector", "Number"):
            check_form(negative)
        return negative

    def __pos__(self) -> Expression:
        return self

    def _joined(self, operator: str, other: object, other_first: bool = False) -> Expression:
        """The operation on this and another side; what cannot be joined is an error at once."""
        if isinstance(other, str):
            raise ArgumentError(
                f"{shown(other)} is text, and not a vector or a number",
                f'a relation\'s vector is fv("{other}")' if other.isidentifier() else None,
            )
        sides = (self.syntax, as_syntax(other))
        left, right = reversed(sides) if other_first else sides
        joined = Expression(Binary(operator, left, right))
        kinds = _kind(left), _kind(right)
        divisor = right if operator == "/" else None
        heads = kinds == ("Heads", "Heads") and operator in "|&-"
        if not heads and (
            not {"Heads", "Other"}.isdisjoint(kinds)
            or operator in "|&"
            or (operator in "+-" and kinds[0] != kinds[1])
            or (operator == "*" and kinds == ("Vector", "Vector"))
            or (operator == "/" and kinds[1] == "Vector")
            or (isinstance(divisor, Number) and divisor.value == 0)
        ):
            check_form(joined)
        return joined

    def check(
        self, model: ModelLike = "tiny()", dataset: DatasetLike = "scenes()", **defaults: object
    ) -> Checked:
        """Check it as the vector of a recipe.

        Args:
            model: The model that it is computed on: its constructor, ``"tiny"`` is short for
                ``"tiny()"``, or one of :func:`mfv_dsl.load_model`.
            dataset: Where prompts come from: its constructor, or one of
                :func:`mfv_dsl.load_dataset`.
            defaults: As in a recipe's ``defaults``, what the calls in it take: ``heads="top(10)"``
                or heads as pairs ``[(4, 1), (2, 6)]``, ``shots=4``.  None leaves an option out.

        Raises:
            RecipeError: Everything that is wrong with it.
            MfvError: MFV5118 for a model or dataset of another make, MFV5119 for a value of the
                wrong type.
        """
        return self._checked(model, dataset, defaults)[0]

    def _checked(
        self, model: ModelLike, dataset: DatasetLike, defaults: Mapping[str, object]
    ) -> tuple[Checked, Given]:
        """The expression as the vector of a recipe, and the objects that the recipe names."""
        given = Given.of({_MODEL: ("model", model), _DATASET: ("dataset", dataset)})
        _known([name for name, value in defaults.items() if value is not None])
        lines = "".join(
            f"  {name} = {_default(name, value)}\n"
            for name, value in defaults.items()
            if value is not None
        )
        block = f"defaults {{\n{lines}}}\n" if lines else ""
        text = (
            f"mfv 1\nmodel {_MODEL} = {call_of('model', model)}\n"
            f"dataset {_DATASET} = {call_of('dataset', dataset)}\n"
            f"{block}{_declarations(self.syntax, 'vector')}"
        )
        return load_recipe(Source(text, "<expression>"), given.facts, find=at_hand), given

    def plan(
        self, model: ModelLike = "tiny()", dataset: DatasetLike = "scenes()", **defaults: object
    ) -> InteractivePlan:
        """The steps that compute it; the arguments are those of :meth:`check`.

        Raises:
            RecipeError: Everything that is wrong with it.
            MfvError: MFV5306 for a number in it that is too large or divided by zero, and as
                :meth:`check`.

        >>> plan = Expression.parse("normalize(fv(left))").plan(heads="{L4H2}")
        >>> [step.operation for step in plan.steps]
        ['activations', 'head_set', 'extract', 'normalize']
        """
        checked, given = self._checked(model, dataset, defaults)
        return replace(_planned(checked)[0], given=given.objects)

    def terms(self, dataset: DatasetLike = "scenes()") -> Mapping[str, float]:
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
        model: ModelLike = "tiny()",
        dataset: DatasetLike = "scenes()",
        listener: Listener | None = None,
        progress: Progress = None,
        **defaults: object,
    ) -> InteractiveVector:
        """Compute it: extract what it needs and combine.  Finished steps come from the store, and a
        model that this process has loaded is not loaded again.

        Args:
            model: As for :meth:`check`, and so ``dataset`` and ``defaults``.
            dataset: Where prompts come from.
            listener: Who is told how far it is.
            progress: Whether to show how far it is: in notebooks if left out.
            defaults: Options of its calls.

        Returns:
            The vector, (d_model,) numbers, with its per-head parts where it has some.

        Raises:
            RecipeError: Everything that is wrong with it.
            MfvError: MFV5120 for a model that is not as it was loaded, MFV6001 for a vector that is
                nowhere; as :meth:`check`, and what the steps raise as they run.

        >>> steer = Expression.parse("fv(left) - fv(right)")
        >>> steer.vector("tiny", heads="top(5)", trials=50).norm()  # doctest: +SKIP
        """
        from mfv_dsl.execute.loads import fetch_loads
        from mfv_dsl.execute.run import perform
        from mfv_dsl.execute.settings import RunSettings
        from mfv_dsl.vector_objects import interactive

        checked, given = self._checked(model, dataset, defaults)
        plan, key = _planned(checked)
        if fetch_loads(plan):
            plan, key = _planned(self._checked(model, dataset, defaults)[0])
        with interruptible(step.key for step in plan.steps), listening(progress, listener) as told:
            settings = RunSettings(given=given.objects)
            vector: Vector = perform(plan, told, settings).values[key]
        return interactive(replace(vector, expression=str(self)))

    def bind(
        self,
        model: Any,
        layer: int | str,
        scale: float = 1.0,
        dataset: DatasetLike = "scenes()",
        constructor: ModelLike | None = None,
        sites: SiteSource | None = None,
        attention_output: str | None = None,
        **defaults: object,
    ) -> HookPlan:
        """Compute it and bind its injection to the user's own model.

        Args:
            model: One from ``load_model``, an ``open_flamingo.Flamingo`` or a transformers model of
                the same sizes as the one it is computed on.
            layer: The decoder layer to add it at, or ``native``: each head's own.
            scale: The factor before it.
            dataset: Where prompts come from.
            constructor: The model that it is computed on; ``model`` itself if left out, which then
                has to be one of ``load_model``.
            sites: Where a model of another make keeps its parts
                (:func:`mfv_dsl.models.sites.find_sites`).
            attention_output: Which module of a decoder layer is the attention's output projection,
                where that is not found: ``"out_proj"``.
            defaults: As for :meth:`check`.

        Returns:
            The edit: ``with steer.bind(model, layer=1).attach(): model(...)``.

        Raises:
            MfvError: MFV5118 where it is not said what it is computed on, MFV5119 for a layer or
                scale that is none, MFV5103 for a layer that ``model`` does not have; what
                :meth:`vector` raises; MFV51xx for a model that it does not fit.

        >>> bound = Expression.parse("fv(left)").bind(model, layer=1)  # doctest: +SKIP
        >>> with bound.attach():  # doctest: +SKIP
        ...     model.generate(["<image>Q:red cross. A:"], [["scene.png"]])
        """
        from mfv_dsl.vector_objects import binding

        own = binding(model, layer, scale, sites, attention_output)
        if constructor is None:
            if origin_of("model", model) is None:
                raise not_loaded("model", model)
            constructor = model
        return own(self.vector(constructor, dataset, **defaults))


def _known(names: list[str]) -> None:
    """Refuse (MFV5119) what no call of an expression takes from `defaults`, such as an attribute of
    an `eval`, which would be without effect."""
    options = dict.fromkeys(p.name for f in FUNCTIONS for p in f.parameters if p.from_defaults)
    of_evals = {p.name for p in ITEM["eval"].parameters} - {*options, "allow"}
    for name in (name for name in names if name in of_evals):
        raise ArgumentError(
            f"an expression takes no {name!r}, which an `eval` does",
            "write an `eval` in a recipe, and bind that: Recipe(...).plan().bind(model, 'name')",
        )
    known_options(names, (*options, "allow"), "an expression")


def _planned(checked: Checked) -> tuple[InteractivePlan, str]:
    planner = Planner(checked)
    key = planner.vector(checked.vectors[_RESULT].value, Context(_MODEL, _DATASET))
    steps = needed(planner.steps.values(), [key])
    return InteractivePlan(checked.models, checked.datasets, steps, (), ()), key


def _default(name: str, value: object) -> str:
    """The text of a value in ``defaults``; text is the language's own."""
    if isinstance(value, str):
        return value
    return unparse(as_syntax(value, _HEADS if name == "heads" else None))


def _is_nothing(value: object) -> bool:
    """Whether a value is the 0 that ``sum`` begins with."""
    return isinstance(value, int) and not isinstance(value, bool) and value == 0


def _kind(syntax: Expr) -> str:
    """``Number``, ``Vector``, ``Heads`` or ``Other``, as far as a tree shows: a name may be any."""
    if isinstance(syntax, Number):
        return "Number"
    if isinstance(syntax, Unary):
        return _kind(syntax.operand)
    if isinstance(syntax, Binary):
        kinds = {_kind(syntax.left), _kind(syntax.right)}
        return kinds.pop() if len(kinds) == 1 else "Vector"
    if isinstance(syntax, Call) and syntax.function.text in FUNCTION:
        return FUNCTION[syntax.function.text].result
    if isinstance(syntax, SetExpr):
        return "Heads"
    if isinstance(syntax, ListExpr | Text) or syntax in (Name("true"), Name("false")):
        return "Other"
    return "Vector"


def _declarations(syntax: Expr, kind: str) -> str:
    """The expression as the declaration of the result, behind those of its shared parts."""
    parts, rest = shared_parts(syntax)
    lines = [*parts, (kind, _RESULT, rest)]
    return "".join(f"{kind} {name} = {unparse(value)}\n" for kind, name, value in lines)


def check_form(expression: Expression) -> None:
    """Raise RecipeError for what is wrong with an expression whatever its model and dataset; one
    with names that a recipe declares is looked at with the recipe."""
    if any(isinstance(node, Declared) for node in each_once(expression.syntax)):
        return
    syntax, kind = expression.syntax, _kind(expression.syntax)
    if kind == "Adapter":  # it is measured, and has no name
        kind, syntax = "Number", Call(Name("learned_numbers"), (syntax,))
    if kind == "Number":
        syntax = Binary("*", syntax, Call(Name("zeros")))
    if kind == "States":
        syntax = Call(Name("mean"), (syntax,))
    item = "heads" if kind == "Heads" else "vector"
    lines = (
        f"mfv 1\nmodel {_MODEL} = tiny()\ndataset {_DATASET} = scenes()\n"
        f"{_declarations(syntax, item)}"
    )
    found = check_source(Source(lines, "<expression>"), lambda entry, arguments: None).diagnostics
    if any(one.severity == "error" and one.code not in _OF_ITS_PLACE for one in found):
        raise RecipeError(found)
