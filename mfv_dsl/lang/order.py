"""Which heads and vectors are made of which, in what order to check them, and cycles."""

from __future__ import annotations

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Declaration, Name
from mfv_dsl.lang.values_in import references


def _parts(scope: Scope, name: str) -> list[Name]:
    item = scope.names[name]
    if isinstance(item, Declaration):
        hidden = {parameter.text for parameter in item.parameters}
        names = [node for node in references(item.value) if node.text not in hidden]
    else:
        start = [a.value for a in item.attributes if a.name.text == "start"]
        names = [node for value in start for node in references(value)]
    kinds = ("heads", "vector", "tune")
    names = [node for node in names if scope.kind(node.text) in kinds]
    return sorted(names, key=lambda node: node.span.start)


def in_order(scope: Scope) -> list[str]:
    """Names of heads, vectors and tunes, each after those it is made of; cycles are reported."""
    order: list[str] = []
    state: dict[str, str] = {}
    for root in scope.of_kind("heads", "vector", "tune"):
        if root in state:
            continue
        # A stack of its own: chains may be longer than Python's recursion allows.
        state[root] = "open"
        path = [(root, iter(_parts(scope, root)))]
        via: list[Span] = []
        while path:
            name, remaining = path[-1]
            node = next(remaining, None)
            if node is None:
                state[name] = "done"
                order.append(name)
                path.pop()
                if via:
                    via.pop()
            elif node.text not in state:
                state[node.text] = "open"
                path.append((node.text, iter(_parts(scope, node.text))))
                via.append(node.span)
            elif state[node.text] == "open":
                first = [step for step, _ in path].index(node.text)
                cycle = [step for step, _ in path[first:]]
                _report(scope, cycle, node, via[first:])
    return order


def _report(scope: Scope, cycle: list[str], node: Name, via: list[Span]) -> None:
    item = scope.names[cycle[0]]
    place = item.name if isinstance(item, Declaration) else item.label or item.kind
    if len(cycle) == 1:
        message, help = f"`{cycle[0]}` is made of itself", None
    else:
        steps = cycle if len(cycle) <= 6 else [*cycle[:5], "..."]
        message = f"`{cycle[0]}` is made of itself, through others"
        help = " -> ".join(f"`{name}`" if name != "..." else name for name in (*steps, cycle[0]))
    uses = list(zip(cycle[1:], via, strict=False))[:5]
    places = [Label(span, f"uses `{name}`") for name, span in uses]
    scope.error(
        "MFV2009", place, message, help=help,
        secondary=[*places, Label(node.span, f"uses `{cycle[0]}`")],
    )  # fmt: skip
