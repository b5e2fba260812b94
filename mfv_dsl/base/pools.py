"""What is said of prompts that a dataset has too few items or images for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts


def too_few_items(n: int, relation: str, split: str, items: int, argument: str = "") -> MfvError:
    """MFV7110: more prompts than items."""
    return MfvError(
        "MFV7110",
        f"{n} prompts of `{relation}` asked for, but its {split} split has {items} items",
        help="ask for fewer items or trials, or give the dataset a larger count",
        argument=argument or None,
    )


def too_few_images(
    shots: int, relation: str, split: str, images: int, taken: int, argument: str = ""
) -> MfvError:
    """MFV7111: more demonstrations than images, of which ``taken`` are in the prompt already."""
    return MfvError(
        "MFV7111",
        f"too few images for {shots} demonstrations: `{relation}` has {images} in its {split} "
        f"split, {taken} of them already in the prompt",
        help="use fewer shots or a dataset with more images",
        argument=argument or None,
    )


def shortages_of_pool(
    facts: DatasetFacts, relation: str, split: str, prompts: tuple[str, int],
    shots: tuple[str, int] = ("", 0),
) -> Iterator[MfvError]:  # fmt: skip
    """Why a dataset cannot give prompts.

    Args:
        facts: What it has; nothing is refused where it does not say how many.
        relation: The relation that the prompts show.
        split: Where they come from.
        prompts: How many, behind the name of the argument that says it.
        shots: How many demonstrations each has, likewise.

    Returns:
        MFV7110 for too few items, MFV7111 for too few images.
    """
    items = _number(facts.counts, relation, split)
    if items is not None and prompts[1] > items:
        yield too_few_items(prompts[1], relation, split, items, prompts[0])
    images = _number(facts.images or facts.counts, relation, split)
    if images is not None and shots[1] >= images:
        yield too_few_images(shots[1], relation, split, images, min(1, images), shots[0])


def _number(numbers: Mapping[str, Mapping[str, int]], relation: str, split: str) -> int | None:
    return numbers.get(relation, {}).get(split)
