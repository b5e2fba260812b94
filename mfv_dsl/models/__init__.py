"""Models behind one protocol.  :func:`load` is the only way a model comes to be, once in a process;
:func:`load_anew` gives another of its kind."""

from __future__ import annotations

from typing import Any

from mfv_dsl.data.template import OPENFLAMINGO, Template
from mfv_dsl.lang.constructors import constructor_module
from mfv_dsl.models.loaded import load, load_anew

__all__ = ["fetch", "load", "load_anew", "sources", "template"]


def sources(constructor: str, **arguments: Any) -> dict[str, dict[str, str]]:
    """Where the files of ``constructor(**arguments)`` come from, part by part: a ``folder``, or a
    ``repository`` at a ``commit``.  Nothing for a model that comes with mfv-dsl."""
    sources: dict[str, dict[str, str]] = constructor_module("model", constructor).sources(
        **arguments
    )
    return sources


def template(constructor: str, **arguments: Any) -> Template:
    """How prompts are written for ``constructor(**arguments)``."""
    module = constructor_module("model", constructor)
    if not hasattr(module, "template"):
        return OPENFLAMINGO
    prompts: Template = module.template(**arguments)
    return prompts


def fetch(constructor: str, **arguments: Any) -> None:
    """Download what can be known of ``constructor(**arguments)`` only from its files."""
    module = constructor_module("model", constructor)
    if hasattr(module, "fetch"):
        module.fetch(**arguments)
