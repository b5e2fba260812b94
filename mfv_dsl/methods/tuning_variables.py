"""What tuning learns: the vector itself, or factors of the vector that it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.methods.vectors import Vector, combine

_FIRST_LOGIT = 2.0  # where a mask starts: sigmoid(2) = 0.88, most of every head


class TuningVariable:
    """The whole vector is learned.

    A *value* is what the optimiser changes.  :meth:`vector` is what it stands for during training,
    (d_model,), and carries gradients; :meth:`result` is the vector that it yields.
    """

    def __init__(self, start: Vector, device: torch.device) -> None:
        self.start, self.device = start, device

    def first(self) -> torch.Tensor:
        """The value that training begins with."""
        return self.start.residual.float().to(self.device)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        """What ``value`` stands for in training, (d_model,), with gradients."""
        return value

    def result(self, value: torch.Tensor) -> Vector:
        """The vector that ``value`` yields, on the processor."""
        return Vector(value.cpu(), self.start.space, self.start.expression)

    def penalty(self, value: torch.Tensor) -> torch.Tensor:
        """What ``sparsity`` weighs."""
        return value.new_zeros(())

    def limit(self, value: torch.Tensor, longest: float) -> torch.Tensor:
        """The value of the vector at length ``longest`` at most."""
        return value * (longest / self.vector(value).norm()).clamp_max(1.0)


class ScaleVariable(TuningVariable):
    """A factor before the start, 1 at first."""

    def __init__(self, start: Vector, device: torch.device) -> None:
        super().__init__(start, device)
        self._start = start.residual.float().to(device)
        if not self._start.any():
            raise MfvError(
                "MFV5313", "the start came out as zero, and no factor changes that",
                help="begin with another vector, or learn the vector itself: variable = vector",
            )  # fmt: skip

    def first(self) -> torch.Tensor:
        return torch.ones((), device=self.device)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        return value * self._start

    def result(self, value: torch.Tensor) -> Vector:
        return combine([(float(value), self.start)], self.start.expression)


class HeadScalesVariable(TuningVariable):
    """A factor for each head of the start, 1 at first: Σ over heads of s_h · (what h writes)."""

    def __init__(self, start: Vector, device: torch.device) -> None:
        super().__init__(start, device)
        if start.head_projected is None:
            raise MfvError(
                "MFV5305",
                f"`{start.expression or 'the start'}` has no per-head parts, so there is nothing "
                "to learn per head",
                help="begin with an fv(...), or learn the vector itself: variable = vector",
            )
        self._outputs = start.head_projected.float().to(device)

    def first(self) -> torch.Tensor:
        return torch.ones(len(self._outputs), device=self.device)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        return value @ self._outputs

    def result(self, value: torch.Tensor) -> Vector:
        start, scales = self.start, value.cpu()[:, None]
        assert start.head_means is not None and start.head_projected is not None
        outputs = scales * start.head_projected
        return replace(
            start, residual=outputs.sum(0), head_means=scales * start.head_means,
            head_projected=outputs, linearised=None,
        )  # fmt: skip


class HeadMaskVariable(HeadScalesVariable):
    """Which heads of the start to keep: the weight of head h is sigmoid(value_h) in training, and
    the result is the sum of the heads whose weight is above a half, whole."""

    def first(self) -> torch.Tensor:
        return torch.full_like(super().first(), _FIRST_LOGIT)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        return value.sigmoid() @ self._outputs

    def result(self, value: torch.Tensor) -> Vector:
        start, mask = self.start, (value > 0).cpu()
        assert start.heads is not None
        assert start.head_means is not None and start.head_projected is not None
        return replace(
            start,
            residual=start.head_projected[mask].sum(0),
            heads=tuple(
                head for head, chosen in zip(start.heads, mask.tolist(), strict=True) if chosen
            ),
            head_means=start.head_means[mask],
            head_projected=start.head_projected[mask],
            head_scores=None if start.head_scores is None else start.head_scores[mask],
            linearised=None,
        )

    def penalty(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of the weights: about how many heads are kept."""
        return value.sigmoid().sum()

    def limit(self, value: torch.Tensor, longest: float) -> torch.Tensor:
        """A mask keeps or drops; it cannot shorten."""
        return value


VARIABLES: Mapping[str, type[TuningVariable]] = {
    "vector": TuningVariable,
    "scale": ScaleVariable,
    "head_scales": HeadScalesVariable,
    "head_mask": HeadMaskVariable,
}
