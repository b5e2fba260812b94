"""What a plan will take on several workers."""

from __future__ import annotations

import pytest

from mfv_dsl.api import Recipe
from mfv_dsl.interactive import InteractivePlan
from mfv_dsl.launch.forecast import Forecast, forecast
from mfv_dsl.launch.units import units_of
from mfv_dsl.plan.estimate import Estimate, estimate_by_arithmetic
from mfv_dsl.plan.machine import Machine, StoreRates
from mfv_dsl.plan.rates import stated_rate

TEXT = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=300)
defaults { trials = 10, items = 200 }
eval few { shots = 1, on = [left] }
eval raw { add = fv(each), layer = 1..2, heads = {L4H1}, on = [right] }
"""


@pytest.fixture(scope="module")
def quickstart() -> InteractivePlan:
    return Recipe.from_file("quickstart").plan()


def estimated(plan: InteractivePlan, finished: set[str] | None = None) -> Estimate:
    return estimate_by_arithmetic(plan, finished or set(), stated_rate("10GFLOPs"))


def on(plan: InteractivePlan, workers: int, machine: Machine | None = None) -> Forecast:
    return forecast([plan], (), workers, estimated(plan), machine)


def test_one_worker_takes_all_seconds_and_more_never_take_longer(quickstart):
    total = sum(estimated(quickstart).seconds.values())
    assert on(quickstart, 1).seconds == on(quickstart, 1).alone == pytest.approx(total)
    before = total
    for workers in (1, 2, 3, 8, 100, 1000):
        expected = on(quickstart, workers)
        assert expected.seconds is not None and expected.chain_seconds is not None
        assert expected.seconds <= before + 1e-9
        assert expected.seconds >= expected.chain_seconds - 1e-9
        assert expected.seconds >= total / workers - 1e-9
        assert sum(expected.busy) == pytest.approx(total) and len(expected.busy) == workers
        before = expected.seconds
    assert before == pytest.approx(on(quickstart, 1).chain_seconds)


def test_a_schedule_is_as_by_hand():
    plan = Recipe(TEXT).plan()
    units = units_of([plan])
    operations = [unit.steps[0].operation for unit in units]
    seconds = {"answers": 4.0, "activations": 1.0, "evaluate": 8.0}
    estimate = Estimate(
        {step.key: seconds.get(step.operation, 0.0) for step in plan.steps}, 0, "by hand"
    )
    # `answers` of few, 4 s in 4 parts, is what its `evaluate` follows from, as that of raw is
    one, two, many = (forecast([plan], (), n, estimate) for n in (1, 2, 1000))
    total = sum(seconds.get(operation, 0.0) for operation in operations)
    assert one.seconds == total == sum(estimate.seconds.values())
    assert one.parts == sum(4 for operation in operations if operation in ("answers", "evaluate"))
    assert two.seconds is not None and total / 2 <= two.seconds <= total / 2 + 2
    assert many.seconds == many.chain_seconds == max(1.0 + 2.0, 1.0 + 2.0)


def test_what_is_finished_takes_nothing(quickstart):
    keys = {step.key for step in quickstart.steps}
    done = forecast([quickstart], keys, 4, estimated(quickstart, keys))
    assert (done.units, done.parts, done.chain, done.seconds) == (0, 0, (), 0.0)
    assert (done.written, done.read) == (0, 0)
    half = forecast([quickstart], set(list(keys)[:30]), 4, estimated(quickstart))
    assert 0 < half.units < on(quickstart, 4).units


def test_plans_that_share_steps_have_them_once(quickstart):
    twice = forecast([quickstart, quickstart], (), 2, estimated(quickstart))
    assert twice.units == on(quickstart, 2).units


def test_without_an_estimate_no_time_is_told(quickstart):
    untimed = forecast([quickstart], (), 8)
    assert (untimed.seconds, untimed.alone, untimed.busy) == (None, None, ())
    assert len(untimed.chain) == 6 and untimed.written > 0
    assert "no time is told: `mfv doctor --measure`" in untimed.to_text()


def test_starts_and_requests_are_counted(quickstart):
    store = StoreRates("here", 0.5, 0.1, 1e8, 1e8)
    machine = Machine("host", "2026-01-01", {}, 1, 7.0, (), store)
    timed, plain = on(quickstart, 2, machine), on(quickstart, 2)
    assert timed.seconds is not None and plain.seconds is not None
    assert timed.seconds > plain.seconds + 7.0


def test_python_and_json_have_it(quickstart):
    expected = quickstart.forecast(8, rate="10GFLOPs")
    assert expected == on(quickstart, 8)
    assert expected.to_json()["chain"][0].startswith("mean head outputs on")
    assert quickstart.estimate(rate="10GFLOPs").total == pytest.approx(on(quickstart, 1).alone)
    text = expected.to_text()
    assert "8 workers: " in text and "longest chain: 6 units" in text and "→ … →" in text
