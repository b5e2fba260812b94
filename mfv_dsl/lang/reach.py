"""What an expression comes to for one relation: through families, and cases of `match`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mfv_dsl.lang.checked import CheckedBlock
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Call, Declaration, Match, Name, Node, Text
from mfv_dsl.lang.unparse import unparse

#: what names of relations stand for, None where that is open
Bound = Mapping[str, str | None]


@dataclass(frozen=True)
class Reached:
    """A call of a family or a ``match`` that an expression comes to, with the relations that names
    stand for there, and what comes to it."""

    node: Call | Match
    bound: Bound
    within: str

    def relation(self, node: Name | Text) -> str | None:
        """The relation that a node stands for, None where that is open."""
        if isinstance(node, Text):
            return node.value
        return self.bound.get(node.text, node.text)


def reached(scope: Scope, expr: Node, bound: Bound, within: str) -> Iterator[Reached]:
    """The calls of families and the choices by relation that ``expr`` comes to, in source order,
    also through families of vectors; of a ``match`` only the case."""
    work: list[tuple[Node, Bound]] = [(expr, bound)]
    visited: set[tuple[str, ...]] = set()
    while work:
        node, names = work.pop()
        if isinstance(node, Match):
            yield Reached(node, names, within)
            relation = names.get(node.subject.text)
            value = None if relation is None else node.value_for(relation)
            cases = [case.value for case in node.cases] if relation is None else [value]
            work += [(case, names) for case in reversed(cases) if case is not None]
            continue
        work += [(part, names) for part in reversed([*node.children()])]
        if not isinstance(node, Call):
            continue
        word = node.function.text
        if scope.is_family(word) and _is_whole(scope, node):
            here = Reached(node, names, within)
            yield here
            relations = [here.relation(a) for a in node.arguments if isinstance(a, Name | Text)]
            known = tuple(relation for relation in relations if relation is not None)
            family = scope.names[word]
            new = (word, *known) not in visited and len(known) == len(relations)
            if new and isinstance(family, Declaration):
                visited.add((word, *known))
                parameters = [parameter.text for parameter in family.parameters]
                work.append((family.value, dict(zip(parameters, known, strict=True))))


def _is_whole(scope: Scope, call: Call) -> bool:
    """Whether a call of a family has the relations that it takes."""
    names = [argument for argument in call.arguments if isinstance(argument, Name | Text)]
    return len(names) == len(call.arguments) == scope.parameters(call.function.text)


def all_reached(scope: Scope, blocks: Iterable[CheckedBlock]) -> Iterator[Reached]:
    """What all declared vectors come to, and all blocks for each of their relations."""
    for item in scope.names.values():
        if isinstance(item, Declaration) and item.kind.text == "vector":
            bound = {parameter.text: None for parameter in item.parameters}
            yield from reached(scope, item.value, bound, f"`vector {item.name.text}`")
    for block in blocks:
        values = [setting.value for setting in block.settings.values()]
        nodes = [part for v in values for part in (v if isinstance(v, tuple) else (v,))]
        named = {"save": f'save "{block.name}"', "report": "report"}
        within = f"`{named.get(block.kind, f'{block.kind} {block.name}')}`"
        for relation in _relations(scope, block):
            for node in nodes:
                if isinstance(node, Node):
                    yield from reached(scope, node, {"each": relation}, within)


def _relations(scope: Scope, block: CheckedBlock) -> Sequence[str]:
    """The relations that a block is about, and the one whose vector its control takes instead."""
    relations: tuple[str, ...] = block["on"] or ()
    if block.kind == "eval" and "other_relation" in (block["controls"] or ()):
        facts = scope.dataset_facts(TypingContext(dataset=block.dataset))
        if len(relations) == 1 and len(facts) == 1 and relations[0] in facts[0].relations:
            every = facts[0].relations
            place = every.index(relations[0])
            return (*relations, every[(place + len(every) // 2) % len(every)])
    return relations


@dataclass
class _Missing:
    """A ``match``, what comes to it, and the relations that have no case there."""

    node: Match
    within: str
    relations: list[str] = field(default_factory=list)


def check_cases(scope: Scope, blocks: Iterable[CheckedBlock]) -> None:
    """Report (MFV2041) every relation that a ``match`` is asked for and has no case of."""
    missing: dict[object, _Missing] = {}
    if not scope.chooses:
        return
    for here in all_reached(scope, blocks):
        node = here.node
        if not isinstance(node, Match) or not node.cases:
            continue
        relation = here.bound.get(node.subject.text)
        if relation is None or node.value_for(relation) is not None:
            continue
        use = missing.setdefault(node.span, _Missing(node, here.within))
        if relation not in use.relations:
            use.relations.append(relation)
    for use in missing.values():
        names = ", ".join(f"`{relation}`" for relation in use.relations)
        cases = ", ".join(unparse(case.relation) for case in use.node.cases)
        scope.error(
            "MFV2041", use.node.subject, f"this `match` has no case of {names}", f"it has: {cases}",
            "add the case, or `else: ...`, or leave the relation out where it is asked for",
            notes=[f"needed by {use.within}"],
        )  # fmt: skip
