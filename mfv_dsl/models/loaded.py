"""The models that this process has loaded, so that none is loaded twice.

A model is known by its constructor, all its arguments and the state of its files.  Every model
that somebody still holds is found again.  Beyond that the last one is kept, and those before it as
long as all together take less than :data:`KEPT_BYTES`.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.origin import Origin
from mfv_dsl.lang.constructors import CONSTRUCTOR, constructor_module
from mfv_dsl.models.quiet import quiet_tqdm

if TYPE_CHECKING:
    from mfv_dsl.models.openflamingo import OpenFlamingo
    from mfv_dsl.models.weight_state import WeightState

#: How many bytes of weights are kept for models that nobody holds any more, but for the last.
KEPT_BYTES = 2**30


@dataclass(frozen=True)
class Loaded:
    """What is noted of a model when it is loaded: its origin, and its weights as they were."""

    origin: Origin
    weights: WeightState


_log = logging.getLogger(__name__)
_lock = RLock()
_known: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_kept: dict[str, Any] = {}  # the last used at the end


def load_anew(
    constructor: str, device: str | None = None, download: bool = False, **arguments: Any
) -> OpenFlamingo:
    """Load the model that ``constructor(**arguments)`` names in a recipe.

    ``device`` comes before the constructor's own argument; ``download`` lets files that are missing
    be fetched.  Nobody else is given this object.  Raises MfvError: MFV7001 for a kind of model
    that cannot be loaded.
    """
    if device is not None:
        arguments["device"] = device
    _log.info("loading the model %s", constructor)
    quiet_tqdm()
    model: Any = constructor_module("model", constructor).load(download=download, **arguments)
    if all(option.name != "device" for option in CONSTRUCTOR["model"][constructor].parameters):
        arguments.pop("device", None)  # a recipe could not say it
    model.loaded = Loaded(Origin(constructor, dict(arguments)), _weights(model))
    loaded: OpenFlamingo = model
    return loaded


def origin_of(model: Any) -> Origin | None:
    """What a recipe would call a loaded model; None of any other object."""
    loaded = getattr(model, "loaded", None)
    return loaded.origin if isinstance(loaded, Loaded) else None


def is_unchanged(model: Any) -> bool:
    """Whether a loaded model has the weights that it was loaded with, where they were, and is in
    evaluation mode.  Of what changes them without PyTorch's knowledge (``weight.data``) is seen
    what changes a whole tensor."""
    loaded: Loaded = model.loaded
    return loaded.weights == _weights(model) and not any(m.training for m in model.model.modules())


def load(
    constructor: str, device: str | None = None, download: bool = False, **arguments: Any
) -> OpenFlamingo:
    """As :func:`load_anew`, but a model that this process has loaded is given again, as long as its
    files are as they were, and it is as it was loaded.

    Raises MfvError as :func:`load_anew`.
    """
    with _lock:
        key = _key(constructor, device, arguments)
        found = None if key is None else _known.get(key)
        if found is None or not is_unchanged(found):
            if key is not None:
                _kept.pop(key, None)
                _make_room()
            found = load_anew(constructor, device, download, **arguments)
            key = key or _key(constructor, device, arguments)
        if key is not None:
            _known[key] = found
            _kept.pop(key, None)
            _make_room()
            _kept[key] = found
        model: OpenFlamingo = found
        return model


def clear_models() -> int:
    """Let go of all models that this process keeps; how many there were.

    A model that you hold yourself stays with you, and is not given to others any more.

    >>> clear_models() >= 0
    True
    """
    with _lock:
        count = len(_kept)
        _kept.clear()
        _known.clear()
        _collect()
        return count


def _make_room() -> None:
    """Let go of the models that are too large to be kept beside another."""
    sizes = {key: _bytes(model) for key, model in _kept.items()}
    gone = False
    for key in list(_kept):
        if sum(sizes.values()) <= KEPT_BYTES:
            break
        del sizes[key], _kept[key]
        gone = True
    if gone:
        _collect()


def _collect() -> None:
    import torch

    gc.collect()  # models are parts of circles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _bytes(model: Any) -> int:
    return sum(p.numel() * p.element_size() for p in model.model.parameters())


def _weights(model: Any) -> WeightState:
    from mfv_dsl.models.weight_state import weight_state

    return weight_state(model.model.parameters())


def _key(constructor: str, device: str | None, arguments: Mapping[str, Any]) -> str | None:
    """What a model is known by; None where its files are not there (yet)."""
    from mfv_dsl.models.devices import devices

    entry = CONSTRUCTOR["model"].get(constructor)
    if entry is None:
        return None
    values = {p.name: p.default for p in entry.parameters} | dict(arguments)
    place = device or values.get("device")
    values.pop("device", None)
    try:
        where = [str(one) for one in devices(place)]
        sources = constructor_module("model", constructor).sources(**values)
    except (MfvError, TypeError):
        return None
    folders = [source["folder"] for source in sources.values() if "folder" in source]
    files = [value for value in values.values() if isinstance(value, str)]
    stamps = [_stamp(Path(path).expanduser()) for path in (*folders, *files)]
    return repr((constructor, where, sorted(values.items()), sources, stamps))


def _stamp(path: Path) -> list[tuple[str, int, int, int]]:
    """Name, size, time and number of a file, or of all in a folder."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(file, file.stat()) for file in files]
    except OSError:
        return []
    return [(str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino) for file, stat in stats]
