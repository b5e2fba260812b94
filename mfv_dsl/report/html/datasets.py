"""A dataset: how many items it has, and a few of its prompts as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.report.html.elements import (
    MOST_ROWS,
    facts,
    picture,
    remark,
    shortened,
    side_by_side,
    table,
    title,
)

if TYPE_CHECKING:
    from mfv_dsl.base.facts import DatasetFacts
    from mfv_dsl.data.items import Dataset, Item

_MOST_DRAWN = 2000
_SHOWN, _SIDE, _COLOURS = 4, 96, 48  # pictures, pixels of their longer side, and colours of each


def dataset_html(dataset: Dataset, known: DatasetFacts, call: str | None = None) -> str:
    """The items by relation and split, and a question of each of the first relations.

    ``known`` are its facts, ``call`` is what constructs it in a recipe.  A picture that cannot be
    read has its reason in its place.
    """
    lines = [title("Dataset", known.description)]
    lines.append(facts({"in a recipe": call, "hash": known.hash[:12]}))
    if known.counts:
        rows = [
            (relation, *(f"{known.counts[relation].get(split, 0):,}" for split in known.splits))
            for relation in known.relations[:MOST_ROWS]
            if relation in known.counts
        ]
        rest = "`dataset.relations` has all"
        head = ("relation", *known.splits)
        lines.append(table(head, rows, ("relation",), total=len(known.counts), rest=rest))
    drawn = getattr(dataset, "count", 0)  # of scenes, which are drawn all together
    if drawn > _MOST_DRAWN:
        lines.append(remark(f"no pictures, as {drawn:,} scenes would be drawn for one"))
    else:
        lines.append(side_by_side(_question(dataset, item) for item in _examples(dataset)))
    return "".join(lines)


def _examples(dataset: Dataset) -> list[Item]:
    """An item of each of the first relations, from the split that tests are made on if it has
    items; further ones of these relations where they are few."""
    splits = [split for split in ("test", *dataset.splits) if split in dataset.splits]
    pools = []
    for relation in dataset.relations[:_SHOWN]:
        items = next((pool for split in splits if (pool := dataset.items(relation, split))), ())
        pools.append(items)
    ranks = range(_SHOWN)
    found = [pool[rank] for rank in ranks for pool in pools if rank < len(pool)]
    return found[:_SHOWN]


def _question(dataset: Dataset, item: Item) -> str:
    """A picture, what is asked about it, and the right answer."""
    return _picture(dataset, item) + remark(f"{item.relation}: {item.query} → {item.answer}")


def _picture(dataset: Dataset, item: Item) -> str:
    from PIL import Image

    try:
        pixels: Any = dataset.pictures([item.image], _SIDE)[0]
    except Exception as error:  # whatever is wrong with one picture, the others are shown
        reason = getattr(error, "message", None) or str(error) or type(error).__name__
        return remark(f"no picture: {shortened(reason, 120)}")
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    few = image.quantize(_COLOURS, dither=Image.Dither.NONE)  # a third of the bytes
    return picture(few, f"{item.relation}: the picture {item.image}", image.width)
