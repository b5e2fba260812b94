"""Names of objects: clean-ups, synonyms, and the answers that a dataset knows."""

from __future__ import annotations

from collections.abc import Mapping

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import user_path
from mfv_dsl.base.texts import excerpt, tidy
from mfv_dsl.data.findings import Finding, refuse_errors
from mfv_dsl.data.items import Dataset
from mfv_dsl.data.marks import is_blank
from mfv_dsl.data.text_files import read_csv

#: Renamings of the official synthetic images (arXiv:2510.02528); `antique…` loses its first part.
RENAMED: Mapping[str, str] = {"coffee": "mug", "greenbottle": "bottle", "baseballbat": "bat"}


def cleaned(name: str) -> str:
    """A name of the official synthetic images as the paper asks for it.

    >>> cleaned("antiquemug"), cleaned("greenbottle"), cleaned("apple")
    ('mug', 'bottle', 'apple')
    """
    return RENAMED.get(name, name.removeprefix("antique") or name)


def read_synonyms(path: str) -> dict[str, str]:
    """Synonym -> canonical name, from a CSV with the columns ``canonical,synonym``.

    MfvError: MFV7106 if it cannot be read, MFV7114 with every line that is wrong.
    """
    table = read_csv(user_path(path), "MFV7114")
    if table.columns != ("canonical", "synonym"):
        raise MfvError(
            "MFV7114", f"{path} is no list of synonyms: its first line is "
            f"`{excerpt(','.join(table.columns))}`",
            help="its first line has to be `canonical,synonym`",
        )  # fmt: skip
    canonical_of: dict[str, str] = {}
    findings = list(table.findings)
    for line, row in table.rows:
        canonical, synonym = tidy(row["canonical"]), tidy(row["synonym"])
        if is_blank(canonical) or is_blank(synonym):
            what = "one of the two names is missing"
        elif canonical_of.setdefault(synonym, canonical) != canonical:
            what = f"`{synonym}` already stands for `{canonical_of[synonym]}`"
        else:
            continue
        findings.append(Finding("error", "MFV7114", f"line {line}", what))
    for synonym, canonical in canonical_of.items():
        if canonical_of.get(canonical, canonical) != canonical:
            what = f"`{canonical}` stands for `{synonym}`, and `{canonical_of[canonical]}` for it"
            findings.append(Finding("error", "MFV7114", "", what))
    refuse_errors(path, findings)
    return canonical_of


def answer_names(dataset: Dataset) -> tuple[str, ...]:
    """Every answer that the dataset has, over all relations and splits, in alphabetical order."""
    names = {
        item.answer
        for relation in dataset.relations
        for split in dataset.splits
        for item in dataset.items(relation, split)
    }
    return tuple(sorted(names))
