"""What is swept: values that are one of several, and what depends on them.

``sweep draw = 1..5`` names such a value; a list or a range where an attribute of a block takes one
value is one, too.  A block depends on the sweeps in it, and on those of what it is made of: of
declarations and tunes, of what it takes from `defaults`, of the only model and dataset.  What is
made of that is in :mod:`mfv_dsl.lang.readings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mfv_dsl.base.columns import CHOICE_FIELDS
from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang.entries import FUNCTION, ITEM
from mfv_dsl.lang.literals import Unusable, plain, values_of
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.syntax import (
    Attribute,
    Block,
    Call,
    Declaration,
    Expr,
    Gap,
    Item,
    ListExpr,
    Name,
    Node,
    Range,
    RecipeTree,
)
from mfv_dsl.lang.values_in import (
    calls_in,
    names_in,
    names_outside_calls,
    own_words,
    parameters_of,
    values_in,
)

SWEEP = "sweep"
#: The columns of what is measured off the task.
OFF_TASK_COLUMNS = tuple(
    f"off_task_{name}"
    for name in ("kind", "n", "before", *(
        f"{value}{end}" for value in ("kl", "accuracy", "change") for end in ("", "_low", "_high")
    ))
)  # fmt: skip
#: The most readings of one block or declaration.
MAX_READINGS = 1000
#: What the columns of results are called, which a sweep's own column stands beside.
COLUMNS = frozenset(
    ("eval", "relation", "shots", "layer", "scale", "vector", "k", "control", "n", "accuracy",
     "ci_low", "ci_high", "mean_p_answer", "difference", "difference_low", "difference_high",
     "against", "answers", "answers_other", "error", "draws", "spread", "axes", "tune", "split",
     "chosen", "condition", "run", "value", "answered", "share", "candidate", "weight", "p",
     "accuracy_alone", "variable", "epochs", "start_accuracy", "nll", "start_nll", "norm",
     "start_norm", "number", "written", "opened", "blind", "off_task", *OFF_TASK_COLUMNS,
     *CHOICE_FIELDS)
)  # fmt: skip
#: The value of each sweep in one reading.
Reading = Mapping[str, Expr]


@dataclass(frozen=True)
class Sweep:
    """The values of one sweep; ``place`` is where it is declared or listed."""

    name: str
    values: tuple[Expr, ...]
    place: Span
    is_seed: bool = False


@dataclass
class _Found:
    """What an item depends on, by name, those of its own list or range last."""

    of: dict[str, Sweep] = field(default_factory=dict)

    def add(self, others: Mapping[str, Sweep]) -> None:
        for name, sweep in others.items():
            self.of.setdefault(name, sweep)


class Sweeps:
    """What a recipe's items depend on."""

    def __init__(self, recipe: RecipeTree, findings: list[Diagnostic]) -> None:
        self.recipe, self.findings = recipe, findings
        self.declared: dict[str, Item] = {}
        self.evals: dict[str, Block] = {}
        self.defaults: dict[str, Expr] = {}
        self.reaching: dict[str, dict[str, Expr]] = {}  # of `defaults for` functions
        sweeps: dict[str, Declaration] = {}
        for item in recipe.items:
            if isinstance(item, Declaration):
                self.declared.setdefault(item.name.text, item)
                if item.kind.text == SWEEP and not item.parameters:
                    sweeps.setdefault(item.name.text, item)
            elif item.kind.text == "eval" and isinstance(item.label, Name):
                self.evals.setdefault(item.label.text, item)
            elif item.kind.text == "tune" and isinstance(item.label, Name):
                self.declared.setdefault(item.label.text, item)
            elif item.kind.text == "defaults":
                reach = None if item.reach is None else item.reach.text
                values = self.defaults if reach is None else self.reaching.setdefault(reach, {})
                for attribute in item.attributes:
                    values.setdefault(attribute.name.text, attribute.value)
        self.sweeps = {name: sweep for name, item in sweeps.items() if (sweep := self._named(item))}
        self.broken = frozenset(sweeps) - frozenset(self.sweeps)
        self._found: dict[int, dict[str, Sweep]] = {}
        self._own: dict[int, dict[str, Sweep]] = {}
        self._open_defaults: set[str] = set()
        self._seeds_only()

    @property
    def any(self) -> bool:
        """Whether something of the recipe is swept, or has heads of its own."""
        if any(isinstance(i, Declaration) and i.kind.text == SWEEP for i in self.recipe.items):
            return True
        blocks = [item for item in self.recipe.items if isinstance(item, Block)]
        return any(
            is_swept(block, attribute) or attribute.name.text == "heads" == may_have_heads(block)
            for block in blocks
            for attribute in block.attributes
        )

    # -- what is swept ----------------------------------------------------------------------------
    def _named(self, item: Declaration) -> Sweep | None:
        name = item.name
        if name.text in COLUMNS:
            self.report(
                "MFV2051", name, f"results have a column `{name.text}`", "it needs another name",
                f"call it something else, such as `each_{name.text}`",
            )  # fmt: skip
        for node in item.value.walk():
            other = self.declared.get(node.text) if isinstance(node, Name) else None
            if isinstance(other, Declaration) and other.kind.text == SWEEP:
                self.report(
                    "MFV2050", node, f"the sweep `{name.text}` is made of a sweep",
                    "a value is needed", "sweeps of one block are combined by themselves",
                )  # fmt: skip
                return None
        values = self._values(item.value, f"the sweep `{name.text}`")
        return None if values is None else Sweep(name.text, values, name.span)

    def _values(self, node: Expr, what: str) -> tuple[Expr, ...] | None:
        if isinstance(node, Gap):
            return None
        try:
            values = values_of(node)
        except Unusable as error:
            self.report(error.code, error.node, error.message.format(what), error.label)
            return None
        places: dict[object, Expr] = {}
        for value in values:
            first = places.setdefault(plain(value), value)
            if first is not value:
                self.report(
                    "MFV2013", value, f"`{plain(value)}` is given twice", "and again",
                    secondary=(Label(first.span, "given here"),),
                )  # fmt: skip
                return None
        return values

    def _seeds_only(self) -> None:
        """Note which named sweeps are used as seeds alone."""
        if not self.sweeps:
            return
        used: dict[str, set[bool]] = {}
        for item in self.recipe.items:
            if isinstance(item, Block) and item.kind.text == "profile":
                continue
            for node, parameter in values_in(item):
                is_seed = parameter is not None and parameter.unit == "seed"
                for name in names_outside_calls(node):
                    if name.text in self.sweeps:
                        used.setdefault(name.text, set()).add(is_seed)
        for sweep, ways in used.items():
            self.sweeps[sweep] = replace(self.sweeps[sweep], is_seed=ways == {True})

    def of(self, item: Item) -> dict[str, Sweep]:
        """The sweeps that an item depends on, in the order in which they are combined."""
        path, open = [item], {id(item)}
        while path:  # a stack of its own, as names may stand for one another through many
            last = path[-1]
            waiting = (o for o in self._made_of(last) if id(o) not in {*self._found, *open})
            other = next(waiting, None) if id(last) not in self._found else None
            if other is not None:
                path.append(other)
                open.add(id(other))
                continue
            if id(last) not in self._found:
                self._found[id(last)] = self._sweeps_of(last)
            path.pop()
        return self._found[id(item)]

    def _made_of(self, item: Item) -> Iterator[Item]:
        """The declarations and tunes that an item names, itself or through `defaults`."""
        work = [*self._applying(item)]
        seen = set[str]()
        while work:
            node, parameter = work.pop()
            for name, of in names_in(node, parameter):
                if name.text in self.declared and not own_words(of):
                    yield self.declared[name.text]
            for call in calls_in(node):
                for option in self.missing(call):
                    key = f"{call.function.text}.{option.name}"
                    if key not in seen:
                        work.append((self.default_for(call, option), option))
                    seen.add(key)
        if isinstance(item, Block):
            for kind in ("model", "dataset"):
                if (only := self.only_one(item, kind)) is not None:
                    yield only

    def _sweeps_of(self, item: Item) -> dict[str, Sweep]:
        found = _Found()
        for node, parameter in self._applying(item):
            found.add(self.inside(node, parameter, item))
        if isinstance(item, Block):
            for kind in ("model", "dataset"):
                if (only := self.only_one(item, kind)) is not None:
                    found.add(self._known(only))
        own = self.own_of(item)
        self._clashes(item, found.of, own)
        ordered = {name: found.of[name] for name in self.sweeps if name in found.of}
        ordered |= {name: sweep for name, sweep in found.of.items() if name not in own}
        return ordered | own

    def _known(self, item: Item) -> dict[str, Sweep]:
        """The sweeps of what others are made of; none of what is made of itself, which is said by
        the checker."""
        return self._found.get(id(item), {})

    def _applying(self, item: Item) -> Iterator[tuple[Expr, Parameter | None]]:
        """The values that an item is made of, also those that it takes from `defaults`, each with
        the parameter that it is for."""
        if isinstance(item, Declaration):
            yield item.value, None
            return
        entry = ITEM.get(item.kind.text)
        for attribute in item.attributes:
            parameter = entry.parameter(attribute.name.text) if entry else None
            if not is_swept(item, attribute):
                yield attribute.value, parameter
            elif isinstance(attribute.value, ListExpr):
                yield from ((value, parameter) for value in attribute.value.items)
        yield from ((value, None) for value in item.values)
        for parameter in self.defaults_of(item):
            yield self.defaults[parameter.name], parameter

    def defaults_of(self, block: Block) -> list[Parameter]:
        """The parameters for which a block takes a value of `defaults`."""
        entry = ITEM.get(block.kind.text)
        written = {attribute.name.text for attribute in block.attributes}
        return [
            p
            for p in (entry.parameters if entry else ())
            if p.from_defaults and p.name in self.defaults and p.name not in written
            and (not p.acts_in or not written.isdisjoint(p.acts_in))
        ]  # fmt: skip

    def inside(self, node: Expr, parameter: Parameter | None, item: Item) -> dict[str, Sweep]:
        """The sweeps that a value depends on, through what it names and what its calls take from
        `defaults`."""
        hidden = parameters_of(item)
        found = _Found()
        for name, of in names_in(node, parameter):
            if name.text in hidden:
                continue
            if name.text in self.sweeps:
                found.add({name.text: self.sweeps[name.text]})
            other = self.declared.get(name.text)
            if other is not None and other is not item and not own_words(of):
                found.add(self._known(other))
        for call in calls_in(node):
            for option in self.missing(call):
                key = f"{call.function.text}.{option.name}"
                if key not in self._open_defaults:
                    self._open_defaults.add(key)
                    found.add(self.inside(self.default_for(call, option), option, item))
                    self._open_defaults.discard(key)
        return found.of

    def missing(self, call: Call) -> list[Parameter]:
        """The options that a call takes from `defaults`."""
        entry = FUNCTION.get(call.function.text)
        given = {keyword.name.text for keyword in call.keywords}
        return [
            p
            for p in (entry.parameters if entry else ())
            if p.name not in given
            and (
                (p.from_defaults and p.name in self.defaults)
                or p.name in self.reaching.get(call.function.text, ())
            )
        ]

    def default_for(self, call: Call, option: Parameter) -> Expr:
        """What `defaults` give for an option that a call takes from there."""
        own = self.reaching.get(call.function.text, {})
        return own[option.name] if option.name in own else self.defaults[option.name]

    def only_one(self, block: Block, kind: str) -> Declaration | None:
        """The only model or dataset, for a block that names none."""
        entry = ITEM.get(block.kind.text)
        written = any(attribute.name.text == kind for attribute in block.attributes)
        if entry is None or entry.parameter(kind) is None or written or kind in self.defaults:
            return None
        declared = [
            item
            for item in self.declared.values()
            if isinstance(item, Declaration) and item.kind.text == kind
        ]
        return declared[0] if len(declared) == 1 else None

    def own_of(self, item: Item) -> dict[str, Sweep]:
        """The sweeps of lists and ranges in a block's own attributes."""
        if isinstance(item, Declaration):
            return {}
        if id(item) not in self._own:
            own: dict[str, Sweep] = {}
            for attribute in item.attributes:
                if is_swept(item, attribute):
                    name = attribute.name
                    values = self._values(attribute.value, f"`{name.text}`")
                    if values is not None:
                        axis = axis_name(item, name.text)
                        own[axis] = Sweep(axis, values, name.span, name.text == "seed")
            self._own[id(item)] = own
        return self._own[id(item)]

    def _clashes(self, item: Item, found: Mapping[str, Sweep], own: Mapping[str, Sweep]) -> None:
        for name in own:
            if name in found:
                self.report(
                    "MFV2051", own[name].place, f"`{name}` is also what a sweep of this block is "
                    "called", "results need a name for each", "give the sweep another name",
                    (Label(found[name].place, "declared here"),),
                )  # fmt: skip

    def report(
        self, code: str, at: Node | Span, message: str, label: str = "", help: str | None = None,
        secondary: tuple[Label, ...] = (), severity: Literal["error", "warning"] = "error",
    ) -> None:  # fmt: skip
        span = at if isinstance(at, Span) else at.span
        finding = Diagnostic(
            code, message, self.recipe.source, span, label, severity, help=help,
            secondary=secondary,
        )  # fmt: skip
        if finding not in self.findings:
            self.findings.append(finding)


def reading_text(axes: Iterable[tuple[str, object]]) -> str:
    """What tells a reading from others: ``[draw=2, lr=0.1]``; nothing for the only one."""
    inside = ", ".join(f"{name}={value}" for name, value in axes)
    return f"[{inside}]" if inside else ""


def is_swept(block: Block, attribute: Attribute) -> bool:
    """Whether an attribute that takes one value has a list or a range, and so is swept."""
    return takes_one(block.kind.text, attribute)


def takes_one(kind: str, attribute: Attribute) -> bool:
    """Whether a block of a kind takes one value where an attribute has a list or a range."""
    entry = ITEM.get(kind)
    parameter = entry.parameter(attribute.name.text) if entry else None
    listed = isinstance(attribute.value, ListExpr | Range)
    return parameter is not None and parameter.read_again and listed


def may_have_heads(block: Block) -> str | None:
    """``heads`` for a block that may have some, else None."""
    entry = ITEM.get(block.kind.text)
    return "heads" if entry is not None and entry.parameter("heads") is not None else None


def axis_name(block: Block, attribute: str) -> str:
    """What a block's own sweep is called: that of a `tune` by its name, as evals use it, too."""
    named = block.kind.text == "tune" and isinstance(block.label, Name)
    return f"{block.label.text}.{attribute}" if named else attribute  # type: ignore[union-attr]
