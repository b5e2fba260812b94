"""Recipes built in Python, one declaration or block after another.

draft = mfv.Draft()
draft.model("flamingo", "tiny")
draft.dataset("shapes", "scenes")
pure = draft.vector("pure", lambda r: fv(r) - mfv.mean(fv("left"), fv("right")))
draft.eval("raw", add=pure("each"), layer=range(0, 6))
mfv.run(draft.recipe())
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from mfv_dsl.api import Recipe
from mfv_dsl.base.arguments import ArgumentError, by_name, known_options, shown
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.base.source import Source
from mfv_dsl.expression import Expression
from mfv_dsl.given import Kind, call_of
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.defaults import KINDS
from mfv_dsl.lang.drafted import RELATION, attributes_of, drafted, name_of, of_defaults, plain
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.format import format_source
from mfv_dsl.lang.from_python import as_call, as_syntax
from mfv_dsl.lang.parser import VERSION, parse_expression
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.syntax import (
    ELSE,
    Attribute,
    Block,
    Case,
    Declaration,
    Declared,
    Expr,
    Inclusion,
    Item,
    Match,
    Name,
    Number,
    RecipeTree,
    Text,
)
from mfv_dsl.lang.syntax import Call as CallNode
from mfv_dsl.lang.unparse import unparse

_OF_KIND = {
    "vector": Parameter("a vector", ("Vector",), ""),
    "heads": Parameter("heads", ("Heads",), ""),
    "report": Parameter("a number", ("Number",), ""),
}
_OF_SAVE = re.compile(r'"(.*)"\.(\w+)')


class Family:
    """A family of vectors, or what a `tune` trains: called with relations it is one vector."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *relations: object) -> Expression:
        """The vector of a relation, or of a pair; ``"each"`` is the one under test."""
        arguments = tuple(as_syntax(relation, RELATION) for relation in relations)
        return Expression(CallNode(Declared(self.name), arguments))

    def __repr__(self) -> str:
        return f"Family({self.name!r})"


def match(
    subject: str | Expression, cases: Mapping[str, object], otherwise: object = None
) -> Expression:
    """The value of the case that a relation is: of a family's parameter, or of ``"each"``.

    Args:
        subject: The parameter of the function that a family is made by, or ``"each"``.
        cases: Vectors, sets of heads or numbers by relation.
        otherwise: That of all others; without it, each relation that is asked for needs a case.

    >>> from mfv_dsl import fv
    >>> match("each", {"left": fv("right")}, otherwise=fv("each"))
    Expression('match each { left: fv(right), else: fv(each) }')
    """
    if not isinstance(cases, Mapping):
        raise ArgumentError(f"`match` takes values by relation, and this is {shown(cases)}")
    values = [(_relation(of), value) for of, value in cases.items()]
    values += [] if otherwise is None else [(Name(ELSE), otherwise)]
    lines = tuple(Case(of, as_syntax(value)) for of, value in values)
    asked = _relation(subject)
    if not isinstance(asked, Name):
        raise ArgumentError(
            f"`match` asks about `each` or a family's parameter, and this is {shown(subject)}"
        )
    return Expression(Match(asked, lines))


def _relation(value: object) -> Name | Text:
    relation = as_syntax(value, RELATION)
    if not isinstance(relation, Name | Text):
        raise ArgumentError(f"`match` takes a relation's name, and this is {shown(value)}")
    return relation


class Draft:
    """A recipe that is being written.

    What is declared comes back as an expression of that name, or a :class:`Family`, to be used in
    what follows.  Values are as for :func:`mfv_dsl.fv`: text is a name where one is wanted, and
    otherwise an expression of the language; ``range(0, 6)`` is ``0..5``; None leaves an option out.
    ``doc`` is what `##` says above it.

    >>> draft = Draft()
    >>> flamingo = draft.model("flamingo", "tiny")
    >>> simple = draft.let("simple", ["left", "right"])
    >>> draft.eval("few", shots=[1, 2], on=simple, doc="With examples.")
    >>> print(draft.text, end="")
    mfv 1
    <BLANKLINE>
    model flamingo = tiny()
    let   simple   = [left, right]
    <BLANKLINE>
    ## With examples.
    eval few {
      shots = [1, 2]
      on    = simple
    }
    """

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._inclusions: list[Inclusion] = []
        self._objects: dict[Kind, dict[str, Any]] = {"model": {}, "dataset": {}}

    # -- declarations -----------------------------------------------------------------------------
    def model(self, name: str, value: Any, /, *, doc: str = "", **arguments: object) -> Expression:
        """``model name = value(…)``: a constructor's name or text, or one of ``load_model``."""
        return self._constructed("model", name, value, arguments, doc)

    def dataset(
        self, name: str, value: Any, /, *, doc: str = "", **arguments: object
    ) -> Expression:
        """``dataset name = value(…)``, likewise."""
        return self._constructed("dataset", name, value, arguments, doc)

    def heads(self, name: str, value: object, /, *, doc: str = "") -> Expression:
        """``heads name = value``."""
        return self._declared("heads", name, value, doc)

    def let(self, name: str, value: object, /, *, doc: str = "") -> Expression:
        """``let name = value``: a constant."""
        return self._declared("let", name, value, doc)

    def sweep(self, name: str, values: object, /, *, doc: str = "") -> Expression:
        """``sweep name = values``: one of several values, for each of which all is made."""
        return self._declared("sweep", name, values, doc)

    def vector(self, name: str, value: Any, /, *, doc: str = "") -> Any:
        """``vector name = value``.  Of a function of one relation, or of two, it is a family, and
        a :class:`Family` comes back."""
        if isinstance(value, Expression | str) or not callable(value):
            return self._declared("vector", name, value, doc)
        try:
            names = [Name(parameter) for parameter in inspect.signature(value).parameters]
        except ValueError:  # of a type, or a function in C
            raise ArgumentError(f"a family is a function, and this is {shown(value)}") from None
        made = value(*(Expression(Declared(parameter.text)) for parameter in names))
        self._declared("vector", name, made, doc, tuple(names))
        return Family(name)

    # -- blocks -----------------------------------------------------------------------------------
    def tune(
        self,
        name: str,
        /,
        *,
        doc: str = "",
        docs: Mapping[str, str] | None = None,
        **values: object,
    ) -> Family:
        """``tune name { … }``; ``docs`` are what `##` says above attributes."""
        self._block("tune", name_of(name), values, doc, docs)
        return Family(name)

    def eval(
        self,
        name: str,
        /,
        *,
        doc: str = "",
        docs: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        """``eval name { … }``, likewise."""
        self._block("eval", name_of(name), values, doc, docs)

    def save(
        self, folder: str, /, *, doc: str = "", docs: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:  # fmt: skip
        """``save "folder" { … }``, likewise."""
        self._block("save", Text(as_text(folder, "a folder")), values, doc, docs)

    def report(
        self, *numbers: object, doc: str = "", docs: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:  # fmt: skip
        """``report { … }``: each number is a row of the result."""
        lines = tuple(drafted(number, _OF_KIND["report"]) for number in numbers)
        self._block("report", None, values, doc, docs, lines)

    def defaults(
        self, /, *, doc: str = "", docs: Mapping[str, str] | None = None, **values: object
    ) -> None:
        """``defaults { … }``: values for whatever does not say otherwise."""
        docs = by_name({} if docs is None else docs, "docs")
        attributes = [
            Attribute(
                Name(key), drafted(value, of_defaults(key)), doc=as_text(docs.get(key, ""), "docs")
            )
            for key, value in values.items()
            if value is not None
        ]
        self._add(Block(Name("defaults"), None, tuple(attributes), doc=doc))

    def defaults_for(
        self, kind: str, /, *, doc: str = "", docs: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:  # fmt: skip
        """``defaults for kind { … }``: for one kind of block, or one function."""
        known_options([as_text(kind, "a kind")], KINDS, "`defaults for`")
        attributes = attributes_of(KINDS[kind], values, docs)
        self._add(Block(Name("defaults"), None, attributes, (), Name(kind), doc=doc))

    def profile(self, name: str, values: Mapping[str, object], /, *, doc: str = "") -> None:
        """``profile name { … }``: values by what they are of, ``{"raw.layer": range(0, 6),
        "flamingo": 'tiny("llava")', "defaults.tune.items": 50}``."""
        lines = tuple(self._change(*change) for change in by_name(values, "a profile").items())
        self._add(Block(Name("profile"), name_of(name), lines, doc=doc))

    def use(self, path: str, /, as_: str | None = None) -> None:
        """``use "path"``, or ``use "path" as name``: the declarations of another file."""
        alias = (None, None) if as_ is None else (Name("as"), name_of(as_))
        self._inclusions.append(Inclusion(Name("use"), Text(as_text(path, "a file")), *alias))

    # -- the recipe -------------------------------------------------------------------------------
    @property
    def syntax(self) -> RecipeTree:
        """The tree, which is that of :attr:`text`."""
        return RecipeTree(Number(VERSION), tuple(self._items), tuple(self._inclusions))

    @property
    def text(self) -> str:
        """The recipe as a text, laid out as `mfv fmt` does it."""
        lines = [f"mfv {VERSION}\n", "\n" if self._items or self._inclusions else ""]
        parts: list[Item | Inclusion] = [*self._inclusions, *self._items]
        for part, after in zip_longest(parts, parts[1:]):
            apart = after is not None and (_stands_alone(part) or _stands_alone(after))
            lines.append(f"{unparse(part)}\n" + ("\n" if apart else ""))
        return format_source(Source("".join(lines), "draft"))

    def recipe(self, name: str = "recipe") -> Recipe:
        """The recipe, checked, on the models and datasets that are loaded already.

        Raises RecipeError for everything that is wrong with it, at places in :attr:`text`.
        """
        made = Recipe(self.text, name)
        if any(self._objects.values()):
            return made.with_objects(self._objects["model"], self._objects["dataset"])
        return made

    def _repr_html_(self) -> str:
        from mfv_dsl.report.html.recipes import recipe_html

        return recipe_html("draft", self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        items = len(self._items) + len(self._inclusions)
        return f"Draft({items} {'item' if items == 1 else 'items'})"

    # -- parts ------------------------------------------------------------------------------------
    def _add(self, item: Item) -> None:
        as_text(getattr(item, "doc", ""), "doc")
        self._items.append(item)

    def _declared(
        self, kind: str, name: str, value: object, doc: str, parameters: tuple[Name, ...] = ()
    ) -> Expression:
        node = drafted(value, _OF_KIND.get(kind))
        self._add(Declaration(Name(kind), name_of(name), parameters, node, doc=doc))
        return Expression(Declared(name))

    def _constructed(
        self, kind: Kind, name: str, value: Any, arguments: Mapping[str, object], doc: str
    ) -> Expression:
        if isinstance(value, str) and value in CONSTRUCTOR[kind]:
            node: Expr = plain(as_call(CONSTRUCTOR[kind][value], (), arguments))
        else:
            known_options(arguments, (), f"a {kind} that is written out")
            node = parse_expression(Source(call_of(kind, value), f"<{kind}>"))
            if not isinstance(value, str):
                self._objects[kind][name] = value
        self._add(Declaration(Name(kind), name_of(name), (), node, doc=doc))
        return Expression(Declared(name))

    def _block(
        self, kind: str, label: Name | Text | None, values: Mapping[str, object], doc: str,
        docs: Mapping[str, str] | None, lines: tuple[Expr, ...] = (),
    ) -> None:  # fmt: skip
        attributes = attributes_of(ITEM[kind], values, docs)
        self._add(Block(Name(kind), label, attributes, lines, doc=doc))

    def _change(self, key: str, value: object) -> Attribute:
        """A line of a profile."""
        saved = _OF_SAVE.fullmatch(key)
        if saved is not None:
            of: Name | Text | None = Text(saved[1])
            word = saved[2]
        else:
            owner, _, word = key.rpartition(".")
            of = Name(owner) if owner else None
        if of is None:
            kind = self._kind_of(word)
            if kind in CONSTRUCTOR and isinstance(value, str):
                call = call_of("model" if kind == "model" else "dataset", value)
                return Attribute(Name(word), parse_expression(Source(call, f"<{kind}>")))
            return Attribute(Name(word), drafted(value, _OF_KIND.get(kind)))
        return Attribute(Name(word), drafted(value, self._parameter(of, word)), of)

    def _kind_of(self, name: str) -> str:
        declared = (i for i in self._items if isinstance(i, Declaration) and i.name.text == name)
        return next((item.kind.text for item in declared), "")

    def _parameter(self, of: Name | Text, word: str) -> Parameter | None:
        """What an attribute of a block, or an argument of a constructor, takes."""
        if isinstance(of, Name) and of.text.partition(".")[0] == "defaults":
            reach = of.text.partition(".")[2]
            return KINDS[reach].parameter(word) if reach in KINDS else of_defaults(word)
        for item in self._items:
            if isinstance(item, Block) and item.label == of and item.kind.text in ITEM:
                return ITEM[item.kind.text].parameter(word)
            if isinstance(item, Declaration) and item.name == of:
                call, entries = item.value, CONSTRUCTOR.get(item.kind.text, {})
                if isinstance(call, CallNode) and call.function.text in entries:
                    return entries[call.function.text].parameter(word)
        return None


def _stands_alone(part: Item | Inclusion) -> bool:
    """Whether there is a blank line beside an item: a block of several lines, or what is
    documented."""
    return isinstance(part, Block) or (isinstance(part, Declaration) and bool(part.doc))
