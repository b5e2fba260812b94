"""Vectors of a library that others in it were made from, and what would come in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mfv_dsl.base.errors import MfvError
from mfv_dsl.library.folder import Library
from mfv_dsl.library.header import Header, read_header
from mfv_dsl.library.lineage import hashes_behind

CODE = "MFV6017"
_SHOWN = 5


@dataclass(frozen=True)
class Overwritten:
    """A vector in whose place another one would be written, and the files that were made from
    it."""

    folder: str
    name: str
    made_from_it: tuple[str, ...]

    @property
    def message(self) -> str:
        """What would happen, in words."""
        shown = [f"`{name}`" for name in self.made_from_it[:_SHOWN]]
        more = len(self.made_from_it) - len(shown)
        others = f"{', '.join(shown)}{f' and {more} more' if more else ''}"
        were = "were" if len(self.made_from_it) > 1 else "was"
        return (
            f"another vector would be saved in the place of `{self.name}` in {self.folder}, from "
            f"which {others} there {were} made"
        )

    @property
    def help(self) -> str:
        """What to do."""
        return (
            "save into another folder, save those anew, too, or take it out first: `mfv vectors "
            f"remove`; a `save` with `allow = [{CODE}]` writes it"
        )

    def error(self) -> MfvError:
        """As an error to raise."""
        return MfvError(CODE, self.message, help=self.help)


def overwritten(saves: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Overwritten]:
    """The vectors in whose place other ones would be written although files that stay as they are
    were made from them; only the heads of files are read.

    ``saves`` are folders, and of each vector that is saved there the name and the key of the step
    that makes it.
    """
    for folder, steps in saves:
        library = Library(folder)
        names = library.names()
        others = {
            name: header
            for name in names
            if name in steps
            and (header := _header(library, name)) is not None
            and header.metadata.get("step") != steps[name]
        }
        if not others:
            continue
        behind = {
            name: hashes_behind(header.metadata)
            for name in names
            if name not in steps and (header := _header(library, name)) is not None
        }
        for name, header in others.items():
            content = header.metadata["content_sha256"]
            made = tuple(other for other, hashes in behind.items() if content in hashes)
            if made:
                yield Overwritten(folder, name, made)


def _header(library: Library, name: str) -> Header | None:
    """What a file says of itself; None of one that nobody can read."""
    try:
        return read_header(library.path(name))
    except MfvError:
        return None
