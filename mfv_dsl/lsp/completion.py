"""What can be typed at a place: words of the registry, and names of the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lsprotocol import types as lsp

from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.names import quoted_relation
from mfv_dsl.lang.changes import label_text
from mfv_dsl.lang.codes import all_codes
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM
from mfv_dsl.lang.reference import entry_text, parameter_line, signature, types_text
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import ELSE, Block, Declaration, Text
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.lsp.analysis import Analysis
from mfv_dsl.lsp.cursor import Place, place_at
from mfv_dsl.lsp.forms import arguments_of, defaultable, item_snippet, placeholder
from mfv_dsl.lsp.paths import paths_from, vectors_at
from mfv_dsl.lsp.positions import Lines

Kind = lsp.CompletionItemKind
#: Kinds of declarations whose names may stand for a value of any type.
_OF_ANY_TYPE = ("let", "sweep")
_NO_CASES = ("each",)
#: Which entries of a recipe's names a type takes.
_KINDS_OF_TYPE = {
    "Vector": ("vector", "tune"), "Heads": ("heads",), "Model": ("model",),
    "Dataset": ("dataset",),
}  # fmt: skip
_SYMBOLS = {"model": Kind.Class, "dataset": Kind.Class, "heads": Kind.Field}


def complete(
    analysis: Analysis, lines: Lines, offset: int, snippets: bool = True
) -> list[lsp.CompletionItem]:
    """What can be typed at an offset of a text.

    ``analysis`` may be of a text of a moment ago: names are taken from it, the place from ``lines``
    as they are now.  ``snippets``: whether the editor fills in forms.
    """
    place = place_at(lines.text, offset)
    words = _Words(analysis, place, lines, snippets)
    items = {item.label: item for item in reversed(list(words.items()))}
    return list(reversed(items.values()))


class _Words:
    """What can be typed at one place."""

    def __init__(self, analysis: Analysis, place: Place, lines: Lines, snippets: bool) -> None:
        self.analysis, self.place, self.lines, self.snippets = analysis, place, lines, snippets
        self.range = lines.range(place.span)

    @property
    def scope(self) -> Scope | None:
        return self.analysis.scope

    def items(self) -> Iterator[lsp.CompletionItem]:
        """All of it, the likeliest first."""
        where = self.place.where
        if where == "item":
            yield from map(self.item_word, ITEM.values())
        elif where == "label":
            yield from self.reaches()
        elif where == "attribute":
            yield from self.attributes()
        elif where == "subject":
            known = set(map(quoted_relation, self.known_relations()))
            yield from (word for word in self.relations() if word.label not in known)
        elif where == "case":
            yield from (case for case in self.relations() if case.label not in _NO_CASES)
            yield self.word(ELSE, Kind.Keyword, "Any other relation.", rank=6)
        elif where == "keyword":
            yield from self.keywords()
            yield from self.values()
        elif where == "value":
            yield from self.values()
        elif where == "text":
            yield from self.texts()

    def word(
        self, label: str, kind: Kind, doc: str = "", detail: str = "", snippet: str = "",
        rank: int = 5, typed: str = "",
    ) -> lsp.CompletionItem:  # fmt: skip
        """One entry of the list; ``snippet`` is what is filled in, ``rank`` its place in it, and
        ``typed`` what one types for it, where that is another than the label."""
        form = bool(snippet) and self.snippets
        plain = snippet.partition("$")[0].partition("(")[0].rstrip() if snippet else label
        return lsp.CompletionItem(
            label, kind=kind, detail=detail or None, sort_text=f"{rank}{label}",
            documentation=_markdown(doc) if doc else None,
            insert_text_format=lsp.InsertTextFormat.Snippet if form else None,
            text_edit=lsp.TextEdit(self.range, snippet if form else plain or label),
            filter_text=typed or label,
        )  # fmt: skip

    # -- items and attributes ---------------------------------------------------------------------
    def item_word(self, entry: Entry) -> lsp.CompletionItem:
        """The kind word of an item, with its form."""
        return self.word(
            entry.name, Kind.Keyword, entry_text(entry), signature(entry), item_snippet(entry)
        )

    def reaches(self) -> Iterator[lsp.CompletionItem]:
        """What stands behind `defaults`."""
        if self.place.kind == "defaults" and not self.place.label:
            yield self.word("for", Kind.Keyword, "For one kind of block, or one function, alone.")
        elif self.place.kind == "defaults" and self.place.label == "for":
            for entry in (*ITEM.values(), *FUNCTION.values()):
                if entry.parameters and entry.name != "profile":
                    yield self.word(entry.name, Kind.Keyword, entry_text(entry), entry.kind)

    def attributes(self) -> Iterator[lsp.CompletionItem]:
        """Attributes of the block that it has not yet."""
        kind, given = self.place.kind, set(self.place.given)
        reach = self.place.reach
        if kind == "defaults" and reach:
            entry = ITEM.get(reach) or FUNCTION.get(reach)
            for parameter in () if entry is None else entry.parameters:
                if parameter.name not in given and not parameter.positional:
                    yield self.attribute(parameter, f"of {reach}")
        elif kind == "defaults":
            for name, (entry, parameter) in defaultable().items():
                if name not in given:
                    yield self.attribute(parameter, f"`defaults`, for {entry.name} and others")
        elif kind == "profile":
            yield from self.changeable()
        elif kind in ITEM:
            written = self.attributes_written()
            for parameter in ITEM[kind].parameters:
                if parameter.name not in given | written:
                    yield self.attribute(parameter, f"of {kind}")
            if ITEM[kind].lines:
                yield from self.of_types(("Number",))

    def attributes_written(self) -> set[str]:
        """The attributes of this block, those behind the cursor too."""
        if self.analysis.recipe is None:
            return set()
        for item in self.analysis.recipe.items:
            if isinstance(item, Block) and item.kind.text == self.place.kind and (
                item.label is not None and label_text(item.label) == self.place.label
            ):  # fmt: skip
                names = {attribute.name for attribute in item.attributes}
                return {name.text for name in names if name.text != self.place.word}
        return set()

    def attribute(self, parameter: Parameter, detail: str) -> lsp.CompletionItem:
        """An attribute with its `=`."""
        return self.word(
            parameter.name, Kind.Property, parameter_line(parameter).removeprefix("- "),
            f"{detail}: {types_text(parameter).replace('`', '')}",
            f"{parameter.name} = {placeholder(parameter)}", 3 if parameter.required else 4,
        )  # fmt: skip

    def changeable(self) -> Iterator[lsp.CompletionItem]:
        """What a profile can change: names of the recipe, or attributes of the one before the
        point."""
        recipe = self.analysis.recipe
        for item in () if recipe is None else recipe.items:
            entry = ITEM.get(item.kind.text)
            if entry is None or item.kind.text == "profile":
                continue
            if isinstance(item, Declaration):
                name, parameters = item.name.text, arguments_of(item)
            else:
                name = "defaults" if item.label is None else label_text(item.label)
                parameters = entry.parameters or tuple(p for _, p in defaultable().values())
            if self.place.of is None and name.isidentifier():
                yield self.word(name, _SYMBOLS.get(entry.name, Kind.Variable), "", entry.name)
            elif self.place.of == name:
                yield from (self.attribute(parameter, f"of {name}") for parameter in parameters)

    # -- calls ------------------------------------------------------------------------------------
    def keywords(self) -> Iterator[lsp.CompletionItem]:
        """Named arguments of the call that it has not yet."""
        call = self.place.call
        entry = None if call is None else self.place.entry(call)
        if call is None or entry is None:
            return
        for parameter in entry.parameters:
            if not parameter.positional and parameter.name not in call.given:
                yield self.word(
                    parameter.name, Kind.Property, parameter_line(parameter).removeprefix("- "),
                    types_text(parameter).replace("`", ""),
                    f"{parameter.name}={placeholder(parameter)}", 3 if parameter.required else 6,
                )  # fmt: skip

    # -- values -----------------------------------------------------------------------------------
    def values(self) -> Iterator[lsp.CompletionItem]:
        """Values of the type that is wanted; all there are where that is not known."""
        parameter, in_list = self.place.expected()
        if self.place.of is not None:  # of a file that is used under a name
            yield from self.names_of(self.place.of)
            return
        if parameter is not None:
            types = _types(parameter, in_list)
            listed = any(name.startswith("List[") for name in parameter.types)
            if not in_list or listed or parameter.read_again:
                yield from self.choices(parameter)
            yield from self.of_types(types)
            return
        kind = self.place.kind
        if kind in CONSTRUCTOR and not self.place.frames:
            yield from (self.function(entry) for entry in CONSTRUCTOR[kind].values())
            return
        result = ITEM[kind].result if kind in ITEM else ""
        call = self.place.call
        if call is not None and self.is_family(call.word):
            yield from self.of_types(("Relation",))
        elif result in ("Heads", "Vector"):
            yield from self.of_types((result,))
        else:
            yield from self.of_types(("Vector", "Heads", "Number", "Relation"))

    def choices(self, parameter: Parameter) -> Iterator[lsp.CompletionItem]:
        """The words that a parameter takes."""
        for choice in parameter.choices:
            default = " (default)" if choice == parameter.default else ""
            yield self.word(
                choice, Kind.EnumMember, parameter_line(parameter).removeprefix("- "),
                f"{parameter.name}{default}", rank=1,
            )  # fmt: skip

    def of_types(self, types: Iterable[str]) -> Iterator[lsp.CompletionItem]:
        """Names, functions and words of some types; constants may be of any."""
        yield from self.names(_OF_ANY_TYPE)
        for name in dict.fromkeys(types):
            if name in _KINDS_OF_TYPE:
                yield from self.names(_KINDS_OF_TYPE[name])
            functions = (entry for entry in FUNCTION.values() if entry.result == name)
            yield from map(self.function, functions)
            if name in ("Relation", "Name"):
                yield from self.relations()
            if name == "Code":
                yield from (self.word(code, Kind.EnumMember) for code in all_codes())
            if name == "Split":
                yield from self.splits()
            if name == "Eval" and self.scope is not None:
                for other in self.scope.evals:
                    if other != self.place.label:
                        yield self.word(other, Kind.Reference, "", "eval", rank=2)
            if name == "Boolean":
                yield from (self.word(constant, Kind.Constant, rank=1) for constant in CONSTANTS)

    def names(self, kinds: tuple[str, ...]) -> Iterator[lsp.CompletionItem]:
        """The recipe's names of some kinds; a family with the relation that it is asked for."""
        scope, entry = self.scope, ITEM.get(self.place.kind)
        own = self.place.label if entry is not None and entry.form == "declaration" else None
        for kind in kinds if scope is not None else ():
            assert scope is not None
            for name in scope.of_kind(kind):
                if name == own or "[" in name:  # of a sweep, for one of its values
                    continue
                item = scope.names[name]
                text = self.analysis.text_of(item.span)
                family = scope.is_family(name)
                snippet = f"{name}(${{1:{self.usual_relation()}}})" if family else ""
                yield self.word(
                    name, _SYMBOLS.get(kind, Kind.Variable), f"```mfv\n{text}\n```",
                    f"{kind}, one per relation" if family else kind, snippet, 2,
                )  # fmt: skip

    def names_of(self, alias: str) -> Iterator[lsp.CompletionItem]:
        """The names of a file that is used under one of its own."""
        scope = self.scope
        for name, item in () if scope is None else scope.names.items():
            file, point, own = name.rpartition(".")
            if point and file == alias:
                text = self.analysis.text_of(item.span)
                yield self.word(own, Kind.Variable, f"```mfv\n{text}\n```", item.kind.text)

    def function(self, entry: Entry) -> lsp.CompletionItem:
        """A function or constructor with the arguments that it needs."""
        needed = [p for p in entry.parameters if p.required]
        parts = [
            f"${{{n}:{self.usual_relation() if 'Relation' in p.types else p.name}}}"
            if p.positional
            else f"{p.name}={placeholder(p, n)}"
            for n, p in enumerate(needed, 1)
        ]
        kind = Kind.Constructor if entry.kind == "constructor" else Kind.Function
        arguments = ", ".join(parts) if parts else ("$0" if entry.parameters else "")
        return self.word(
            entry.name, kind, entry_text(entry), signature(entry), f"{entry.name}({arguments})", 4
        )

    def is_family(self, name: str) -> bool:
        return self.scope is not None and self.scope.is_family(name)

    def usual_relation(self) -> str:
        """What a relation usually is here: that under test, or the family's own."""
        if self.place.parameters:
            return self.place.parameters[0]
        if ITEM.get(self.place.kind) is not None and ITEM[self.place.kind].form == "block":
            return "each" if self.place.kind != "defaults" else "relation"
        return next(map(quoted_relation, self.known_relations()), "relation")

    def relations(self) -> Iterator[lsp.CompletionItem]:
        """The relations of the datasets that may be meant."""
        block = self.place.kind in ITEM and ITEM[self.place.kind].form == "block"
        if block and self.place.attribute != "on":
            yield self.word("each", Kind.Keyword, "The relation under test.", rank=1)
        for name in self.place.parameters:
            yield self.word(name, Kind.TypeParameter, "", "the family's", rank=1)
        for relation, dataset in self.known_relations().items():
            yield self.word(
                quoted_relation(relation), Kind.EnumMember, "", f"relation of {dataset}", rank=2,
                typed=relation,
            )  # fmt: skip

    def known_relations(self) -> dict[str, str]:
        """Relations with the dataset that has them: that of the block, else all."""
        scope = self.scope
        if scope is None:
            return {}
        if self.place.kind == "dataset" and self.place.call is not None:
            entry = self.place.entry(self.place.call)
            parameter = None if entry is None else entry.parameter("relations")
            default = () if parameter is None else parameter.default or ()
            return dict.fromkeys(default, self.place.call.word)
        dataset = None
        for frame in reversed(self.place.frames):
            if frame.kind == "block":
                dataset = self.dataset_of_block()
        return scope.relations(TypingContext(dataset=dataset)) or scope.relations(
            TypingContext()
        ) or {}  # fmt: skip

    def dataset_of_block(self) -> str | None:
        """The dataset of the block that is being typed, as it was when it was last read."""
        for block in self.analysis.result.blocks:
            if block.kind == self.place.kind and block.name == self.place.label:
                return block.dataset
        return None

    def splits(self) -> Iterator[lsp.CompletionItem]:
        facts = () if self.scope is None else self.scope.dataset_facts(TypingContext())
        splits = [
            split for fact in facts for split in fact.splits if isinstance(fact, DatasetFacts)
        ]
        for split in dict.fromkeys(splits):
            yield self.word(split, Kind.EnumMember, "", "split", rank=1)

    # -- texts ------------------------------------------------------------------------------------
    def texts(self) -> Iterator[lsp.CompletionItem]:
        """Relations, vectors of the library that is named before, or paths."""
        parameter, _ = self.place.expected()
        if self.takes_relations(parameter):
            for relation, dataset in self.known_relations().items():
                inside = unparse(Text(relation))[1:-1]
                yield self.word(inside, Kind.EnumMember, "", f"relation of {dataset}")
            return
        call, entry = self.place.call, ITEM.get(self.place.kind)
        loads = call is not None and call.word == "load"
        if call is not None and loads and call.index == 1 and call.arguments:
            path = "".join(str(token).strip('"') for token in call.arguments[0])
            for name in vectors_at(path):
                yield self.word(name, Kind.Value, "", f"vector of {path}")
        elif parameter is not None and parameter.apart:
            return  # a text of prompts
        elif parameter is None or "Text" in parameter.types:
            included = entry is not None and entry.form == "inclusion"
            beside = Path(self.analysis.source.name).parent if included else None
            for path, is_folder in paths_from(self.place.word, loads, beside):
                yield self.word(path, Kind.Folder if is_folder else Kind.File)

    def takes_relations(self, parameter: Parameter | None) -> bool:
        """Whether a text that is typed here is a relation."""
        if self.place.frames and self.place.frames[-1].kind == "match":
            return True
        if parameter is not None:
            kinds = {"Relation", "List[Relation]", "List[Name]"}
            return not kinds.isdisjoint(parameter.types)
        call = self.place.call
        return call is not None and self.is_family(call.word)


def _types(parameter: Parameter, in_list: bool) -> tuple[str, ...]:
    """The types that are wanted of a value, in a list those of its elements."""
    elements = tuple(name[5:-1] for name in parameter.types if name.startswith("List["))
    if in_list:
        return elements or parameter.types
    return tuple(name for name in parameter.types if not name.startswith("List[")) + tuple(
        name for name in elements if name == "Relation"
    )


def _markdown(text: str) -> lsp.MarkupContent:
    return lsp.MarkupContent(lsp.MarkupKind.Markdown, text)
