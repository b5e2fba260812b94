"""How often 95 % intervals hold the truth: coverage by enumeration or by draws.

    python benchmarks/coverage.py            # about two minutes on one thread
    python benchmarks/coverage.py --others   # intervals that were not chosen

Each line is one kind of interval at one number of items: the mean and the least coverage over its
settings, the setting where it is least, and the mean width.  Accuracies and paired differences of
independent items are enumerated; all else is drawn, from one seed.  ``--json`` prints every
setting.

The functions measured are those that runs use: :mod:`mfv_dsl.methods.intervals`,
:mod:`mfv_dsl.methods.draws` and :mod:`mfv_dsl.methods.means`.  Of means over seeds there are a
quarter as many draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from scipy.special import expit
from scipy.stats import binom, multinomial

from mfv_dsl.methods.draws import Draw, accuracy_over_draws, difference_over_draws
from mfv_dsl.methods.intervals import (
    accuracy_interval,
    difference_interval,
    student,
    tango,
    wilson,
)
from mfv_dsl.methods.means import divergence_interval, effect_intervals

SIZES = (20, 50, 100, 400)
SHARES = (0.005, 0.01, 0.03, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.97, 0.99, 0.995)
#: probabilities of an item that is right only now, and of one that was right only before
CHANGES = (
    (0.0, 0.0), (0.005, 0.005), (0.05, 0.05), (0.2, 0.2),
    (0.01, 0.0), (0.02, 0.01), (0.1, 0.09),
    (0.3, 0.0), (0.35, 0.05), (0.5, 0.2),
    (0.9, 0.0), (0.99, 0.0), (1.0, 0.0),
)  # fmt: skip
CORRELATIONS = (0.0, 0.3, 1.0)
_NEGLIGIBLE = 1e-9  # probability of an outcome that is left out
_AT_ONCE = 200_000  # numbers that are drawn at once


@dataclass(frozen=True)
class Coverage:
    """How often an interval of one kind held the truth in one setting, and its mean width."""

    kind: str
    n: int
    setting: str
    covered: float
    width: float


# -- by enumeration -------------------------------------------------------------------------------
def accuracies(n: int, shares: tuple[float, ...] = SHARES) -> Iterator[Coverage]:
    """Accuracies of independent items."""
    correct = np.arange(n + 1)
    low, high = wilson(correct, n)
    for share in shares:
        weights = binom.pmf(correct, n, share)
        yield _weighted("accuracy", n, f"p = {share:g}", weights, low, high, share)


def differences(n: int, changes: tuple[tuple[float, float], ...] = CHANGES) -> Iterator[Coverage]:
    """Paired differences of independent items."""
    up, down = (side.ravel() for side in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    up, down = up[up + down <= n], down[up + down <= n]
    for p_up, p_down in changes:
        chances = multinomial.pmf(
            np.stack([up, down, n - up - down], -1), n, [p_up, p_down, 1 - p_up - p_down]
        )
        kept = chances > _NEGLIGIBLE
        low, high = tango(up[kept], down[kept], n)
        setting = f"up {p_up:g}, down {p_down:g}"
        yield _weighted("difference", n, setting, chances[kept], low, high, p_up - p_down)


def _weighted(
    kind: str, n: int, setting: str, weights: np.ndarray, low: np.ndarray, high: np.ndarray,
    truth: float,
) -> Coverage:  # fmt: skip
    holds = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    return Coverage(
        kind, n, setting, float(weights @ holds / weights.sum()), float(weights @ (high - low))
    )


# -- by draws -------------------------------------------------------------------------------------
Sample = Callable[[np.random.Generator, int], np.ndarray]  # draws -> values (draws, n)
Interval = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def drawn(
    kind: str, n: int, setting: str, draws: int, sample: Sample, interval: Interval, truth: float
) -> Coverage:
    """How often ``interval`` of a sample of ``n`` items holds the ``truth``."""
    rng = np.random.default_rng(0)
    covered, width = 0, 0.0
    at_once = max(1, _AT_ONCE // n)
    for start in range(0, draws, at_once):
        low, high = interval(sample(rng, min(at_once, draws - start)))
        covered += int(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).sum())
        width += float((high - low).sum())
    return Coverage(kind, n, setting, covered / draws, width / draws)


def pooled(n: int, draws: int) -> Iterator[Coverage]:
    """Accuracies and differences over 4 and 8 relations of n items each, alike and unlike."""
    for relations in (4, 8):
        strata = np.repeat(np.arange(relations), n).tolist()
        for share in SHARES[::2]:
            for spread in (0.0, 1.5):
                logits = np.log(share / (1 - share)) + np.linspace(-spread, spread, relations)
                of_items = np.repeat(1 / (1 + np.exp(-logits)), n)
                yield drawn(
                    "accuracy, pooled", n, f"{relations} relations around {share:g} ± {spread:g}",
                    draws, lambda rng, size, p=of_items: rng.random((size, len(p))) < p,
                    lambda values, strata=strata: accuracy_interval(values, strata=strata),
                    float(of_items.mean()),
                )  # fmt: skip
        for p_up, p_down in CHANGES[1:-1]:
            factors = np.repeat(np.linspace(0, 2 if 2 * p_up <= 0.8 else 1, relations), n)
            ups = p_up * factors if p_up <= 0.4 else np.full(len(factors), p_up)
            yield drawn(
                "difference, pooled", n, f"{relations} relations, up {p_up:g}, down {p_down:g}",
                draws, lambda rng, size, up=ups, down=p_down: _signs(rng, size, up, down),
                lambda values, strata=strata: difference_interval(values, strata=strata),
                float(ups.mean()) - p_down,
            )  # fmt: skip


def _signs(rng: np.random.Generator, size: int, up: np.ndarray, down: float) -> np.ndarray:
    """Differences (size, items): 1 with probability ``up``, -1 with ``down``."""
    places = rng.random((size, len(up)))
    return (places < up).astype(np.float64) - (places > 1 - down)


def clustered(n: int, draws: int) -> Iterator[Coverage]:
    """Accuracies and differences where 2 or 5 items share an image."""
    for each in (2, 5):
        images = np.repeat(np.arange(n // each), each).tolist()
        for correlation in CORRELATIONS:
            place = f"{each} an image, correlation {correlation:g}"
            for share in SHARES[::3]:
                yield drawn(
                    "accuracy, images", n, f"p = {share:g}, {place}", draws,
                    lambda rng, size, p=share, each=each, r=correlation: (
                        alike(rng, size, n, each, r) < p
                    ),
                    lambda values, images=images: accuracy_interval(values, images), share,
                )  # fmt: skip
            for p_up, p_down in ((0.005, 0.005), (0.05, 0.05), (0.02, 0.01), (0.35, 0.05)):
                yield drawn(
                    "difference, images", n, f"up {p_up:g}, down {p_down:g}, {place}", draws,
                    lambda rng, size, up=p_up, down=p_down, each=each, r=correlation: _signs_of(
                        alike(rng, size, n, each, r), up, down
                    ),
                    lambda values, images=images: difference_interval(values, images),
                    p_up - p_down,
                )  # fmt: skip


def _signs_of(places: np.ndarray, up: float, down: float) -> np.ndarray:
    return (places < up).astype(np.float64) - (places > 1 - down)


def alike(rng: np.random.Generator, size: int, n: int, each: int, correlation: float) -> np.ndarray:
    """Uniform numbers (size, n): two of one image are the same with probability ``correlation``."""
    of_image = rng.random((size, n // each, 1))
    own = rng.random((size, n // each, each))
    shared = rng.random(own.shape) < np.sqrt(correlation)
    return np.where(shared, of_image, own).reshape(size, n)


def effects(
    n: int, draws: int, kind: str = "effect of a head",
    interval: Interval = lambda values: effect_intervals(values.T),
) -> Iterator[Coverage]:  # fmt: skip
    """Mean effects of a head: on a share of the prompts 0.2 to 1 or all 1, elsewhere near 0; and of
    heads that do something everywhere."""
    samples: list[tuple[str, Sample, float]] = [
        ("on all prompts about 0.05", lambda rng, size: rng.normal(0.05, 0.1, (size, n)), 0.05),
        ("on all prompts, strong", lambda rng, size: rng.beta(2, 1, (size, n)), 2 / 3),
    ]
    for share in (0.01, 0.02, 0.05, 0.1):
        for least in (0.2, 1.0):
            for sign in (1, -1):
                samples.append(
                    (
                        f"size {least:g} to 1, sign {sign:+d}, on {share:g} of the prompts",
                        lambda rng, size, share=share, least=least, sign=sign: np.where(
                            rng.random((size, n)) < share,
                            sign * rng.uniform(least, 1, (size, n)),
                            rng.normal(0, 0.003, (size, n)),
                        ),
                        sign * share * (1 + least) / 2,
                    )
                )
    for setting, sample, truth in samples:
        yield drawn(
            kind, n, setting, draws, sample, interval, truth
        )  # fmt: skip


def divergences(n: int, draws: int) -> Iterator[Coverage]:
    """Mean divergences: skew, and the more so the further down the list."""
    samples: list[tuple[str, Sample, float]] = [
        ("normal", lambda rng, size: rng.normal(3, 1, (size, n)).clip(0), 3.0),
        ("exponential", lambda rng, size: rng.exponential(1, (size, n)), 1.0),
        ("gamma, shape 0.3", lambda rng, size: rng.gamma(0.3, 1, (size, n)), 0.3),
        ("lognormal, sigma 1", lambda rng, size: rng.lognormal(0, 1, (size, n)), np.exp(0.5)),
        (
            "one in ten large",
            lambda rng, size: np.where(
                rng.random((size, n)) < 0.1,
                rng.gamma(2, 1, (size, n)),
                rng.exponential(0.02, (size, n)),
            ),
            0.218,
        ),
    ]
    for setting, sample, truth in samples:
        yield drawn(
            "divergence", n, setting, draws, sample,
            lambda values: tuple(np.array([divergence_interval(one) for one in values]).T), truth,
        )  # fmt: skip


def over_seeds(draws: int, n: int = 100) -> Iterator[Coverage]:
    """Means over 2 to 10 seeds of accuracies, and of differences of two evals that are paired by
    seed and item; logits of seeds and of items are drawn from normal distributions, items the same
    for all seeds or of their own."""
    many = np.random.default_rng(1).standard_normal((2, 400_000))
    for seeds in (2, 3, 5, 10):
        for of_seeds, of_items in ((0.0, 1.0), (0.3, 1.0), (0.5, 1.0), (1.0, 0.2)):
            logits = 1 + of_seeds * many[0] + of_items * many[1]
            truth, better = expit(logits).mean(), expit(logits + 0.5).mean()
            for shared in (True, False):
                items = "the same items" if shared else "items of their own"
                place = f"seeds ± {of_seeds:g}, items ± {of_items:g}, {items}"
                sample = partial(_by_seed, n, seeds, of_seeds, of_items, shared)
                yield _of_seeds(
                    f"accuracy, {seeds} seeds", n, place, draws, sample, accuracy_over_draws, truth,
                    False,
                )  # fmt: skip
                yield _of_seeds(
                    f"difference, {seeds} seeds", n, place, draws, sample, difference_over_draws,
                    better - truth, True,
                )  # fmt: skip


def _of_seeds(
    kind: str, n: int, setting: str, draws: int,
    sample: Callable[[np.random.Generator], np.ndarray],
    interval: Callable[[list[Draw]], tuple[float, float]], truth: float, paired: bool,
) -> Coverage:  # fmt: skip
    rng, covered, width = np.random.default_rng(0), 0, 0.0
    own = "the same" not in setting
    for _ in range(draws):
        logits = sample(rng)
        values = (rng.random(logits.shape) < expit(logits)).astype(np.float64)
        if paired:
            values = (rng.random(logits.shape) < expit(logits + 0.5)) - values
        low, high = interval([
            Draw(row, [(seed if own else 0, item) for item in range(n)], [0] * n)
            for seed, row in enumerate(values)
        ])  # fmt: skip
        covered += int(low <= truth <= high)
        width += high - low
    return Coverage(kind, n, setting, covered / draws, width / draws)


def _by_seed(
    n: int, seeds: int, of_seeds: float, of_items: float, shared: bool, rng: np.random.Generator
) -> np.ndarray:
    """Logits (seeds, items)."""
    by_item = rng.standard_normal((1 if shared else seeds, n))
    return 1 + of_seeds * rng.standard_normal((seeds, 1)) + of_items * by_item


# -- what was not chosen --------------------------------------------------------------------------
def others(n: int, draws: int) -> Iterator[Coverage]:
    """Student's interval and one by betting for effects, and relations' intervals combined."""
    yield from effects(n, draws, "effect, Student's", _students)
    yield from effects(n, draws, "effect, betting", _betting)
    for relations in (4, 8):
        for share in SHARES[::2]:
            yield drawn(
                "accuracy, pooled, MOVER", n, f"{relations} relations at {share:g}", draws,
                lambda rng, size, p=share, r=relations: rng.binomial(n, p, (size, r)),
                lambda correct: _combined(correct, n), share,
            )  # fmt: skip


def _students(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = values.shape[1]
    half = student(n - 1) * values.std(axis=1, ddof=1) / np.sqrt(n)
    return values.mean(axis=1) - half, values.mean(axis=1) + half


def _betting(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predictable empirical-Bernstein interval (Waudby-Smith & Ramdas 2024, theorem 2)."""
    shares, times = (values + 1) / 2, np.arange(1, values.shape[1] + 1)
    means = (0.5 + shares.cumsum(1)) / (times + 1)
    variances = (0.25 + ((shares - means) ** 2).cumsum(1)) / (times + 1)
    before, spread = (
        np.pad(one[:, :-1], ((0, 0), (1, 0)), constant_values=first)
        for one, first in ((means, 0.5), (variances, 0.25))
    )
    stakes = np.minimum(np.sqrt(2 * np.log(40) / (times[-1] * spread)), 0.5)
    costs = 4 * (shares - before) ** 2 * (-np.log(1 - stakes) - stakes) / 4
    middle = (stakes * shares).sum(1) / stakes.sum(1)
    half = (np.log(40) + costs.sum(1)) / stakes.sum(1)
    return 2 * (middle - half) - 1, 2 * (middle + half) - 1


def _combined(correct: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's intervals of the relations (size, relations), combined (Zou & Donner 2008)."""
    low, high = wilson(correct, n)
    found, relations = correct / n, correct.shape[1]
    below, above = (np.sqrt(((found - end) ** 2).sum(1)) / relations for end in (low, high))
    return found.mean(1) - below, found.mean(1) + above


# -- all ------------------------------------------------------------------------------------------
def measure(sizes: tuple[int, ...], draws: int) -> list[Coverage]:
    """Every setting, kind by kind."""
    found: list[Coverage] = []
    for n in sizes:
        found += accuracies(n)
        found += differences(n)
        for family in (pooled, clustered, effects, divergences):
            found += family(n, draws)
    return [*found, *over_seeds(draws // 4)]


def table(found: list[Coverage]) -> str:
    """A line for each kind and number of items."""
    lines = [
        "| interval | n | mean coverage | least | where | mean width |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for kind in dict.fromkeys(one.kind for one in found):
        for n in dict.fromkeys(one.n for one in found):
            rows = [one for one in found if (one.kind, one.n) == (kind, n)]
            least = min(rows, key=lambda one: one.covered)
            covered, width = (
                np.mean([getattr(one, name) for one in rows]) for name in ("covered", "width")
            )
            lines.append(
                f"| {kind} | {n} | {covered:.3f} | {least.covered:.3f} | {least.setting} | "
                f"{width:.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--others", action="store_true", help="intervals that were not chosen")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.others:
        found = [one for n in SIZES for one in others(n, arguments.draws)]
    else:
        found = measure(SIZES, arguments.draws)
    print(json.dumps([asdict(one) for one in found], indent=1) if arguments.json else table(found))


if __name__ == "__main__":
    main()
