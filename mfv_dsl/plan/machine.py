"""The rates of this machine, which ``mfv doctor --measure`` has measured: kept in the user's own
cache folder, one file a machine, since several may share that folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.names import plain
from mfv_dsl.base.texts import LARGEST_CONFIG, BadText, read_json
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.plan.rates import Rate, short
from mfv_dsl.plan.steps import Plan

#: Of the file.
FORMAT = 1


@dataclass(frozen=True)
class DeviceRates:
    """A device: operations a second in products of matrices in 32 bits (``single``) and in 16
    (``half``), those that a bundled model reached (``small``, 0 where none was run there), and its
    memory in bytes."""

    name: str
    what: str
    single: float
    half: float
    small: float
    memory: int


@dataclass(frozen=True)
class StoreRates:
    """A store: where it is, seconds to write and to read a small file, and bytes a second of a
    large one."""

    home: str
    write_seconds: float
    read_seconds: float
    write_rate: float
    read_rate: float


@dataclass(frozen=True)
class Machine:
    """What was measured: when (UTC), with which versions, how many threads, the seconds that a
    worker takes until it has a bundled model loaded, the devices and the store."""

    host: str
    measured: str
    versions: Mapping[str, str]
    threads: int
    start: float
    devices: tuple[DeviceRates, ...]
    store: StoreRates

    def device(self, plan: Plan) -> DeviceRates:
        """Where the models of a plan run, if nothing else is said."""
        gpus = [device for device in self.devices if device.name.startswith("cuda")]
        declared = [_device_of(model) for model in plan.models.values()]
        on_gpu = any(name.startswith(("cuda", "auto", "balanced")) for name in declared)
        return gpus[0] if gpus and on_gpu else self.devices[0]

    def rate(self, plan: Plan) -> Rate:
        """The rate at which this machine does a plan's arithmetic: that of plain products of
        matrices; of models that are as small as the bundled ones that which these reached."""
        device = self.device(plan)
        facts = [m.facts for m in plan.models.values() if isinstance(m.facts, ModelFacts)]
        date = self.measured[:10]
        if device.small and facts and all(_is_small(one) for one in facts):
            source = f"{device.name}: {short(device.small)}FLOP/s in a bundled model"
            return Rate(
                device.small, device.small, f"{source}, measured here on {date}", device.memory
            )
        source = (
            f"{device.name}: {short(device.single)}FLOP/s in products of matrices in 32 bits, "
            f"{short(device.half)}FLOP/s in 16"
        )
        return Rate(device.half, device.single, f"{source}, measured here on {date}", device.memory)

    def to_json(self) -> dict[str, Any]:
        """What was measured as plain data."""
        return {"format": FORMAT, **asdict(self)}


def machine_file() -> Path:
    """The file of this machine."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "mfv-dsl" / f"machine-{plain(platform.node() or 'unnamed')}.json"


def keep_machine(machine: Machine) -> Path:
    """Keep what was measured, in place of what was before; gives the file."""
    path = machine_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(machine.to_json(), indent=2) + "\n").encode())
    return path


def kept_machine() -> Machine | None:
    """What was measured of this machine; None where nothing was, or in another form."""
    try:
        said = read_json(machine_file(), LARGEST_CONFIG)
        if said.pop("format") != FORMAT:
            return None
        devices = tuple(DeviceRates(**device) for device in said.pop("devices"))
        store = StoreRates(**said.pop("store"))
        machine = Machine(**said, devices=devices, store=store)
        return machine if _is_whole(machine) else None
    except (OSError, BadText, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_whole(machine: Machine) -> bool:
    rates = [(device.single, device.half) for device in machine.devices]
    numbers = [*(rate for pair in rates for rate in pair), machine.start]
    return bool(rates) and all(isinstance(n, int | float) and n > 0 for n in numbers)


def _device_of(model: Constructed) -> str:
    return str(model.arguments.get("device") or "cpu")


def _is_small(facts: ModelFacts) -> bool:
    """Whether a model is about as small as the bundled ones, whose time is not arithmetic."""
    return 0 < facts.layer_parameters < 1_000_000
