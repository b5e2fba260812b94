"""The recipe language: text to checked recipe.  Nothing here imports torch.

Names are loaded on first use, so that catching an error costs no parser.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfv_dsl.lang.checked import Checked
    from mfv_dsl.lang.checker import CheckResult, Facts, check, check_source, load_recipe
    from mfv_dsl.lang.diagnostics import Diagnostic, MfvError, RecipeError, render, to_json
    from mfv_dsl.lang.parser import Parsed, parse, parse_expression, read_source, source_from_bytes
    from mfv_dsl.lang.source import Source, Span

_HOME = {
    "checker": ("CheckResult", "Facts", "check", "check_source", "load_recipe"),
    "checked": ("Checked",),
    "diagnostics": ("Diagnostic", "MfvError", "RecipeError", "render", "to_json"),
    "parser": ("Parsed", "parse", "parse_expression", "read_source", "source_from_bytes"),
    "source": ("Source", "Span"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"mfv_dsl.lang.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CheckResult",
    "Checked",
    "Diagnostic",
    "Facts",
    "MfvError",
    "Parsed",
    "RecipeError",
    "Source",
    "Span",
    "check",
    "check_source",
    "load_recipe",
    "parse",
    "parse_expression",
    "read_source",
    "render",
    "source_from_bytes",
    "to_json",
]
