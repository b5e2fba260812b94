"""How long a plan will take, in the way that is asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mfv_dsl.base.arguments import text
from mfv_dsl.base.errors import MfvError
from mfv_dsl.plan.estimate import Estimate, estimate_by_arithmetic
from mfv_dsl.plan.machine import Machine, kept_machine
from mfv_dsl.plan.rates import device_rate, stated_rate
from mfv_dsl.plan.steps import Plan
from mfv_dsl.plan.work import is_counted
from mfv_dsl.version import package_versions


def estimate_of(
    plan: Plan,
    finished: Collection[str],
    device: str | None = None,
    rate: str | None = None,
    measure: bool = False,
) -> Estimate | None:
    """How long the steps of a plan that are not finished will take.

    Args:
        plan: The whole plan.
        finished: The keys of the steps whose values the store holds.
        device: A device whose rate is known, or ``cpu``; with ``measure``, where to run.
        rate: A rate of arithmetic, such as ``400TFLOPs``.
        measure: Run a little of each kind of step.

    Returns:
        The estimate; where nothing is asked for, by the rates that ``mfv doctor --measure`` has
        measured of this machine, None where it has not.

    Raises:
        MfvError: MFV5383 for two ways at once, MFV5380 and MFV5381 for a device or a rate that is
            not known, MFV5382 where the sizes of a model are not; and what measuring raises.
    """
    if rate is not None and (device is not None or measure):
        raise MfvError(
            "MFV5383", "a rate is stated beside another way to tell time",
            help="give `--rate` alone, `--device` alone, or `--measure` with or without `--device`",
        )  # fmt: skip
    if measure:
        from mfv_dsl.execute.measure import measure_plan
        from mfv_dsl.execute.settings import RunSettings

        return measure_plan(plan, finished, RunSettings(device=device))
    if rate is not None:
        return estimate_by_arithmetic(plan, finished, stated_rate(text(rate, "rate")))
    if device is not None and text(device, "device") == "cpu":
        from mfv_dsl.execute.measure import processor_rate

        return estimate_by_arithmetic(plan, finished, processor_rate())
    if device is not None:
        return estimate_by_arithmetic(plan, finished, device_rate(device))
    machine = kept_machine()
    return None if machine is None or not is_counted(plan) else _by_machine(plan, finished, machine)


def _by_machine(plan: Plan, finished: Collection[str], machine: Machine) -> Estimate:
    """The estimate by what was measured of this machine."""
    estimate = estimate_by_arithmetic(plan, finished, machine.rate(plan))
    installed = package_versions().get("torch", "")
    if machine.versions.get("torch") not in ("", installed):
        old = machine.versions.get("torch")
        remark = f"that was with torch {old}, and this is {installed}: `mfv doctor --measure`"
        estimate = replace(estimate, remarks=(*estimate.remarks, remark))
    return estimate
