"""What each launcher can be told, and how what was given is read: by name, kind and least value.

A value comes from a table of ``mfv.toml``, from ``--launcher-option name=value`` or from Python;
all of them are checked here, and what is wrong is said with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Literal, TypeAlias, get_type_hints

from mfv_dsl.base.arguments import shown
from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.kinds import fits, from_text, holds, told
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.suggest import did_you_mean

#: Where a name or a value was written.
Place: TypeAlias = "tuple[Source, Span] | None"

_LEAST_1 = {"least": 1}


@dataclass(frozen=True)
class LocalOptions:
    """Of processes on this machine: nothing yet."""


@dataclass(frozen=True)
class SlurmOptions:
    """Of submitit: what its ``SlurmExecutor`` takes, and how it is called.

    What is not explained is an option of ``sbatch`` by the same name, with ``_`` for ``-``.

    Attributes:
        cluster: ``slurm``, or ``local`` for submitit's own stand-in on this machine.
        folder: Where scripts, orders and logs of jobs go, seen by all nodes; in the store if None.
        python: The command that starts Python on a node; this Python if None.
        max_num_timeout: How many times a job that ran out of its time is queued again.
        time: Minutes that a job may take.
        signal_delay_s: Seconds between the signal that a job's time is over and its end.
        setup: Lines of the script before the worker's, such as ``module load cuda``.
        teardown: Lines of the script after it.
        array_parallelism: Jobs of the array that may run at the same time.
        additional_parameters: More options of ``sbatch``, by name.
        srun_args: Arguments of ``srun``.
        use_srun: Whether the script starts the worker by ``srun``.
        stderr_to_stdout: Whether a job has one log, not two.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    folder: str | None = None
    python: str | None = None
    max_num_timeout: int = field(default=10, metadata={"least": 0})
    time: int = field(default=240, metadata=_LEAST_1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    dependency: str | None = None
    gres: str | None = None
    gpus_per_node: int | None = field(default=None, metadata={"least": 0})
    gpus_per_task: int | None = field(default=None, metadata={"least": 0})
    cpus_per_task: int | None = field(default=None, metadata=_LEAST_1)
    cpus_per_gpu: int | None = field(default=None, metadata=_LEAST_1)
    mem: str | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    exclusive: bool | str | None = None
    job_name: str = "mfv"
    wckey: str = "submitit"
    comment: str | None = None
    mail_type: str | None = None
    mail_user: str | None = None
    array_parallelism: int = field(default=256, metadata=_LEAST_1)
    signal_delay_s: int = field(default=90, metadata=_LEAST_1)
    setup: tuple[str, ...] = ()
    teardown: tuple[str, ...] = ()
    srun_args: tuple[str, ...] = ()
    use_srun: bool = True
    stderr_to_stdout: bool = False
    additional_parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RayOptions:
    """Of Ray.

    Attributes:
        address: The cluster's: ``host:port``, ``ray://host:port``, ``auto`` for the one that this
            machine belongs to; None is ``$RAY_ADDRESS``, or starts Ray here, for this run alone.
        num_cpus: Cores that a worker reserves.
        memory: Bytes of memory that a worker reserves.
        resources: Of the cluster's own resources, how much a worker reserves.
        accelerator_type: The GPU that a worker needs, such as ``A100``.
        scheduling_strategy: ``SPREAD`` for workers on as many machines as there are.
        runtime_env: What a worker's environment has, as Ray takes it.
        namespace: The namespace of the run in the cluster.
        connect_s: Seconds after which a cluster that does not answer cannot be reached.
    """

    address: str | None = None
    num_cpus: float = field(default=1.0, metadata={"least": 0})
    memory: int | None = field(default=None, metadata=_LEAST_1)
    resources: dict[str, float] = field(default_factory=dict)
    accelerator_type: str | None = None
    scheduling_strategy: Literal["DEFAULT", "SPREAD"] = "DEFAULT"
    runtime_env: dict[str, Any] = field(default_factory=dict)
    namespace: str | None = None
    connect_s: float = field(default=10.0, metadata=_LEAST_1)


Options: TypeAlias = "LocalOptions | SlurmOptions | RayOptions"
OPTIONS: dict[str, type[Options]] = {
    "local": LocalOptions, "slurm": SlurmOptions, "ray": RayOptions,
}  # fmt: skip

#: Names that elsewhere stand for an option, and what is to be done in its place.
_ELSEWHERE = {
    "timeout_min": "it is `time` here, in minutes",
    "timeout": "it is `time` here, in minutes",
    "mem_gb": "it is `mem` here, such as 32GB",
    "name": "it is `job_name` here",
    "array": "it is made of the number of workers, `--workers`",
    "nodes": "a worker is one task on one node; `--workers` says how many there are",
    "ntasks": "a worker is one task on one node; `--workers` says how many there are",
    "ntasks_per_node": "a worker is one task on one node; `--workers` says how many there are",
    "tasks_per_node": "a worker is one task on one node; `--workers` says how many there are",
    "num_gpus": "`--gpus-per-worker` says how many GPUs a worker has",
    "gpus": "`--gpus-per-worker` says how many GPUs a worker has",
    "workers": "it is said by `--workers`, or `workers` in [launcher]",
    "num_workers": "it is said by `--workers`, or `workers` in [launcher]",
}


def error_at(code: str, message: str, help: str, place: Place, label: str = "") -> MfvError:
    """An error that shows where the text is that it is about."""
    source, span = place if place is not None else (None, None)
    found = Diagnostic(code, message, source, span, label if source is not None else "", help=help)
    return MfvError(code, message, help, diagnostics=[found])


def checked_options(
    launcher: str, values: Mapping[str, object], where: Callable[[str], Place] = lambda name: None
) -> dict[str, Any]:
    """``values`` as a launcher's options, lists as tuples.

    Args:
        launcher: ``local``, ``slurm`` or ``ray``.
        values: What was given by name.
        where: The place of a name.

    Raises:
        MfvError: MFV5640 for an option that the launcher does not have, MFV5641 for a value of
            another kind or below the least.

    >>> checked_options("slurm", {"partition": "gpu", "setup": ["module load cuda"]})
    {'partition': 'gpu', 'setup': ('module load cuda',)}
    """
    checked = {}
    for name, value in values.items():
        kind = _kind(launcher, name, where(name))
        value = tuple(value) if isinstance(value, list) else value
        if not fits(value, kind):
            raise error_at(
                "MFV5641", f"`{name}` of {launcher} is {shown(value)}", f"it takes {told(kind)}",
                where(name),
            )  # fmt: skip
        _check_least(launcher, name, value, where(name))
        checked[name] = value
    return checked


def options_of_texts(launcher: str, texts: Iterable[str]) -> dict[str, Any]:
    """A launcher's options from texts of the command line, ``name=value`` each: an option that is a
    list takes one element each time, and one that is a table is ``name.key=value``.

    Raises:
        MfvError: MFV5640 and MFV5641 as :func:`checked_options`, and for a text without ``=``.

    >>> options_of_texts("ray", ["num_cpus=2", "resources.fast=0.5"])
    {'num_cpus': 2.0, 'resources': {'fast': 0.5}}
    """
    values: dict[str, Any] = {}
    for text in texts:
        source = Source(text, "--launcher-option")
        whole, is_one, word = text.partition("=")
        name, _, key = whole.partition(".")
        place = (source, Span(0, len(name) or len(text)))
        if not is_one or not name:
            raise error_at(
                "MFV5641", "an option of a launcher has a name and a value",
                "write name=value, such as --launcher-option partition=gpu", place,
            )  # fmt: skip
        kind = _kind(launcher, name, place)
        several = holds(kind)
        if (several is dict) != bool(key):
            example = f"{name}.KEY=VALUE" if several is dict else f"{name}=VALUE"
            raise error_at(
                "MFV5641", f"`{name}` of {launcher} is {told(kind)}", f"write {example}", place
            )
        try:
            value = from_text(word, kind)
        except ValueError:
            at = (source, Span(len(whole) + 1, len(text)))
            raise error_at(
                "MFV5641", f"`{name}` of {launcher} is {shown(word)}", f"it takes {told(kind)}", at
            ) from None
        _check_least(launcher, name, value, place)
        if several is dict:
            values.setdefault(name, {})[key] = value
        elif several is tuple:
            values[name] = (*values.get(name, ()), value)
        else:
            values[name] = value
    return values


def made_options(launcher: str, *layers: Mapping[str, Any]) -> Options:
    """The options of a launcher from checked ``layers``, of which the later win; tables are
    joined."""
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if isinstance(value, dict):
                value = {**values.get(name, {}), **value}
            values[name] = value
    return OPTIONS[launcher](**values)


def _kind(launcher: str, name: str, place: Place) -> Any:
    kinds = get_type_hints(OPTIONS[launcher])
    if name in kinds:
        return kinds[name]
    plain = name.replace("-", "_").removeprefix("slurm_")
    others = [one for one in OPTIONS if plain in get_type_hints(OPTIONS[one])]
    if launcher in others:
        help = f"did you mean `{plain}`?"
    elif plain in _ELSEWHERE:
        help = _ELSEWHERE[plain]
    elif others:
        help = f"it is one of {others[0]}: --launcher {others[0]}"
    elif kinds:
        help = did_you_mean(plain, kinds, f"there are {', '.join(kinds)}")
    else:
        help = "processes on this machine have no options"
    raise error_at("MFV5640", f"{launcher} has no option `{name}`", help, place)


def _check_least(launcher: str, name: str, value: Any, place: Place) -> None:
    field_of = next(one for one in fields(OPTIONS[launcher]) if one.name == name)
    least = field_of.metadata.get("least")
    if least is not None and isinstance(value, int | float) and not least <= value < inf:
        raise error_at(
            "MFV5641", f"`{name}` of {launcher} is {shown(value)}", f"{least} is the least", place
        )
