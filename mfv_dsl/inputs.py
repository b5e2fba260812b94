"""Vectors and models from text as a user types it, on the command line or in Python.

read_vector("vectors/mine/left.safetensors")
read_vector("fv(left) - fv(right)", heads="top(10)")
open_model("tiny")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import SUFFIX, is_vector_file
from mfv_dsl.base.source import Source
from mfv_dsl.data.items import Dataset
from mfv_dsl.execute.session import Listener
from mfv_dsl.expression import Expression
from mfv_dsl.lang.constructed import as_call, constructed
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import Call, Name
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.base import Backend


@dataclass(frozen=True)
class VectorInput:
    """A vector, and the layer that its file says it is meant for."""

    vector: Vector
    layer: int | None = None


def read_vector(
    text: str,
    model: str = "tiny",
    dataset: str = "scenes",
    listener: Listener | None = None,
    **defaults: object,
) -> VectorInput:
    """The vector that a text names.

    Args:
        text: A ``.safetensors`` file, or an expression such as ``fv(left) - fv(right)``.
        model: The model that an expression is computed on, as in a recipe.
        dataset: The dataset that its prompts come from, as in a recipe.
        listener: Who is told how far the computation is.
        defaults: As in a recipe's ``defaults``; those that are None keep their usual values.

    Raises:
        RecipeError: What is wrong with an expression, a model or a dataset.
        MfvError: MFV6001 and following for a file that is not there or holds no vector.
    """
    if is_vector_file(text):
        stored = load_vector(text)
        layer = stored.metadata.get("layer")
        return VectorInput(stored.vector, layer if isinstance(layer, int) else None)
    options = {name: value for name, value in defaults.items() if value is not None}
    expression = Expression.parse(text)
    return VectorInput(expression.vector(as_call(model), as_call(dataset), listener, **options))


def read_vectors(paths: Sequence[str | Path], but: str = "") -> dict[str, Vector]:
    """The vectors of files, and of all files of folders, by name in order.

    Vectors of one name from different folders are called by their paths.  The file ``but`` is left
    out.  MFV5350 if nothing is left.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    files = [file for file in files if not (but and _same(file, Path(but)))]
    if not files:
        names = ", ".join(map(str, paths))
        raise MfvError("MFV5350", f"there are no vectors to compare with in {names}")
    stems = [file.stem for file in files]
    return {
        file.stem if stems.count(file.stem) == 1 else str(file): load_vector(file).vector
        for file in files
    }


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)


def open_model(text: str) -> Backend:
    """Load the model that ``text`` constructs: ``tiny``, ``openflamingo("…", dtype=bf16)``."""
    declared = constructed("model", text)
    return models.load(declared.constructor, **declared.arguments)


def relations_of(vector: Vector, dataset: Dataset) -> tuple[str, ...]:
    """The relations that a vector is made of, as its expression says: those called upon, as in
    ``fv(left)``; none where the expression is not known."""
    try:
        syntax = parse_expression(Source(vector.expression, "<expression>"))
    except MfvError:
        return ()
    names = [
        node.arguments[0].text
        for node in syntax.walk()
        if isinstance(node, Call) and node.arguments and isinstance(node.arguments[0], Name)
    ]
    return tuple(relation for relation in dataset.relations if relation in names)
