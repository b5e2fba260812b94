"""What the scripts share: medians with ranges, ratios by round, the machine's own rate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

SIDE = 1536


def middle(values: Sequence[float], digits: int = 4) -> str:
    """Median and range; a single value alone."""
    if len(values) == 1:
        return f"{values[0]:.{digits}g}"
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}g} ({low:.{digits}g} to {high:.{digits}g})"


def ratios(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, list[float]]:
    """How many times as long each way took as ``ours``, round by round."""
    return {
        name: [one / other for one, other in zip(times, seconds[ours], strict=True)]
        for name, times in seconds.items()
    }


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays of one shape, where neither is NaN."""
    found = spearmanr(first.ravel(), second.ravel(), nan_policy="omit")
    return float(found.statistic)


def agree(differences: Mapping[str, float], most: float) -> None:
    """End the script where a way's results differ from ours by more than ``most``."""
    for name, difference in differences.items():
        if not difference <= most:
            raise SystemExit(f"{name}: differs by {difference:.1e}, and {most:.0e} is rounding")


def machine_rate(clock: Callable[[], float] = time.process_time) -> float:
    """Operations a second of a large float32 matrix product with torch's threads: a multiplication
    and an addition are two.  The best of several."""
    a, b = torch.randn(2, SIDE, SIDE)
    best = float("inf")
    for _ in range(6):
        started = clock()
        a @ b
        best = min(best, clock() - started)
    return 2 * SIDE**3 / best


def machine() -> str:
    """One line on what this machine and torch reach by themselves."""
    return (
        f"this machine: {machine_rate() / 1e9:.0f} GFLOP/s on one product of {SIDE} x {SIDE} "
        f"float32 matrices, threads: {torch.get_num_threads()}, torch {torch.__version__}"
    )
