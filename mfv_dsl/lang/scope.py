"""What a recipe has declared, and the place where findings are collected while it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.facts import DatasetFacts, ModelFacts, VectorFacts
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang.checked import Constructed, Setting
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.syntax import Attribute, Block, Declaration, Name, Node


@dataclass(frozen=True)
class Type:
    """The type of an expression and what more is known of its value."""

    name: str
    value: int | float | None = None  # of a Number known before the run
    model: str | None = None  # of a Vector whose model is known
    parts: bool = True  # whether a Vector has per-head parts
    blend: bool = False  # whether a Vector is another for every test item
    bias: str | None = None  # of a Vector whose bias convention is known
    layer: int | None = None  # of a Vector that was trained at one, saved for one, or read at one
    #: of a Vector, or of States: where it was read or trained, the stream where nothing says so;
    #: several of a combination; none of what goes everywhere, as the zero vector
    sites: tuple[str, ...] = ("residual",)
    #: of a Vector with a part for each of several places, or of States of such: sites and layers;
    #: None where they are not known
    places: tuple[tuple[str, int], ...] | None = ()

    def __str__(self) -> str:
        return self.name


class CircularDefault(Exception):
    """A value of `defaults` that is made by a call that takes it; caught where the first of the
    values that are being looked into was asked for."""


UNKNOWN = Type("Unknown")  # of what is already reported; fits everywhere, in silence


@dataclass(frozen=True)
class TypingContext:
    """Where an expression stands: what it is checked for, and whether ``each`` has a meaning."""

    model: str | None = None
    dataset: str | None = None
    each: bool = False  # inside a block
    parameters: tuple[Name, ...] = ()  # of the family being declared

    def has_parameter(self, name: str) -> bool:
        """Whether a name is a parameter of the family being declared."""
        return bool(self.parameters) and any(p.text == name for p in self.parameters)


@dataclass(frozen=True, slots=True)
class Use:
    """What a name in an expression stands for.

    ``of`` is ``name`` (a declaration or a tune), ``eval``, ``parameter`` (of the family being
    declared), or ``relation``; ``each`` is none of them.  ``within`` is the dataset of a relation
    where one alone is meant.
    """

    of: Literal["name", "eval", "parameter", "relation"]
    text: str
    within: str | None = None


@dataclass
class Scope:
    """Names, facts and findings of one recipe."""

    source: Source
    #: what is known of a stored vector, by path and name
    find: Callable[[str, str | None], VectorFacts | None]
    #: all names but those of evals, which nothing refers to
    names: dict[str, Declaration | Block] = field(default_factory=dict)
    evals: dict[str, Block] = field(default_factory=dict)
    models: dict[str, Constructed] = field(default_factory=dict)
    datasets: dict[str, Constructed] = field(default_factory=dict)
    defaults: dict[str, Attribute] = field(default_factory=dict)
    #: the blocks of `defaults` by what they are for, None those for everything
    default_blocks: dict[str | None, Block] = field(default_factory=dict)
    #: which kinds of blocks there are
    kinds_of_blocks: set[str] = field(default_factory=set)
    #: the attributes of each `defaults for KIND`; those for blocks stand in the blocks, too
    reaching: dict[str, dict[str, Attribute]] = field(default_factory=dict)
    vector_types: dict[str, Type] = field(default_factory=dict)
    #: types of the expressions that have been looked into; ``types`` has their names
    node_types: dict[Span, Type] = field(default_factory=dict)
    types: dict[Span, str] = field(default_factory=dict)
    options: dict[Span, dict[str, Setting]] = field(default_factory=dict)
    loads: dict[tuple[str, str | None], VectorFacts | None] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)
    #: findings about `defaults` that are made of themselves, wherever they are come upon
    circles: list[Diagnostic] = field(default_factory=list)
    #: names that stand for something that did not parse or has an unknown kind
    doubtful: set[str] = field(default_factory=set)
    #: the keys of the `defaults` whose values are being looked into, the outermost first
    open_defaults: list[str] = field(default_factory=list)
    #: keys of what is reported once for each recipe
    reported: set[str] = field(default_factory=set)
    #: whether there is a `match` in what has been looked into
    chooses: bool = False
    #: what the names in expressions were found to stand for, by their places
    uses: dict[Span, Use] = field(default_factory=dict)
    #: what the last asked of a value of `defaults` was given, by the value's key
    kept_defaults: dict[str, tuple[Parameter, TypingContext, Setting]] = field(default_factory=dict)
    #: names by kind word, and how many names they were made of
    _by_kind: tuple[int, dict[str, list[str]]] = field(default_factory=lambda: (0, {}))
    _home: tuple[int, TypingContext] = (-1, TypingContext())
    _of_home: dict[str, Setting] = field(default_factory=dict)
    _relations: dict[tuple[str | None, int, int], dict[str, str] | None] = field(
        default_factory=dict
    )
    _defaulted: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    # -- findings ---------------------------------------------------------------------------------
    def error(
        self, code: str, at: Span | Node, message: str, label: str = "", help: str | None = None,
        *, fixes: Iterable[Fix] = (), secondary: Iterable[Label] = (), notes: Iterable[str] = (),
        severity: Any = "error",
    ) -> Type:  # fmt: skip
        """Report, and give the type that keeps quiet from here on."""
        span = at if isinstance(at, Span) else at.span
        self.findings.append(
            Diagnostic(
                code, message, self.source, span, label, severity, tuple(notes), help,
                tuple(secondary), tuple(fixes),
            )
        )  # fmt: skip
        return UNKNOWN

    def unknown(
        self, code: str, kind: str, node: Name, candidates: Iterable[str], label: str = "",
        help: str | None = None,
    ) -> Type:  # fmt: skip
        """Report an unknown word of a kind, with the known one that it resembles."""
        near = suggest(node.text, candidates)
        fixes = [Fix(f"write `{near}`", node.span, near)] if near else []
        if near:
            help = f"did you mean `{near}`?"
        return self.error(code, node, f"unknown {kind} `{node.text}`", label, help, fixes=fixes)

    def once(self, key: str) -> bool:
        """True the first time it is asked about a key."""
        new = key not in self.reported
        self.reported.add(key)
        return new

    @contextmanager
    def aside(self) -> Iterator[list[Diagnostic]]:
        """Collect the findings of a piece of work apart from the others."""
        outer, self.findings = self.findings, []
        try:
            yield self.findings
        finally:
            self.findings = outer

    # -- names ------------------------------------------------------------------------------------
    def kind(self, name: str) -> str | None:
        """The kind word a name was declared with: vector, heads, model, …, or None."""
        item = self.names.get(name)
        return item.kind.text if item is not None else None

    def of_kind(self, *kinds: str) -> list[str]:
        """The names that were declared with one of some kind words, in source order."""
        if len(kinds) != 1:
            return [name for name, item in self.names.items() if item.kind.text in kinds]
        if self._by_kind[0] != len(self.names):  # a name is entered once and never taken out
            by_kind: dict[str, list[str]] = {}
            for name, item in self.names.items():
                by_kind.setdefault(item.kind.text, []).append(name)
            self._by_kind = (len(self.names), by_kind)
        return list(self._by_kind[1].get(kinds[0], ()))

    def use(self, node: Name, of: Literal["name", "eval", "parameter", "relation"],
            within: str | None = None) -> None:  # fmt: skip
        """Note what a name in an expression stands for."""
        self.uses[node.span] = Use(of, node.text, within)

    def is_family(self, name: str) -> bool:
        """Whether a name stands for one vector per relation."""
        item = self.names.get(name)
        if isinstance(item, Declaration):
            return item.kind.text == "vector" and bool(item.parameters)
        return item is not None and item.kind.text == "tune"

    def parameters(self, family: str) -> int:
        """How many relations a family takes."""
        item = self.names[family]
        return len(item.parameters) if isinstance(item, Declaration) else 1

    def home(self) -> TypingContext:
        """The context outside blocks: the model and the dataset where only one is declared."""
        if self._home[0] != len(self.names):
            models, datasets = self.of_kind("model"), self.of_kind("dataset")
            home = TypingContext(
                model=models[0] if len(models) == 1 else None,
                dataset=datasets[0] if len(datasets) == 1 else None,
            )
            self._home = (len(self.names), home)
        return self._home[1]

    def of_home(self, kind: str) -> Setting:
        """The model or dataset of :meth:`home` as the value of an option that is left out."""
        value = getattr(self.home(), kind)
        kept = self._of_home.get(kind)
        if kept is None or kept.value != value:
            kept = self._of_home[kind] = Setting(value, "registry", None)
        return kept

    # -- defaults ---------------------------------------------------------------------------------
    def default_of(self, function: str, parameter: Parameter) -> str | None:
        """The key of the value that a call's option takes from `defaults`, None where none does:
        ``shots``, or ``fv.shots`` of `defaults for fv`."""
        if parameter.name in self.reaching.get(function, ()) and function in FUNCTION:
            return f"{function}.{parameter.name}"
        return (
            parameter.name if parameter.from_defaults and parameter.name in self.defaults else None
        )

    def defaulted(self, entry: Entry) -> frozenset[str]:
        """The options of an entry that take a value from `defaults`, once these are entered."""
        key = (entry.kind, entry.name)
        if key not in self._defaulted:
            self._defaulted[key] = frozenset(
                p.name for p in entry.parameters if self.default_of(entry.name, p) is not None
            )
        return self._defaulted[key]

    def default_at(self, key: str) -> Attribute:
        """What `defaults` say under a key of :meth:`default_of`."""
        kind, dot, name = key.partition(".")
        return self.reaching[kind][name] if dot else self.defaults[key]

    @property
    def heads_of_fv(self) -> Attribute | None:
        """What gives a call of `fv` its heads that names none."""
        (heads,) = (p for p in FUNCTION["fv"].parameters if p.name == "heads")
        key = self.default_of("fv", heads)
        return None if key is None else self.default_at(key)

    # -- facts ------------------------------------------------------------------------------------
    def model_facts(self, context: TypingContext) -> list[ModelFacts]:
        """Facts of the models that are meant; empty if one of them is not known."""
        names = [context.model] if context.model else list(self.models)
        facts = [self.models[name].facts for name in names if name in self.models]
        model_facts = [fact for fact in facts if isinstance(fact, ModelFacts)]
        complete = len(model_facts) == len(names) and (context.model or not self.unsure("model"))
        return model_facts if complete else []

    def dataset_facts(self, context: TypingContext) -> list[DatasetFacts]:
        """Facts of the datasets that are meant; empty if one of them is not known."""
        names = [context.dataset] if context.dataset else list(self.datasets)
        facts = [self.datasets[name].facts for name in names if name in self.datasets]
        dataset_facts = [fact for fact in facts if isinstance(fact, DatasetFacts)]
        complete = len(dataset_facts) == len(names) and (
            context.dataset or not self.unsure("dataset")
        )
        return dataset_facts if complete else []

    def unsure(self, kind: str) -> bool:
        """Whether something of a kind is declared of which nothing is known."""
        return any(name in self.doubtful for name in self.of_kind(kind))

    def relations(self, context: TypingContext) -> dict[str, str] | None:
        """Known relations, each with the dataset that has it; None if any relation may exist."""
        key = (context.dataset, len(self.datasets), len(self.doubtful))
        if key not in self._relations:
            self._relations[key] = self._relations_of(context)
        return self._relations[key]

    def _relations_of(self, context: TypingContext) -> dict[str, str] | None:
        facts = self.dataset_facts(context)
        if not facts:
            return None
        names = [context.dataset] if context.dataset else list(self.datasets)
        datasets: dict[str, str] = {}
        for name, fact in zip(names, facts, strict=True):
            for relation in fact.relations:
                datasets.setdefault(relation, name)
        return datasets
