"""The vectors that a page offers: what libraries hold, and what each file says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import is_vector_file
from mfv_dsl.base.places import LIBRARIES
from mfv_dsl.base.source import Source
from mfv_dsl.inputs import vector_files
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM
from mfv_dsl.lang.lexer import lex
from mfv_dsl.lang.syntax import Call, Name, Text
from mfv_dsl.library.header import read_header
from mfv_dsl.library.sources import library_at
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods.vectors import Vector

#: Vectors of all libraries together that are shown, at most.
MOST = 2000


@dataclass(frozen=True)
class LibraryVector:
    """A vector of a library: how a recipe loads it, its file's metadata, or what is wrong with the
    file.  ``name`` tells it from all others of the page."""

    name: str
    load: Call
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    trouble: str = ""

    @property
    def address(self) -> tuple[str, str | None]:
        """Its path and, in a folder, its name there."""
        texts = [part.value for part in self.load.arguments if isinstance(part, Text)]
        return texts[0], texts[1] if len(texts) > 1 else None

    def fits(self, fingerprint: str) -> bool:
        """Whether it is of the model with this fingerprint."""
        return self.metadata.get("model", {}).get("fingerprint") == fingerprint

    def vector(self) -> Vector:
        """Its numbers; MfvError where its file cannot be read."""
        return load_vector(*self.address).vector


def default_libraries(fingerprint: str) -> tuple[str, ...]:
    """The bundled libraries that are of the model with this fingerprint."""
    return tuple(
        f"vectors/{name}"
        for name in LIBRARIES
        if any(one.fits(fingerprint) for one in vectors_of([f"vectors/{name}"]))
    )


def vectors_of(libraries: Sequence[str]) -> list[LibraryVector]:
    """The vectors of libraries, in their order; a library is a folder of vectors or a file.

    Raises MfvError: MFV5350 for a library that is not there or has no vectors, MFV6001 for a file
    that is not there.
    """
    found = [one for library in libraries for one in _vectors_in(library)]
    names = [one.name for one in found]
    return [
        LibraryVector("/".join(filter(None, one.address)), one.load, one.metadata, one.trouble)
        if names.count(one.name) > 1
        else one
        for one in found[:MOST]
    ]


def _vectors_in(library: str) -> Iterator[LibraryVector]:
    if is_vector_file(library):
        files = vector_files(library) or {}
        for path, file in files.items():
            yield _vector(file.stem, Call(Name("load"), (Text(path),)), lambda file=file: file)
        return
    if library.startswith("hf:"):
        raise MfvError(
            "MFV5350", f"{library} is on the Hub, and a page shows libraries of this machine",
            help=f"`mfv vectors pull {library} FOLDER` brings it here",
        )  # fmt: skip
    folder = library_at(library)
    if not folder.names():
        is_there = library and folder.root.is_dir()
        what = "there are no vectors in the folder" if is_there else "there is no library"
        raise MfvError(
            "MFV5350", f"{what} `{library}`", help="name a folder of vectors, or a vector's file"
        )
    for name in folder.names():
        load = Call(Name("load"), (Text(library), Text(name)))
        yield _vector(name, load, lambda name=name: folder.path(name))


def _vector(name: str, load: Call, file: Callable[[], Path]) -> LibraryVector:
    try:
        return LibraryVector(name, load, read_header(file()).metadata)
    except MfvError as error:
        return LibraryVector(name, load, trouble=error.message)


def short_names(
    vectors: Sequence[LibraryVector], relations: Sequence[str], but: Sequence[str]
) -> dict[str, Call]:
    """The vectors that an expression may name by their names alone: names that a recipe can declare
    and that are no relation's and none of ``but``."""
    taken = {*relations, *but, *FUNCTION, *ITEM, *CONSTANTS, "each", "else", "match"}
    return {
        one.name: one.load
        for one in vectors
        if not one.trouble and one.name not in taken and _is_name(one.name)
    }


def _is_name(text: str) -> bool:
    """Whether the language reads a text as one name."""
    if not text.isidentifier():
        return False
    kinds = [token.type for token in lex(Source(text)).tokens if token.type != "NEWLINE"]
    return kinds == ["NAME"]
