"""``mfv data check``: everything about a dataset that a run would stumble over or hide."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import read_regular
from mfv_dsl.data import is_of_files, open_dataset, read_table
from mfv_dsl.data.findings import Finding, listed
from mfv_dsl.data.images import LARGEST, PECULIARITIES, peculiarities
from mfv_dsl.data.items import Dataset, Item
from mfv_dsl.data.loading import ahead
from mfv_dsl.data.marks import check_name, differing_by_case
from mfv_dsl.data.names import answer_names
from mfv_dsl.data.prompts import Reuse, draw_prompts, reuse
from mfv_dsl.data.table import FileDataset, Table
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.checker import registry_facts
from mfv_dsl.lang.constructors import CONSTRUCTOR

#: A relation with so many times the items of another, in one split, is worth a warning.
UNBALANCED = 2
#: A listener's ``begin``: a piece of work of so many units starts; call the result as they finish.
Begin = Callable[[str, int], Callable[[int], None]]


class Tokenizes(Protocol):
    """What is needed of a model to see which answers it tells apart."""

    def first_tokens(self, names: Sequence[str]) -> list[int]:
        """The first token of each of ``names`` where an answer stands."""

    def answer_tokens(self, names: Sequence[str]) -> list[tuple[int, ...]]:
        """All tokens of each of ``names`` where an answer stands."""

    def unknown_words(self, names: Sequence[str]) -> list[str]:
        """The words of ``names`` that the tokenizer does not know."""

    @property
    def marks(self) -> Collection[str]:
        """What the tokenizer reads as marks of its own."""


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
    declared: Constructed,
    begin: Begin,
    shots: int = 4,
    prompts: int = 100,
    model: Tokenizes | None = None,
) -> Report:
    """Check the dataset that a recipe declares, its images included.

    Args:
        declared: The dataset; no facts are needed.
        begin: Hears how far the check is.
        shots: Demonstrations of the prompts on which shared images are counted.
        prompts: How many of these prompts each relation has, at most.
        model: Finds answers that begin with the same token.

    Returns:
        The report; what stops the dataset from being read is among its findings.
    """
    name = declared.name
    try:
        if is_of_files(declared.constructor):
            table = read_table(declared.constructor, **declared.arguments)
            dropped, description = table.dropped, table.description
            findings = [*table.findings, *_images(name, table, begin)]
            if any(finding.severity == "error" for finding in table.findings):
                return Report(name, description, dropped=dropped, findings=tuple(findings))
            dataset: Dataset = FileDataset(table)
        else:
            facts = registry_facts(CONSTRUCTOR["dataset"][declared.constructor], declared.arguments)
            dropped, description, findings = {}, facts.description if facts else "", []
            dataset = open_dataset(declared.constructor, **declared.arguments)
    except MfvError as error:
        sentences = [error.message, *error.notes, *([error.help] if error.help else [])]
        return Report(name, findings=(Finding("error", error.code, "", "; ".join(sentences)),))
    counts = {
        relation: {split: len(dataset.items(relation, split)) for split in dataset.splits}
        for relation in dataset.relations
    }
    shared, draw_findings = _reuse(dataset, shots, prompts)
    findings += [*_balance(counts, dataset.splits), *draw_findings]
    for group in differing_by_case(_names(dataset)):
        what = f"these names differ in capital letters alone: {', '.join(group)}"
        findings.append(Finding("warning", "MFV7125", "", what))
    if model is not None:
        findings += _for_model(model, dataset)
    return Report(name, description, dataset.hash, counts, dropped, shared, tuple(findings))


def _images(name: str, table: Table, begin: Begin) -> list[Finding]:
    """Decode every image, and look for one picture in two splits."""
    done = begin(f"images of {name}", len(table.images))

    def look_at(image: str) -> list[Finding]:
        file = table.images[image]
        try:
            kinds = peculiarities(file.open(), image)
        except MfvError as error:
            return [Finding("error", error.code, image, error.message)]
        return [Finding("warning", "MFV7120", image, PECULIARITIES[kind]) for kind in kinds]

    findings = []
    for image_findings in ahead(look_at, table.images):
        findings += image_findings
        done(1)
    return findings + _in_two_splits(table)


def _in_two_splits(table: Table) -> list[Finding]:
    """Images of different names and splits, but equal contents."""
    split_of = {item.image: split for (_, split), pool in table.items.items() for item in pool}
    by_size = defaultdict(list)
    for image, file in table.images.items():
        by_size[file.bytes].append(image)
    first: dict[bytes, str] = {}
    findings = []
    for same_size in by_size.values():
        if len(same_size) == 1:
            continue
        for image in same_size:
            source = table.images[image].open()
            try:
                data = read_regular(source, LARGEST) if isinstance(source, Path) else source.read()
            except OSError:
                continue  # that it cannot be read is told already
            twin = first.setdefault(hashlib.sha256(data).digest(), image)
            if split_of[image] != split_of[twin]:
                what = f"is the same picture as {twin}, but in `{split_of[image]}`, not "
                what += f"`{split_of[twin]}`"
                findings.append(Finding("error", "MFV7113", image, what))
    return findings


def _balance(counts: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> list[Finding]:
    findings = []
    for split in splits:
        sizes = {relation: by_split[split] for relation, by_split in counts.items()}
        most, least = max(sizes, key=lambda r: sizes[r]), min(sizes, key=lambda r: sizes[r])
        if sizes[most] > UNBALANCED * sizes[least]:
            what = f"`{most}` has {sizes[most]:,} items, `{least}` {sizes[least]:,}; "
            what += "`balance = true`"
            findings.append(Finding("warning", "MFV7119", split, f"{what} evens that out"))
    return findings


def _reuse(dataset: Dataset, shots: int, prompts: int) -> tuple[dict[str, Reuse], list[Finding]]:
    """How prompts of all relations share images, by split."""
    shared, findings = {}, []
    for split in dataset.splits:
        split_prompts = []
        for relation in dataset.relations:
            n = min(prompts, len(dataset.items(relation, split)))
            try:
                split_prompts += draw_prompts(dataset, relation, split, n, shots)
            except MfvError as error:
                findings.append(Finding("warning", error.code, split, error.message))
        if split_prompts:
            shared[split] = reuse(split_prompts)
    return shared, findings


def _items(dataset: Dataset) -> Iterator[Item]:
    for relation in dataset.relations:
        for split in dataset.splits:
            yield from dataset.items(relation, split)


def _names(dataset: Dataset) -> tuple[str, ...]:
    """Every object that the dataset asks about or that is an answer."""
    items = _items(dataset)
    return tuple(sorted({name for item in items for name in (item.query, item.answer)}))


def _for_model(model: Tokenizes, dataset: Dataset) -> list[Finding]:
    """What the model's tokenizer makes of the names."""
    findings: dict[str, Finding] = {}
    answers, seen = set(answer_names(dataset)), set()
    for item in _items(dataset):
        asked = item.choice.options if item.choice else ()
        for name in (item.query, item.answer, *asked):
            if name in seen:
                continue
            try:
                check_name(name, model.marks)
                if name in answers:
                    model.answer_tokens([name])
            except MfvError as error:
                place = item.place or item.image
                findings[name] = Finding("error", error.code, place, error.message)
            seen.add(name)
    unknown = model.unknown_words([name for name in _names(dataset) if name not in findings])
    if unknown:
        what = f"the model's tokenizer does not know: {listed(unknown)}"
        findings[""] = Finding("warning", "MFV5376", "", what)
    known = sorted(answers.difference(findings))
    options = _same_options(model, dataset)
    return [*findings.values(), *alike(model, known), *same(model, known), *options]


def _same_options(model: Tokenizes, dataset: Dataset) -> list[Finding]:
    """A warning of questions of which two options have the same tokens: they cannot be told
    apart."""
    tokens: dict[str, tuple[int, ...]] = {}
    places = []
    for item in _items(dataset):
        options = item.choice.options if item.choice else ()
        for option in options:
            if option not in tokens:
                with suppress(MfvError):  # which is told of by itself
                    (tokens[option],) = model.answer_tokens([option])
        known = [tokens[option] for option in options if option in tokens]
        if len(set(known)) < len(known):
            places.append(item.place or item.image)
    if not places:
        return []
    more = f", as in {len(places) - 1:,} questions more" if len(places) > 1 else ""
    what = f"two options of the question have the same tokens{more}"
    return [Finding("warning", "MFV5713", places[0], what)]


def alike(model: Tokenizes, names: Sequence[str]) -> list[Finding]:
    """Answers that begin with the same token: scoring by the first token takes them for one."""
    groups = defaultdict(list)
    for name, token in zip(names, model.first_tokens(names), strict=True):
        groups[token].append(name)
    findings = []
    for group in groups.values():
        if len(group) > 1:
            what = f"these answers begin with the same token: {listed(group)}"
            findings.append(Finding("warning", "MFV7121", "", what))
    return findings


def same(model: Tokenizes, names: Sequence[str]) -> list[Finding]:
    """Answers whose tokens are the same: scoring whole names takes them for one."""
    whole = defaultdict(list)
    findings = []
    for name, tokens in zip(names, model.answer_tokens(names), strict=True):
        whole[tokens].append(name)
    for group in whole.values():
        if len(group) > 1:
            what = (
                f"these answers have the same tokens, so `full` cannot score them: {listed(group)}"
            )
            findings.append(Finding("warning", "MFV5375", "", what))
    return findings
