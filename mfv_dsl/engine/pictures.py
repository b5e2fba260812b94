"""Edits and reads where a model encodes its pictures.

A batch has its pictures encoded, once for every pass over it.  What is edited or read in the vision
tower, or behind it, happens while they are encoded: a full pass encodes them anew then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.hooks import Hooks, find_site
from mfv_dsl.models.base import Backend, PictureBackend, PromptBatch


def is_of_pictures(backend: Backend, work: Edit | Read) -> bool:
    """Whether an edit or a read is where pictures are encoded."""
    return find_site(backend.sites, work.site, work.layer).of_pictures


def encoded_now(backend: Backend, batch: PromptBatch, works: Iterable[Edit | Read]) -> PromptBatch:
    """``batch``, with its pictures encoded anew if some of ``works`` happen while they are encoded;
    their hooks are placed."""
    if not any(is_of_pictures(backend, work) for work in works):
        return batch
    return cast(PictureBackend, backend).encoded_anew(batch)


def edit_pictures(
    backend: Backend, batch: PromptBatch, edits: Sequence[Edit]
) -> tuple[PromptBatch, list[Edit]]:
    """``batch`` with its pictures encoded under those of ``edits`` that happen while pictures are
    encoded, and the other edits.

    What comes back is a batch as any other, for every pass, the shared prefix too::

        grey = Edit("vision", 3, "scale", torch.zeros(()), positions=None)
        batch, _ = edit_pictures(model, batch, [grey])
        scores = encode_prefix(model, batch).scores(variants)

    Gradients do not reach the values of such edits.  Raises MfvError as
    :class:`~mfv_dsl.engine.hooks.Hooks`, MFV5101 for prompts without pictures.
    """
    at_pictures = [edit for edit in edits if is_of_pictures(backend, edit)]
    with Hooks(backend.model, backend.sites, at_pictures):
        batch = encoded_now(backend, batch, at_pictures)
    return batch, [edit for edit in edits if not is_of_pictures(backend, edit)]
