"""Logistic regressions, several at once, by damped Newton steps in float64: nothing is drawn."""

from __future__ import annotations

import torch

_STEPS = 100
#: A step is halved until the loss falls, so often at most.
_HALVINGS = 34
#: Where a step is no longer than this, as a share of what is there, it is done.
_CONVERGED = 1e-12
#: So much is added to the curvature of the intercept, which nothing else holds where all is sure.
_LEAST = 1e-12


def logistic_regressions(
    rows: torch.Tensor, signs: torch.Tensor, weights: torch.Tensor, penalty: torch.Tensor
) -> torch.Tensor:
    """Where Σ over rows of weight · log(1 + exp(-sign · (w·row + b))) + Σ penalty · (w, b)² / 2 is
    least: w and behind it b, (sets, numbers + 1) float64.

    ``rows`` (sets, rows, numbers); ``signs`` (rows,), 1 or -1, and ``weights`` (rows,) are those
    of all sets; ``penalty`` (numbers + 1,), its last is the intercept's.

    >>> rows = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])
    >>> signs = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    >>> fitted = logistic_regressions(rows, signs, torch.ones(4), torch.tensor([1.0, 0.0]))
    >>> [round(float(number), 3) for number in fitted[0]]  # b = -1.5 w
    [0.958, -1.437]
    """
    design = torch.nn.functional.pad(rows.double(), (0, 1), value=1.0)
    signs, weights, penalty = signs.double(), weights.double(), penalty.double()
    extra = torch.zeros_like(penalty)
    extra[-1] = _LEAST

    def losses(theta: torch.Tensor) -> torch.Tensor:
        margins = signs * (design @ theta[..., None])[..., 0]
        fit = (weights * torch.nn.functional.softplus(-margins)).sum(-1)
        return fit + (penalty * theta**2).sum(-1) / 2

    theta = torch.zeros(len(design), design.shape[-1], dtype=torch.float64)
    value = losses(theta)
    for _ in range(_STEPS):
        wrong = torch.sigmoid(-signs * (design @ theta[..., None])[..., 0])
        fall = (design.mT @ (weights * signs * wrong)[..., None])[..., 0]
        gradient = penalty * theta - fall
        bent = design.mT * (weights * wrong * (1 - wrong))[:, None]
        curvature = bent @ design + torch.diag(penalty + extra)
        step = torch.linalg.solve(curvature, gradient)
        after = losses(theta - step)
        for _ in range(_HALVINGS):
            rises = after > value
            if not bool(rises.any()):
                break
            step = torch.where(rises[:, None], step / 2, step)
            after = losses(theta - step)
        theta, value = theta - step, after
        if bool((step.norm(dim=-1) <= _CONVERGED * theta.norm(dim=-1).clamp_min(1.0)).all()):
            break
    return theta
