"""What this machine and this installation can run, and what to type where something is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata

from mfv_dsl.base.disk import disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import store_home, store_name, store_root
from mfv_dsl.execute.storage import creates_once, storage_at
from mfv_dsl.models.catalogue import published_models
from mfv_dsl.models.flamingo_classes import OPEN_FLAMINGO, torchvision_state

#: Package -> what to type where it is missing.
_PACKAGES = {
    "torch": "pip install torch",
    "torchvision": "pip install open_clip_torch",
    "transformers": "pip install transformers",
    "open_clip_torch": "pip install open_clip_torch",
    "open_flamingo": OPEN_FLAMINGO,
    "huggingface_hub": "pip install huggingface_hub",
    "safetensors": "pip install safetensors",
    "tokenizers": "pip install tokenizers",
}


#: Extra -> its packages, and what it is for.
_EXTRAS = {
    "lsp": (("pygls",), "`mfv lsp`: editors say what is wrong as one types"),
    "report": (("jinja2", "plotly"), "`mfv report`: a run as a page"),
    "serve": (("gradio",), "`mfv serve`: a page to ask the model on"),
    "notebook": (("ipykernel",), "notebooks"),
    "pandas": (("pandas",), "tables as data frames"),
    "convert": (("gguf",), "vectors from and to GGUF files"),
    "parquet": (("pyarrow",), "datasets in parquet files"),
    "peft": (("peft",), "low-rank matrices and soft prompts, for comparison"),
    "objects": (("fsspec", "s3fs"), "a store in an object storage: `MFV_HOME=s3://bucket/prefix`"),
    "slurm": (("submitit",), "`mfv run --launcher slurm`: workers as jobs of Slurm"),
    "ray": (("ray",), "`mfv run --launcher ray`: workers as tasks of Ray"),
    "quantize": (("accelerate", "bitsandbytes"), "weights in 4 or 8 bits, several GPUs"),
    "vlm": (("num2words",), "the processors of some vision-language models"),
}


@dataclass(frozen=True)
class Extra:
    """What can be installed beside: its packages with their versions, None where missing; what it
    is for; and what to type to have it, empty where all of it is there."""

    name: str
    packages: dict[str, str | None]
    purpose: str
    install: str


@dataclass(frozen=True)
class DeviceMemory:
    """A device, and its memory in bytes: all and free."""

    name: str
    what: str
    memory: int
    free: int


@dataclass(frozen=True)
class Fit:
    """Whether a published model fits into memory: where, for each precision; None nowhere."""

    name: str
    here: bool
    bf16: str | None
    fp32: str | None


@dataclass(frozen=True)
class Environment:
    """What was found.  ``packages`` by name, None where missing; ``extras`` what recipes run
    without; ``sbatch`` the command that sends jobs to Slurm, None where there is none;
    ``torchvision`` how it works; ``problem`` why ``tiny()`` does not run, None if it does,
    ``llava_problem`` why ``tiny("llava")`` does not; ``store_problem`` why no steps can be kept in
    the ``store``, None if they can; ``store_is_atomic`` whether of several who create a file there
    one alone succeeds, None where that cannot be tried; ``advice`` what to type."""

    python: str
    packages: dict[str, str | None]
    extras: tuple[Extra, ...]
    sbatch: str | None
    torchvision: str
    devices: tuple[DeviceMemory, ...]
    threads: int
    cache: str
    store: str
    store_problem: str | None
    store_is_atomic: bool | None
    fits: tuple[Fit, ...]
    problem: str | None
    llava_problem: str | None
    advice: tuple[str, ...]


def examine() -> Environment:
    """Look at everything; loads both bundled models and runs a prompt on each."""
    packages = {name: _version(name) for name in _PACKAGES}
    advice = [_PACKAGES[name] for name, version in packages.items() if version is None]
    problem, llava_problem = _try_tiny("flamingo"), _try_tiny("llava")
    store_problem, store_is_atomic = _try_store()
    places = _devices() if packages["torch"] else ()
    from huggingface_hub.constants import HF_HUB_CACHE

    return Environment(
        python=platform.python_version(),
        packages=packages,
        extras=extras(),
        sbatch=shutil.which("sbatch"),
        torchvision=torchvision_state() if packages["torch"] else "missing",
        devices=places,
        threads=_threads(),
        cache=HF_HUB_CACHE,
        store=store_name() if "://" in store_name() else str(store_root().absolute()),
        store_problem=store_problem,
        store_is_atomic=store_is_atomic,
        fits=tuple(
            Fit(row.name or "", bool(row.here), _where(row.memory_bf16 or 0, places),
                _where(row.memory_fp32 or 0, places))
            for row in published_models()
        ),
        problem=problem,
        llava_problem=llava_problem,
        advice=tuple(dict.fromkeys(advice)),
    )  # fmt: skip


def extras() -> tuple[Extra, ...]:
    """What is there of each extra; nothing is imported for it."""
    found = []
    for name, (packages, purpose) in _EXTRAS.items():
        versions = {package: _version(package) for package in packages}
        install = f"pip install 'mfv-dsl[{name}]'" if None in versions.values() else ""
        found.append(Extra(name, versions, purpose, install))
    return tuple(found)


def _try_store() -> tuple[str | None, bool | None]:
    """Why the store cannot be written, or None; and whether it creates files atomically."""
    try:
        with disk_trouble():
            return None, creates_once(storage_at(store_home()))
    except MfvError as error:
        return error.message, None
    except OSError as error:  # of another kind than those of disks
        return str(error), None


def _try_tiny(name: str) -> str | None:
    """Why the bundled model of that name does not run a prompt, or None."""
    try:
        from mfv_dsl.data.prompts import draw_prompts
        from mfv_dsl.data.scenes import Scenes
        from mfv_dsl.models import load

        scenes = Scenes(count=10)
        model = load("tiny", name=name)
        logits = model.forward(model.batch(draw_prompts(scenes, "left", "test", 2, 2), scenes))
        return None if bool(logits.isfinite().all()) else "its answers are not finite"
    except MfvError as error:
        return error.message
    except Exception as error:  # whatever it is, that is what is asked for
        return f"{type(error).__name__}: {error}".partition("\n")[0]


def _devices() -> tuple[DeviceMemory, ...]:
    """The processor and every GPU."""
    import torch

    from mfv_dsl.base.memory import free_bytes

    cpu = torch.device("cpu")
    places = [
        DeviceMemory("cpu", platform.processor() or platform.machine(), _memory(), free_bytes(cpu))
    ]
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        free = free_bytes(torch.device("cuda", i))
        places.append(DeviceMemory(f"cuda:{i}", facts.name, facts.total_memory, free))
    if torch.backends.mps.is_available():  # shares the processor's memory
        places.append(DeviceMemory("mps", "Apple GPU", places[0].memory, places[0].free))
    return tuple(places)


def _memory() -> int:
    """All memory of this machine, 0 where it is not told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _where(need: int, places: tuple[DeviceMemory, ...]) -> str | None:
    """The best place that has so much memory: a GPU, several together, the processor."""
    gpus = [place for place in places if place.name.startswith("cuda")]
    for place in (*gpus, *(place for place in places if place not in gpus)):
        if place.memory >= need:
            return place.name if place.name != "cuda:0" else "cuda"
        if gpus and place == gpus[-1] and sum(gpu.memory for gpu in gpus) >= need:
            return "balanced"
    return None


def _threads() -> int:
    try:
        import torch
    except ImportError:
        return os.cpu_count() or 1
    return torch.get_num_threads()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
