"""``hf(…)`` by the words of a recipe.  No torch until a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.template import Template
from mfv_dsl.models.vlm.attention_choice import check_attention
from mfv_dsl.models.vlm.facts import facts_of, known_facts, read_architecture
from mfv_dsl.models.vlm.folder import NOT_HERE, commit_of, locate
from mfv_dsl.models.vlm.prompts import Form
from mfv_dsl.models.vlm.table_file import Row, read_row

if TYPE_CHECKING:
    from mfv_dsl.models.vlm.backend import VisionLanguageModel


def facts(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", pixels: int | None = None, quantize: str = "none",
    attention: str = "auto", architecture: Row | None = None,
) -> ModelFacts | None:  # fmt: skip
    """Facts of ``hf(path, …)`` from its configuration and its files; where they are not on this
    machine what is known of the published model, if anything is.

    Raises MfvError as :func:`~mfv_dsl.models.vlm.facts.facts_of`, MFV7281 for an attention that
    cannot be had in ``dtype``, and MFV7260 for a model some of whose layers have no heads of
    self-attention: a recipe's heads are layer and number.
    """
    check_attention(attention, dtype)
    given = None if architecture is None else read_row(architecture)
    try:
        folder = locate(path, revision)
    except MfvError as error:
        if error.code != NOT_HERE:
            raise
        return known_facts(path, revision, dtype, prompt, pixels, quantize, attention, given)
    facts = facts_of(folder, path, dtype, prompt, pixels, quantize, attention, given)
    _, row = read_architecture(folder, path, given)
    if row.features == "cross_states":
        raise MfvError(
            "MFV7260", f"recipes about models of the kind `{facts.family}` are not served: some "
            "of their layers have cross-attention in place of self-attention",
            notes=[path], argument="path",
            help="load_model gives its passes, edits and generation in Python",
        )  # fmt: skip
    return facts


def fetch(path: str, revision: str | None = None, **_: Any) -> None:
    """Download its files, if they are not on this machine."""
    locate(path, revision, download=True)


def load(
    path: str, revision: str | None = None, dtype: str = "bf16", device: str = "auto",
    prompt: str = "plain", pixels: int | None = None, quantize: str = "none",
    attention: str = "auto", architecture: Row | None = None, download: bool = False,
) -> VisionLanguageModel:  # fmt: skip
    """The model ``hf(path, …)``; ``architecture`` may also be the row itself."""
    from mfv_dsl.models.vlm.load import load_folder

    return load_folder(
        locate(path, revision, download), path, dtype, device, prompt, pixels, quantize, attention,
        architecture,
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
