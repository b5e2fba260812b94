"""What a file of the store holds: a value as a tree with tensors, and what says of it what it is.

Values are dataclasses of this project, tensors, arrays and plain data; nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from mfv_dsl.base.files import open_regular
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.finite import not_numbers
from mfv_dsl.execute.off_task import OffTaskMeasurement
from mfv_dsl.library.header import content_hash
from mfv_dsl.methods.activations import TaskMean
from mfv_dsl.methods.adapter_training import Adapter
from mfv_dsl.methods.answers import Answers
from mfv_dsl.methods.courses import Checkpoint, Epoch
from mfv_dsl.methods.head_outputs import HeadOutputs
from mfv_dsl.methods.linearisation import Linearisation, NormSamples
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.off_task import OffTaskCost
from mfv_dsl.methods.outcomes import Choices, Outcomes
from mfv_dsl.methods.selection import Heads
from mfv_dsl.methods.states import States
from mfv_dsl.methods.tuning import Training, Tuned
from mfv_dsl.methods.vectors import Space, Vector

_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        TaskMean,
        NormSamples,
        Linearisation,
        Mediation,
        HeadOutputs,
        Heads,
        Point,
        Condition,
        Evaluation,
        Choices,
        Outcomes,
        Answers,
        Adapter,
        Space,
        States,
        Vector,
        Tuned,
        Training,
        Epoch,
        Checkpoint,
        OffTaskCost,
        OffTaskMeasurement,
    )
}


#: What reading a file of another form may raise.
_UNREADABLE = (
    OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
    IndexError, OverflowError,
)  # fmt: skip


class Damaged(Exception):
    """A stored file that cannot be trusted."""


class Foreign(Damaged):
    """A stored file that another version of mfv-dsl wrote, in a form that this one does not
    know."""


class Content(NamedTuple):
    """A value as a tree, the tensors in it, what else its file says of itself, and its size."""

    tree: Any
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]
    bytes: int


def read_content(path: Path | str, key: str, data: bytes | None = None) -> Content:
    """What a file holds, or its ``data`` that were read already."""
    try:
        if data is None:
            with open_regular(path) as regular:  # what is no file may never end
                size = os.fstat(regular.fileno()).st_size
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {})["mfv"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            size = len(data)
            header = data[8 : 8 + int.from_bytes(data[:8], "little")]
            metadata = json.loads(json.loads(header)["__metadata__"]["mfv"])
            tensors = load(data)
        digest = metadata.pop("sha256")
        if digest != hash_of(metadata, tensors) or key != metadata["key"]:
            raise Damaged(f"{path} does not match its hash")
        return Content(metadata["value"], tensors, metadata, size)
    except _UNREADABLE as error:
        raise Damaged(f"{path} cannot be read: {error}") from None


def value_of(path: Path | str, content: Content) -> Any:
    try:
        value = _decode(content.tree, content.tensors)
        has_numbers = not any(not_numbers(value))
    except _UNREADABLE as error:
        raise Damaged(f"{path} holds a value of another form: {error!r}") from None
    if not has_numbers:  # kept by an earlier version
        raise Damaged(f"{path} holds NaN or infinity")
    return value


def hash_of(metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
    content = content_hash(
        (name, str(tensor.dtype), tensor.shape, tensor.contiguous().numpy().tobytes())
        for name, tensor in tensors.items()
    )
    return hashlib.sha256(f"{text}\n{content}".encode()).hexdigest()


def encoded(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """``value`` as a JSON tree; tensors and arrays go to ``tensors`` under running names."""
    if isinstance(value, torch.Tensor | np.ndarray):
        name = f"t{len(tensors)}"
        is_array = isinstance(value, np.ndarray)
        tensor = torch.from_numpy(value) if is_array else value.detach().cpu()
        tensors[name] = tensor.contiguous()
        return {"$array" if is_array else "$tensor": name}
    if is_dataclass(value) and type(value).__name__ in _TYPES:
        values = {
            field.name: encoded(getattr(value, field.name), tensors) for field in fields(value)
        }
        return {"$type": type(value).__name__, "fields": values}
    if isinstance(value, tuple):
        return {"$tuple": [encoded(part, tensors) for part in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a step cannot keep a {type(value).__name__}")


def _decode(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        return tensors[tree["$tensor"]]
    if "$array" in tree:
        return tensors[tree["$array"]].numpy()
    if "$tuple" in tree:
        return tuple(_decode(part, tensors) for part in tree["$tuple"])
    kind = _TYPES[tree["$type"]]
    return kind(**{name: _decode(part, tensors) for name, part in tree["fields"].items()})
