"""``use "common.mfv"``: the declarations of another file, as if they stood here.

The texts of all files are put one behind another, so that every span stays in one text
(:class:`Joined`); what is found is shown in the file that it is of, with the line that uses it.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.parser import parse, read_source
from mfv_dsl.lang.syntax import (
    Attribute,
    Block,
    Call,
    Declaration,
    Inclusion,
    Item,
    Name,
    Node,
    RecipeTree,
    rewritten,
)

USE, AS = "use", "as"
#: kinds of items that a file has for itself
_OWN = frozenset({"eval", "report", "save"})
#: kinds of blocks that are put together of several files; under a name of their own they stay out
_SHARED = frozenset({"defaults", "profile"})


@dataclass(frozen=True)
class UsedFile:
    """Another file: its text under the name that it is shown by, and the place it is known by,
    which is the same however it is named."""

    source: Source
    place: str


class Reader(Protocol):
    """Reads the files that recipes use."""

    @property
    def place(self) -> str | None:
        """The place of the recipe itself; None for one that is no file."""

    def __call__(self, path: str, user: str | None) -> UsedFile:
        """The file of a path as it is written in the file at the place ``user``; None is the
        recipe.  Raises MfvError or RecipeError where it cannot be read."""


@dataclass(frozen=True)
class FilesBeside:
    """Reads files whose paths are from a recipe's ``file``; without one, such as of a text in
    Python, from the current folder.  ``shown`` is what the recipe is called."""

    file: Path | None = None
    shown: str = ""

    @property
    def place(self) -> str | None:
        """The resolved path of the recipe."""
        return None if self.file is None else str(self.file.resolve())

    def __call__(self, path: str, user: str | None) -> UsedFile:
        """The file; MFV2044 where it cannot be read."""
        place = (Path(user or self.file or "recipe").parent / path).resolve()
        here = Path.cwd()
        shown = str(place.relative_to(here)) if place.is_relative_to(here) else str(place)
        if user is None and self.file is not None:
            shown = str(Path(self.shown or self.file).parent / path)
        try:
            return UsedFile(read_source(place, shown), str(place))
        except OSError as error:
            raise MfvError(
                "MFV2044", f"cannot read {path}: {error.strerror}",
                help="the path is from the file that uses it",
            ) from None  # fmt: skip


@dataclass(frozen=True)
class NoFiles:
    """Reads nothing."""

    place: str | None = None

    def __call__(self, path: str, user: str | None) -> UsedFile:
        """Raises MfvError (MFV2044)."""
        raise MfvError("MFV2044", f"cannot read {path}: no other file is read here")


@dataclass(frozen=True)
class Part:
    """One file's text in a :class:`Joined`: where it begins, and the `use` that brought it."""

    start: int
    source: Source
    path: str = ""  # from the recipe; empty for that itself
    place: str | None = None
    use: Span | None = None  # in the joined text


@dataclass(frozen=True, repr=False)
class Joined(Source):
    """The text of a recipe with those of the files that it uses behind it."""

    parts: tuple[Part, ...] = ()

    def part(self, offset: int) -> Part:
        """The part that an offset is in."""
        return self.parts[bisect_right([part.start for part in self.parts], offset) - 1]

    def told(self, finding: Diagnostic) -> Diagnostic:
        """A finding of the joined text as it is shown, in the file that it is of; one of another
        text as it is."""
        if finding.span is None or not _is_of(finding.source, self):
            return finding
        home = self.part(finding.span.start)

        def label(span: Span, text: str) -> Label:
            part = self.part(span.start)
            return Label(_moved(span, -part.start), text, part.source if part != home else None)

        labels = [label(other.span, other.text) for other in finding.secondary]
        part = home
        while part.use is not None:
            labels.append(label(part.use, "used here"))
            part = self.part(part.use.start)
        return replace(
            finding, source=home.source, span=_moved(finding.span, -home.start),
            secondary=tuple(labels),
            fixes=tuple(
                Fix(fix.title, _moved(fix.span, -home.start), fix.replacement)
                for fix in finding.fixes
                if self.part(fix.span.start) == home
            ),
        )  # fmt: skip


def _is_of(source: Source | None, joined: Joined) -> bool:
    """Whether a source is a joined text, or that with options behind it."""
    return source is joined or (source is not None and source.text.startswith(joined.text))


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by, span.copy)


def told(finding: Diagnostic, source: Source) -> Diagnostic:
    """A finding as it is shown, of a recipe whose ``source`` may be joined."""
    return source.told(finding) if isinstance(source, Joined) else finding


# -- joining --------------------------------------------------------------------------------------
def with_files(recipe: RecipeTree, read: Reader) -> tuple[RecipeTree, list[Diagnostic]]:
    """The recipe with what the files that it uses declare, and what is wrong with them.

    Items of the files come first, so that those of the recipe are "given again".  Finds MFV2044
    for a file that cannot be read, MFV2045 for files that use one another, MFV2046 for a line that
    is no `use`, and MFV2008 for two files of one name.
    """
    if not recipe.inclusions:
        return recipe, []
    joining = _Joining(recipe, read)
    own = () if read.place is None else (read.place,)
    items = joining.items_of(recipe, joining.parts[0], own, "")
    joined = Joined(joining.text, recipe.source.name, tuple(joining.parts))
    findings = [replace(finding, source=joined) for finding in joining.findings]
    merged = tuple(_merged(items, joined))
    return replace(recipe, items=merged, inclusions=(), source=joined), findings


@dataclass
class _Joining:
    recipe: RecipeTree
    read: Reader
    findings: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        source = self.recipe.source
        self.text = source.text if source.text.endswith("\n") else source.text + "\n"
        self.parts = [Part(0, source)]
        self.brought: set[tuple[str, str]] = set()  # places, and under which name

    def items_of(
        self, recipe: RecipeTree, part: Part, users: tuple[str, ...], under: str
    ) -> list[Item]:
        """The items of a file and of those that it uses, under a name of their own or none."""
        items: list[Item] = []
        names: dict[str, Name] = {}
        declared = {_name_of(item): item for item in recipe.items}
        for inclusion in recipe.inclusions:
            if not self.is_use(inclusion):
                continue
            alias = inclusion.alias
            if alias is not None:
                clash = names.get(alias.text) or _name_node(declared.get(alias.text))
                names.setdefault(alias.text, alias)
                if clash is not None:
                    self.report(
                        "MFV2008", alias.span, f"`{alias.text}` is declared twice", "and again",
                        secondary=(Label(clash.span, "declared here"),),
                    )  # fmt: skip
                    continue
            items += self.used(inclusion, part, users, under)
        return [*items, *recipe.items]

    def used(
        self, inclusion: Inclusion, user: Part, users: tuple[str, ...], under: str
    ) -> list[Item]:
        """The items that one file brings into that of the part ``user``."""
        at, path = inclusion.path.span, inclusion.path.value
        try:
            file = self.read(path, user.place)
        except RecipeError as error:
            self.report("MFV2044", at, f"cannot read {path}: {error.message}")
            return []
        except MfvError as error:
            self.report(error.code, at, error.message, help=error.help)
            return []
        if file.place in users:
            self.report("MFV2045", at, f"{path} uses this file, or is it", "a circle")
            return []
        alias = inclusion.alias.text if inclusion.alias is not None else ""
        name = ".".join(part for part in (under, alias) if part)
        if (file.place, name) in self.brought:
            return []
        self.brought.add((file.place, name))
        start = len(self.text)
        self.text += (
            file.source.text if file.source.text.endswith("\n") else (file.source.text + "\n")
        )
        seen = posixpath.normpath(posixpath.join(posixpath.dirname(user.path), path))
        part = Part(start, file.source, seen, file.place, inclusion.span)
        self.parts.append(part)
        parsed = parse(file.source)
        for finding in parsed.diagnostics:
            self.findings.append(_shifted_finding(finding, start))
        if parsed.recipe is None:
            return []
        tree: RecipeTree = rewritten(
            parsed.recipe, lambda node: None,
            lambda node: replace(node, span=_moved(node.span, start)),
        )  # fmt: skip
        items = self.items_of(tree, part, (*users, file.place), name)
        items = [item for item in items if item.kind.text not in _OWN]
        return _under(alias, items) if alias else items

    def is_use(self, inclusion: Inclusion) -> bool:
        kind, word = inclusion.kind, inclusion.word
        if kind.text == USE and (word is None or word.text == AS):
            return True
        if kind.text == USE and word is not None:
            self.report(
                "MFV2046", word.span, f"expected `as`, found `{word.text}`", "",
                f'write `use "{inclusion.path.value}" as NAME`',
            )  # fmt: skip
        elif kind.text in ITEM:
            self.report(
                "MFV2020", kind.span, f"`{kind.text}` is not followed by a text alone", "",
                f"for example:\n{ITEM[kind.text].example}",
            )  # fmt: skip
        else:
            self.report(
                "MFV2005", kind.span, f"unknown kind of item `{kind.text}`",
                f"there are: {', '.join(ITEM)}", did_you_mean(kind.text, (*ITEM, USE)),
            )  # fmt: skip
        return False

    def report(
        self, code: str, span: Span, message: str, label: str = "", help: str | None = None,
        secondary: tuple[Label, ...] = (),
    ) -> None:  # fmt: skip
        self.findings.append(
            Diagnostic(
                code, message, self.recipe.source, span, label, help=help, secondary=secondary
            )
        )  # fmt: skip


def _shifted_finding(finding: Diagnostic, by: int) -> Diagnostic:
    return replace(
        finding,
        span=None if finding.span is None else _moved(finding.span, by),
        secondary=tuple(replace(s, span=_moved(s.span, by)) for s in finding.secondary),
        fixes=tuple(replace(f, span=_moved(f.span, by)) for f in finding.fixes),
    )


# -- names ----------------------------------------------------------------------------------------
def _name_node(item: Item | None) -> Name | None:
    if isinstance(item, Declaration):
        return item.name
    label = None if item is None else item.label
    return label if isinstance(label, Name) else None


def _name_of(item: Item) -> str:
    name = _name_node(item)
    return "" if name is None else name.text


def _under(alias: str, items: Iterable[Item]) -> list[Item]:
    """The items that declare something, their names and all uses of these under ``alias``."""
    declared = [item for item in items if item.kind.text not in _SHARED]
    return renamed(declared, {_name_of(item): f"{alias}.{_name_of(item)}" for item in declared})


def renamed(items: Iterable[Item], names: dict[str, str]) -> list[Item]:
    """Items that declare other ``names``, wherever these stand; but for what a family's parameters
    hide."""
    result: list[Item] = []
    for item in items:
        hidden = {p.text for p in item.parameters} if isinstance(item, Declaration) else set()
        new = {name: text for name, text in names.items() if name not in hidden}
        item = _with_names(item, new)
        if isinstance(item, Declaration):
            name = item.name
            result.append(replace(item, name=replace(name, text=names.get(name.text, name.text))))
        elif isinstance(item.label, Name) and item.kind.text not in (*_OWN, *_SHARED):
            label = item.label
            text = names.get(label.text, label.text)
            result.append(replace(item, label=replace(label, text=text)))
        else:
            result.append(item)
    return result


def _with_names(item: Item, names: dict[str, str]) -> Item:
    def change(node: Node) -> Node | None:
        if isinstance(node, Name) and node.text in names:
            return replace(node, text=names[node.text])
        return None

    def called(node: Node) -> Node:
        if isinstance(node, Call) and node.function.text in names:
            return replace(node, function=replace(node.function, text=names[node.function.text]))
        return node

    values: Item = rewritten(item, change)
    calls: Item = rewritten(values, lambda node: None, called)
    return calls


def self_contained(recipe: RecipeTree) -> RecipeTree:
    """A recipe with what other files declare as one that uses none: ``c.steer`` is ``c_steer``."""
    names = {node.text for item in recipe.items for node in item.walk() if isinstance(node, Name)}
    taken, new = set(names), dict[str, str]()
    for name in sorted(name for name in names if "." in name):
        plain = name.replace(".", "_")
        while plain in taken:
            plain += "_"
        taken.add(plain)
        new[name] = plain
    return replace(recipe, items=tuple(renamed(recipe.items, new)))


# -- defaults and profiles of several files -------------------------------------------------------
def _merged(items: Sequence[Item], joined: Joined) -> list[Item]:
    """The items, with one block for the `defaults` of all files, and for their profiles of one
    name; what a file says holds before what those say that it uses."""
    result: list[Item] = []
    last: dict[tuple[str, str, str], tuple[int, Part]] = {}
    for item in items:
        part = joined.part(item.span.start)
        if isinstance(item, Block) and item.kind.text in _SHARED:
            number, other = last.get(_key(item), (len(result), part))
            last[_key(item)] = (number, part)
            earlier = result[number] if number < len(result) else None
            if isinstance(earlier, Block) and other != part:
                result[number] = _both(earlier, item)
                continue
            last[_key(item)] = (len(result), part)
        result.append(item)
    return result


def _key(block: Block) -> tuple[str, str, str]:
    label = block.label
    name = label.text if isinstance(label, Name) else label.value if label else ""
    return block.kind.text, name, block.reach.text if block.reach is not None else ""


def _both(first: Block, second: Block) -> Block:
    """The second of two blocks with what only the first says."""

    def what(attribute: Attribute) -> tuple[str, str]:
        of = attribute.of
        return (of.text if isinstance(of, Name) else of.value if of else "", attribute.name.text)

    said = {what(attribute) for attribute in second.attributes}
    kept = [attribute for attribute in first.attributes if what(attribute) not in said]
    return replace(second, attributes=(*kept, *second.attributes))
