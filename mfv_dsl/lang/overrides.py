"""``--set raw.layer=0..3``: values given from outside, checked like source text.

The options' texts are appended to the recipe's source, so that every span stays in one text; what
is found in them is shown at the option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.errors import RecipeError
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang.changes import Change, Unchangeable, changed_models, target_at, with_change
from mfv_dsl.lang.inclusion import told
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import Item, Name, RecipeTree

#: what is said of layers and heads that a model lacks
NOT_IN_MODEL = ("MFV4001", "MFV4002", "MFV4004")


@dataclass(frozen=True)
class Shown:
    """Shows findings where they are written: in an option, in another file, or in the recipe.

    ``changes`` are the options, of a recipe with the files that it uses.
    """

    changes: Overrides

    def __call__(self, finding: Diagnostic) -> Diagnostic:
        """The finding in the text that it is of."""
        if self.changes.options:
            finding = self.changes.in_option(finding)
        return told(finding, self.changes.original)


class Overrides:
    """Options of the form ``NAME.ATTRIBUTE=VALUE``, ``NAME=VALUE`` or
    ``defaults.KIND.ATTRIBUTE=VALUE``, each a
    :class:`~mfv_dsl.lang.changes.Change`."""

    def __init__(self, source: Source, options: Sequence[str]) -> None:
        self.original = source
        self.options = tuple(options)
        self.starts: list[int] = []
        self.models: list[Change] = []  # those that are about a model
        self.items: tuple[Item, ...] = ()  # once all are made
        text = source.text if source.text.endswith("\n") else source.text + "\n"
        for option in options:
            self.starts.append(len(text))
            text += option + "\n"
        self.source = Source(text, source.name) if options else source

    def apply(self, recipe: RecipeTree) -> tuple[RecipeTree, list[Diagnostic]]:
        """``recipe`` with every option set, and what is wrong with options that set nothing."""
        items = list(recipe.items)
        findings: list[Diagnostic] = []
        for option, start in zip(self.options, self.starts, strict=True):
            try:
                change = self._change(option, start)
                items = with_change(items, change)
                self.models += changed_models(items, [change])
            except Unchangeable as error:
                findings += self._error(error.span, error.message, error.help).diagnostics
            except RecipeError as error:
                findings += error.diagnostics
        self.items = tuple(items)
        return replace(recipe, items=self.items, source=self.source), findings

    def in_option(self, diagnostic: Diagnostic) -> Diagnostic:
        """The diagnostic with its place in the option, if that is where it points."""
        if diagnostic.span is None:
            return diagnostic
        if diagnostic.span.start < len(self.original.text):
            labels = [label for label in diagnostic.secondary if self._number(label.span) is None]
            numbers = {self._number(label.span): None for label in diagnostic.secondary}
            given = [f"given by `--set {self.options[n]}`" for n in numbers if n is not None]
            return replace(
                diagnostic,
                source=self.original,
                secondary=tuple(labels),
                notes=(*diagnostic.notes, *given),
                help=self._help(diagnostic),
            )
        number = self._number(diagnostic.span) or 0
        start = self.starts[number]

        def shift(span: Span) -> Span:
            return Span(span.start - start, span.end - start)

        return replace(
            diagnostic,
            source=Source(self.options[number], "--set"),
            span=shift(diagnostic.span),
            secondary=tuple(
                Label(shift(label.span), label.text)
                for label in diagnostic.secondary
                if self._number(label.span) == number
            ),
            fixes=tuple(
                Fix(fix.title, shift(fix.span), fix.replacement)
                for fix in diagnostic.fixes
                if self._number(fix.span) == number
            ),
        )

    def _help(self, diagnostic: Diagnostic) -> str | None:
        """What else to set, where a model that an option has put in lacks a layer or a head."""
        if diagnostic.code not in NOT_IN_MODEL or not self.models or diagnostic.span is None:
            return diagnostic.help
        target = target_at(self.items, diagnostic.span)
        model = self.models[-1].name
        advice = f": `--set {target}=...`" if target else ""
        return f"the model `{model}` came by `--set`; set what it lacks as well{advice}"

    def _number(self, span: Span) -> int | None:
        """Which option a span lies in."""
        numbers = [i for i, start in enumerate(self.starts) if span.start >= start]
        return numbers[-1] if numbers else None

    def _change(self, option: str, start: int) -> Change:
        path, equals, text = option.partition("=")
        name, dot, attribute = (part.strip() for part in path.partition("."))
        if "." in attribute:  # `defaults.tune.items`, `c.shapes.seed`
            kind, _, attribute = (part.strip() for part in attribute.partition("."))
            name = f"{name}.{kind}"
        whole = Span(start, start + len(option))
        if not (equals and name and bool(dot) == bool(attribute) and text.strip()):
            raise self._error(
                whole,
                "this sets nothing",
                "write --set NAME.ATTRIBUTE=VALUE, as in raw.layer=0..3, or --set NAME=VALUE",
            )
        padding = " " * (start + len(path) + 1)
        value = parse_expression(Source(padding + text, self.source.name))
        length = len(path.rpartition(".")[0]) if "." in name else len(path.partition(".")[0])
        target = Name(name, span=Span(start, start + length))
        if not dot:
            return Change(target, None, value, whole)
        at = start + path.index(attribute, path.rindex(".") if "." in name else path.index("."))
        return Change(target, Name(attribute, span=Span(at, at + len(attribute))), value, whole)

    def _error(self, span: Span, message: str, help: str) -> RecipeError:
        return RecipeError([Diagnostic("MFV2023", message, self.source, span, help=help)])
