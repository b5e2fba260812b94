"""``hf(…)`` by the words of a recipe.  No torch until a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.vlm.facts import facts_of
from mfv_dsl.models.vlm.folder import commit_of, locate

if TYPE_CHECKING:
    from mfv_dsl.models.vlm.backend import VisionLanguageModel


def facts(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain",
) -> ModelFacts:  # fmt: skip
    """Facts of ``hf(path, …)`` from its configuration and its files."""
    return facts_of(locate(path, revision), path, dtype, prompt)


def load(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", download: bool = False,
) -> VisionLanguageModel:  # fmt: skip
    """The model ``hf(path, …)``."""
    from mfv_dsl.models.vlm.load import load_folder

    return load_folder(locate(path, revision, download), path, dtype, device, prompt)


def sources(path: str, revision: str | None = None, **_: Any) -> dict[str, dict[str, str]]:
    """The folder that it comes from, or the repository and its commit."""
    folder = locate(path, revision)
    commit = commit_of(folder)
    if commit is None:
        return {"checkpoint": {"folder": str(folder)}}
    return {"checkpoint": {"repository": path, "commit": commit}}
