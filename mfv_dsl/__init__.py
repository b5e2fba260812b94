"""mfv-dsl: a language for experiments with multimodal function vectors.

import mfv_dsl as mfv

mfv.run("recipes/quickstart.mfv")
mfv.compile("fv(left) - fv(right) + fv(above)").vector(heads="top(10)")
mfv.load_model("tiny")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mfv_dsl.version import __version__

if TYPE_CHECKING:
    from mfv_dsl.api import Recipe, compile, load_model, run
    from mfv_dsl.base.errors import MfvError, RecipeError
    from mfv_dsl.expression import (
        Expression,
        fv,
        load,
        mean,
        normalize,
        project,
        random_like,
        reject,
    )
    from mfv_dsl.library.vector_file import load_vector, save_vector
    from mfv_dsl.methods.vectors import Vector

#: exported name -> module; imported when first used, so that `import mfv_dsl` stays instant
_EXPORTS = {
    "Expression": "mfv_dsl.expression",
    "MfvError": "mfv_dsl.base.errors",
    "Recipe": "mfv_dsl.api",
    "RecipeError": "mfv_dsl.base.errors",
    "Vector": "mfv_dsl.methods.vectors",
    "compile": "mfv_dsl.api",
    "fv": "mfv_dsl.expression",
    "load": "mfv_dsl.expression",
    "load_model": "mfv_dsl.api",
    "load_vector": "mfv_dsl.library.vector_file",
    "mean": "mfv_dsl.expression",
    "normalize": "mfv_dsl.expression",
    "project": "mfv_dsl.expression",
    "random_like": "mfv_dsl.expression",
    "reject": "mfv_dsl.expression",
    "run": "mfv_dsl.api",
    "save_vector": "mfv_dsl.library.vector_file",
}

__all__ = [
    "Expression",
    "MfvError",
    "Recipe",
    "RecipeError",
    "Vector",
    "__version__",
    "compile",
    "fv",
    "load",
    "load_model",
    "load_vector",
    "mean",
    "normalize",
    "project",
    "random_like",
    "reject",
    "run",
    "save_vector",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
