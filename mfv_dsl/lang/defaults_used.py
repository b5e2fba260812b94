"""What is said of a value of `defaults` where it is used."""

from __future__ import annotations

from dataclasses import replace

from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.scope import Scope


def circle_of(scope: Scope, circle: list[str], subject: str) -> Diagnostic:
    """What is said (MFV2009) of values that are made of one another."""
    first, *others = map(scope.default_at, circle)
    through = ", through others" if others else ""
    uses = f"{subject} in it takes `{first.name.text}` from {where(circle[0])}"
    return Diagnostic(
        "MFV2009", f"`defaults.{circle[0]}` is made of itself{through}", scope.source,
        first.name.span, "" if others else uses,
        help=f"give `{first.name.text}` a value that does not depend on it",
        secondary=tuple(
            Label(other.name.span, uses if other is others[-1] else "which uses this")
            for other in others
        ),
    )  # fmt: skip


def where(key: str) -> str:
    """The block that a value of `defaults` stands in."""
    kind, dot, _ = key.partition(".")
    return f"`defaults for {kind}`" if dot else "`defaults`"


def adopt(
    scope: Scope, key: str, findings: list[Diagnostic], subject: str, parameter: Parameter
) -> None:
    """Report what a value from `defaults` does wrong where it is used, once per place."""
    if f"defaults.{key}" in scope.reported:
        return
    for diagnostic in findings:
        if scope.once(f"defaults:{diagnostic.code}:{diagnostic.span}"):
            note = f"{subject} takes `{parameter.name}` from {where(key)}"
            scope.findings.append(replace(diagnostic, notes=(*diagnostic.notes, note)))
