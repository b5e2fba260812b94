"""What is typed as a vector: checked as ``mfv check`` does it, and nothing that a page may not ask.

A page may be open to others, so an expression loads vectors of the page's own libraries alone, and
is bounded in its length and in the prompts that it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import VectorFacts
from mfv_dsl.base.source import Source, Span
from mfv_dsl.expression import Expression
from mfv_dsl.given import Given
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import CheckResult, check_source
from mfv_dsl.lang.syntax import Call, Expr, Name, rewritten
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.library.sources import at_hand
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.expressions import Planner
from mfv_dsl.plan.steps import needed

#: Characters of an expression at most.
LONGEST = 2000
#: Prompts that computing an expression may run at most, with their demonstrations counted.
MOST_PROMPTS = 40_000
#: What the model, the dataset and the vector are called in the recipes that are checked and copied.
MODEL, DATASET, ADDED = "network", "pictures", "added"
_SHOWN_AS = "vector"
#: So many names are all declared, so that suggestions are found among them.
_FEW = 100
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class CheckedExpression:
    """A text as it was typed and what is wrong with it.

    ``expression`` is the text with what names of libraries load in their places, None where it is
    empty or cannot be computed, and ``written`` is the text in one line.  ``key`` tells vectors
    apart, by what is computed and by the contents of what is loaded.  ``names`` are those that are
    used, each with its ``load(...)``; ``layer`` is the one that the file of a vector which is
    loaded alone names.
    """

    text: str
    diagnostics: tuple[Diagnostic, ...] = ()
    expression: Expression | None = None
    written: str = ""
    key: str = ""
    names: Mapping[str, Call] = field(default_factory=dict)
    layer: int | None = None

    @property
    def is_empty(self) -> bool:
        return not self.text.strip()

    @property
    def functions(self) -> frozenset[str]:
        """The functions that it calls."""
        if self.expression is None:
            return frozenset()
        calls = (node for node in self.expression.syntax.walk() if isinstance(node, Call))
        return frozenset(call.function.text for call in calls)


class ExpressionChecker:
    """Checks expressions against a model, a dataset, and names of stored vectors.

    ``model`` and ``dataset`` are calls as in a recipe and ``given`` the objects that they make;
    ``defaults`` are a recipe's.  ``names`` are vectors that may be written by their names alone,
    each with its ``load(...)``; ``libraries`` are the paths that ``load`` takes.
    """

    def __init__(
        self,
        model: str,
        dataset: str,
        given: Given,
        defaults: Mapping[str, str],
        libraries: tuple[str, ...],
        names: Mapping[str, Call],
    ) -> None:
        self.model, self.dataset, self.given = model, dataset, given
        self.defaults, self.libraries = dict(defaults), libraries
        self.names = dict(names)

    def __call__(self, text: str) -> CheckedExpression:
        """Check a text; never raises for what is wrong in it."""
        if len(text) > LONGEST:
            wrong = Diagnostic(
                "MFV5413", f"the expression has {len(text):,} characters",
                help=f"no more than {LONGEST:,} are read",
            )  # fmt: skip
            return CheckedExpression(text, (wrong,))
        if not text.strip():
            return CheckedExpression(text)
        line = "".join(" " if part.isspace() or not part.isprintable() else part for part in text)
        words = {*_WORD.findall(line)}
        written = {name: load for name, load in self.names.items() if name in words}
        # all are declared for the sake of suggestions, unless one of them is wrong
        declared = self.names if len(self.names) <= _FEW else written
        before, result = self._checked(declared, line)
        if any(one.span and one.span.start < len(before) for one in _errors(result.diagnostics)):
            declared = written
            before, result = self._checked(declared, line)
        shown = Source(text, _SHOWN_AS)
        found = tuple(_of_text(each, len(before), shown) for each in result.diagnostics)
        found = tuple(each for each in found if each is not None)
        errors = _errors(found)
        if errors or result.checked is None:
            return CheckedExpression(text, tuple(errors) or found or result.diagnostics)
        checked = result.checked
        value = checked.vectors[ADDED].value
        whole: Expr = rewritten(  # names, with what they load in their places
            value, lambda node: self.names.get(node.text) if isinstance(node, Name) else None
        )
        named = {node.text for node in value.walk() if isinstance(node, Name)}
        own = result.scope.vector_types.get(ADDED) if result.scope is not None else None
        key = self._planned(checked, shown)
        if isinstance(key, Diagnostic):
            return CheckedExpression(text, (key,))
        names = {name: load for name, load in declared.items() if name in named}
        layer = None if own is None else own.layer
        return CheckedExpression(text, found, Expression(whole), unparse(value), key, names, layer)

    def _checked(self, declared: Mapping[str, Expr], line: str) -> tuple[str, CheckResult]:
        """What stands before the expression in a recipe that declares names, and how that is."""
        before = self.head(declared) + f"vector {ADDED} = "
        source = Source(f"{before}{line}\n", _SHOWN_AS)
        return before, check_source(source, self.given.facts, (), self._find)

    def head(self, declared: Mapping[str, Expr]) -> str:
        """A recipe up to where the vector is declared; ``declared`` are vectors with what they
        load."""
        defaults = "".join(f"  {name} = {value}\n" for name, value in self.defaults.items())
        return (
            f"mfv 1\nmodel {MODEL} = {self.model}\ndataset {DATASET} = {self.dataset}\n"
            + (f"defaults {{\n{defaults}}}\n" if defaults else "")
            + "".join(f"vector {name} = {unparse(load)}\n" for name, load in declared.items())
        )

    def _find(self, path: str, name: str | None) -> VectorFacts | None:
        """What is known of a stored vector; MFV5411 for one of no library of the page."""
        if path not in self.libraries:
            known = ", ".join(f'"{library}"' for library in self.libraries) or "none"
            raise MfvError(
                "MFV5411", "this page loads vectors of its own libraries alone",
                help=f"they are {known}; `mfv serve --library` adds one",
            )  # fmt: skip
        return at_hand(path, name)

    def _planned(self, checked: Checked, shown: Source) -> str | Diagnostic:
        """The key of the step that gives the vector, or what is wrong with its plan: MFV5413 where
        it would run too many prompts."""
        try:
            planner = Planner(checked)
            key = planner.vector(checked.vectors[ADDED].value, Context(MODEL, DATASET))
        except MfvError as error:
            return Diagnostic(
                error.code, error.message, shown, Span(0, len(shown.text)), help=error.help,
                notes=error.notes,
            )  # fmt: skip
        prompts = sum(
            step.parameters["trials"] * (1 + (step.parameters.get("shots") or 0))
            for step in needed(planner.steps.values(), [key])
            if "trials" in step.parameters
        )
        if prompts <= MOST_PROMPTS:
            return key
        return Diagnostic(
            "MFV5413", f"this vector takes {prompts:,} examples", shown,
            Span(0, len(shown.text)), "too much for a page",
            help=f"a page runs no more than {MOST_PROMPTS:,}: ask for fewer `trials`, or save it "
            "into a library by a recipe",
        )  # fmt: skip


def _errors(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    return [one for one in found if one.severity == "error"]


def _of_text(diagnostic: Diagnostic, start: int, text: Source) -> Diagnostic | None:
    """A finding of a recipe as one of the text that begins at ``start`` in it; None for a warning
    of another place."""
    end = len(text.text)

    def moved(span: Span) -> Span | None:
        begin = span.start - start
        return Span(min(begin, end), min(span.end - start, end)) if begin >= 0 else None

    span = None if diagnostic.span is None else moved(diagnostic.span)
    if span is None and diagnostic.severity == "warning":
        return None
    places = ((label, moved(label.span)) for label in diagnostic.secondary)
    fixes = ((fix, moved(fix.span)) for fix in diagnostic.fixes)
    return replace(
        diagnostic, source=None if span is None else text, span=span,
        secondary=tuple(Label(at, label.text) for label, at in places if at is not None),
        fixes=tuple(Fix(fix.title, at, fix.replacement) for fix, at in fixes if at is not None),
    )  # fmt: skip
