"""How fast devices do arithmetic, for estimates of time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.suggest import suggest

#: The share of a device's peak that is taken to be reached.
REACHED = 0.35

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_RATE = re.compile(r"(?i)\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([kmgtp]?)flops?(?:/s)?\s*")


@dataclass(frozen=True)
class Device:
    """A device by its maker's data sheet: ``half`` and ``single``, the peaks in operations a second
    of dense matrix products in 16 and in 32 bits, and ``memory`` in bytes."""

    half: float
    single: float
    memory: int


DEVICES = {
    "a100": Device(312e12, 19.5e12, 80 * 10**9),
    "h100": Device(989e12, 67e12, 80 * 10**9),
    "h200": Device(989e12, 67e12, 141 * 10**9),
    "rtx4090": Device(165e12, 82.6e12, 24 * 10**9),
}


@dataclass(frozen=True)
class Rate:
    """Operations a second, ``half`` for models in 16 bits and ``single`` for those in 32, and where
    they come from, in words; ``memory`` of the device in bytes, 0 where it is not known."""

    half: float
    single: float
    source: str
    memory: int = 0

    def of(self, precision: str) -> float:
        """The rate for a model of ``precision``."""
        return self.single if precision == "fp32" else self.half


def stated_rate(text: str) -> Rate:
    """A rate that a user states, such as ``400TFLOPs``.

    Raises MfvError (MFV5381) for another text.

    >>> stated_rate("1.5 TFLOPs").half
    1500000000000.0
    """
    match = _RATE.fullmatch(text)
    value = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    if not value:
        raise MfvError(
            "MFV5381", f"`{text}` is no rate of arithmetic",
            help="write a number and a unit, such as 400TFLOPs or 50GFLOPs",
        )  # fmt: skip
    return Rate(value, value, f"{short(value)}FLOP/s, as stated")


def device_rate(name: str) -> Rate:
    """The rate that is expected of a device of :data:`DEVICES`.

    Raises MfvError (MFV5380) for another name.

    >>> device_rate("a100").source
    'an a100: 35 % of 312 TFLOP/s in 16 bits and of 19.5 TFLOP/s in 32'
    """
    device = DEVICES.get(name.lower())
    if device is None:
        near = suggest(name.lower(), [*DEVICES, "cpu"])
        raise MfvError(
            "MFV5380", f"there is no rate known of a device `{name}`",
            help=(f"did you mean `{near}`? " if near else "")
            + f"known are {', '.join(DEVICES)} and cpu; `--rate 400TFLOPs` states one",
        )  # fmt: skip
    article = "an" if name[0].lower() in "ah" else "a"
    return Rate(
        REACHED * device.half, REACHED * device.single,
        f"{article} {name.lower()}: {REACHED:.0%}".replace("%", " %")
        + f" of {short(device.half)}FLOP/s in 16 bits and of {short(device.single)}FLOP/s in 32",
        device.memory,
    )  # fmt: skip


def short(value: float) -> str:
    """A number of operations with its unit, to three digits.

    >>> short(1.25e13), short(0)
    ('12.5 T', '0 ')
    """
    for unit, size in reversed(_UNITS.items()):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} "
