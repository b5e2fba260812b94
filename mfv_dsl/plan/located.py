"""Where in a recipe it stands what a plan cannot be made of."""

from __future__ import annotations

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Span
from mfv_dsl.lang.checked import Checked, CheckedBlock, Setting


def located(error: MfvError, checked: Checked, block: CheckedBlock) -> Diagnostic:
    """What planning ``block`` raised, at the attribute that ``error.argument`` names: the block's
    own, else a call's, else that of `defaults`; at the block's name where none was written."""
    return Diagnostic(
        error.code, error.message, checked.recipe.source,
        _place(error.argument or "", checked, block) or _head(checked, block),
        f"in `{block.own_name}`" if block.kind != "save" else "",
        help=error.help, notes=error.notes,
    )  # fmt: skip


def placed(error: MfvError, checked: Checked, block: CheckedBlock) -> MfvError:
    """``error``, which says where it is; one that knows a place of its own stays as it is."""
    if any(diagnostic.span for diagnostic in error.diagnostics) or error.code == "MFV5001":
        return error
    diagnostic = checked.copies.told(located(error, checked, block))
    return MfvError(
        error.code, error.message, error.help, error.notes,
        argument=error.argument, diagnostics=[diagnostic],
    )  # fmt: skip


def _place(name: str, checked: Checked, block: CheckedBlock) -> Span | None:
    found = {"written": None, "call": None, "defaults": None} | _by_origin(block.settings.get(name))
    for span, options in checked.options.items():
        setting = options.get(name)
        if setting is not None and setting.origin == "written" and _within(span, block, checked):
            found["call"] = found["call"] or setting.span
    given = (*checked.reaching.values(), checked.defaults)
    default = next((settings[name] for settings in given if name in settings), None)
    found["defaults"] = found["defaults"] or (default.span if default else None)
    return found["written"] or found["call"] or found["defaults"]


def _by_origin(setting: Setting | None) -> dict[str, Span | None]:
    return {} if setting is None else {setting.origin: setting.span}


def _within(span: Span, block: CheckedBlock, checked: Checked) -> bool:
    """Whether a call stands in the block, or in a declaration, which the block may use."""

    def has(other: CheckedBlock) -> bool:
        return other.span.start <= span.start < other.span.end

    return has(block) or not any(map(has, checked.blocks))


def _head(checked: Checked, block: CheckedBlock) -> Span:
    """The block's kind and name."""
    text = checked.recipe.source.text[block.span.start : block.span.end]
    head = text.partition("{")[0].rstrip()
    return Span(block.span.start, block.span.start + max(1, len(head.split("\n")[0])))
