"""What is known of a recipe as it stands in an editor.

An :class:`Analysis` is what the checker says of the text: at every keystroke, so nothing in it
takes long.  :func:`further` is what takes longer and is had a moment later: the plan, and what the
recipe is with each of its profiles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts, VectorFacts
from mfv_dsl.base.source import Source, Span
from mfv_dsl.findings import beyond_check
from mfv_dsl.lang.checked import Checked, CheckedBlock
from mfv_dsl.lang.checker import NO_FILES, CheckResult, check_source, registry_facts
from mfv_dsl.lang.inclusion import FilesBeside, Joined, Reader, UsedFile
from mfv_dsl.lang.registry import Entry
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Node, RecipeTree
from mfv_dsl.library.lock import NAME as LOCK_NAME
from mfv_dsl.library.lock import NO_LOCK, Lock, read_lock
from mfv_dsl.library.sources import at_hand
from mfv_dsl.lsp.reparse import Reparser
from mfv_dsl.plan.steps import Plan

_MOST_FILES = 200  # in a folder whose changes are looked for


class KnownFacts:
    """The facts of models and datasets, kept as long as the files that they name do not change:
    those of a dataset of files take as long as it takes to read them."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, object]] = {}

    def __call__(self, entry: Entry, values: Mapping[str, Any]) -> ModelFacts | DatasetFacts | None:
        """As :func:`~mfv_dsl.lang.checker.registry_facts`."""
        key = f"{entry.name} {sorted(values.items(), key=str)!r}"
        stamp = tuple(_stamp(value) for value in values.values() if isinstance(value, str))
        kept = self._kept.get(key)
        if kept is None or kept[0] != stamp:
            try:
                facts: object = registry_facts(entry, values)
            except MfvError as error:
                facts = error
            kept = self._kept[key] = (stamp, facts)
        if isinstance(kept[1], MfvError):
            raise kept[1]
        return kept[1]  # type: ignore[return-value]

    def forget(self) -> None:
        """Ask anew for all facts, such as when a file was saved."""
        self._kept.clear()


def _stamp(path: str) -> tuple[object, ...]:
    """What changes with a file, or with those of a folder that say what it holds."""
    try:
        status = os.stat(os.path.expanduser(path))
        stamps: list[object] = [status.st_mtime_ns, status.st_size]
        if os.path.isdir(os.path.expanduser(path)):
            with os.scandir(os.path.expanduser(path)) as entries:
                for _, entry in zip(range(_MOST_FILES), entries, strict=False):
                    if entry.name.endswith((".csv", ".json", ".jsonl", ".tsv", ".toml")):
                        stamps.append((entry.name, entry.stat().st_mtime_ns))
    except (OSError, ValueError):
        return ()
    return tuple(stamps)


@dataclass(frozen=True)
class Further:
    """What is had a moment later: more diagnostics, and the plan where one can be made."""

    diagnostics: tuple[Diagnostic, ...] = ()
    plan: Plan | None = None


@dataclass(frozen=True)
class Analysis:
    """A text and what the checker says of it."""

    source: Source
    result: CheckResult
    recipe: RecipeTree | None
    lock: Lock = NO_LOCK
    facts: KnownFacts = field(default_factory=KnownFacts)
    read: Reader = NO_FILES

    @property
    def scope(self) -> Scope | None:
        """Names, types and uses; None of a text that cannot be read at all."""
        return self.result.scope

    @property
    def files(self) -> tuple[str, ...]:
        """The resolved paths of the files that the text uses."""
        source = None if self.scope is None else self.scope.source
        parts = source.parts if isinstance(source, Joined) else ()
        return tuple(part.place for part in parts if part.place is not None)

    @property
    def checked(self) -> Checked | None:
        """The recipe where it is right."""
        return self.result.checked

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong, in source order."""
        return self.result.diagnostics

    @cached_property
    def blocks(self) -> dict[Span, CheckedBlock]:
        """The checked blocks by their places."""
        return {block.span: block for block in self.result.blocks}

    def text_of(self, span: Span) -> str:
        """What stands at a place that the checker knows, which may be in a file that is used."""
        source = self.source if self.scope is None else self.scope.source
        return source.text[span.start : span.end]

    def path_to(self, offset: int) -> list[Node]:
        """The nodes that an offset is in or at the end of, the outermost first."""
        path: list[Node] = []
        nodes: Iterator[Node] = iter(() if self.recipe is None else self.recipe.items)
        while True:
            holding = [node for node in nodes if node.span.start <= offset <= node.span.end]
            if not holding:
                return path
            # of two that meet here the one that begins here
            path.append(max(holding, key=lambda node: node.span.start))
            nodes = path[-1].children()


def analyse(
    text: str,
    path: str = "recipe.mfv",
    facts: KnownFacts | None = None,
    reparser: Reparser | None = None,
    texts: Mapping[str, str] | None = None,
) -> Analysis:
    """Check a text; never raises for what is wrong in it.

    ``reparser`` has parsed an earlier state of it; ``texts`` are those of other files, by their
    resolved paths, that are not what is on the disk.

    >>> [found.code for found in analyse("mfv 1\\nvector a = fv(left) + 1\\n").diagnostics]
    ['MFV3002']
    """
    source, known = Source(text, path), facts or KnownFacts()
    lock, read = lock_beside(path), OpenFiles(Path(path), path, texts or {})
    parsed = (reparser or Reparser()).parse(source)
    result = check_source(source, known, (), finder(lock), parsed=parsed, read=read)
    return Analysis(source, result, parsed.recipe, lock, known, read)


def further(analysis: Analysis) -> Further:
    """What takes longer: the plan, and what is wrong with it and with each profile."""
    found, plan = beyond_check(
        analysis.source, analysis.result, analysis.facts, finder(analysis.lock),
        read=analysis.read,
    )  # fmt: skip
    return Further(tuple(found), plan)


@dataclass(frozen=True)
class OpenFiles(FilesBeside):
    """Reads the files that a recipe uses, those that are open in the editor as they are there."""

    texts: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, path: str, user: str | None) -> UsedFile:
        """As :class:`~mfv_dsl.lang.inclusion.FilesBeside`."""
        place = str((Path(user or self.file or "recipe").parent / path).resolve())
        if place in self.texts:
            return UsedFile(Source(self.texts[place], place), place)
        return super().__call__(path, user)


def lock_beside(path: str) -> Lock:
    """What ``mfv.lock`` beside a recipe pins; nothing where it cannot be read."""
    try:
        return read_lock(Path(path).parent / LOCK_NAME)
    except (MfvError, OSError):
        return NO_LOCK


def finder(lock: Lock) -> Any:
    """The finder of stored vectors under a lock."""

    def find(path: str, name: str | None) -> VectorFacts | None:
        return at_hand(path, name, lock)

    return find
