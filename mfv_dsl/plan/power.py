"""What a number of items can show, before anything is measured.

A paired difference is seen in the items that two conditions answer differently, so how small a one
can be shown depends on how many these are, ``differing``, a share of all.  That is not known
beforehand: between two evals that do much the same it is small, and of two whose answers have
nothing to do with each other it is a half at most (unless one is nearly always right and the other
nearly always wrong, where the difference is in plain sight).

Differences are counted exactly, by binomials (:mod:`mfv_dsl.plan.mcnemar`), for the test that
they are shown with: Tango's score test, which is McNemar's for no difference.  Beyond :data:`EXACT`
items they are by its normal approximation: with a share of ψ answered differently and a difference
of d, n items show it with the power Φ((d √n - z √ψ) / √(ψ - d²)) (Connor 1987, Biometrics 43:207),
z the quantile of a two-sided 5 %; of few items that would say up to 0.1 too little.  Items for a
margin are by a normal approximation, too.  Items that share an image count for less, and seeds are
not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import ceil, sqrt
from statistics import NormalDist
from typing import Any

from mfv_dsl.base.arguments import ArgumentError, number, whole
from mfv_dsl.base.numbers import points
from mfv_dsl.plan.mcnemar import chance_shown
from mfv_dsl.plan.steps import EvalRow, Plan

#: With which a difference is to be shown, and the level of the two-sided test.
POWER, LEVEL = 0.8, 0.05
#: The shares of items answered differently that a plan is told for.
FEW, MANY = 0.1, 0.5
#: So many items are counted exactly at most; of more the approximation is within 0.002.
EXACT = 20_000
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(1 - LEVEL / 2)
#: How exactly a difference is looked for.
_STEP = 1e-6
_LEAST = 1e-12


def power_of(n: int, difference: float, differing: float = MANY) -> float:
    """The probability that ``n`` items show a difference in accuracy.

    Args:
        n: Paired items.
        difference: The true difference, of either sign, at most ``differing``.
        differing: The share of the items that are answered differently.

    Raises:
        ArgumentError: For numbers that are none of these.

    >>> round(power_of(100, 0.2, 0.5), 2)
    0.82
    """
    n, difference, differing = _checked(n, difference, differing)
    if n <= EXACT:
        up, down = (differing + difference) / 2, (differing - difference) / 2
        return chance_shown(n, up, down, _Z)
    distance = difference * sqrt(n) - _Z * sqrt(differing)
    return _NORMAL.cdf(distance / sqrt(max(differing - difference**2, _LEAST)))


def smallest_difference(n: int, differing: float = MANY, power: float = POWER) -> float | None:
    """The smallest difference in accuracy that ``n`` paired items show with a power, two-sided at
    5 %; None where they show none: all that differ, one way, would not do.

    >>> round(smallest_difference(400, 0.1), 3), smallest_difference(20, 0.1)
    (0.043, None)
    """
    n, _, differing = _checked(n, 0.0, differing)
    _check_power(power)
    low, high = 0.0, differing
    if power_of(n, high, differing) < power:
        return None
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(n, middle, differing) >= power else (middle, high)
    return high


def items_needed(difference: float, differing: float = MANY, power: float = POWER) -> int:
    """How many paired items show a difference in accuracy with a power, two-sided at 5 %.

    >>> items_needed(0.1, 0.2), items_needed(0.02, 0.1)
    (145, 1945)
    """
    _, difference, differing = _checked(1, difference, differing)
    _check_power(power)
    if difference == 0:
        raise ArgumentError("no number of items shows a difference of 0")
    spread = sqrt(max(differing - difference**2, 0.0))
    z_power = _NORMAL.inv_cdf(power)
    about = ceil(((_Z * sqrt(differing) + z_power * spread) / difference) ** 2)
    if about > EXACT:
        return about
    few, enough = 0, max(about, 1)
    while power_of(enough, difference, differing) < power:
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        shown = power_of(middle, difference, differing) >= power
        few, enough = (few, middle) if shown else (middle, enough)
    return enough


def items_for_margin(
    margin: float, differing: float = MANY, power: float = POWER, both: bool = False
) -> int:
    """How many paired items exclude a loss of more than ``margin``, or where ``both`` a difference
    of more than that either way, with a power, if there is no difference in truth.

    >>> items_for_margin(0.1, 0.2), items_for_margin(0.1, 0.2, both=True)
    (157, 211)
    """
    _, margin, differing = _checked(1, margin, max(differing, 1e-12), bounded=False)
    _check_power(power)
    if margin == 0:
        raise ArgumentError("no number of items excludes a difference of 0")
    z_power = _NORMAL.inv_cdf((1 + power) / 2 if both else power)
    return ceil(((_Z + z_power) / margin) ** 2 * differing)


def half_width(n: int) -> float:
    """Half of the widest 95 % interval that an accuracy on ``n`` items can have: Wilson's, at one
    half.

    >>> round(half_width(100), 3)
    0.096
    """
    return _Z / 2 / sqrt(whole(n, "n", least=1) + _Z**2)


def _checked(
    n: int, difference: float, differing: float, bounded: bool = True
) -> tuple[int, float, float]:
    n, difference = whole(n, "n", least=1), abs(number(difference, "difference"))
    differing = number(differing, "differing")
    if not 0 < differing <= 1:
        raise ArgumentError(f"`differing` is a share above 0, at most 1, and not {differing:g}")
    if difference > (differing if bounded else 1):
        raise ArgumentError(
            f"a difference of {difference:g} needs that share of the answers to differ at least"
        )
    return n, difference, differing


def _check_power(power: float) -> None:
    if not 0 < number(power, "power") < 1:
        raise ArgumentError(f"`power` is between 0 and 1, and not {power:g}")


# -- of a plan ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sight:
    """What evals of a plan can show on ``n`` items, at most: ``relation`` is how many a relation
    has, and ``all`` how many all have together.  By these names ``half_width`` of an accuracy;
    where they are compared with others ``few`` and ``many``, the smallest differences if a tenth or
    half of the answers differ; and by each ``margins`` how many items exclude a loss of more, if a
    tenth or half differ."""

    evals: tuple[str, ...]
    n: dict[str, int]
    half_width: dict[str, float]
    few: dict[str, float | None] = field(default_factory=dict)
    many: dict[str, float | None] = field(default_factory=dict)
    margins: dict[str, tuple[int, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What is known, as plain data."""
        return asdict(self)


def sights(plan: Plan) -> list[Sight]:
    """What the evals of a plan can show, those together that have as many items and are compared
    alike."""
    groups: dict[tuple[Any, ...], dict[str, None]] = {}
    of_eval: dict[str, list[EvalRow]] = {}
    for row in plan.rows:
        of_eval.setdefault(row.eval, []).append(row)
    for name, rows in of_eval.items():
        items = {row.relation: int(plan[row.step].parameters["items"]) for row in rows}
        key = (max(items.values()), sum(items.values()), bool(rows[0].against), rows[0].margin)
        groups.setdefault(key, {})[name] = None
    return [_sight(tuple(names), *key) for key, names in groups.items()]


def _sight(
    names: tuple[str, ...], each: int, total: int, compared: bool, margin: float | None
) -> Sight:
    n = {"relation": each} if each == total else {"relation": each, "all": total}
    widths = {name: half_width(count) for name, count in n.items()}
    if not compared:
        return Sight(names, n, widths)
    few, many = (
        {name: smallest_difference(count, share) for name, count in n.items()}
        for share in (FEW, MANY)
    )
    needed = {} if margin is None else {
        f"{margin:g}": (items_for_margin(margin, FEW), items_for_margin(margin, MANY))
    }  # fmt: skip
    return Sight(names, n, widths, few, many, needed)


def sight_lines(plan: Plan) -> Iterator[str]:
    """What the evals of a plan can show, in words."""
    for sight in sights(plan):
        counts = [f"{count:,} items {_where(name)}" for name, count in sight.n.items()]
        widths = [f"± {points(_round(width))}" for width in sight.half_width.values()]
        yield (
            f"{', '.join(sight.evals)}: at most {' and '.join(counts)}; 95 % intervals of "
            f"accuracies are at most {' and '.join(widths)}"
        )
        if sight.many:
            shown = [
                f"{_where(name)} from {_seen(sight.few[name])} (a tenth of the answers differ) to "
                f"{_seen(sight.many[name])} (half)" for name in sight.many
            ]  # fmt: skip
            yield (
                f"  differences that `against` shows with {100 * POWER:.0f} % power, two-sided at "
                f"5 %: {', '.join(shown)}"
            )
        for margin, (few, many) in sight.margins.items():
            yield (
                f"  a loss of more than {points(float(margin))} is excluded with {100 * POWER:.0f} "
                f"% power, if there is none, by about {few:,} items (a tenth of the answers "
                f"differ) to {many:,} (half)"
            )


def _where(name: str) -> str:
    return "on a relation" if name == "relation" else "over all"


def _seen(difference: float | None) -> str:
    return "none at all" if difference is None else points(_round(difference))


def _round(share: float) -> float:
    """A share to a tenth of a point."""
    return round(share, 3)
