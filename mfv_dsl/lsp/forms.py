"""The forms of items and arguments, as editors fill them in."""

from __future__ import annotations

from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import all_entries, takers
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.lang.syntax import Declaration, Name


def item_snippet(entry: Entry) -> str:
    """The form of an item, as editors fill it in.

    >>> item_snippet(ITEM["vector"])
    'vector ${1:name} = $0'
    """
    label = {"name": " ${1:name}", "text": ' "${1:folder}"', "": ""}[entry.label]
    if entry.form == "inclusion":
        return f'{entry.name} "${{1:file.mfv}}"'
    if entry.form == "declaration":
        return f"{entry.name} ${{1:name}} = $0"
    needed = [p for p in entry.parameters if p.required]
    rows = [f"  {p.name} = {placeholder(p, n)}" for n, p in enumerate(needed, 2)] or ["  $0"]
    return "\n".join([f"{entry.name}{label} {{", *rows, "}"])


def placeholder(parameter: Parameter, number: int = 1) -> str:
    """A field to fill in, with the default in it where there is one that can be written."""
    if any(name.startswith("List[") for name in parameter.types) and len(parameter.types) == 1:
        return f"[${number}]"
    default = parameter.default
    if "Text" in parameter.types and len(parameter.types) == 1:
        return f'"${number}"'
    if isinstance(default, bool):
        return f"${{{number}:{str(default).lower()}}}"
    if isinstance(default, int | float | str) and default != "":
        return f"${{{number}:{default}}}"
    return f"${number}"


def defaultable() -> dict[str, tuple[Entry, Parameter]]:
    """What a `defaults` block may give, each with a first word that takes it."""
    names = {p.name for entry in all_entries() for p in entry.parameters if p.from_defaults}
    return {name: takers(name)[0] for name in sorted(names)}


def arguments_of(item: Declaration) -> tuple[Parameter, ...]:
    """The arguments of a declared model or dataset, which a profile can change."""
    entries = CONSTRUCTOR.get(item.kind.text, {})
    function = getattr(item.value, "function", None)
    entry = entries.get(function.text) if isinstance(function, Name) else None
    return () if entry is None else entry.parameters
