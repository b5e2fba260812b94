"""What is written once and read several times: numbers for the readings, and what is said there.

Tables of the checker are keyed by span, so every reading of a node has a span of its own: the same
place with another ``copy`` (:class:`~mfv_dsl.base.source.Span`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from mfv_dsl.base.diagnostics import Diagnostic, Fix, Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang.syntax import AnyNode, Node, rewritten


@dataclass(frozen=True)
class Written:
    """Where else it is written what a copy is of, and what that is called."""

    span: Span
    what: str  # "the constant `simple`"


class Copies:
    """The numbers of all copies in one recipe, and what is known of each."""

    def __init__(self) -> None:
        self._written: list[Written | None] = [None]
        #: what readings are called that nobody can call so, and the names they were declared by
        self.names: dict[str, str] = {}
        self._known: tuple[int, re.Pattern[str]] = (0, re.compile(""))

    def new(self, written: Written | None = None) -> int:
        """A number that no copy has yet."""
        self._written.append(written)
        return len(self._written) - 1

    def at(self, span: Span, node: AnyNode, what: str) -> AnyNode:
        """``node`` with all below it, as if it stood at ``span``; every part is a copy of its own.

        ``what`` is what it is called where it stands.
        """

        def moved(part: Node) -> Span:
            return Span(span.start, span.end, self.new(Written(part.span.place, what)))

        return _with_spans(node, moved)

    def again(self, node: AnyNode) -> AnyNode:
        """``node`` with all below it, at the same place, as another reading."""
        numbers: dict[int, int] = {}

        def numbered(part: Node) -> Span:
            copy = part.span.copy
            if copy not in numbers:
                numbers[copy] = self.new(self._written[copy])
            return replace(part.span, copy=numbers[copy])

        return _with_spans(node, numbered)

    def told(self, finding: Diagnostic) -> Diagnostic:
        """A finding at the place in the text, with the place that a copy was made from beside it.

        What would mend a copy mends what it was made from, where that is sure.
        """
        finding = self._called(finding)
        spans = [finding.span, *(label.span for label in finding.secondary)]
        spans += [fix.span for fix in finding.fixes]
        if not any(span is not None and span.copy for span in spans):
            return finding
        assert finding.span is not None
        labels = [replace(label, span=label.span.place) for label in finding.secondary]
        for span in spans[: 1 + len(labels)]:
            written = self._written[span.copy] if span is not None else None
            label = None if written is None else Label(written.span, f"in {written.what}")
            if label is not None and label not in labels:
                labels.append(label)
        return replace(
            finding, span=finding.span.place, secondary=tuple(labels),
            fixes=tuple(self._mending(finding.fixes)),
        )  # fmt: skip

    def _called(self, finding: Diagnostic) -> Diagnostic:
        """The finding with the names that its reader knows."""
        if not self.names:
            return finding
        own = self.as_called
        return replace(
            finding, message=own(finding.message), label=own(finding.label),
            notes=tuple(map(own, finding.notes)), help=finding.help and own(finding.help),
            secondary=tuple(replace(one, text=own(one.text)) for one in finding.secondary),
        )  # fmt: skip

    def as_called(self, text: str) -> str:
        """A text with the names of readings as they were declared, of a list of them each once."""
        if "[" not in text or not self.names:
            return text
        if len(self.names) != self._known[0]:
            longest_first = sorted(self.names, key=len, reverse=True)
            pattern = re.compile("(, )?(" + "|".join(map(re.escape, longest_first)) + ")")
            self._known = (len(self.names), pattern)

        def own(found: re.Match[str]) -> str:
            name = self.names[found[2]]
            listed = found[1] is not None and re.search(rf"\b{name}\b", text[: found.start()])
            return "" if listed else (found[1] or "") + name

        return self._known[1].sub(own, text)

    def each_once(self, findings: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """The findings as they are told, those that differ in the copy alone once."""
        return tuple(dict.fromkeys(map(self.told, findings)))

    def _mending(self, fixes: Iterable[Fix]) -> Iterator[Fix]:
        for fix in fixes:
            written = self._written[fix.span.copy]
            if written is None:
                yield replace(fix, span=fix.span.place)
            elif fix.replacement.isidentifier():  # others are made of the text at the use
                yield replace(fix, span=written.span)


def _with_spans(node: AnyNode, span: Callable[[Node], Span]) -> AnyNode:
    """``node`` with another span for it and for each node below it."""
    changed: AnyNode = rewritten(
        node, lambda part: None, lambda part: replace(part, span=span(part))
    )
    return changed
