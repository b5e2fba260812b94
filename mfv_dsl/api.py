"""The Python interface: recipes and expressions as objects, models and vectors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mfv_dsl.lang import load_recipe, parse_expression, read_source
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.diagnostics import MfvError
from mfv_dsl.lang.source import Source
from mfv_dsl.lang.syntax import Expr
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.build import Context, Planner, build_plan
from mfv_dsl.plan.steps import Plan

if TYPE_CHECKING:
    from mfv_dsl.backends.openflamingo import OpenFlamingo
    from mfv_dsl.execute.run import RunResult
    from mfv_dsl.execute.session import Listener
    from mfv_dsl.methods.vectors import Vector


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.  Making one raises :class:`RecipeError` with everything wrong in it."""

    text: str
    name: str = "recipe"

    @classmethod
    def from_file(cls, path: str | Path) -> Recipe:
        """Read a recipe from a file; a bare name, ``quickstart``, is one of the bundled ones."""
        source = read_source(find_recipe(path), str(path))
        return cls(source.text, source.name)

    def __post_init__(self) -> None:
        _ = self.checked

    @cached_property
    def checked(self) -> Checked:
        return load_recipe(Source(self.text, self.name))

    def plan(self) -> Plan:
        """What running the recipe will do."""
        return build_plan(self.checked)

    def run(
        self,
        out: str | Path | None = None,
        listener: Listener | None = None,
        device: str | None = None,
    ) -> RunResult:
        """Run it; results and vectors go to ``out`` (default ``runs/<name>``)."""
        from mfv_dsl.execute.run import run_plan

        folder = Path(out) if out is not None else Path("runs") / Path(self.name).stem
        return run_plan(self.plan(), self.text, folder, listener, device)


@dataclass(frozen=True)
class Expression:
    """A compiled vector expression, such as ``fv(left) - fv(right) + fv(above)``."""

    text: str

    def __post_init__(self) -> None:
        _ = self.syntax

    @cached_property
    def syntax(self) -> Expr:
        """Its syntax tree, the same as in a recipe."""
        return parse_expression(Source(self.text, "<expression>"))

    def __str__(self) -> str:
        return unparse(self.syntax)

    def recipe(self, model: str = "tiny()", dataset: str = "scenes()", **defaults: object) -> Recipe:
        """The recipe that declares it as the vector ``result``."""
        lines = "".join(f"  {name} = {value}\n" for name, value in defaults.items())
        block = f"defaults {{\n{lines}}}\n" if lines else ""
        return Recipe(
            f"mfv 1\nmodel model_ = {model}\ndataset dataset_ = {dataset}\n{block}"
            f"vector result = {self}\n",
            "<expression>",
        )

    def plan(self, model: str = "tiny()", dataset: str = "scenes()", **defaults: object) -> Plan:
        """The steps that compute it under a model, a dataset and ``defaults`` (as in a recipe:
        ``heads="top(10)"``, ``shots=4``, ``trials=50``)."""
        return self._planned(model, dataset, defaults)[0]

    def vector(
        self, model: str = "tiny()", dataset: str = "scenes()", **defaults: object
    ) -> Vector:
        """Compute it: extract what it needs and combine."""
        from dataclasses import replace

        from mfv_dsl.execute.run import Silence, perform

        plan, key = self._planned(model, dataset, defaults)
        vector: Vector = perform(plan, Silence())[0][key]
        return replace(vector, expression=str(self))

    def terms(self, dataset: str = "scenes()") -> Mapping[str, float]:
        """Its linear form: coefficient of every vector it is made of, like terms merged."""
        checked = self.recipe(dataset=dataset).checked
        planner = Planner(checked)
        form = planner.linear(checked.vectors["result"].value, Context("model_", "dataset_"))
        return {planner.steps[key].label: value for key, value in form.items()}

    def _planned(self, model: str, dataset: str, defaults: Mapping[str, object]) -> tuple[Plan, str]:
        checked = self.recipe(model, dataset, **defaults).checked
        planner = Planner(checked)
        key = planner.vector(checked.vectors["result"].value, Context("model_", "dataset_"))
        plan = Plan(checked.models, checked.datasets, tuple(planner.steps.values()), (), ())
        return plan, key


def compile(text: str) -> Expression | Recipe:
    """Compile the text of a recipe (it begins with ``mfv 1``) or of a vector expression."""
    if text.lstrip().startswith("mfv ") or "\n" in text.strip():
        return Recipe(text, "<text>")
    return Expression(text)


def run(
    recipe: str | Path, out: str | Path | None = None, device: str | None = None
) -> RunResult:
    """Run a recipe file, or a bundled recipe by its name."""
    return Recipe.from_file(recipe).run(out, device=device)


def load_model(name: str, device: str | None = None) -> OpenFlamingo:
    """Load a model by its constructor's name, e.g. ``tiny``."""
    from mfv_dsl import backends

    return backends.load(name, device=device)


def bundled(folder: str) -> Path:
    """A folder that comes with mfv-dsl (``recipes``, ``vectors``): inside the installed package, or
    beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def find_recipe(path: str | Path) -> Path:
    """``path`` if it is there, else the bundled recipe of that name."""
    here = Path(path)
    if here.exists():
        return here
    known = bundled("recipes") / (here.name if here.suffix == ".mfv" else f"{here.name}.mfv")
    if here.parts[:-1] in ((), ("recipes",)) and known.exists():
        return known
    names = ", ".join(sorted(found.stem for found in bundled("recipes").glob("*.mfv")))
    raise MfvError(
        "MFV6101", f"there is no recipe {path}", help=f"the bundled recipes are {names}"
    )
