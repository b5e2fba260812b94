"""``mfv data check``: everything about a dataset that a run would stumble over or hide."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data import is_of_files, open_dataset, read_table
from mfv_dsl.data.findings import Finding
from mfv_dsl.data.images import PECULIARITIES, peculiarities
from mfv_dsl.data.items import Dataset
from mfv_dsl.data.loading import ahead
from mfv_dsl.data.names import answer_names
from mfv_dsl.data.prompts import Reuse, draw_prompts, reuse
from mfv_dsl.data.table import FileDataset, Table
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.checker import registry_facts
from mfv_dsl.lang.entries import CONSTRUCTOR

#: A relation with so many times the items of another, in one split, is worth a warning.
UNBALANCED = 2
#: A listener's ``begin``: a piece of work of so many units starts; call the result as they finish.
Begin = Callable[[str, int], Callable[[int], None]]


class Tokenizes(Protocol):
    """What is needed of a model to see which answers it tells apart."""

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        """The first token of each of ``names`` where an answer stands."""


@dataclass(frozen=True)
class Report:
    """What a check found: items by relation and split, how prompts share images by split, what the
    declared rules left out, and findings."""

    name: str
    description: str = ""
    hash: str = ""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    reuse: Mapping[str, Reuse] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_dataset(
    made: Constructed,
    begin: Begin,
    shots: int = 4,
    prompts: int = 100,
    model: Tokenizes | None = None,
) -> Report:
    """Check the dataset that a recipe declares, its images included.

    How prompts share images is counted on ``prompts`` prompts of every relation with ``shots``
    demonstrations.  With ``model``, answers that it scores alike are found.
    """
    try:
        if is_of_files(made.constructor):
            table = read_table(made.constructor, **made.arguments)
            dropped, description = table.dropped, table.description
            findings = [*table.findings, *_images(made.name, table, begin)]
            if any(finding.severity == "error" for finding in table.findings):
                return Report(made.name, description, dropped=dropped, findings=tuple(findings))
            dataset: Dataset = FileDataset(table)
        else:
            known = registry_facts(CONSTRUCTOR["dataset"][made.constructor], made.arguments)
            dropped, description, findings = {}, known.description if known else "", []
            dataset = open_dataset(made.constructor, **made.arguments)
    except MfvError as error:
        said = [error.message, *error.notes, *([error.help] if error.help else [])]
        return Report(made.name, findings=(Finding("error", error.code, "", "; ".join(said)),))
    counts = {
        relation: {split: len(dataset.items(relation, split)) for split in dataset.splits}
        for relation in dataset.relations
    }
    shared, few = _reuse(dataset, shots, prompts)
    findings += [*_balance(counts, dataset.splits), *few]
    if model is not None:
        findings += alike(model, answer_names(dataset))
    return Report(made.name, description, dataset.hash, counts, dropped, shared, tuple(findings))


def _images(name: str, table: Table, begin: Begin) -> list[Finding]:
    """Decode every image, and look for one picture in two splits."""
    done = begin(f"images of {name}", len(table.images))

    def looked_at(image: str) -> list[Finding]:
        file = table.images[image]
        try:
            kinds = peculiarities(file.open(), image)
        except MfvError as error:
            return [Finding("error", error.code, image, error.message)]
        return [Finding("warning", "MFV7120", image, PECULIARITIES[kind]) for kind in kinds]

    found = []
    for some in ahead(looked_at, table.images):
        found += some
        done(1)
    return found + _in_two_splits(table)


def _in_two_splits(table: Table) -> list[Finding]:
    """Images of different names and splits, but equal contents."""
    split_of = {item.image: split for (_, split), pool in table.items.items() for item in pool}
    by_size = defaultdict(list)
    for image, file in table.images.items():
        by_size[file.bytes].append(image)
    first: dict[bytes, str] = {}
    found = []
    for same_size in by_size.values():
        if len(same_size) == 1:
            continue
        for image in same_size:
            source = table.images[image].open()
            data = source.read_bytes() if isinstance(source, Path) else source.read()
            twin = first.setdefault(hashlib.sha256(data).digest(), image)
            if split_of[image] != split_of[twin]:
                what = f"is the same picture as {twin}, but in `{split_of[image]}`, not "
                what += f"`{split_of[twin]}`"
                found.append(Finding("error", "MFV7113", image, what))
    return found


def _balance(counts: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> list[Finding]:
    found = []
    for split in splits:
        here = {relation: by_split[split] for relation, by_split in counts.items()}
        most, least = max(here, key=lambda r: here[r]), min(here, key=lambda r: here[r])
        if here[most] > UNBALANCED * here[least]:
            what = f"`{most}` has {here[most]:,} items, `{least}` {here[least]:,}; `balance = true`"
            found.append(Finding("warning", "MFV7119", split, f"{what} evens that out"))
    return found


def _reuse(dataset: Dataset, shots: int, prompts: int) -> tuple[dict[str, Reuse], list[Finding]]:
    """How prompts of all relations share images, by split."""
    shared, found = {}, []
    for split in dataset.splits:
        drawn = []
        for relation in dataset.relations:
            n = min(prompts, len(dataset.items(relation, split)))
            try:
                drawn += draw_prompts(dataset, relation, split, n, shots)
            except MfvError as error:
                found.append(Finding("warning", error.code, split, error.message))
        if drawn:
            shared[split] = reuse(drawn)
    return shared, found


def alike(model: Tokenizes, names: Sequence[str]) -> list[Finding]:
    """Answers that begin with the same token: scoring by the first token takes them for one."""
    groups = defaultdict(list)
    for name, token in zip(names, model.first_tokens(names), strict=True):
        groups[token].append(name)
    found = []
    for same in groups.values():
        if len(same) > 1:
            shown = ", ".join(same[:6]) + (f" and {len(same) - 6} more" if len(same) > 6 else "")
            what = f"these answers begin with the same token: {shown}"
            found.append(Finding("warning", "MFV7121", "", what))
    return found
