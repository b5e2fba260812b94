"""What ``mfv doctor`` found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfv_dsl.plan.rates import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mfv_dsl.execute.environment import Environment, Extra
    from mfv_dsl.plan.machine import Machine

_TORCHVISION = {
    "as is": "works as it is",
    "declared": "its compiled operators do not fit this torch; what is needed of it works",
    "missing": "is missing",
}


def environment_text(environment: Environment) -> str:
    """The findings as lines of text."""
    lines = [f"python {environment.python}"]
    for name, version in environment.packages.items():
        lines.append(f"{name} {version or 'is missing'}")
    if environment.packages["torchvision"]:
        lines.append(f"torchvision {_TORCHVISION[environment.torchvision]}")
    lines.append("")
    for place in environment.devices:
        free = f"{place.free / 1e9:.0f} of {place.memory / 1e9:.0f} GB free"
        lines.append(f"{place.name}: {place.what}, {free}")
    lines += [f"{environment.threads} threads", f"models' files are kept in {environment.cache}",
              f"finished steps are kept in {environment.store}", _store_line(environment),
              ""]  # fmt: skip
    width = max(len(fit.name) for fit in environment.fits)
    lines.append(f"{'about what fits':<{width}}  bf16      fp32      files")
    lines += [
        f"{fit.name:<{width}}  {fit.bf16 or 'no':<8}  {fit.fp32 or 'no':<8}  "
        f"{'here' if fit.here else 'not here'}"
        for fit in environment.fits
    ]
    lines += ["", *extras_lines(environment.extras)]
    slurm = environment.sbatch or "sbatch is not here"
    lines += [f"Slurm: {slurm}", ""]
    problems = {"tiny()": environment.problem, 'tiny("llava")': environment.llava_problem}
    for model, problem in problems.items():
        lines.append(f"{model} runs" if problem is None else f"{model} does not run: {problem}")
    lines += [f"to install what is missing: {command}" for command in environment.advice]
    return "\n".join(lines) + "\n"


def _store_line(environment: Environment) -> str:
    if environment.store_problem is not None:
        return f"  where none can be kept: {environment.store_problem}"
    if environment.store_is_atomic:
        return "  which can be written, also by several at once"
    return "  which can be written; it does not tell who of several was first, who may work twice"


def machine_text(machine: Machine | None) -> str:
    """What was measured of this machine, as lines of text."""
    if machine is None:
        return "this machine's rates are not measured: `mfv doctor --measure`\n"
    lines = [f"rates of {machine.host}, measured {machine.measured[:10]}, for `mfv plan`:"]
    for device in machine.devices:
        small = f", {short(device.small)}FLOP/s in a bundled model" if device.small else ""
        lines.append(
            f"  {device.name}: {short(device.single)}FLOP/s in 32 bits, {short(device.half)}FLOP/s "
            f"in 16{small}"
        )
    store = machine.store
    lines += [
        f"  a worker starts in {machine.start:.1f} s",
        f"  store in {store.home}: a small file written in {1000 * store.write_seconds:.1f} ms, "
        f"read in {1000 * store.read_seconds:.2f} ms; {store.write_rate / 1e6:.0f} MB/s written, "
        f"{store.read_rate / 1e6:.0f} MB/s read",
    ]
    return "\n".join(lines) + "\n"


def extras_lines(extras: Sequence[Extra]) -> list[str]:
    """A line for each extra: what is there of it, or what to type, and what it is for."""
    there = {
        extra.name: extra.install
        or ", ".join(f"{package} {version}" for package, version in extra.packages.items())
        for extra in extras
    }
    name_width, width = max(map(len, there), default=0), max(map(len, there.values()), default=0)
    return [
        f"[{extra.name}]{'':<{name_width - len(extra.name)}}  {there[extra.name]:<{width}}  "
        f"{extra.purpose}"
        for extra in extras
    ]
