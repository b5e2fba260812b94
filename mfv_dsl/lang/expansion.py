"""From a recipe as it is written to one without abbreviations: constants and `defaults for` blocks
are written out, and what is swept is there once for each value.

It stands between the tree, once a profile and options have changed it, and the checker, which
knows nothing of what is expanded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.source import Span
from mfv_dsl.lang.constants import without_constants
from mfv_dsl.lang.copies import Copies
from mfv_dsl.lang.defaults import written_out
from mfv_dsl.lang.readings import without_sweeps
from mfv_dsl.lang.scope import Use
from mfv_dsl.lang.syntax import RecipeTree


@dataclass(frozen=True)
class Expanded:
    """A recipe as it was ``written`` and written out, what its copies are of, and what was
    wrong with the abbreviations."""

    written: RecipeTree
    recipe: RecipeTree
    copies: Copies
    findings: tuple[Diagnostic, ...]
    #: what the names that were written out stood for, by their places
    uses: Mapping[Span, Use]


def expand(recipe: RecipeTree) -> Expanded:
    """Write a recipe out: first its constants, then what `defaults for` says of blocks, then its
    sweeps."""
    copies = Copies()
    findings: list[Diagnostic] = []
    uses: dict[Span, Use] = {}
    result = without_constants(recipe, copies, findings, uses)
    result = written_out(result, copies)
    result = without_sweeps(result, copies, findings, uses)
    return Expanded(recipe, result, copies, tuple(findings), uses)
