"""`allow`: the warnings that a recipe says are meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Span
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Block, Item, ListExpr, Name

ALLOW = "allow"
#: codes of what is looked for in the plan, with the library that it is saved into
_FOUND_LATER = frozenset(("MFV6017",))


@dataclass
class _Permission:
    """A code in `allow`, the block that it stands in, None of `defaults`, and whether it was
    needed."""

    code: str
    at: Span
    block: Span | None
    needed: bool = False

    def covers(self, code: str, place: Span | None) -> bool:
        """Whether a finding of this code at a place is meant."""
        if code != self.code:
            return False
        block = self.block
        within = block is None or (place is not None and block.start <= place.start < block.end)
        self.needed = self.needed or within
        return within


@dataclass
class Permissions:
    """What a recipe allows."""

    all: list[_Permission] = field(default_factory=list)

    @classmethod
    def of(cls, scope: Scope, items: Iterable[Item]) -> Permissions:
        """What `allow` says in the blocks and in `defaults`."""
        found = cls()
        for item in items:
            if isinstance(item, Block) and item.kind.text != "profile":
                everywhere = item.kind.text == "defaults"
                if everywhere and item.reach is not None:
                    continue  # it stands in the blocks
                for attribute in item.attributes:
                    if attribute.name.text == ALLOW and isinstance(attribute.value, ListExpr):
                        block = None if everywhere else item.span
                        found.all += [
                            _Permission(code.text, code.span.place, block)
                            for code in attribute.value.items
                            if isinstance(code, Name)
                        ]
        return found

    def allow(self, code: str, place: Span | None) -> bool:
        """Whether a finding is meant; every permission that says so was needed."""
        covering = [permission for permission in self.all if permission.covers(code, place)]
        return bool(covering)

    def idle(self, scope: Scope) -> Iterator[Diagnostic]:
        """Codes that nothing was found of (MFV2062)."""
        needed = {p.at for p in self.all if p.needed or p.code in _FOUND_LATER}
        for at in dict.fromkeys(permission.at for permission in self.all):
            if at not in needed:
                code = scope.source.text[at.start : at.end]
                yield Diagnostic(
                    "MFV2062", f"there is no warning {code} to allow here", scope.source, at, "",
                    "warning", help=f"take {code} out of `allow`",
                )  # fmt: skip
