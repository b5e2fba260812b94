"""A recipe in a cell of a notebook: checked, planned or run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from IPython.display import display

from mfv_dsl.api import Recipe
from mfv_dsl.base.diagnostics import Diagnostic, render
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.source import Source
from mfv_dsl.findings import findings_in
from mfv_dsl.lang.inclusion import FilesBeside
from mfv_dsl.notebook.options import CellOptions
from mfv_dsl.progress import in_notebook

#: What a cell's recipe is called where its result has no name.
UNNAMED = "cell"


def perform(text: str, options: CellOptions) -> Any:
    """What a cell gives: the recipe where it is only checked, its plan, or its result.

    Warnings are shown on the way.  Raises MfvError for what is wrong, which :func:`tell` shows.
    """
    recipe = Recipe(text, options.name or UNNAMED, options.overrides, profile=options.profile)
    if options.models is not None or options.datasets is not None:
        recipe = recipe.with_objects(options.models, options.datasets)
    if options.ask == "check":
        return _checked(recipe)
    plan = recipe.plan(options.only)
    show_findings((*recipe.check(), *plan.warnings))
    if plan.errors:
        raise RecipeError(plan.errors)
    if options.ask == "plan":
        return plan
    with warnings.catch_warnings():
        if options.name is not None and options.out is None:
            # a cell that is changed and run again is still the run of this name
            warnings.filterwarnings("ignore", ".* holds the run of another text")
        return recipe.run(
            options.out, device=options.device, fresh=options.fresh, only=options.only,
            download=options.download, progress=False if options.quiet else None,
        )  # fmt: skip


def _checked(recipe: Recipe) -> Recipe:
    """The recipe, if nothing is wrong with it under any of its profiles."""
    source = Source(recipe.text, recipe.name)
    found = findings_in(
        source, FilesBeside(None, recipe.name), recipe.overrides, recipe.profile,
        facts=recipe.given.facts if recipe.given.objects else None,
    )  # fmt: skip
    if any(diagnostic.severity == "error" for diagnostic in found):
        raise RecipeError(found)
    show_findings(found)
    print(f"{recipe.name}: ok")
    return recipe


def show_findings(found: Sequence[Diagnostic]) -> None:
    """Errors and warnings, as HTML where that can be shown."""
    if not found:
        return
    from mfv_dsl.report.html.findings import findings_html

    text = "\n\n".join(render(one, colour=not in_notebook()) for one in found)
    display({"text/plain": text, "text/html": findings_html(found)}, raw=True)


def tell(error: MfvError) -> None:
    """Show an error with its marked lines, so that its traceback need not say it again; in a
    terminal the traceback says all."""
    if in_notebook():
        show_findings(error.diagnostics)
        error.is_shown = True
