"""``hf(…)`` by the words of a recipe.  No torch until a model is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.template import Template
from mfv_dsl.models.vlm.attention_choice import check_attention
from mfv_dsl.models.vlm.facts import facts_of, known_facts, read_architecture
from mfv_dsl.models.vlm.folder import NOT_HERE, commit_of, input_hash, locate
from mfv_dsl.models.vlm.prompts import Form
from mfv_dsl.models.vlm.table_file import Row, read_row

if TYPE_CHECKING:
    from mfv_dsl.models.vlm.backend import VisionLanguageModel


def facts(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", pixels: int | None = None, tiles: int | None = None,
    quantize: str = "none", attention: str = "auto", architecture: Row | None = None,
) -> ModelFacts | None:  # fmt: skip
    """Facts of ``hf(path, …)`` from its configuration and its files; where they are not on this
    machine what is known of the published model, if anything is.

    Raises MfvError as :func:`~mfv_dsl.models.vlm.facts.facts_of`, and MFV7281 for an attention that
    cannot be had in ``dtype``.
    """
    check_attention(attention, dtype)
    given = None if architecture is None else read_row(architecture)
    try:
        folder = locate(path, revision)
    except MfvError as error:
        if error.code != NOT_HERE:
            raise
        return known_facts(path, revision, dtype, prompt, pixels, tiles, quantize, attention, given)
    known = facts_of(folder, path, dtype, prompt, pixels, tiles, quantize, attention, given)
    return replace(known, inputs=input_hash(folder))


def fetch(path: str, revision: str | None = None, **_: Any) -> None:
    """Download its files, if they are not on this machine."""
    locate(path, revision, download=True)


def load(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", pixels: int | None = None, tiles: int | None = None,
    quantize: str = "none", attention: str = "auto", architecture: Row | None = None,
    download: bool = False,
) -> VisionLanguageModel:  # fmt: skip
    """The model ``hf(path, …)``; ``architecture`` may also be the row itself."""
    from mfv_dsl.models.vlm.load import load_folder

    return load_folder(
        locate(path, revision, download), path, dtype, device, prompt, pixels, tiles, quantize,
        attention, architecture,
    )  # fmt: skip


def template(
    path: str, revision: str | None = None, prompt: str = "plain", architecture: Row | None = None,
    **_: Any,
) -> Template:  # fmt: skip
    """How its prompts are written."""
    _, row = read_architecture(locate(path, revision), path, architecture)
    return Form.of(prompt, row.mark, row.prompt_ending).template


def sources(path: str, revision: str | None = None, **_: Any) -> dict[str, dict[str, str]]:
    """The folder that it comes from, or the repository and its commit."""
    folder = locate(path, revision)
    commit = commit_of(folder)
    if commit is None:
        return {"checkpoint": {"folder": str(folder)}}
    return {"checkpoint": {"repository": path, "commit": commit}}
