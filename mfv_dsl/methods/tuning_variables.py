"""What tuning learns: the vector itself, or factors of the vector that it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.edits import Edit
from mfv_dsl.methods.destinations import Destination
from mfv_dsl.methods.evaluation import patching
from mfv_dsl.methods.partial_patches import partly_patched
from mfv_dsl.methods.vectors import Vector, combine

_FIRST_LOGIT = 2.0  # where a mask starts: sigmoid(2) = 0.88, most of every head
#: Where the chances of patches start, as in the official code of arXiv:2406.15334: 0.27.
_FIRST_CHANCE = -1.0
#: No chance is nearer to 0 or 1, and no spread of losses is taken for smaller (the same).
_LEAST = 1e-3


class TuningVariable:
    """The whole vector is learned.

    A *value* is what the optimiser changes.  :meth:`vector` is what it stands for during training,
    (places · d_model,), :meth:`edits` what that writes; both carry gradients.  :meth:`result` is
    the vector that it yields, and :meth:`written` what that writes.  ``destination`` says where.
    """

    def __init__(self, start: Vector, device: torch.device, destination: Destination) -> None:
        self.device, self.destination = device, destination
        self.start = destination.start(start)
        self._check()

    def _check(self) -> None:
        if self.destination.by_head:
            raise MfvError(
                "MFV5542",
                f"`{self.start.expression or 'the start'}` writes by its heads at `layer = native`,"
                " and a vector that is learned whole has none",
                help="learn its heads (`head_scales`, `head_mask`, `patch_mask`) or its `scale`; "
                "or give a layer",
            )

    def first(self) -> torch.Tensor:
        """The value that training begins with."""
        return self.start.residual.float().to(self.device)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        """What ``value`` stands for in training, (places · d_model,), with gradients."""
        return value

    def parts(self, value: torch.Tensor) -> torch.Tensor:
        """The same by place, (places, d_model)."""
        return self.vector(value).view(len(self.destination.places), -1)

    def drawn(
        self, value: torch.Tensor, prompts: int, generator: torch.Generator
    ) -> torch.Tensor | None:
        """What a step draws at random: nothing."""
        return None

    def edits(self, value: torch.Tensor, drawn: torch.Tensor | None = None) -> list[Edit]:
        """What ``value`` writes in training."""
        return self.destination.adding(self.parts(value))

    def objective(
        self, value: torch.Tensor, drawn: torch.Tensor | None, losses: torch.Tensor
    ) -> torch.Tensor:
        """The mean of the prompts' ``losses``, (prompts,), with the gradient to descend by."""
        return losses.mean()

    def result(self, value: torch.Tensor) -> Vector:
        """The vector that ``value`` yields, on the processor."""
        return Vector(value.cpu(), self.start.space, self.start.expression)

    def written(self, result: Vector) -> list[Edit]:
        """What the finished vector writes."""
        return self.destination.adding(sent(self.destination.parts_of(result), self.device))

    def is_candidate(self, value: torch.Tensor) -> bool:
        """Whether what ``value`` yields may be chosen as the best epoch."""
        return True

    def penalty(self, value: torch.Tensor) -> torch.Tensor:
        """What ``sparsity`` weighs."""
        return value.new_zeros(())

    def limit(self, value: torch.Tensor, longest: float) -> torch.Tensor:
        """The value of the vector at length ``longest`` at most."""
        return value * (longest / self.vector(value).norm()).clamp_max(1.0)


class ScaleVariable(TuningVariable):
    """A factor before the start, 1 at first."""

    def _check(self) -> None:
        self._start = self.start.residual.float().to(self.device)
        self._parts = self.destination.parts_of(self.start).float().to(self.device)
        if not self._start.any():
            raise MfvError(
                "MFV5313", "the start came out as zero, and no factor changes that",
                help="begin with another vector, or learn the vector itself: variable = vector",
            )  # fmt: skip

    def first(self) -> torch.Tensor:
        return torch.ones((), device=self.device)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        return value * self._start

    def parts(self, value: torch.Tensor) -> torch.Tensor:
        return value * self._parts

    def result(self, value: torch.Tensor) -> Vector:
        return combine([(float(value), self.start)], self.start.expression)


class PlaceScalesVariable(ScaleVariable):
    """A factor for each place of the start, 1 at first (the coefficients λ of arXiv:2405.14660)."""

    def _check(self) -> None:
        super()._check()
        if len(self.destination.places) == 1 or self.destination.by_head:
            raise MfvError(
                "MFV5543", "there is a factor for each place, and this start has one place only",
                help="begin with a vector of several places, or learn one factor: variable = scale",
            )  # fmt: skip

    def first(self) -> torch.Tensor:
        return torch.ones(len(self._parts), device=self.device)

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        return self.parts(value).flatten()

    def parts(self, value: torch.Tensor) -> torch.Tensor:
        return value[:, None] * self._parts

    def result(self, value: torch.Tensor) -> Vector:
        scaled = value.cpu()[:, None] * self.destination.parts_of(self.start)
        return Vector(scaled.flatten(), self.start.space, self.start.expression)


class HeadScalesVariable(TuningVariable):
    """A factor for each head of the start, 1 at first: Σ over heads of s_h · (what h writes)."""

    def _check(self) -> None:
        if self.start.head_projected is None or self.start.heads is None:
            raise MfvError(
                "MFV5305",
                f"`{self.start.expression or 'the start'}` has no per-head parts, so there is "
                "nothing to learn per head",
                help="begin with an fv(...), or learn the vector itself: variable = vector",
            )
        self._outputs = self.start.head_projected.float().to(self.device)
        rows = [self.destination.row(layer) for layer, _ in self.start.heads]
        self._rows = torch.tensor(rows, dtype=torch.long, device=self.device)

    def first(self) -> torch.Tensor:
        return torch.ones(len(self._outputs), device=self.device)

    def weights(self, value: torch.Tensor) -> torch.Tensor:
        """The factor of each head, (heads,)."""
        return value

    def vector(self, value: torch.Tensor) -> torch.Tensor:
        return self.weights(value) @ self._outputs

    def parts(self, value: torch.Tensor) -> torch.Tensor:
        if not self.destination.by_head:
            return self.vector(value)[None]
        outputs = self.weights(value)[:, None] * self._outputs
        parts = outputs.new_zeros(len(self.destination.places), outputs.shape[1])
        return parts.index_add(0, self._rows, outputs)

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

    def weights(self, value: torch.Tensor) -> torch.Tensor:
        return value.sigmoid()

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


class PatchMaskVariable(HeadMaskVariable):
    """Which heads of the start to patch (arXiv:2406.15334): sigmoid(value_h) is the chance that
    head h is patched in training, and the result has the heads whose chance is above a half.

    Each prompt of a step gets a set of heads of its own, drawn by these chances, whose outputs are
    replaced by their means.  The gradient is REINFORCE's: that of the mean over prompts of
    A · log P(set), A the prompt's loss, less the step's mean, over the step's deviation.  The
    official code draws 32 sets for one prompt a step instead.
    """

    def _check(self) -> None:
        super()._check()
        assert self.start.head_means is not None
        self._means = self.start.head_means.float().to(self.device)
        if not self.destination.by_head:
            raise MfvError(
                "MFV5544", "heads are patched where they are, in no layer that could be given",
                help="write `layer = native`",
            )  # fmt: skip

    def first(self) -> torch.Tensor:
        return torch.full_like(super().first(), _FIRST_CHANCE)

    def _chances(self, value: torch.Tensor) -> torch.Tensor:
        return value.sigmoid().clamp(_LEAST, 1 - _LEAST)

    def drawn(
        self, value: torch.Tensor, prompts: int, generator: torch.Generator
    ) -> torch.Tensor | None:
        """The heads that are patched in each prompt: ones in (prompts, heads)."""
        chances = self._chances(value.detach()).cpu().expand(prompts, -1)
        return sent(torch.bernoulli(chances, generator=generator), self.device)

    def edits(self, value: torch.Tensor, drawn: torch.Tensor | None = None) -> list[Edit]:
        assert drawn is not None and self.start.heads is not None
        return partly_patched(self.start.heads, self._means, drawn, self.destination.positions)

    def objective(
        self, value: torch.Tensor, drawn: torch.Tensor | None, losses: torch.Tensor
    ) -> torch.Tensor:
        assert drawn is not None
        chances, losses = self._chances(value), losses.detach()
        drawn = drawn.to(chances)
        log_p = torch.where(drawn > 0, chances, 1 - chances).log().sum(-1)
        spread = losses.std() if len(losses) > 1 else losses.new_zeros(())
        advantage = ((losses - losses.mean()) / (spread + _LEAST)).to(log_p)
        along = (advantage * log_p).mean()
        return losses.mean().to(along) + (along - along.detach())

    def is_candidate(self, value: torch.Tensor) -> bool:
        """Where a head is patched: training begins with none, which is no set of heads."""
        return bool((value > 0).any())

    def written(self, result: Vector) -> list[Edit]:
        edits = patching(result) if result.heads else []
        positions = self.destination.positions
        return [
            replace(edit, value=sent(edit.value, self.device), positions=positions)
            for edit in edits
        ]


VARIABLES: Mapping[str, type[TuningVariable]] = {
    "vector": TuningVariable,
    "scale": ScaleVariable,
    "place_scales": PlaceScalesVariable,
    "head_scales": HeadScalesVariable,
    "head_mask": HeadMaskVariable,
    "patch_mask": PatchMaskVariable,
}
