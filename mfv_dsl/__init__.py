"""mfv-dsl: a language for experiments with multimodal function vectors.

import mfv_dsl as mfv

mfv.run("recipes/quickstart.mfv")
mfv.compile("fv(left) - fv(right) + fv(above)").vector(heads="top(10)")
mfv.load_model("tiny")

Every function of the language is a function here too: ``mfv.fv("left")``, ``mfv.normalize(v)``,
``mfv.reject(v, w)``, ``mfv.top(10)``; ``help(mfv.fv)`` says what it takes.

Recipes     run, Recipe, compile; what a run gives has rows, notes, values, a table and a folder;
            sweep runs one under several values
Vectors     compile and the functions make an Expression, whose ``vector()`` is a Vector;
            save_vector, load_vector
Models      load_model, load_dataset, clear_models; dataset(items) of a program's own objects
Statistics  smallest_difference, items_needed: what a number of items can show
Errors      MfvError, and of its kind RecipeError (a text) and ArgumentError (a value)
Notebooks   ``%load_ext mfv_dsl``, then a cell that begins with ``%%mfv`` is a recipe
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from mfv_dsl.version import __version__

if TYPE_CHECKING:
    from mfv_dsl.api import Recipe, compile, run
    from mfv_dsl.base.arguments import ArgumentError
    from mfv_dsl.base.errors import MfvError, RecipeError
    from mfv_dsl.drafts import Draft, match
    from mfv_dsl.expression import Expression
    from mfv_dsl.loading import clear_models, load_dataset, load_model
    from mfv_dsl.memory_sets import dataset
    from mfv_dsl.methods.vectors import Vector
    from mfv_dsl.plan.power import items_needed, smallest_difference
    from mfv_dsl.plots import open_run
    from mfv_dsl.sweeping.sweep import sweep
    from mfv_dsl.vector_objects import load_vector, save_vector

#: exported name -> module; imported when first used, so that `import mfv_dsl` stays instant
_EXPORTS = {
    "ArgumentError": "mfv_dsl.base.arguments",
    "Draft": "mfv_dsl.drafts",
    "Expression": "mfv_dsl.expression",
    "MfvError": "mfv_dsl.base.errors",
    "Recipe": "mfv_dsl.api",
    "RecipeError": "mfv_dsl.base.errors",
    "Vector": "mfv_dsl.methods.vectors",
    "clear_models": "mfv_dsl.loading",
    "compile": "mfv_dsl.api",
    "dataset": "mfv_dsl.memory_sets",
    "items_needed": "mfv_dsl.plan.power",
    "load_dataset": "mfv_dsl.loading",
    "load_model": "mfv_dsl.loading",
    "load_vector": "mfv_dsl.vector_objects",
    "match": "mfv_dsl.drafts",
    "open_run": "mfv_dsl.plots",
    "run": "mfv_dsl.api",
    "save_vector": "mfv_dsl.vector_objects",
    "smallest_difference": "mfv_dsl.plan.power",
    "sweep": "mfv_dsl.sweeping.sweep",
}

__all__ = [
    "ArgumentError",
    "Draft",
    "Expression",
    "MfvError",
    "Recipe",
    "RecipeError",
    "Vector",
    "__version__",
    "clear_models",
    "compile",
    "dataset",
    "items_needed",
    "load_dataset",
    "load_model",
    "load_vector",
    "match",
    "open_run",
    "run",
    "save_vector",
    "smallest_difference",
    "sweep",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def _words() -> list[str]:
    """The functions of the language."""
    from mfv_dsl.lang.functions import FUNCTIONS

    return [entry.name for entry in FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    if not name.startswith("_") and name in _words():
        from mfv_dsl.functions import function

        globals()[name] = function(name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext mfv_dsl``: the magics ``%%mfv`` and ``%mfv``."""
    from mfv_dsl.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext mfv_dsl``."""
    from mfv_dsl.notebook.extension import unload

    unload(shell)


def __dir__() -> list[str]:
    return [*__all__, *_words()]
