"""What the script of a report reads: items and figures as JSON that no text can break out of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mfv_dsl.report.page.item_sample import OUTCOMES, ShownItem

#: What would end a script, or begin something in it, as JSON has it elsewhere.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028",
            "\u2029": "\\u2029"}  # fmt: skip


def json_markup(data: Any) -> Markup:
    """``data`` as JSON for the inside of a ``<script>``; numbers that are none are null.

    >>> json_markup({"</script>": float("nan")})
    Markup('{"\\\\u003c/script\\\\u003e":null}')
    """
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text.encode(errors="replace").decode())


def finite(data: Any) -> Any:
    """Plain data with None in place of every number that is NaN or infinite."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(name): finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data


def items_data(
    items: Sequence[ShownItem],
    found: Mapping[tuple[str, str, str, str], Sequence[int]],
    pictures: Mapping[tuple[str, str, str], int],
) -> dict[str, Any]:
    """The items as columns: texts are places in ``texts``, pictures places among the pictures (-1
    for none); ``counts`` are those of all items of the runs.

    ``pictures`` has the place of a picture by run, dataset and image.
    """
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    columns: dict[str, list[Any]] = {
        "run": [place(item.run) for item in items],
        "eval": [place(item.line.eval) for item in items],
        "condition": [place(item.condition) for item in items],
        "settled": [place(item.settled) for item in items],
        "relation": [place(item.line.relation) for item in items],
        "image": [place(item.line.image) for item in items],
        "place": [place(item.line.place) for item in items],
        "split": [place(item.line.split) for item in items],
        "query": [place(item.line.query) for item in items],
        "answer": [place(item.line.answer) for item in items],
        "options": [place(item.options) for item in items],
        "before": [place(item.line.said_unedited) for item in items],
        "after": [place(item.line.said) for item in items],
        "outcome": [item.outcome for item in items],
        "p_before": [item.line.p_unedited for item in items],
        "p_after": [item.line.p_answer for item in items],
        "picture": [pictures.get((item.run, item.dataset, item.line.image), -1) for item in items],
    }
    counted = [
        [place(run), place(name), place(condition), place(relation), list(numbers)]
        for (run, name, condition, relation), numbers in found.items()
    ]
    return {
        "columns": columns, "counts": counted, "texts": list(texts), "outcomes": list(OUTCOMES)
    }  # fmt: skip
