"""``hf(…)`` by the words of a recipe.  No torch until a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.template import Template
from mfv_dsl.models.vlm.facts import facts_of, known_facts, read_architecture
from mfv_dsl.models.vlm.folder import NOT_HERE, commit_of, locate
from mfv_dsl.models.vlm.prompts import Form

if TYPE_CHECKING:
    from mfv_dsl.models.vlm.backend import VisionLanguageModel


def facts(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", pixels: int | None = None, tiles: int | None = None,
) -> ModelFacts | None:  # fmt: skip
    """Facts of ``hf(path, …)`` from its configuration and its files; where they are not on this
    machine what is known of the published model, if anything is.

    Raises MfvError as :func:`~mfv_dsl.models.vlm.facts.facts_of`.
    """
    try:
        folder = locate(path, revision)
    except MfvError as error:
        if error.code != NOT_HERE:
            raise
        return known_facts(path, revision, dtype, prompt, pixels, tiles)
    return facts_of(folder, path, dtype, prompt, pixels, tiles)


def fetch(path: str, revision: str | None = None, **_: Any) -> None:
    """Download its files, if they are not on this machine."""
    locate(path, revision, download=True)


def load(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", pixels: int | None = None, tiles: int | None = None,
    download: bool = False,
) -> VisionLanguageModel:  # fmt: skip
    """The model ``hf(path, …)``."""
    from mfv_dsl.models.vlm.load import load_folder

    return load_folder(locate(path, revision, download), path, dtype, device, prompt, pixels, tiles)


def template(
    path: str, revision: str | None = None, prompt: str = "plain", **_: Any
) -> Template:  # fmt: skip
    """How its prompts are written."""
    _, architecture = read_architecture(locate(path, revision), path)
    return Form.of(prompt, architecture.mark, architecture.prompt_ending).template


def sources(path: str, revision: str | None = None, **_: Any) -> dict[str, dict[str, str]]:
    """The folder that it comes from, or the repository and its commit."""
    folder = locate(path, revision)
    commit = commit_of(folder)
    if commit is None:
        return {"checkpoint": {"folder": str(folder)}}
    return {"checkpoint": {"repository": path, "commit": commit}}
