"""Measures this machine's rates: ``mfv doctor --measure``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import torch

from mfv_dsl.base.memory import free_bytes
from mfv_dsl.base.source import Source
from mfv_dsl.execute.measure import measure_plan
from mfv_dsl.execute.settings import RunSettings
from mfv_dsl.execute.storage import Storage
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.machine import DeviceRates, Machine, StoreRates
from mfv_dsl.plan.work import work_by_step
from mfv_dsl.version import __version__, package_versions

#: Seconds that a product of matrices is repeated for.
_AIM = 0.3
#: The sides of the matrices, on a processor and on a GPU.
_SIDES = {"cpu": 1024, "cuda": 8192, "mps": 4096}
#: Small files, and bytes of a large one.
_FILES, _SMALL, _LARGE = 20, 4096, 16 << 20
#: What a bundled model is timed on: a little of each of the usual kinds of step.
_SAMPLE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=200)
defaults { trials = 32, items = 64, layer = [0, 2, 4, 6], heads = top(5, by=aie, on=[left]) }
eval raw { add = fv(each), on = [left] }
"""


def measure_machine(storage: Storage, home: str) -> Machine:
    """The rates of this machine's devices, of a start of a worker, and of the store at ``home``;
    takes some ten seconds."""
    start = _start()
    devices = [_device("cpu", platform.processor() or platform.machine(), _memory())]
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        devices.append(_device(f"cuda:{number}", facts.name, facts.total_memory))
    if torch.backends.mps.is_available():
        devices.append(_device("mps", "Apple GPU", _memory()))
    return Machine(
        platform.node() or "unnamed",
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        {"mfv-dsl": __version__, "torch": package_versions().get("torch", "")},
        torch.get_num_threads(), start, tuple(devices), _store(storage, home),
    )  # fmt: skip


def _device(name: str, what: str, memory: int) -> DeviceRates:
    device = torch.device(name)
    single = _product(device, torch.float32)
    half = _product(device, torch.bfloat16)
    return DeviceRates(name, what, single, half, _small(name), memory)


def _product(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second in products of matrices: the median of several."""
    side = _SIDES[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def once() -> float:
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - started

    once()
    return 2 * side**3 / _median(once)


def _median(once: Callable[[], float]) -> float:
    """The median of the seconds that something takes, repeated for a while."""
    taken = [once()]
    while sum(taken) < _AIM or len(taken) < 3:
        taken.append(once())
    return sorted(taken)[len(taken) // 2]


def _small(device: str) -> float:
    """Operations a second that a bundled model reaches on a little of each kind of step."""
    plan = build_plan(load_recipe(Source(_SAMPLE, "sample")))
    estimate = measure_plan(plan, (), RunSettings(device=device), aim=1.0)
    operations = sum(work.total for work in work_by_step(plan, plan.steps).values())
    return operations / sum(estimate.seconds.values())


def _start() -> float:
    """Seconds until a new process has a bundled model loaded."""
    program = "import mfv_dsl.execute.run; from mfv_dsl.models import load; load('tiny')"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return time.perf_counter() - started


def _store(storage: Storage, home: str) -> StoreRates:
    """The rates of a store, in files that are removed again."""
    name = f"measured/{token_hex(8)}"
    small, large = os.urandom(_SMALL), os.urandom(_LARGE)
    names = [f"{name}/{number}" for number in range(_FILES)]
    try:
        write, read = (
            _seconds(lambda: [storage.write(one, small) for one in names]),
            _seconds(lambda: [storage.read(one) for one in names]),
        )
        many = f"{name}/large"
        wrote, got = (
            _seconds(lambda: storage.write(many, large)),
            _seconds(lambda: storage.read(many)),
        )
    finally:
        for one in (*names, f"{name}/large"):
            storage.remove(one)
        for folder in (Path(home) / name, Path(home) / "measured"):
            if "://" not in home and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return StoreRates(home, write / _FILES, read / _FILES, _LARGE / wrote, _LARGE / got)


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _memory() -> int:
    """All memory of this machine, or what is free where that is not told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return free_bytes(torch.device("cpu"))
