"""``tiny()``: the bundled models, and folders in their layouts, by the words of a recipe.  No torch
until one is loaded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.places import user_path
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.data.template import IMAGE, OPENFLAMINGO, Template
from mfv_dsl.models.tiny.facts import WEIGHTS, folder_facts, read_config

LLAVA = Path(__file__).parents[1] / "llava" / "weights"
FOLDERS = {"flamingo": WEIGHTS, "llava": LLAVA}
#: What a folder in the bundled Flamingo's layout has in its configuration, and no other model.
_FLAMINGO = "cross_attention"


def _located(name: str) -> tuple[Path, bool]:
    """The folder of a bundled model, or ``name`` itself where it is a folder; and whether a
    Flamingo is in it.

    Raises MfvError: MFV7275 for what is neither, MFV7202 for a folder without a configuration.
    """
    if name in FOLDERS:
        return FOLDERS[name], name == "flamingo"
    folder = user_path(name)
    if os.path.isdir(folder):
        return folder, _FLAMINGO in read_config(folder)
    known = f"there are {', '.join(FOLDERS)}, and folders of models in their layouts"
    raise MfvError(
        "MFV7275", f"there is no bundled model `{name}`, and no such folder",
        help=did_you_mean(name, FOLDERS, known),
        argument="name",
    )  # fmt: skip


def facts(name: str = "flamingo") -> ModelFacts:
    """Facts of ``tiny()``, ``tiny("llava")`` and ``tiny("folder")``.

    Raises MfvError: MFV7275 for another name, MFV7202 for a folder whose files are not those of a
    model in the bundled Flamingo's layout, and for one in the LLaVA's as
    :func:`~mfv_dsl.models.vlm.facts.facts_of`.
    """
    folder, is_flamingo = _located(name)
    if is_flamingo:
        return folder_facts(folder)
    from mfv_dsl.models.vlm.facts import facts_of
    from mfv_dsl.models.vlm.folder import input_hash

    if name in FOLDERS:  # whose files are all of one version of mfv-dsl
        return facts_of(folder, "the bundled small LLaVA", "fp32", "plain")
    known = facts_of(folder, f"the model in {folder}", "fp32", "plain")
    return replace(known, inputs=input_hash(folder))


def load(name: str = "flamingo", device: Any = None, download: bool = False) -> Any:
    """The model ``tiny()``, ``tiny("llava")`` or ``tiny("folder")``.  There is nothing to
    ``download``."""
    folder, is_flamingo = _located(name)
    if is_flamingo:
        from mfv_dsl.models.tiny.load import load_folder

        return load_folder(folder, device)
    from mfv_dsl.models.vlm.load import load_folder as load_llava

    return load_llava(folder, facts(name).description, "fp32", device or "cpu")


def template(name: str = "flamingo") -> Template:
    """How its prompts are written."""
    if _located(name)[1]:
        return OPENFLAMINGO
    from mfv_dsl.models.vlm.prompts import Form

    return Form.of("plain", IMAGE).template


def sources(name: str = "flamingo") -> dict[str, dict[str, str]]:
    """The folder that it comes from; nothing for a bundled model, which comes with mfv-dsl."""
    return {} if name in FOLDERS else {"checkpoint": {"folder": name}}
