"""A library's card, ``README.md``: front matter for the Hub, what the vectors are, and how well
they did.  What stands below its last line is the author's and kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.numbers import percent
from mfv_dsl.library.header import Header

if TYPE_CHECKING:
    from mfv_dsl.library.folder import Library

KEPT = "<!-- The text above is made by mfv vectors card. What stands below this line is kept. -->"

_USE = """\
# {title}

Vectors for mfv-dsl: added to the residual stream of the model that they were made with, they make
it do a task that no prompt names. In a recipe (on the Hub, with `hf://` and the repository's name):

```
vector v = load("path/to/{title}", "{first}")
```
"""


def card(library: Library, old: str = "", license: str | None = None, force: bool = False) -> str:
    """The card's text.  ``old`` is the present one: what its author added is kept, and all of it if
    somebody else wrote it and not ``force``.  ``license`` is for vectors whose files name none; it
    is kept too."""
    ours = KEPT in old
    if old and not ours and not force:
        return old
    said = {name: h.said for name, h in library.entries() if isinstance(h, Header)}
    license = license_of(said) or license or _license(old if ours else "")
    title = plain_text(library.root.resolve().name)
    parts = [_front(said, license)]
    parts.append(_USE.format(title=title, first=next(iter(said), "name")))
    if said:
        parts.append(_vectors(said))
    if metrics := _metrics(said):
        parts.append(metrics)
    for path in library.recipes():
        text = path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        parts.append(f"## Recipe: {path.name}\n\n{fence}\n{text}\n{fence}\n")
    return "\n".join(parts) + f"\n{KEPT}" + (old.split(KEPT, 1)[1] if ours else "\n")


def plain_text(text: Any) -> str:
    """``text`` on one line, without what Markdown would take for a table's edge or for HTML."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line.replace("|", "\\|").replace("<", "&lt;")


def license_of(said: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The licence that the vectors' files name, if it is one."""
    named = {one["license"] for one in said.values() if "license" in one}
    return named.pop() if len(named) == 1 else None


def _license(old: str) -> str | None:
    """The licence that a card names."""
    found = re.search(r'^license: "(.+)"$', old, flags=re.M)
    return found[1] if found else None


def _front(said: Mapping[str, Mapping[str, Any]], license: str | None) -> str:
    """YAML front matter; its texts are JSON, which is YAML too."""
    models = dict.fromkeys(str(one["model"].get("id")) for one in said.values())
    hub = [name for name in models if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name, re.ASCII)]
    lines = ["library_name: mfv", "tags: [function-vectors, steering-vectors]"]
    lines += [f"license: {json.dumps(license)}"] if license else []
    lines += [f"base_model: {json.dumps(hub)}"] if hub else []
    return "\n".join(["---", *lines, "---"])


def _vectors(said: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (name, one["kind"], one.get("relation", ""), f"`{one['expression']}`",
         one["model"].get("id", ""), one["model"]["d_model"], one.get("layer", ""))
        for name, one in said.items()
    ]  # fmt: skip
    head = ("vector", "kind", "relation", "what it is", "model", "d", "layer")
    return "## Vectors\n\n" + _table(head, rows)


def _metrics(said: Mapping[str, Mapping[str, Any]]) -> str:
    """The results that the files carry, or nothing."""
    rows = [
        (name, row.get("eval", ""), row.get("relation", ""), row.get("shots", ""),
         row.get("layer", ""), row.get("scale", ""), row.get("n", ""), *_shares(row))
        for name, one in said.items()
        for row in one.get("metrics", ())
        if "accuracy" in row
    ]  # fmt: skip
    if not rows:
        return ""
    head = ("vector", "eval", "relation", "shots", "layer", "scale", "n", "accuracy %",
            "vs zero-shot")  # fmt: skip
    return (
        "## Results\n\nPer cent correct with 95 % intervals, measured by the recipe that made the "
        "vectors.\n\n" + _table(head, rows)
    )


def _shares(row: Mapping[str, Any]) -> tuple[str, str]:
    try:
        share = percent(row["accuracy"], row["ci_low"], row["ci_high"])
        return share, percent(row["difference"], row["difference_low"], row["difference_high"], "+")
    except (KeyError, TypeError, ValueError):
        return str(row["accuracy"]), ""


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    cells = [[plain_text("" if cell is None else cell) for cell in row] for row in rows]
    lines = [" | ".join(row) for row in (head, ["---"] * len(head), *cells)]
    return "".join(f"| {line} |\n" for line in lines)
