"""A library's card, ``README.md``: front matter for the Hub, what the vectors are, and how well
they did.  What stands below its last line is the author's and kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mfv_dsl.base.columns import RESULT_COLUMNS

KEPT = "<!-- The text above is made by mfv vectors card. What stands below this line is kept. -->"

_USE = """\
# {title}

Vectors for mfv-dsl: added to the residual stream of the model that they were made with, they make
it do a task that no prompt names. In a recipe (on the Hub, with `hf://` and the repository's name):

```
vector v = load("path/to/{title}", "{first}")
```
"""
#: the columns of results, behind the vector's name
_CONDITION = ("eval", "relation", "shots", "layer", "scale", "n")
#: Fields of results that say where a vector was written, if not as usual.
_UNUSUAL = ("site", "position")
_MEASURES = ("accuracy %", "vs zero-shot")

Vectors = Mapping[str, Mapping[str, Any]]  # metadata by name


def is_foreign(card: str) -> bool:
    """Whether somebody else wrote a card."""
    return bool(card) and KEPT not in card


def card_text(
    title: str,
    vectors: Vectors,
    recipes: Mapping[str, str],
    old: str = "",
    license: str | None = None,
) -> str:
    """The card's text.

    Args:
        title: The library's name.
        vectors: The metadata of its vectors by name.
        recipes: The texts of the recipes kept in it by file name.
        old: The present card: what its author added is kept, unless somebody else wrote all of it.
        license: For vectors whose files name none; it is kept too.
    """
    old = "" if is_foreign(old) else old
    license = _license_of_files(vectors) or license or _license_of_card(old)
    title = plain_text(title)
    parts = [_front(vectors, license)]
    parts.append(_USE.format(title=title, first=next(iter(vectors), "name")))
    if vectors:
        parts.append(_vectors(vectors))
    if results := _results(vectors):
        parts.append(results)
    for name, recipe in recipes.items():
        text = recipe.rstrip("\n")
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        parts.append(f"## Recipe: {name}\n\n{fence}\n{text}\n{fence}\n")
    return "\n".join(parts) + f"\n{KEPT}" + (old.split(KEPT, 1)[1] if old else "\n")


def plain_text(text: Any) -> str:
    """``text`` on one line, without what Markdown would take for a table's edge or for HTML."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line.replace("|", "\\|").replace("<", "&lt;")


def _license_of_files(vectors: Vectors) -> str | None:
    """The licence that the vectors' files name, if it is one."""
    names = {metadata["license"] for metadata in vectors.values() if "license" in metadata}
    return names.pop() if len(names) == 1 else None


def _license_of_card(card: str) -> str | None:
    """The licence that a card names."""
    match = re.search(r'^license: "(.+)"$', card, flags=re.M)
    return match[1] if match else None


def _front(vectors: Vectors, license: str | None) -> str:
    """YAML front matter; its texts are JSON, which is YAML too."""
    models = dict.fromkeys(str(metadata["model"].get("id")) for metadata in vectors.values())
    hub = [name for name in models if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name, re.ASCII)]
    lines = ["library_name: mfv", "tags: [function-vectors, steering-vectors]"]
    lines += [f"license: {json.dumps(license)}"] if license else []
    lines += [f"base_model: {json.dumps(hub)}"] if hub else []
    return "\n".join(["---", *lines, "---"])


def _vectors(vectors: Vectors) -> str:
    rows = [
        (name, of["kind"], of.get("relation"), _what(of),
         of["model"].get("id"), of["model"]["d_model"], _layer(of))
        for name, of in vectors.items()
    ]  # fmt: skip
    titles = ("vector", "kind", "relation", "what it is", "model", "d", "layer")
    return "## Vectors\n\n" + _table(titles, rows)


def _layer(of: Mapping[str, Any]) -> Any:
    """The layer that a vector is for, or how many places it has a part for."""
    return f"{len(of['places'])} places" if "places" in of else of.get("layer")


def _what(of: Mapping[str, Any]) -> str:
    """A vector's expression, and what its recipe's comment says of it."""
    about = of.get("about")
    return f"`{of['expression']}`" + (f": {' '.join(about.split())}" if about else "")


def _results(vectors: Vectors) -> str:
    """The results that the files carry, or nothing."""
    results = [
        (name, row)
        for name, metadata in vectors.items()
        for row in metadata.get("metrics", ())
        if "accuracy" in row
    ]
    if not results:
        return ""
    unusual = [title for title in _UNUSUAL if any(title in row for _, row in results)]
    rows = [
        (name, *(RESULT_COLUMNS[title].value(row) for title in _CONDITION),
         *(row.get(title) for title in unusual), *_measures(row))
        for name, row in results
    ]  # fmt: skip
    return (
        "## Results\n\nPer cent correct with 95 % intervals, measured by the recipe that made the "
        "vectors.\n\n" + _table(("vector", *_CONDITION, *unusual, *_MEASURES), rows)
    )


def _measures(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Accuracy and gain of a result row, which may lack anything but ``accuracy``."""
    try:
        return tuple(RESULT_COLUMNS[title].value(row) for title in _MEASURES)
    except (KeyError, TypeError, ValueError):
        return str(row["accuracy"]), ""


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = [[plain_text("" if cell is None else cell) for cell in row] for row in rows]
    lines = [" | ".join(row) for row in (titles, ["---"] * len(titles), *cells)]
    return "".join(f"| {line} |\n" for line in lines)
