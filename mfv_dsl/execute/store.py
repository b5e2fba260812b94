"""The content-addressed store of finished steps: one safetensors file a step, named by its key.

Values are dataclasses of this project, tensors, arrays and plain data; nothing is pickled.  Files
are written whole or not at all, so several runs may share a store.  A file whose content does not
match its hash is reported, removed and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mfv_dsl.base.disk import folder_for
from mfv_dsl.base.files import open_regular, write_atomically
from mfv_dsl.base.places import step_file, store_root
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.finite import check_finite, not_numbers
from mfv_dsl.execute.off_task import OffTaskMeasurement
from mfv_dsl.execute.session import Makes
from mfv_dsl.execute.stored_form import form_fault
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
from mfv_dsl.plan.steps import Step

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


@dataclass(frozen=True)
class StoredStep:
    """One stored step."""

    key: str
    label: str
    operation: str
    bytes: int
    path: Path


class Store:
    """Finished steps under ``root``, one file each: ``steps/<2 digits>/<key>.safetensors``.

    Values are tensors, arrays, numbers, texts, None, tuples of them, and the dataclasses of
    results; TypeError for any other.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = Store(Path(folder))
    ...     store.put("a" * 64, (1.5, np.ones(2)), "a label", "norm")
    ...     print(store.get("a" * 64), "b" * 64 in store)
    (1.5, array([1., 1.])) False
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """The file of a step, whether it is there or not."""
        return step_file(self.root, key)

    def open_for_writing(self) -> AbstractContextManager[None]:
        """Within, steps can be kept; MfvError (MFV6120 to MFV6124) where the disk does not let
        them.  A folder that was made for it and is still empty where this fails goes again."""
        return folder_for(self.root / "steps", what="cannot keep finished steps in")

    def __contains__(self, key: str) -> bool:
        return self.path(key).exists()

    def get(self, key: str, operation: str | None = None) -> Any:
        """The value of a finished step.

        With the ``operation`` that made it, its form is looked at too.  Raises KeyError where
        there is none, :class:`Damaged` where the file is not what was written, or not what such an
        operation gives.
        """
        value = self._get(self.path(key), key)
        fault = None if operation is None else form_fault(value, operation)
        if fault is not None:
            raise Damaged(f"{self.path(key)} holds a value of another form: {fault}")
        return value

    @staticmethod
    def _get(path: Path, key: str) -> Any:
        if not path.exists():
            raise KeyError(key)
        return _value(path, *_read(path)[:2])

    def put(self, key: str, value: Any, label: str, operation: str) -> None:
        """Keep the value of a finished step; ``label`` and ``operation`` are for people.

        Raises MfvError (MFV5374) for a value that holds NaN or infinity where a number should be.
        """
        self._put(self.path(key), key, value, label, operation)

    @staticmethod
    def _put(path: Path, key: str, value: Any, label: str, operation: str) -> None:
        check_finite(value, label)
        tensors: dict[str, torch.Tensor] = {}
        metadata = {
            "key": key,
            "label": label,
            "operation": operation,
            "value": _encode(value, tensors),
        }
        metadata["sha256"] = _hash(metadata, tensors)
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), allow_nan=False)
        with suppress(OSError):  # nothing of ours is an empty folder
            path.rmdir()
        write_atomically(path, save(tensors, metadata={"mfv": text}))

    def drop_parts(self, key: str) -> None:
        """Remove the parts of a step that is finished."""
        folder = self.parts_folder(key)
        for path in folder.glob("*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # another run may be writing there
            folder.rmdir()

    def parts_folder(self, key: str) -> Path:
        """Where the parts of an unfinished step are kept."""
        return self.root / "parts" / key

    def entries(self) -> Iterator[StoredStep | Path]:
        """Every stored step, or the path of a file that cannot be read, in order of key."""
        for path in self._files():
            try:
                tree, tensors, metadata = _read(path)
                fault = form_fault(_value(path, tree, tensors), metadata["operation"])
                if fault is not None:
                    raise Damaged(f"{path} holds a value of another form: {fault}")
            except Damaged:
                yield path
            else:
                size = path.stat().st_size
                yield StoredStep(
                    metadata["key"], metadata["label"], metadata["operation"], size, path
                )

    def _files(self) -> list[Path]:
        """The files of all stored steps, in order of key; OSError where the store is no folder."""
        if os.path.lexists(self.root):
            os.listdir(self.root)
        return sorted(self.root.glob("steps/*/*.safetensors"))

    def clear(self) -> int:
        """Remove every stored step, and what is noted of runs; how many steps there were."""
        paths = self._files()
        for path in (*paths, *self.root.glob("runs/*.json")):
            path.unlink(missing_ok=True)
        return len(paths)


class StoredParts:
    """Parts of unfinished steps in a store; ``fresh`` makes them anew."""

    def __init__(self, store: Store, fresh: bool) -> None:
        self.store, self.fresh = store, fresh

    def keep(self, step: Step, name: str, make: Callable[[], Any]) -> Any:
        """The part ``name`` of ``step``: as kept by an earlier run, else made and kept."""
        try:
            if self.fresh:
                raise KeyError(name)
            return self.get(step, name)
        except KeyError:
            value = make()
            self.put(step, name, value)
            return value

    def keep_all(self, step: Step, makes: Makes, had: Callable[[int], None]) -> list[Any]:
        """The parts of ``step``, each as :meth:`keep` gives it, but that those which are not all
        numbers are not kept; ``had`` is told the places of those that were not made now."""
        values = []
        for place, (name, make) in enumerate(makes):
            try:
                if self.fresh:
                    raise KeyError(name)
                values.append(self.get(step, name))
                had(place)
            except KeyError:
                values.append(make())
                self.offer(step, name, values[-1])
        return values

    def get(self, step: Step, name: str) -> Any:
        """A part that is kept; KeyError where there is none, or none to be trusted."""
        path = self._path(step, name)
        try:
            value = self.store._get(path, path.stem)
        except Damaged:
            raise KeyError(name) from None
        if form_fault(value) is not None:
            raise KeyError(name)
        return value

    def put(self, step: Step, name: str, value: Any) -> None:
        """Keep a part.  Raises MfvError (MFV5374) for one that is not all numbers."""
        path = self._path(step, name)
        self.store._put(path, path.stem, value, f"{step.label}, part {name}", step.operation)

    def offer(self, step: Step, name: str, value: Any) -> bool:
        """Keep a part unless it is not all numbers, which is found out where parts are joined;
        whether it is kept."""
        try:
            self.put(step, name, value)
        except NotFinite:
            return False
        return True

    def missing(self, step: Step, names: Iterable[str]) -> list[str]:
        """Those of ``names`` of which no part is kept."""
        there = {path.stem for path in self.store.parts_folder(step.key).glob("*.safetensors")}
        return [name for name in names if _part_key(step, name) not in there]

    def _path(self, step: Step, name: str) -> Path:
        return self.store.parts_folder(step.key) / f"{_part_key(step, name)}.safetensors"


def _part_key(step: Step, name: str) -> str:
    return hashlib.sha256(f"{step.key} {name}".encode()).hexdigest()


def default_store() -> Store:
    """The store at :func:`store_root`."""
    return Store(store_root())


def _read(path: Path) -> tuple[Any, dict[str, torch.Tensor], dict[str, Any]]:
    try:
        open_regular(path).close()  # what is no file may never end
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["mfv"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        digest = metadata.pop("sha256")
        if digest != _hash(metadata, tensors) or path.stem != metadata["key"]:
            raise Damaged(f"{path} does not match its hash")
        return metadata["value"], tensors, metadata
    except _UNREADABLE as error:
        raise Damaged(f"{path} cannot be read: {error}") from None


def _value(path: Path, tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    try:
        value = _decode(tree, tensors)
        has_numbers = not any(not_numbers(value))
    except _UNREADABLE as error:
        raise Damaged(f"{path} holds a value of another form: {error!r}") from None
    if not has_numbers:  # kept by an earlier version
        raise Damaged(f"{path} holds NaN or infinity")
    return value


def _hash(metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
    content = content_hash(
        (name, str(tensor.dtype), tensor.shape, tensor.contiguous().numpy().tobytes())
        for name, tensor in tensors.items()
    )
    return hashlib.sha256(f"{text}\n{content}".encode()).hexdigest()


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """``value`` as a JSON tree; tensors and arrays go to ``tensors`` under running names."""
    if isinstance(value, torch.Tensor | np.ndarray):
        name = f"t{len(tensors)}"
        is_array = isinstance(value, np.ndarray)
        tensor = torch.from_numpy(value) if is_array else value.detach().cpu()
        tensors[name] = tensor.contiguous()
        return {"$array" if is_array else "$tensor": name}
    if is_dataclass(value) and type(value).__name__ in _TYPES:
        values = {
            field.name: _encode(getattr(value, field.name), tensors) for field in fields(value)
        }
        return {"$type": type(value).__name__, "fields": values}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(part, tensors) for part in value]}
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
