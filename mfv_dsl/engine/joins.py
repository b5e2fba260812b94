"""Where variants branch off the unedited token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from mfv_dsl.engine.edits import Edit
from mfv_dsl.models.base import Continuation

#: The stage where a variant branches off the unedited token, and whether before it, inside (at the
#: attention's output projection) or behind it.
Join: TypeAlias = tuple[int, int]
BEFORE, INSIDE, BEHIND = range(3)


def join_of(continuation: Continuation, variant: Sequence[Edit]) -> Join:
    """Where a variant's first edit is; behind the last stage for one without edits."""
    never = len(continuation.stages), BEFORE
    return min((_join(continuation, edit) for edit in variant), default=never)


def _join(continuation: Continuation, edit: Edit) -> Join:
    stage = continuation.stage_of(edit.layer)
    if len(continuation.stages) > 1:
        if edit.site == "lm.resid":
            return stage, BEHIND
        if edit.site.startswith("lm.") and continuation.joins_inside:
            return stage, INSIDE
    return stage, BEFORE
