"""Vectors and models from text as a user types it, on the command line or in Python.

read_vector("vectors/mine/left.safetensors")
read_vector("fv(left) - fv(right)", heads="top(10)")
open_model("tiny")
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import is_vector_file, meant_relation
from mfv_dsl.base.source import Source
from mfv_dsl.data.items import Dataset
from mfv_dsl.execute.settings import Listener
from mfv_dsl.expression import Expression
from mfv_dsl.lang.constructed import as_call, constructed
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.relations import relation_text
from mfv_dsl.lang.syntax import Call
from mfv_dsl.library.address import split_address
from mfv_dsl.library.folder import Library
from mfv_dsl.library.sources import file_of, library_at
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.models.base import Backend

#: A path, and no expression: those of vectors have calls in them.
_PATH = re.compile(r"[\w./~+ -]*[^\W\d][\w./~+ -]*")


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
        text: A vector as :func:`vector_file` finds it, or an expression such as
            ``fv(left) - fv(right)``.
        model: The model that an expression is computed on, as in a recipe.
        dataset: The dataset that its prompts come from, as in a recipe.
        listener: Who is told how far the computation is.
        defaults: As in a recipe's ``defaults``; those that are None keep their usual values.

    Raises:
        RecipeError: What is wrong with an expression, a model or a dataset.
        MfvError: MFV6001 and following for a file that is not there or holds no vector.
    """
    file = vector_file(text)
    if file is not None:
        stored = load_vector(file)
        layer = stored.metadata.get("layer")
        return VectorInput(stored.vector, layer if isinstance(layer, int) else None)
    options = {name: value for name, value in defaults.items() if value is not None}
    expression = Expression.parse(text)
    return VectorInput(expression.vector(as_call(model), as_call(dataset), listener, **options))


def vector_file(text: str) -> Path | None:
    """The file of the vector that a text names, None where it is an expression.

    It names one by the file, as ``folder/name`` of a library here or bundled, or by
    ``hf://org/repo/name``.  What could be a path and a division is a path.

    Raises MfvError: MFV6001 where the library has no such vector or there is no such library,
    MFV6014 for a library without a name.

    >>> vector_file("fv(left)/2") is None, vector_file("vectors/flamingo-tiny/left").name
    (True, 'left.safetensors')
    """
    if text.startswith("hf:"):
        return file_of(*split_address(text))
    if is_vector_file(text) or os.path.isfile(text):
        return file_of(text)
    folder, slash, name = text.rstrip("/").rpartition("/")
    if os.path.isdir(library_at(text).root):
        raise MfvError(
            "MFV6014", f"{text} holds several vectors", help=f"name one: `{text.rstrip('/')}/NAME`"
        )
    if folder and os.path.isdir(library_at(folder).root):
        return file_of(folder, name)
    if slash and _PATH.fullmatch(text):
        raise MfvError(
            "MFV6001", f"there is no vector {text}", help="`mfv vectors list` shows those that are"
        )
    return None


def vector_files(text: str) -> dict[str, Path] | None:
    """The files of a library, of those in its folders, or of the one vector that a text names, each
    by what it may be called; None where it is an expression.

    Raises MfvError as :func:`vector_file` and, MFV5350, for a folder without vectors.
    """
    library = library_at(text)
    if not os.path.isdir(library.root):
        file = vector_file(text)
        return None if file is None else {text: file}
    below = sorted(path for path in library.root.iterdir() if path.is_dir())
    files = {
        f"{text.rstrip('/')}/{path.relative_to(library.root).with_suffix('')}": path
        for folder in (library, *map(Library, below))
        for path in map(folder.path, folder.names())
    }
    if not files:
        raise MfvError("MFV5350", f"there are no vectors in {text}")
    return files


def read_vectors(paths: Sequence[str | Path], but: str = "") -> dict[str, Vector]:
    """The vectors of files, and of all files of folders, by name in order.

    Vectors of one name from different folders are called by their paths.  The file ``but`` is left
    out.  MFV5350 if nothing is left.
    """
    left_out = vector_file(but) if but else None
    files: dict[str, Path] = {}
    for path in map(str, paths):
        found = vector_files(path)
        if found is None:
            raise MfvError("MFV6001", f"there is no vector file {path}")
        files |= {
            name: file for name, file in found.items() if not (left_out and _same(file, left_out))
        }
    if not files:
        names = ", ".join(map(str, paths))
        raise MfvError("MFV5350", f"there are no vectors to compare with in {names}")
    stems = [file.stem for file in files.values()]
    return {
        file.stem if stems.count(file.stem) == 1 else name: load_vector(file).vector
        for name, file in files.items()
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
    calls = [node for node in syntax.walk() if isinstance(node, Call) and node.arguments]
    texts = [relation_text(call.arguments[0]) for call in calls if call.function.text != "load"]
    names = {meant_relation(text, dataset.relations) for text in texts if text is not None}
    return tuple(relation for relation in dataset.relations if relation in names)
