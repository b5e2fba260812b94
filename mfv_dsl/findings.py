"""What is wrong with a recipe's file: what ``mfv check`` says, with nothing else loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mfv_dsl.base.arguments import path as as_path
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import VectorFacts
from mfv_dsl.base.places import find_recipe
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import check_each_profile, check_source, of_profiles
from mfv_dsl.lang.overrides import in_option
from mfv_dsl.lang.parser import read_source, source_from_bytes
from mfv_dsl.library.lock import NAME as LOCK_NAME
from mfv_dsl.library.lock import NO_LOCK, Lock, read_lock
from mfv_dsl.library.sources import at_hand
from mfv_dsl.plan.build import build_plan

#: What stands for standard input where a recipe's file is asked for.
STDIN = "-"


def findings(
    path: str | Path, overrides: Sequence[str] = (), profile: str | None = None
) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a recipe's file, as :meth:`mfv_dsl.api.Recipe.findings`."""
    source, lock = read_recipe(path)

    def find(path: str, name: str | None) -> VectorFacts | None:
        return at_hand(path, name, lock)

    result = check_source(source, None, overrides, find, profile)
    own = (*result.diagnostics, *_of_plan(result.checked, source, overrides))
    if profile:
        return own
    results = check_each_profile(source, find=find)
    plain = check_source(source, find=find) if results and overrides else result
    more = list(of_profiles(results, plain.diagnostics))
    for other in () if result.checked is None else results.values():
        more += [d for d in _of_plan(other.checked, source) if d not in (*own, *more)]
    return (*own, *more)


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


def _of_plan(
    checked: Checked | None, source: Source, overrides: Sequence[str] = ()
) -> list[Diagnostic]:
    """Why no plan can be made of a checked recipe, or none that can be run."""
    if checked is None:
        return []
    try:
        found = build_plan(checked).errors
    except MfvError as error:
        # what a model or dataset is that is not on this machine, nobody can say
        found = () if error.code == "MFV5001" else error.diagnostics
    return [in_option(diagnostic, source, overrides) for diagnostic in found]
