"""``tiny()``: the bundled models by the words of a recipe.  No torch until one is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.suggest import suggest
from mfv_dsl.data.template import IMAGE, OPENFLAMINGO, Template
from mfv_dsl.models.tiny.facts import WEIGHTS, folder_facts
from mfv_dsl.models.vlm.facts import facts_of
from mfv_dsl.models.vlm.prompts import Form

LLAVA = Path(__file__).parents[1] / "llava" / "weights"
NAMES = ("flamingo", "llava")


def facts(name: str = "flamingo") -> ModelFacts:
    """Facts of ``tiny()`` and ``tiny("llava")``.  Raises MfvError (MFV7275) for another name."""
    if name == "flamingo":
        return folder_facts(WEIGHTS)
    if name == "llava":
        return facts_of(LLAVA, "the bundled small LLaVA", "fp32", "plain")
    near = suggest(name, NAMES)
    raise MfvError(
        "MFV7275", f"there is no bundled model `{name}`",
        help=f"did you mean `{near}`?" if near else f"there are: {', '.join(NAMES)}",
        argument="name",
    )  # fmt: skip


def load(name: str = "flamingo", device: Any = None, download: bool = False) -> Any:
    """The model ``tiny()`` or ``tiny("llava")``.  There is nothing to ``download``: the weights
    come with mfv-dsl."""
    shape = facts(name)
    if name == "llava":
        from mfv_dsl.models.vlm.load import load_folder as load_llava

        return load_llava(LLAVA, shape.description, "fp32", device or "cpu")
    from mfv_dsl.models.tiny.load import load_folder

    return load_folder(WEIGHTS, device)


def template(name: str = "flamingo") -> Template:
    """How its prompts are written."""
    return Form.of("plain", IMAGE).template if name == "llava" else OPENFLAMINGO


def sources(name: str = "flamingo") -> dict[str, dict[str, str]]:
    """Its files come with mfv-dsl."""
    return {}
