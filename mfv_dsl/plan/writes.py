"""How an evaluation writes, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def also_done(p: Mapping[str, Any]) -> str:
    """What else an evaluation does to the states that it adds to."""
    units = {"length": "in units of their length", "angle": "in units of their length, more where "
             "they point against it"}.get(p.get("scale_by", "vector"))  # fmt: skip
    parts = [units] if units else []
    if (keep := p.get("keep", 1)) != 1:
        parts.append(f"{keep:g} of them kept")
    if p.get("length", "free") == "kept":
        parts.append("at the length that they had")
    return "".join(f", {part}" for part in parts)


def written_as(p: Mapping[str, Any]) -> str:
    """How an evaluation with the parameters ``p`` writes, in the recipe's words, where that is not
    as `add`, `patch` and `ablate` do by themselves; empty where it is.

    >>> written_as({"mode": "add", "keep": 1, "length": "kept"}), written_as({"mode": "replace"})
    ('add, length=kept', 'replace')
    >>> written_as({"mode": "add", "keep": 1})
    ''
    """
    mode, words = p.get("mode", "none"), list[str]()
    for name, usual in (("scale_by", "vector"), ("keep", 1), ("length", "free")):
        if (value := p.get(name, usual)) != usual:
            words.append(f"{name}={value:g}" if name == "keep" else f"{name}={value}")
    if p.get("when_layer") is not None:
        words.append("when")
    if not words and mode not in ("replace", "project_out"):
        return ""
    return ", ".join(["add" if mode == "blend" else mode, *words])
