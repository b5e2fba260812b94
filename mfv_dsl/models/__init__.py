"""Models behind one protocol.  :func:`load` is the only way a model comes to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.data.template import OPENFLAMINGO, Template
from mfv_dsl.lang.constructors import constructor_module

if TYPE_CHECKING:
    from mfv_dsl.models.openflamingo import OpenFlamingo


def load(
    constructor: str, device: str | None = None, download: bool = False, **arguments: Any
) -> OpenFlamingo:
    """Load the model that ``constructor(**arguments)`` names in a recipe.

    ``device`` comes before the constructor's own argument; ``download`` lets files that are missing
    be fetched.  Raises MfvError: MFV7001 for a kind of model that cannot be loaded.
    """
    if device is not None:
        arguments["device"] = device
    model: OpenFlamingo = constructor_module("model", constructor).load(
        download=download, **arguments
    )
    return model


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
