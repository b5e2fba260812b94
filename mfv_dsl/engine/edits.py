"""Edits and reads: what is done at which site of a model, as data.

Both are tied to a site's name and a layer; neither knows a module.  ``positions`` are token
positions counted from the end (-1 is the last), or ``None`` for all.  Of an edit they may also be
told by what stands there: the tokens of pictures (:data:`IMAGES`) or of a text (:class:`Span`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from mfv_dsl.base.arguments import ArgumentError, shown
from mfv_dsl.base.short import Short

LAST = (-1,)
#: The tokens that stand for pictures, as positions of an edit.
IMAGES: Literal["images"] = "images"
EditOperation: TypeAlias = Literal["add", "replace", "scale", "project_out"]


@dataclass(frozen=True)
class Span:
    """The tokens of ``text``, as positions of an edit.

    They are those of its last occurrence in a prompt's query, which is what stands behind the last
    picture; a token that holds a part of the text belongs to it.  ``{query}`` in it stands for the
    name that a prompt of a dataset asks about, where it does so::

        Edit("lm.resid", 3, "add", value, positions=Span("Q:{query}"))
    """

    text: str

    def __str__(self) -> str:
        return f'"{self.text}"'


#: Where an edit is made: counted from the end, at every token, or told by what stands there; in a
#: batch a mask (prompts, length) of where that is.
Positions: TypeAlias = "tuple[int, ...] | Literal['images'] | Span | torch.Tensor | None"


@dataclass(frozen=True, repr=False)
class Edit(Short):
    """One change of the activations at a site.

    ``operation``: ``add`` adds ``value``, ``replace`` puts it in place, ``scale`` multiplies by it,
    ``project_out`` removes the component along it.  ``value`` has shape (..., width) for a site
    without heads and (..., heads, width) for the chosen ``heads`` of a site with heads; a leading
    dimension, if any, is the prompt.  Raises ArgumentError (MFV5119) for another operation, for a
    value that is no tensor, and for positions that are a word other than :data:`IMAGES`.
    """

    site: str
    layer: int
    operation: EditOperation
    value: torch.Tensor
    heads: tuple[int, ...] | None = None
    positions: Positions = LAST

    def __post_init__(self) -> None:
        if not isinstance(self.operation, str) or self.operation not in get_args(EditOperation):
            raise ArgumentError(
                f"an edit's operation is one of {', '.join(get_args(EditOperation))}, and this is "
                f"{shown(self.operation)}"
            )
        if not isinstance(self.value, torch.Tensor):
            raise ArgumentError(
                f"an edit's value has to be a tensor, and this is {shown(self.value)}"
            )

        if isinstance(self.positions, str) and self.positions != IMAGES:
            raise ArgumentError(
                f"an edit's positions are numbers, None, IMAGES or a Span, and this is "
                f"{shown(self.positions)}"
            )

    def __str__(self) -> str:
        heads = "" if self.heads is None else f", heads {', '.join(map(str, self.heads))}"
        return f"{self.operation} at {self.site}[{self.layer}]{heads}"


@dataclass(frozen=True)
class Read:
    """One reading at a site: a copy of the activations at ``positions``, taken after all edits.

    A mask (prompts, length) as ``positions`` gives the mean of the activations of each prompt where
    it is true, in float32, as one position.
    """

    site: str
    layer: int
    positions: tuple[int, ...] | torch.Tensor | None = LAST
