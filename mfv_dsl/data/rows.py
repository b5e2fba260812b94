"""The rows of a dataset's files, and what is wrong with them, whatever the format."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mfv_dsl.base.names import plain_spelling
from mfv_dsl.base.texts import excerpt, is_whole
from mfv_dsl.data.choices import LONGEST_TEXT, Choice
from mfv_dsl.data.findings import Finding, listed
from mfv_dsl.data.marks import differing_by_case, is_blank, mark_in

#: Characters of a name at most; a longer one is a broken file, not an object.
LONGEST_NAME = 500
#: Characters of a relation at most, as of every name in a recipe.
LONGEST_RELATION = 100
#: Groups of relations that are spelled alike, of which each is told.
MOST_TWINS = 10


@dataclass(frozen=True)
class ItemRow:
    """One item as a reader gives it; ``place`` is where it stands in the file."""

    place: str
    image: str
    query: str
    answer: str
    relation: str
    split: str | None = None
    choice: Choice | None = None


def bad_names(rows: Sequence[ItemRow]) -> list[Finding]:
    """Names that are blank or endless, or that models would read as their marks; each different
    name is looked at once."""
    why = {
        name: _no_name(name, LONGEST_NAME if row.choice is None else LONGEST_TEXT)
        for row in rows
        for name in (row.query, row.answer)
    }
    if not any(why.values()):
        return []
    return [
        Finding("error", "MFV7107", row.place, f"`{what}` {why[name]}")
        for row in rows
        for what, name in (("query", row.query), ("answer", row.answer))
        if why[name]
    ]


def _no_name(name: str, longest: int) -> str:
    """Why an object, or a question, cannot be called so, empty where it can."""
    if is_blank(name):
        return "missing or empty"
    if len(name) > longest:
        return f"has {len(name):,} characters, which is no name of an object"
    mark = mark_in(name)
    return "" if mark is None else f"holds `{mark}`, which models read as a mark, not as a name"


def without_choice(rows: Sequence[ItemRow]) -> list[Finding]:
    """A warning of rows without options, where others have some: none can be asked by options."""
    lacking = [row for row in rows if row.choice is None]
    if not lacking or len(lacking) == len(rows):
        return []
    what = f"has no options, and {len(rows) - len(lacking):,} of {len(rows):,} items have some"
    return [Finding("warning", "MFV7161", lacking[0].place, what)]


def bad_relations(rows: Sequence[ItemRow]) -> list[Finding]:
    """Names that no relation can have: blank or endless ones, and those that models would read as
    their marks."""
    findings = []
    for name, row in {row.relation: row for row in reversed(rows)}.items():
        if (why := no_relation(name)) is not None:
            findings.append(Finding("error", "MFV7107", row.place, why))
    return findings


@lru_cache(maxsize=100_000)  # of few relations, for every statement of a set
def no_relation(name: str) -> str | None:
    """Why a name cannot be that of a relation, None where it can."""
    if is_blank(name):
        return "`relation` missing or empty"
    if len(name) > LONGEST_RELATION:
        return (
            f"a relation of {len(name):,} characters: `{excerpt(name, 40)}`; a name has at most "
            f"{LONGEST_RELATION}"
        )
    if not is_whole(name) or not name.isprintable():
        return f"the relation {excerpt(ascii(name))} has characters that cannot be written"
    if (mark := mark_in(name)) is not None:
        return f"the relation `{name}` holds `{mark}`, which models read as a mark, not as a name"
    return None


def twin_relations(rows: Sequence[ItemRow], asked: Collection[str]) -> list[Finding]:
    """Warnings of relations that may be one with one of those asked for, spelled in two ways."""
    first = {row.relation: row for row in reversed(rows)}
    groups = differing_by_case(first, _folded)
    groups = [group for group in groups if not set(asked).isdisjoint(group)]
    findings = []
    for group in groups[:MOST_TWINS]:
        what = f"these relations are told apart: {listed(group)}; if they are one, spell it alike"
        place = first[group[-1]].place
        findings.append(Finding("warning", "MFV7131", place, what))
    if len(groups) > MOST_TWINS:
        more = f"{len(groups) - MOST_TWINS:,} more groups of relations that are spelled alike are "
        findings.append(Finding("warning", "MFV7131", "", f"{more}told apart"))
    return findings


def _folded(relation: str) -> str:
    return plain_spelling(relation).casefold().replace("_", "")


def repeats(rows: Sequence[ItemRow]) -> list[Finding]:
    """Rows that say again what another said, or that contradict it."""
    first_rows: dict[tuple[str, str, str], ItemRow] = {}
    findings = []
    for row in rows:
        first = first_rows.setdefault((row.image, row.query, row.relation), row)
        if first is row:
            continue
        what = f"says the same as {first.place}"
        if first.answer != row.answer:
            what = f"gives `{row.answer}` where {first.place} gives `{first.answer}`"
        findings.append(Finding("error", "MFV7107", row.place, what))
    return findings
