"""What a vector was made of, as its file says it: ``parents``, a tree where no vector is in it
twice, else with ``ancestors``, a list in which each vector stands once, behind those that it was
made of.

A tree in which vectors are shared would grow with every use; the list grows with the vectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: A vector in a list of ancestors, and its coefficient, null where it is no plain multiple.
Part = tuple[int, float | None]
#: Generations of a tree; what is deeper is written as a list.
_DEEPEST = 8


class Lineage:
    """The vectors that one was made of, equal ones once.

    >>> lineage = Lineage()
    >>> left = lineage.add({"name": "fv(left)", "hash": "0f"})
    >>> lineage.add({"name": "fv(left)", "hash": "0f"}) == left
    True
    >>> lineage.metadata([(left, 2.0)])
    {'parents': [{'name': 'fv(left)', 'hash': '0f', 'coefficient': 2.0}]}
    """

    def __init__(self) -> None:
        self._nodes: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, vector: Mapping[str, Any], parts: Sequence[Part] = ()) -> int:
        """The number of a vector: what is said of it but for what it was made of, and that."""
        node = {key: value for key, value in vector.items() if key not in ("parents", "ancestors")}
        if parts:
            node["parents"] = [list(part) for part in parts]
        text = json.dumps(node, sort_keys=True)
        if text not in self._numbers:
            self._numbers[text] = len(self._nodes)
            self._nodes.append(node)
        return self._numbers[text]

    def graft(self, metadata: Mapping[str, Any]) -> list[Part]:
        """What the metadata of a file, or a parent in it, says that a vector was made of."""
        numbers: list[int] = []
        for node in metadata.get("ancestors", ()):
            parts = [(numbers[number], factor) for number, factor in node.get("parents", ())]
            numbers.append(self.add(node, parts))
        parts = []
        for parent in metadata.get("parents", ()):
            if "ancestor" in parent:
                number = numbers[parent["ancestor"]]
            else:
                own = {key: value for key, value in parent.items() if key != "coefficient"}
                number = self.add(own, self.graft(parent))
            parts.append((number, parent["coefficient"]))
        return parts

    def metadata(self, parts: Sequence[Part]) -> dict[str, Any]:
        """The keys that say of a vector that it was made of ``parts``: ``parents`` alone where
        these are a tree of a few generations, else with ``ancestors``."""
        if self._is_tree(parts):
            return {"parents": [self._tree(part) for part in parts]}
        return {
            "parents": [
                {
                    "name": self._nodes[number]["name"], "hash": self._nodes[number]["hash"],
                    "coefficient": factor, "ancestor": number,
                }
                for number, factor in parts
            ],
            "ancestors": self._nodes,
        }  # fmt: skip

    def _is_tree(self, parts: Iterable[Part]) -> bool:
        reached, generation = set[int](), [number for number, _ in parts]
        for _ in range(_DEEPEST):
            if not generation:
                return True
            if len({*generation}) < len(generation) or reached & {*generation}:
                return False
            reached |= {*generation}
            generation = [
                number for one in generation for number, _ in self._nodes[one].get("parents", ())
            ]
        return not generation

    def _tree(self, part: Part) -> dict[str, Any]:
        node = dict(self._nodes[part[0]])
        parts = node.pop("parents", ())
        grown = {"parents": [self._tree(of) for of in parts]} if parts else {}
        return {**node, "coefficient": part[1], **grown}


def hashes_behind(metadata: Mapping[str, Any]) -> set[str]:
    """The hashes of all vectors that one was made of, directly or through others.

    >>> sorted(hashes_behind({"parents": [{"hash": "0f", "parents": [{"hash": "1e"}]}]}))
    ['0f', '1e']
    """
    work = [*metadata.get("parents", ()), *metadata.get("ancestors", ())]
    hashes: set[str] = set()
    while work:
        node = work.pop()
        if isinstance(node, Mapping):  # else a number of another
            hashes.add(node["hash"])
            work += node.get("parents", ())
    return hashes


def lineage_fault(metadata: Mapping[str, Any]) -> str | None:
    """What is wrong, in words, with the numbers in metadata that fits the schema: each ancestor is
    made of those before it, and each number is one's."""
    ancestors = metadata.get("ancestors", ())
    for place, node in enumerate(ancestors):
        for number, _ in node.get("parents", ()):
            if number >= place:
                return f"`ancestors[{place}]` is made of one that does not stand before it"
    for parent in metadata.get("parents", ()):
        if parent.get("ancestor", -1) >= len(ancestors):
            return f"there is no `ancestors[{parent['ancestor']}]`"
    return None
