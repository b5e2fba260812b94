"""Names in several files: a recipe's own, those of the files that it uses, and its users.

What a name stands for in each file is what the checker found there.  The files looked at are those
that are open, those that they use, and the recipes in the workspace's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Span
from mfv_dsl.lang.inclusion import Joined
from mfv_dsl.lang.parser import read_source
from mfv_dsl.lang.syntax import Declaration
from mfv_dsl.lsp.analysis import Analysis, KnownFacts, analyse
from mfv_dsl.lsp.navigation import (
    CannotRename,
    Symbol,
    check_new_name,
    meaning,
    occurrences,
    references,
    symbol_at,
)

#: places in a file, by the file's resolved path
Places = Mapping[str, list[Span]]
_USES = re.compile(r"^\s*use\b", re.MULTILINE)
_PASSED_OVER = frozenset(("node_modules", "__pycache__", "site-packages"))
_MOST_RECIPES, _MOST_FOLDERS = 2_000, 20_000


@dataclass(frozen=True)
class _Home:
    """Where something is declared that has a name: the file, its place there, and the name."""

    file: str
    span: Span
    text: str


@dataclass
class Workspace:
    """The recipes that may use one another.

    ``texts`` are those of the open files by their resolved paths, ``root`` is the folder of the
    workspace, None where there is none.
    """

    texts: Mapping[str, str]
    root: Path | None = None
    facts: KnownFacts = field(default_factory=KnownFacts)
    _known: dict[str, Analysis | None] = field(default_factory=dict)

    def analysis(self, file: str) -> Analysis | None:
        """What is known of a file; None where it cannot be read."""
        if file not in self._known:
            text = self.text(file)
            known = None if text is None else analyse(text, file, self.facts, texts=self.texts)
            self._known[file] = known
        return self._known[file]

    def text(self, file: str) -> str | None:
        """The text of a file, as it is in the editor where it is open there."""
        if file in self.texts:
            return self.texts[file]
        try:
            return read_source(file).text
        except (OSError, MfvError):
            return None

    def note(self, file: str, analysis: Analysis) -> None:
        """Take what is known of an open file already."""
        self._known[file] = analysis

    def users(self, file: str) -> list[str]:
        """The files that use another, themselves or through others, and those that may: what cannot
        be read of them may be the ``use``."""
        found, broken = [], {}
        for other in dict.fromkeys((*self.texts, *self._recipes())):
            text = self.text(other)
            if other == file or not _USES.search(_bare_text(other) if text is None else text):
                continue
            known = None if text is None else self.analysis(other)
            if known is not None and file in known.files:
                found.append(other)
            elif known is None or unread(known):
                broken[other] = _bare_text(other) if text is None else text
        names = [Path(one).name for one in (file, *found)]
        may = [other for other, text in broken.items() if any(name in text for name in names)]
        return [*found, *may]

    def holds(self, file: str) -> bool:
        """Whether a file is open, or in the workspace's folder."""
        return file in self.texts or (
            self.root is not None and Path(file).is_relative_to(self.root.resolve())
        )

    def _recipes(self) -> Iterator[str]:
        """The recipes in the workspace's folder.  Raises CannotRename where there are too many to
        look through."""
        recipes = folders = 0
        for folder, below, names in os.walk(self.root) if self.root is not None else ():
            below[:] = [n for n in below if not n.startswith(".") and n not in _PASSED_OVER]
            found = [name for name in names if name.endswith(".mfv")]
            recipes, folders = recipes + len(found), folders + 1
            if recipes > _MOST_RECIPES or folders > _MOST_FOLDERS:
                raise CannotRename("the workspace has more files than can be looked through")
            yield from (str(Path(folder, name).resolve()) for name in found)


def places_of(workspace: Workspace, file: str, offset: int, declaration: bool = True) -> Places:
    """Every place of what the name at an offset stands for, in all files, in source order."""
    analysis = workspace.analysis(file)
    found = None if analysis is None else symbol_at(analysis, offset)
    if analysis is None or found is None:
        return {}
    home = _home(file, analysis, found[1])
    if home is None:
        places = references(analysis, offset, declaration)
        return {file: places} if places else {}
    everywhere = {}
    for other in (home.file, *workspace.users(home.file)):
        spans = sorted(_uses_in(workspace, other, home, declaration), key=lambda s: s.start)
        if spans:
            everywhere[other] = spans
    return everywhere


def renamed(workspace: Workspace, file: str, offset: int, new: str | None = None) -> Places:
    """The places to change, in all files, so that a name becomes ``new``; without one those that
    would be.

    Raises CannotRename, so that no file is left with a name that there is not.
    """
    analysis = workspace.analysis(file)
    found = None if analysis is None else symbol_at(analysis, offset)
    if analysis is None or found is None:
        raise CannotRename("there is no name of the recipe here")
    symbol = found[1]
    if symbol.of == "relation":
        raise CannotRename(f"`{symbol.text}` is a relation of the data, which has its name there")
    home = _home(file, analysis, symbol)
    at = file if home is None else home.file
    users = workspace.users(at)
    family = [at, *users]
    if not workspace.holds(at):
        raise CannotRename(f"`{symbol.text}` is declared in {at}, outside the workspace")
    for other in family:
        _can_be_read(workspace, other)
    if symbol.of == "profile":
        _own_profile(workspace, file, users, symbol.text)
    places = places_of(workspace, file, offset)
    old = symbol.text if home is None else home.text
    if new is not None and new != old:
        owner = workspace.analysis(at)
        assert owner is not None
        check_new_name(owner, symbol if home is None else Symbol("name", old), new)
        _check_meaning(workspace, family, places, new)
    return places


def _home(file: str, analysis: Analysis, symbol: Symbol) -> _Home | None:
    """Where a name is declared; None for what is known in its own file alone, such as an eval."""
    scope = analysis.scope
    item = None if scope is None or symbol.of != "name" else scope.names.get(symbol.text)
    name = item.name if isinstance(item, Declaration) else getattr(item, "label", None)
    if scope is None or name is None:
        return None
    span = name.span.place
    part = scope.source.part(span.start) if isinstance(scope.source, Joined) else None
    text = symbol.text.rpartition(".")[2]
    if part is None or part.use is None:
        return _Home(file, span, text)
    if part.place is None:
        return None
    return _Home(part.place, Span(span.start - part.start, span.end - part.start), text)


def _uses_in(
    workspace: Workspace, file: str, home: _Home, declaration: bool
) -> Iterator[Span]:  # fmt: skip
    """The places in one file of what is declared at ``home``; of ``c.best`` that of ``best``."""
    analysis = workspace.analysis(file)
    homes: dict[Symbol, _Home | None] = {}
    seen: set[Span] = set()
    for span, symbol, declares in () if analysis is None else occurrences(analysis):
        assert analysis is not None
        if declares and not declaration:
            continue
        if symbol not in homes:
            homes[symbol] = _home(file, analysis, symbol)
        own = Span(span.end - len(home.text), span.end)
        if homes[symbol] == home and own not in seen:
            seen.add(own)
            yield own


def unread(analysis: Analysis) -> list[Diagnostic]:
    """What is said of the parts of a recipe that cannot be read."""
    return [finding for finding in analysis.diagnostics if finding.code.startswith("MFV1")]


def _bare_text(file: str) -> str:
    """The text of a file that is no recipe, as far as there is one."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _can_be_read(workspace: Workspace, file: str) -> None:
    analysis = workspace.analysis(file)
    broken = unread(analysis) if analysis else []
    if analysis is None or broken:
        why = broken[0].message if broken else "the file is not there, or it is no text"
        raise CannotRename(
            f"a part of {Path(file).name} cannot be read, and the name may be in it: {why}"
        )


def _own_profile(workspace: Workspace, file: str, users: Iterable[str], name: str) -> None:
    """Refuse to rename a profile of which another file has a part."""
    analysis = workspace.analysis(file)
    for other in (*users, *(analysis.files if analysis else ())):
        known = workspace.analysis(other)
        for _, symbol, declares in () if known is None else occurrences(known):
            if declares and symbol == Symbol("profile", name):
                raise CannotRename(f"{Path(other).name} has a part of the profile `{name}`")


def _check_meaning(
    workspace: Workspace, family: Iterable[str], places: Places, new: str
) -> None:  # fmt: skip
    """Whether every file with the new name is what it was."""
    after = Workspace(dict(workspace.texts), None, workspace.facts)
    texts = dict(workspace.texts)
    for file, spans in places.items():
        text = workspace.text(file) or ""
        for span in reversed(spans):
            text = text[: span.start] + new + text[span.end :]
        texts[file] = text
    after.texts = texts
    for file in family:
        known, changed = workspace.analysis(file), after.analysis(file)
        if known is None or changed is None:
            raise CannotRename(f"{Path(file).name} cannot be read")
        before = [finding.code for finding in known.diagnostics]
        found = [finding for finding in changed.diagnostics if finding.code not in before]
        if found:
            raise CannotRename(f"`{new}` cannot be its name: {found[0].message}")
        if meaning(known) != meaning(changed):
            raise CannotRename(f"with the name `{new}` {_said(file, family)} would mean another")


def _said(file: str, family: Iterable[str]) -> str:
    return "the recipe" if len([*family]) == 1 else Path(file).name
