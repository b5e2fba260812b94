"""The errors of the project: every one is an :class:`MfvError` with a stable code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mfv_dsl.base.diagnostics import Diagnostic, render
from mfv_dsl.base.tracebacks import traceback_lines


class MfvError(Exception):
    """Any error of the project: a stable code, a message, and what to do.

    Its code has a page; see :mod:`mfv_dsl.lang.codes`.  ``str()`` is the rendered text;
    ``diagnostics`` holds at least one :class:`Diagnostic`.  ``argument`` names the argument of a
    call that is to blame, if one is.

    >>> print(MfvError("MFV6101", "cannot read a.mfv", help="check the path"))
    error[MFV6101]: cannot read a.mfv
      = help: check the path
    """

    #: Whether it has been shown to the user where it happened.
    is_shown = False

    def __init__(
        self,
        code: str,
        message: str,
        help: str | None = None,
        notes: Sequence[str] = (),
        *,
        argument: str | None = None,
        diagnostics: Iterable[Diagnostic] = (),
    ) -> None:
        super().__init__(message)
        self.argument = argument
        self.code = code
        self.message = message
        self.help = help
        self.notes = tuple(notes)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics) or (
            Diagnostic(code, message, help=help, notes=self.notes),
        )

    def __str__(self) -> str:
        return "\n\n".join(render(diagnostic) for diagnostic in self.diagnostics)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return traceback_lines(self, self.diagnostics, self.is_shown)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__)


def _rebuild(kind: type[MfvError], state: dict[str, Any]) -> MfvError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


class RecipeError(MfvError):
    """A text that is not a correct recipe; carries everything found in it, in source order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        findings = tuple(diagnostics)
        first = next((d for d in findings if d.severity == "error"), findings[0])
        super().__init__(first.code, first.message, first.help, first.notes, diagnostics=findings)
