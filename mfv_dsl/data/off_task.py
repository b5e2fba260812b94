"""Prompts about which a vector should say nothing: what the model can do besides.

A vector made for some relations is off task in prompts that show or name other relations, and in
questions that are about no relation at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.data.prompts import DEFAULT_SEED, draw_in_turn
from mfv_dsl.lang.entries import OFF_TASK_KINDS


@dataclass(frozen=True)
class OffTask:
    """A kind of off-task prompt: ``shots`` demonstrations, then ``question``: what is asked of an
    item's image in place of the item itself.

    ``by_cell`` marks questions about the cells of a grid, which only ``scenes(...)`` has, in words
    that only the bundled model was trained on.
    """

    doc: str
    question: Callable[[Dataset, Item], Item]
    shots: int = 0
    by_cell: bool = False


def _itself(dataset: Dataset, item: Item) -> Item:
    return item


def _named(dataset: Dataset, item: Item) -> Item:
    query = f"{item.relation.replace('_', ' ')} {item.query}"
    return Item(item.image, query, item.answer, item.relation)


def _where(dataset: Dataset, item: Item) -> Item:
    return Item(item.image, f"where {item.query}", _cell(dataset, item), item.relation)


def _what(dataset: Dataset, item: Item) -> Item:
    return Item(item.image, f"what {_cell(dataset, item)}", item.query, item.relation)


def _cell(dataset: Dataset, item: Item) -> str:
    """The bundled model's word for the cell where an item's query object stands."""
    return f"p{dataset.cell(item.image)}"  # type: ignore[attr-defined]


OFF_TASKS: Mapping[str, OffTask] = {
    "few_shot": OffTask(
        "other relations, shown by demonstrations", _itself, shots=OFF_TASK_KINDS["few_shot"]
    ),
    "named": OffTask("other relations, named in the question", _named),
    "where": OffTask("in which cell an object stands", _where, by_cell=True),
    "what": OffTask("what stands in a cell", _what, by_cell=True),
}


def off_tasks(dataset: Dataset) -> tuple[str, ...]:
    """The kinds of off-task prompt that can be drawn from ``dataset``."""
    has_cells = hasattr(dataset, "cell")
    return tuple(name for name, kind in OFF_TASKS.items() if has_cells or not kind.by_cell)


def other_relations(dataset: Dataset, relations: Sequence[str]) -> tuple[str, ...]:
    """The relations of ``dataset`` but ``relations``; MfvError (MFV5354) where none is left."""
    others = tuple(relation for relation in dataset.relations if relation not in relations)
    if not others:
        raise MfvError(
            "MFV5354",
            f"the vector is for every relation of the dataset ({', '.join(relations)}), so nothing "
            "is off its task",
            help="name a dataset with more relations",
        )
    return others


def draw_off_task(
    dataset: Dataset,
    kind: str,
    relations: Sequence[str],
    split: str,
    n: int,
    seed: int = DEFAULT_SEED,
) -> list[Prompt]:
    """``n`` prompts of one of :data:`OFF_TASKS`, from the images of ``relations`` in turn; errors
    as for :func:`~mfv_dsl.data.prompts.draw_prompts`."""
    task = OFF_TASKS[kind]
    return [
        Prompt(prompt.demonstrations, task.question(dataset, prompt.query))
        for prompt in draw_in_turn(dataset, relations, split, n, task.shots, seed)
    ]
