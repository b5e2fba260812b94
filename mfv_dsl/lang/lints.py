"""Warnings about what is right and hardly meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.source import Source
from mfv_dsl.lang import values
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.entries import (
    EXAMPLES_SPLIT,
    FUNCTION,
    ITEM,
    RANKING,
    TRAINING_SPLIT,
    WRITES,
    takers,
)
from mfv_dsl.lang.evals import each_of, own_heads
from mfv_dsl.lang.inclusion import Joined
from mfv_dsl.lang.permissions import Permissions
from mfv_dsl.lang.registry import Parameter, Ranking
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import (
    Attribute,
    Block,
    Call,
    Declaration,
    Expr,
    Item,
    Name,
    Node,
    RecipeTree,
)
from mfv_dsl.lang.values_in import references

#: kinds of what is of no use but to something else
_OF_USE = ("model", "dataset", "heads", "vector", "let", "sweep")
_SHOWN = 5


def lint(
    scope: Scope, recipe: RecipeTree, items: Sequence[Item], blocks: Sequence[CheckedBlock]
) -> list[Diagnostic]:
    """All findings but the warnings that are allowed; in a recipe without errors those of here,
    too.

    ``recipe`` is as it was written, ``items`` as it is checked.
    """
    permissions = Permissions.of(scope, items)
    right = not any(finding.severity == "error" for finding in scope.findings)
    if right:
        _Lints(scope, recipe, items, blocks, permissions).run()
    found = [
        finding
        for finding in scope.findings
        if finding.severity == "error" or not permissions.allow(finding.code, finding.span)
    ]
    if right and not any(item.kind.text == "profile" for item in items):  # it may be needed there
        found += permissions.idle(scope)
    return found


def without_unused_elsewhere(
    findings: Iterable[Diagnostic], source: Source
) -> tuple[Diagnostic, ...]:
    """The findings, but for unused names (MFV2060) of the files that a recipe uses: others may use
    them."""
    if not isinstance(source, Joined):
        return tuple(findings)
    own = source.parts[1].start if len(source.parts) > 1 else len(source.text)
    return tuple(d for d in findings if d.code != "MFV2060" or d.span is None or d.span.start < own)


@dataclass(frozen=True)
class _Inside:
    """What stands in the values of an item: names, also of called families, and the calls of
    functions."""

    names: frozenset[str]
    calls: tuple[Call, ...]

    @classmethod
    def of(cls, item: Item) -> _Inside:
        """What stands in one item."""
        if isinstance(item, Declaration):
            roots: Iterable[Expr] = (item.value,)
        else:
            attributes = (*item.attributes, *item.settled)
            roots = (*(attribute.value for attribute in attributes), *item.values)
        nodes = [node for root in roots for node in root.walk()]
        calls = [n for n in nodes if isinstance(n, Call) and n.function.text in FUNCTION]
        return cls(frozenset(n.text for n in nodes if isinstance(n, Name)), tuple(calls))


@dataclass
class _Lints:
    scope: Scope
    recipe: RecipeTree
    items: Sequence[Item]
    blocks: Sequence[CheckedBlock]
    permissions: Permissions
    _parts: dict[int, _Inside] = field(default_factory=dict)

    def run(self) -> None:
        """Report what is found."""
        seen = self._seen_splits()
        for block in self.blocks:
            if block.kind == "eval" and block["split"] in seen:
                self._tested_on_its_own(block)
        for item in self.items:
            for call in self._inside(item).calls:
                self._ranked_without_demonstrations(call)
                self._unread_by_ranking(call)
        for name, attribute in self.scope.defaults.items():
            if takers(name):
                self._not_reached(name, attribute)
        self._unused()

    def _inside(self, item: Item) -> _Inside:
        """What stands in an item; most items are checked as they were written."""
        if id(item) not in self._parts:
            self._parts[id(item)] = _Inside.of(item)
        return self._parts[id(item)]

    def _seen_splits(self) -> set[Any]:
        """The splits that anything at all is made on."""
        options = (
            given[name].value
            for given in self.scope.options.values()
            for name in ("split", "select_on")
            if name in given
        )
        tunes = [block for block in self.blocks if block.kind == "tune"]
        return {*options, *(tune["select_on"] for tune in tunes), TRAINING_SPLIT, EXAMPLES_SPLIT}

    # -- data that is used twice ------------------------------------------------------------------
    def _tested_on_its_own(self, block: CheckedBlock) -> None:
        """MFV4010: an eval on the split that its vector, heads or training saw."""
        split = block["split"]
        names = (*WRITES, "when", "adapter")
        expressions = [part for name in names for part in each_of(block.settings[name].value)]
        made_on = self._made_on(expressions, block.dataset)
        if block["classify"] is not None:
            how = f"its examples are of `{EXAMPLES_SPLIT}`"
            example = (EXAMPLES_SPLIT, block.dataset, block["classify"], how)
            made_on = chain([example], made_on)
        for made, dataset, node, how in made_on:
            if made == split and dataset == block.dataset:
                if self.permissions.allow("MFV4010", block.span):
                    return
                written = block.settings["split"].span
                at = written or node.span
                places = [Label(node.span, how)] if written else []
                note = (
                    f"`{block.name}` is tested on `{split}`, and what it adds was made on it, too"
                )
                if block["replace"] is not None or block["project_out"] is not None:
                    note = note.replace("adds was made", "writes was made")
                elif block["adapter"] is not None:
                    note = note.replace("what it adds was made", "its adapter was trained")
                elif block["ablate"] is not None and block["add"] is None:
                    note = note.replace("adds was made", "takes away was chosen")
                elif block["classify"] is not None:
                    note = note.replace("adds was made on", "classifies by is of")
                self.scope.error(
                    "MFV4010", at, note, "" if written else how,
                    "what was fitted to items looks better on them than on others; test it on "
                    "another split",
                    secondary=places, severity="warning",
                )  # fmt: skip
                return

    def _made_on(
        self, expressions: Iterable[Expr], dataset: str | None
    ) -> Iterator[tuple[str, str | None, Node, str]]:
        """The splits and datasets that expressions are made on, where that is written, and how."""
        work: list[tuple[Any, str | None]] = [(e, dataset) for e in expressions]
        visited: set[tuple[str, str | None]] = set()
        while work:
            expression, dataset = work.pop()
            for call in expression.walk():
                if isinstance(call, Call) and call.function.text in FUNCTION:
                    yield from self._call_made_on(call, dataset)
                    heads = self.scope.heads_of_fv if own_heads(call) else None
                    if heads is not None and ("", dataset) not in visited:
                        visited.add(("", dataset))
                        work.append((heads.value, dataset))
            for name in references(expression):
                item = self.scope.names.get(name.text)
                if item is None or (name.text, dataset) in visited:
                    continue
                visited.add((name.text, dataset))
                if isinstance(item, Declaration):
                    if item.kind.text in ("heads", "vector"):
                        work.append((item.value, dataset))
                elif item.kind.text == "tune":
                    yield from self._trained_on(item)
                    tune = self._tune(item)
                    start = None if tune is None else tune["start"]
                    if tune is not None and isinstance(start, Node):
                        work.append((start, tune.dataset))

    def _call_made_on(
        self, call: Call, dataset: str | None
    ) -> Iterator[tuple[str, str | None, Node, str]]:
        options = self.scope.options.get(call.span, {})
        split, by = options.get("split"), options.get("by")
        chosen = options.get("select_on")
        if chosen is not None:  # an adapter
            own = options["dataset"].value or dataset
            yield TRAINING_SPLIT, own, call, f"trained on `{TRAINING_SPLIT}`"
            yield str(chosen.value), own, call, f"its epoch is chosen on `{chosen.value}`"
        if split is None or (by is not None and RANKING[by.value].operation is None):
            return
        own = options["dataset"].value
        how = f"made on `{split.value}`" if by is None else f"chosen on `{split.value}`"
        yield str(split.value), own or dataset, call, how

    def _trained_on(self, item: Block) -> Iterator[tuple[str, str | None, Node, str]]:
        tune = self._tune(item)
        if tune is not None and item.label is not None:
            chosen = str(tune["select_on"])
            yield TRAINING_SPLIT, tune.dataset, item.label, f"trained on `{TRAINING_SPLIT}`"
            yield chosen, tune.dataset, item.label, f"its epoch is chosen on `{chosen}`"

    def _tune(self, item: Block) -> CheckedBlock | None:
        return next((b for b in self.blocks if b.kind == "tune" and b.span == item.span), None)

    def _ranked_without_demonstrations(self, call: Call) -> None:
        """MFV4011: heads ranked on prompts in which no relation is shown."""
        options = self.scope.options.get(call.span, {})
        shots = options.get("shots")
        if shots is None or shots.value != 0:
            return
        word = call.function.text
        if word == "fv":
            if options["heads"].value is not None:
                return
            what = "`fv` chooses its heads on prompts without demonstrations"
            help = "name the heads: `heads=top(10)`, or give `shots`"
        elif word == "top" and _needs_demonstrations(RANKING[options["by"].value]):
            what = "heads are ranked on prompts without demonstrations"
            help = "give `shots=4`, or another number of demonstrations"
        else:
            return
        self.scope.error(
            "MFV4011", shots.span or call, what, "in these no relation is shown", help,
            severity="warning",
        )  # fmt: skip

    def _unread_by_ranking(self, call: Call) -> None:
        """MFV2022: options of a `top` that its way of ranking heads does not look at."""
        options = self.scope.options.get(call.span, {})
        if call.function.text != "top" or not options:
            return
        by = options["by"].value
        for name in ("corrupt", "pool", "correct_only"):
            option = options[name]
            if option.origin != "written" or option.span is None or RANKING[by].reads(name):
                continue
            self.scope.error(
                "MFV2022", option.span, f"`{name}` has no effect in `top(by={by})`",
                "heads are ranked without it", severity="warning",
            )  # fmt: skip

    # -- defaults ---------------------------------------------------------------------------------
    def _not_reached(self, name: str, attribute: Attribute) -> None:
        """MFV3024: blocks and calls have an option of this name, and take no default for it."""
        missed: dict[str, list[str]] = {}  # the kinds, and which blocks of them

        @cache
        def misses(word: str) -> bool:
            """Whether a kind of block or a function could be meant, and is not reached."""
            parameter = (ITEM.get(word) or FUNCTION[word]).parameter(name)
            return parameter is not None and self._misses(parameter, attribute)

        for item in self.items:
            if isinstance(item, Block) and item.kind.text in ITEM:
                own = any(a.name.text == name for a in item.attributes)
                missing = not own and misses(item.kind.text)
                if missing and not self.permissions.allow("MFV3024", item.span):
                    label = item.label.text if isinstance(item.label, Name) else ""
                    missed.setdefault(item.kind.text, []).append(label)
            for call in self._inside(item).calls:
                word = call.function.text
                options = self.scope.options.get(call.span, {})
                if name == "on" and _ranked_on_no_others(options):
                    continue
                if word not in missed and misses(word):
                    setting = options.get(name)
                    if setting is not None and setting.origin == "registry":
                        missed[word] = []
        if missed:
            reached = ", ".join(f"`{entry.name}`" for entry, _ in takers(name))
            places = " or ".join(f"`defaults for {kind}`" for kind in missed)
            self.scope.error(
                "MFV3024", attribute.name,
                f"`{name}` here does not reach {' and '.join(f'`{kind}`' for kind in missed)}",
                f"for {reached}", f"write `{name}` there, too, or in {places}",
                notes=[_taken(kind, name, labels) for kind, labels in missed.items()],
                severity="warning",
            )  # fmt: skip

    def _misses(self, parameter: Parameter, attribute: Attribute) -> bool:
        """Whether a default could be meant for a parameter, does not reach it, and differs."""
        if parameter.from_defaults or parameter.positional or parameter.required:
            return False
        if set(parameter.types) & {"Model", "Dataset"}:  # a call takes that of its block
            return False
        # what is left out is done without, but for relations, which are all then
        if parameter.default is None and "List[Relation]" not in parameter.types:
            return False
        with self.scope.aside() as findings:
            value = values.value(
                self.scope, parameter, attribute.value, self.scope.home(), parameter.name
            )
        return not findings and value is not None and value != parameter.default

    # -- names ------------------------------------------------------------------------------------
    def _unused(self) -> None:
        """MFV2060: declarations of which nothing is made; only in a recipe that does something."""
        if not self.blocks:
            return
        declared = [item for item in self.recipe.items if isinstance(item, Declaration)]
        kinds = [item.kind.text for item in declared]
        used = set[str]().union(*(self._inside(item).names for item in self.recipe.items))
        for item in declared:
            kind, name = item.kind.text, item.name.text
            alone = kind in ("model", "dataset") and kinds.count(kind) == 1
            if kind in _OF_USE and name not in used and not alone:
                self.scope.error(
                    "MFV2060", item.name, f"nothing uses the {_SAID.get(kind, kind)} `{name}`", "",
                    "use it, or take it out", severity="warning",
                )  # fmt: skip


_SAID: Mapping[str, str] = {"let": "constant"}


def _taken(kind: str, name: str, labels: Sequence[str]) -> str:
    """What a kind takes where it does not say an option, and which blocks do not."""
    parameter = (ITEM.get(kind) or FUNCTION[kind]).parameter(name)
    assert parameter is not None
    default = parameter.default
    takes = f"takes {default}"
    if default is None:
        takes = f"leaves it out: {parameter.doc.split('; ')[-1]}"
    named = [label for label in labels if label]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    which = f" ({', '.join(named[:_SHOWN])}{more})" if named else ""
    return f"`{kind}`{which} {takes}"


def _ranked_on_no_others(options: Mapping[str, Setting]) -> bool:
    """Whether a `top` has no relations to be given: each set is one relation's, or drawn."""
    if "per" not in options:
        return False
    return options["per"].value == "relation" or RANKING[options["by"].value].operation is None


def _needs_demonstrations(ranking: Ranking) -> bool:
    """Whether a way of ranking heads measures what demonstrations make of them."""
    return ranking.operation is not None and not ranking.zero_shot
