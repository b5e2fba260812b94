"""What is wrong with a recipe's file: what ``mfv check`` says, with nothing else loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mfv_dsl.base.arguments import path as as_path
from mfv_dsl.base.collecting import uncollected
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import VectorFacts
from mfv_dsl.base.places import find_recipe
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import (
    NO_FILES,
    CheckResult,
    Facts,
    check_each_profile,
    check_source,
    no_vectors,
    of_profiles,
)
from mfv_dsl.lang.inclusion import FilesBeside, Reader
from mfv_dsl.lang.loads import VectorFinder
from mfv_dsl.lang.parser import read_source, source_from_bytes
from mfv_dsl.lang.syntax import Block, Text
from mfv_dsl.library.lock import NAME as LOCK_NAME
from mfv_dsl.library.lock import NO_LOCK, Lock, read_lock
from mfv_dsl.library.overwriting import CODE as OVERWRITING
from mfv_dsl.library.overwriting import overwritten
from mfv_dsl.library.sources import at_hand
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.steps import Plan, written_in

#: What stands for standard input where a recipe's file is asked for.
STDIN = "-"


@uncollected()
def findings(
    path: str | Path, overrides: Sequence[str] = (), profile: str | None = None
) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a recipe's file, as :meth:`mfv_dsl.api.Recipe.findings`."""
    source, lock = read_recipe(path)
    return findings_in(source, reader_beside(path), overrides, profile, lock)


def findings_in(
    source: Source,
    read: Reader,
    overrides: Sequence[str] = (),
    profile: str | None = None,
    lock: Lock = NO_LOCK,
    facts: Facts | None = None,
) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a recipe's text; ``read`` reads the files that it uses, and
    ``facts`` are those of models and datasets where not the registry's."""

    def find(path: str, name: str | None) -> VectorFacts | None:
        return at_hand(path, name, lock)

    result = check_source(source, facts, overrides, find, profile, read=read)
    if profile:
        return (*result.diagnostics, *_plan(result.checked)[1])
    return (*result.diagnostics, *beyond_check(source, result, facts, find, overrides, read)[0])


def beyond_check(
    source: Source,
    result: CheckResult,
    facts: Facts | None = None,
    find: VectorFinder = no_vectors,
    overrides: Sequence[str] = (),
    read: Reader = NO_FILES,
) -> tuple[list[Diagnostic], Plan | None]:
    """What is wrong with a recipe beside what its check gave, ``result``, and its plan.

    That is: why no plan can be made of it, or none that can be run, and what is wrong with it with
    each of its profiles.  The plan is None where none can be made.
    """
    plan, more = _plan(result.checked)
    results = check_each_profile(source, facts, find, read)
    plain = check_source(source, facts, find=find, read=read) if results and overrides else result
    more += of_profiles(results, plain.diagnostics)
    for other in () if result.checked is None else results.values():
        found = _plan(other.checked)[1]
        more += [d for d in found if d not in (*result.diagnostics, *more)]
    return more, plan


def read_recipe(path: str | Path) -> tuple[Source, Lock]:
    """A recipe's text, and what ``mfv.lock`` beside it pins; ``-`` is standard input, which has no
    lock."""
    if str(path) == STDIN:
        return source_from_bytes(sys.stdin.buffer.read(), "<stdin>"), NO_LOCK
    file = find_recipe(as_path(path, "a recipe's file"))
    try:
        source = read_source(file, str(path))
    except OSError as error:
        raise MfvError("MFV6101", f"cannot read {path}: {error.strerror}") from None
    return source, read_lock(file.parent / LOCK_NAME)


def reader_beside(path: str | Path) -> FilesBeside:
    """The reader of the files that a recipe's file uses; ``-`` is standard input."""
    if str(path) == STDIN:
        return FilesBeside()
    return FilesBeside(find_recipe(as_path(path, "a recipe's file")), str(path))


def _overwritten(checked: Checked, plan: Plan) -> Iterator[Diagnostic]:
    """Warnings (MFV6017) of vectors in whose place others would be saved, and from which there are
    others still."""
    labels = [item.label for item in checked.recipe.items if isinstance(item, Block)]
    places = {label.value: label.span for label in labels if isinstance(label, Text)}
    for found in overwritten(written_in(plan.saves, OVERWRITING)):
        yield Diagnostic(
            OVERWRITING, found.message, checked.recipe.source, places.get(found.folder),
            severity="warning", help=found.help,
        )  # fmt: skip


def _plan(checked: Checked | None) -> tuple[Plan | None, list[Diagnostic]]:
    """The plan of a checked recipe, and why there is none, or none that can be run."""
    if checked is None:
        return None, []
    plan = None
    try:
        plan = build_plan(checked)
        found = (*plan.errors, *_overwritten(checked, plan))
    except MfvError as error:
        # what a model or dataset is that is not on this machine, nobody can say
        found = () if error.code == "MFV5001" else error.diagnostics
    return plan, [checked.show(diagnostic) for diagnostic in found]
