"""Vectors as the Python interface gives them: saved to files, and bound to models.

stored = load_vector("vectors/flamingo-tiny", "left")
stored.vector.save("left.safetensors")
with stored.bind(model, layer=1).attach():
    model(...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.arguments import ArgumentError, layer_of, number, shown, text
from mfv_dsl.base.arguments import path as as_path
from mfv_dsl.base.names import SUFFIX
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.library import vector_file
from mfv_dsl.library.vector_file import StoredVector
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.selection import Heads
from mfv_dsl.methods.vectors import Vector, require_model
from mfv_dsl.models.loaded import origin_of
from mfv_dsl.models.sites import SiteSource


@dataclass(frozen=True, eq=False, repr=False)
class InteractiveVector(Vector):
    """A vector that can be saved and bound."""

    def made_like(self, vector: Vector) -> InteractiveVector:
        return _of(vector)

    def save(self, path: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
        """Write it to a file, atomically; :func:`load_vector` reads it.

        Args:
            path: The file; ``.safetensors`` is put behind a name without it.
            metadata: Keys of ``docs/vector-format.md``, such as ``relation``; those of your own
                begin with ``x_``.

        Returns:
            The file.

        Raises:
            MfvError: MFV5119 for what is no path, and as
                :func:`~mfv_dsl.library.vector_file.save_vector`.

        >>> left = load_vector("vectors/flamingo-tiny", "left").vector
        >>> left.save("left")
        PosixPath('left.safetensors')
        """
        file = _file(path)
        save_vector(file, self, metadata)
        return file

    def bind(
        self,
        model: Any,
        layer: int | str,
        scale: float = 1.0,
        sites: SiteSource | None = None,
        attention_output: str | None = None,
    ) -> HookPlan:
        """Its injection bound to the user's own model; the arguments are those of
        :meth:`mfv_dsl.Expression.bind`.

        Raises:
            MfvError: MFV5103 for a layer that the model does not have, MFV5119 for a layer or
                scale that is none, MFV5303 for a loaded model that it is not of, MFV5305 where
                ``native`` asks for parts that it lacks, other MFV51xx for a model that it does not
                fit.
        """
        return binding(model, layer, scale, sites, attention_output)(self)

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.vectors import vector_html

        return vector_html(self)


@dataclass(frozen=True, repr=False)
class InteractiveStoredVector(StoredVector):
    """A stored vector that can be bound at the layer that its file names."""

    vector: InteractiveVector

    def bind(
        self,
        model: Any,
        layer: int | str | None = None,
        scale: float = 1.0,
        sites: SiteSource | None = None,
        attention_output: str | None = None,
    ) -> HookPlan:
        """As :meth:`InteractiveVector.bind`; ``layer`` is that of its file if left out.

        Raises:
            MfvError: As :meth:`InteractiveVector.bind`, and MFV5119 where neither its file nor
                ``layer`` says the layer.
        """
        if layer is None:
            layer = "native" if self.vector.space.places else self.metadata.get("layer")
        if layer is None:
            raise ArgumentError("the vector's file names no layer to add it at", "give `layer=`")
        return self.vector.bind(model, layer, scale, sites, attention_output)

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.vectors import stored_vector_html

        return stored_vector_html(self)


@dataclass(frozen=True, repr=False)
class InteractiveHeads(Heads):
    """Heads that a notebook shows."""

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.heads import heads_html

        return heads_html(self)


def load_vector(path: str | Path, name: str | None = None) -> InteractiveStoredVector:
    """Read a vector, every value checked.

    Args:
        path: A ``.safetensors`` file, a library folder, or ``hf://org/repo``, with ``@revision`` if
            not its main branch.  What is not on this machine yet is downloaded.
        name: Which vector of a library; a file takes none.

    Returns:
        ``vector``, and ``metadata``: what its file says of it.

    Raises:
        MfvError: MFV5119 for what is no path or name, and as
            :func:`~mfv_dsl.library.vector_file.load_vector`.

    >>> stored = load_vector("vectors/flamingo-tiny", "left")
    >>> stored.vector.numpy().shape, stored.metadata["relation"]
    ((128,), 'left')
    """
    name = None if name is None else text(name, "name")
    stored = vector_file.load_vector(as_path(path, "path"), name)
    return InteractiveStoredVector(_of(stored.vector), stored.metadata)


def save_vector(path: str | Path, vector: Vector, metadata: Mapping[str, Any] | None = None) -> str:
    """Write a vector atomically; :func:`~mfv_dsl.library.vector_file.save_vector` says how.

    Args:
        path: The file; ``.safetensors`` is put behind a name without it.  One that says the same
            already is left as it is.
        vector: ``residual`` (d_model,), and where it has them its per-head parts.
        metadata: Keys of ``docs/vector-format.md``; those of your own begin with ``x_``.

    Returns:
        The content hash of its arrays: SHA-256, 64 hexadecimal digits.

    Raises:
        MfvError: MFV5119 for an argument of the wrong type, MFV6004 for metadata or arrays that a
            vector file cannot hold.
    """
    if isinstance(vector, StoredVector):
        metadata = {**vector.metadata, **(metadata or {})}
        vector = vector.vector
    if not isinstance(vector, Vector):
        raise ArgumentError(f"what is saved has to be a Vector, and this is {shown(vector)}")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise ArgumentError(f"metadata has to be a dictionary, and this is {shown(metadata)}")
    return vector_file.save_vector(_file(path), vector, metadata or {})


def interactive(value: Any) -> Any:
    """A vector with the methods of :class:`InteractiveVector`, heads with those of
    :class:`InteractiveHeads`; any other value as it is."""
    if type(value) is Heads:
        return InteractiveHeads(value.chosen, value.scores, value.site)
    return _of(value) if type(value) is Vector else value


def binding(
    model: Any,
    layer: object,
    scale: object = 1.0,
    sites: SiteSource | None = None,
    attention_output: str | None = None,
) -> Callable[[Vector], HookPlan]:
    """What binds a vector to ``model``; all that can be wrong before there is one is an error now:
    MFV5103 for a layer that is not there, MFV5108 for a model whose parts are not found, MFV5119
    for a layer or scale that is none."""
    where, factor = layer_of(layer), number(scale, "scale")
    own = HookPlan.of(model, (), sites, attention_output)
    own.check_layer(where)

    def bind(vector: Vector) -> HookPlan:
        if origin_of(model) is not None:
            require_model(model, vector)
        return own.with_edits(adding(vector, where, factor))

    return bind


def _file(path: object) -> Path:
    """The file that a vector is written to."""
    text = as_path(path, "path")
    return Path(text if text.endswith(SUFFIX) else text + SUFFIX)


def _of(vector: Vector) -> InteractiveVector:
    if isinstance(vector, InteractiveVector):
        return vector
    return InteractiveVector(**vars(replace(vector)))
