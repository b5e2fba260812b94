"""Edits and reads: what is done at which site of a model, as data.

Both are tied to a site's name and a layer; neither knows a module.  ``positions`` are token
positions counted from the end (-1 is the last), or ``None`` for all.  Of an edit they may also be
told by what stands there: the tokens of pictures (:data:`IMAGES`) or of a text (:class:`Span`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch

from mfv_dsl.base.arguments import ArgumentError, number, shown
from mfv_dsl.base.short import Short

LAST = (-1,)
#: The tokens that stand for pictures, as positions of an edit.
IMAGES: Literal["images"] = "images"
EditOperation: TypeAlias = Literal["add", "replace", "scale", "project_out"]
Length: TypeAlias = Literal["free", "kept"]
ScaledBy: TypeAlias = Literal["vector", "length", "angle"]


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


class Change(NamedTuple):
    """What becomes of a state h under a value v, along the last dimension of both.

    ``add``: b·h + f·v, with b = ``keep`` and f by ``scaled_by``: 1 (``vector``); |h|, so that v is
    in units of the state's length (``length``); or |h| · (1 + max(0, -cos(h, v))), which is more
    where the state points against v (``angle``).  With ``length`` ``kept`` the sum is brought to
    the length of h.  ``replace``: v.  ``scale``: h·v.  ``project_out``: h - (h·v̂)v̂.

    In-context vectors (arXiv:2311.06668) are an ``add`` at kept length, by ``angle`` in their
    official code; I2CL (arXiv:2405.14660) is one with ``keep``; directional ablation
    (arXiv:2406.11717) is a ``project_out``.
    """

    operation: EditOperation
    keep: float = 1.0
    length: Length = "free"
    scaled_by: ScaledBy = "vector"

    @property
    def is_plain(self) -> bool:
        """Whether it is its operation and nothing more."""
        return self == Change(self.operation)


@dataclass(frozen=True, eq=False, repr=False)
class Gate(Short):
    """A condition on a prompt: that the cosine of ``direction`` (d_model,) and the state behind
    decoder layer ``layer`` at the prompt's last token, in the unedited model, is above ``above``.

    Conditional steering (CAST, arXiv:2409.05907) looks at cos(h, tanh(Ph)), P the projection on
    ``direction``.  Where tanh hardly bends, that is the absolute value of this cosine.
    """

    direction: torch.Tensor
    layer: int
    above: float

    def __str__(self) -> str:
        return f"where the gate of lm.resid[{self.layer}] is above {self.above:g}"

    def opens(self, states: torch.Tensor) -> torch.Tensor:
        """Whether the condition holds, (prompts,), for ``states`` (prompts, d_model) behind the
        layer; not where they are no numbers."""
        wide = states.detach().double()
        direction = self.direction.to(wide)
        lengths = torch.linalg.vector_norm(wide, dim=-1) * torch.linalg.vector_norm(direction)
        opens: torch.Tensor = wide @ direction > self.above * lengths
        return opens


@dataclass(frozen=True, repr=False)
class Edit(Short):
    """One change of the activations at a site.

    ``operation``: ``add`` adds ``value``, ``replace`` puts it in place, ``scale`` multiplies by it,
    ``project_out`` removes the component along it.  ``value`` has shape (..., width) for a site
    without heads and (..., heads, width) for the chosen ``heads`` of a site with heads; a leading
    dimension, if any, is the prompt.  ``keep``, ``length`` and ``scaled_by`` say more of an ``add``
    (:class:`Change`).  ``when`` says for which prompts the edit is made: all, those that open a
    :class:`Gate`, or those of a mask (prompts,).  Raises ArgumentError (MFV5119) for another
    operation, for a value that is no tensor, for positions that are a word other than
    :data:`IMAGES`, and for more to say of another operation than ``add``.
    """

    site: str
    layer: int
    operation: EditOperation
    value: torch.Tensor
    heads: tuple[int, ...] | None = None
    positions: Positions = LAST
    keep: float = 1.0
    length: Length = "free"
    scaled_by: ScaledBy = "vector"
    when: Gate | torch.Tensor | None = None

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
        if self.length not in get_args(Length) or self.scaled_by not in get_args(ScaledBy):
            raise ArgumentError(
                f"an edit's `length` is one of {', '.join(get_args(Length))}, its `scaled_by` one "
                f"of {', '.join(get_args(ScaledBy))}, and these are {shown(self.length)} and "
                f"{shown(self.scaled_by)}"
            )
        number(self.keep, "an edit's `keep`")
        if self.operation != "add" and not self.change.is_plain:
            raise ArgumentError(
                f"`keep`, `length` and `scaled_by` are of an edit that adds, and this one is a "
                f"{self.operation}"
            )
        if not isinstance(self.when, Gate | torch.Tensor | None):
            raise ArgumentError(
                f"an edit's `when` is a Gate, a mask of prompts or None, and this is "
                f"{shown(self.when)}"
            )

    @property
    def change(self) -> Change:
        """What becomes of a state."""
        return Change(self.operation, self.keep, self.length, self.scaled_by)

    def __str__(self) -> str:
        heads = "" if self.heads is None else f", heads {', '.join(map(str, self.heads))}"
        gate = f", {self.when}" if isinstance(self.when, Gate) else ""
        return f"{self.operation} at {self.site}[{self.layer}]{heads}{gate}"


@dataclass(frozen=True)
class Read:
    """One reading at a site: a copy of the activations at ``positions``, taken after all edits.

    A mask (prompts, length) as ``positions`` gives the mean of the activations of each prompt where
    it is true, in float32, as one position.
    """

    site: str
    layer: int
    positions: tuple[int, ...] | torch.Tensor | None = LAST
