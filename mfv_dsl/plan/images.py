"""How many different images a plan encodes, counted before any prompt is drawn; no torch.

A run encodes each different image once for a model, so that what counts is how many different ones
its prompts show.  Prompts of one relation, split and seed begin with the
same queries, and each with the same demonstrations counted from its query
(:mod:`mfv_dsl.data.prompts`), so that of several draws the larger has the smaller in it: that is
counted exactly.  Demonstrations that meet others by chance are not known before they are drawn, and
are counted as different, up to the number of images that the relation has in the split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.lang.entries import OFF_TASK_KINDS, TRAINING_SPLIT
from mfv_dsl.plan.described_trainings import training_items
from mfv_dsl.plan.descriptions import OFF_TASK_SHOTS, dataset_facts
from mfv_dsl.plan.sizes import OF_TRIALS
from mfv_dsl.plan.steps import Plan, Step

#: Relation, split and seed of what is drawn.
_Pool = tuple[str, str, int]


@dataclass(frozen=True)
class Draw:
    """``prompts`` prompts with ``images`` images each, of one relation, split and seed; or, of
    ``mixed`` relations, so many images of all of them together."""

    pool: _Pool
    prompts: int
    images: int
    mixed: tuple[str, ...] = ()


def draws(plan: Plan, step: Step) -> Iterator[Draw]:
    """What the prompts of a step show; nothing where it runs no model."""
    p = step.parameters

    def of(n: int, shots: int, split: str, relation: str = "") -> Draw:
        return Draw((relation or p["relation"], split, p["seed"]), n, shots + 1)

    if step.operation in OF_TRIALS:
        n, shots, corrupt = p["trials"], p["shots"], p.get("corrupt")
        yield of(n, 0 if corrupt in ("mix", "none") else shots, p["split"])
        if corrupt == "mix" and shots:
            pool = tuple(p.get("pool") or dataset_facts(plan, step).relations)
            yield Draw((p["relation"], p["split"], p["seed"]), n, shots, pool)
    elif step.operation == "answers":
        yield of(p["items"], p["shots"], p["split"])
    elif step.operation == "evaluate" and "unedited" not in step.references:
        shots = max(p["shots"], 1 if p.get("mode") == "blend" else 0)
        for split in (p["split"], *([p["select_on"]] if p.get("choose") else ())):
            yield of(p["items"], shots, split)
    elif step.operation == "off_task":
        for other in p["off_task"]:
            yield of(-(-p["items"] // len(p["off_task"])), OFF_TASK_KINDS[p["kind"]], p["split"],
                     other)  # fmt: skip
    elif step.operation in ("lora", "soft_prompt"):
        yield of(p["items"], p["shots"], TRAINING_SPLIT)
        yield of(p["select_items"], p["shots"], p["select_on"])
    elif step.operation == "tune":
        shots = max(p["shots"], p["teacher_shots"] if p["loss"] == "teacher" else 0)
        yield of(training_items(plan, step), shots, TRAINING_SPLIT)
        yield of(p["select_items"], p["shots"], p["select_on"])
        others = p["off_task"] if p["kl"] else ()
        for other in others:
            each = -(-training_items(plan, step) // len(others))
            yield of(each, OFF_TASK_SHOTS, TRAINING_SPLIT, other)


class ImageCount:
    """How many different images of one dataset some draws show, at most."""

    def __init__(self, facts: DatasetFacts) -> None:
        self._facts = facts
        self._sizes: dict[_Pool, set[tuple[int, int]]] = defaultdict(set)
        self._mixed: dict[tuple[_Pool, tuple[str, ...]], set[tuple[int, int]]] = defaultdict(set)

    def add(self, draw: Draw) -> None:
        """Count what ``draw`` shows, too."""
        size = draw.prompts, draw.images
        if draw.mixed:
            self._mixed[draw.pool, draw.mixed].add(size)
        else:
            self._sizes[draw.pool].add(size)

    @property
    def most(self) -> int:
        """So many, at most."""
        own: dict[tuple[str, str], int] = defaultdict(int)
        for (relation, split, _), sizes in self._sizes.items():
            own[relation, split] += _covered(sizes)
        known = {pool: min(n, self._there(*pool)) for pool, n in own.items()}
        more: dict[str, int] = defaultdict(int)  # by split, of whichever relations
        open_pools: set[tuple[str, str]] = set()
        for ((_, split, _), relations), sizes in self._mixed.items():
            more[split] += _covered(sizes)
            open_pools |= {(relation, split) for relation in relations}
        total = sum(known.values())
        for split, n in more.items():
            pools = [pool for pool in open_pools if pool[1] == split]
            total += min(n, sum(self._there(*pool) - known.get(pool, 0) for pool in pools))
        return total

    def _there(self, relation: str, split: str) -> int:
        """How many images a relation has in a split; more than any draw where that is not known."""
        for known in (self._facts.images, self._facts.counts):
            if split in known.get(relation, {}):
                return known[relation][split]
        return 1 << 60


def _covered(sizes: set[tuple[int, int]]) -> int:
    """The images of prompts of which the larger draws have the smaller in them, (prompts, images
    each).

    >>> _covered({(10, 5), (100, 1)})
    140
    """
    total = most = 0
    for prompts, images in sorted(sizes, key=lambda size: size[1], reverse=True):
        total += max(0, prompts - most) * images
        most = max(most, prompts)
    return total


def new_images(plan: Plan, steps: Iterable[Step]) -> dict[str, int]:
    """For each of ``steps``, in their order, how many images it shows that none before it has
    shown to its model, at most."""
    counts: dict[tuple[str, str], ImageCount] = {}
    found = {}
    for step in steps:
        found[step.key] = 0
        if step.model is None or step.dataset is None:
            continue
        facts = plan.datasets[step.dataset].facts
        if not isinstance(facts, DatasetFacts):
            continue
        count = counts.setdefault((step.model, facts.hash), ImageCount(facts))
        before = count.most
        for draw in draws(plan, step):
            count.add(draw)
        found[step.key] = count.most - before
    return found
