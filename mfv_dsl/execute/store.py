"""The content-addressed store of finished steps: one safetensors file a step, named by its key.

Values are dataclasses of this project, tensors, arrays and plain data; nothing is pickled.  Files
are written whole or not at all, so several runs, machines and people may share a store.  A file
whose content does not match its hash is reported and made again.  One that another version of
mfv-dsl kept, in a form that this one does not know, stays; the step is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from mfv_dsl.base.files import open_regular
from mfv_dsl.base.places import step_file, step_name, store_home
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.execute.conditions import Condition, Evaluation, Point
from mfv_dsl.execute.finite import check_finite, not_numbers
from mfv_dsl.execute.off_task import OffTaskMeasurement
from mfv_dsl.execute.session import Makes
from mfv_dsl.execute.storage import FolderStorage, Storage, storage_at
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
from mfv_dsl.version import __version__

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


@dataclass(frozen=True)
class StoredStep:
    """One stored step."""

    key: str
    label: str
    operation: str
    bytes: int
    path: Path | str


class Store:
    """Finished steps in a storage, one file each: ``steps/<2 digits>/<key>.safetensors``.

    Values are tensors, arrays, numbers, texts, None, tuples of them, and the dataclasses of
    results; TypeError for any other.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = Store(Path(folder))
    ...     store.put("a" * 64, (1.5, np.ones(2)), "a label", "norm")
    ...     print(store.get("a" * 64), "b" * 64 in store)
    (1.5, array([1., 1.])) False
    """

    def __init__(self, root: Path | Storage) -> None:
        self.storage = FolderStorage(root) if isinstance(root, Path) else root

    @property
    def root(self) -> Path:
        """The folder of a store that is in one."""
        assert isinstance(self.storage, FolderStorage)
        return self.storage.root

    def path(self, key: str) -> Path:
        """The file of a step in a store that is a folder, whether it is there or not."""
        return step_file(self.root, key)

    def open_for_writing(self) -> AbstractContextManager[None]:
        """Within, steps can be kept; MfvError (MFV6120 to MFV6124) or OSError where the storage
        does not let them.  A folder that was made for it and is still empty where this fails goes
        again."""
        return self.storage.for_writing()

    def __contains__(self, key: str) -> bool:
        return self.storage.exists(step_name(key))

    def get(self, key: str, operation: str | None = None) -> Any:
        """The value of a finished step.

        With the ``operation`` that made it, its form is looked at too.  Raises KeyError where
        there is none, :class:`Damaged` where the file is not what was written, or not what such an
        operation gives, :class:`Foreign` where another version of mfv-dsl wrote it so.
        """
        try:
            return self._get(step_name(key), key, operation)
        except Foreign as foreign:
            try:
                return self._get(_own_name(key), key, operation)
            except KeyError:
                raise foreign from None

    def _get(self, name: str, key: str, operation: str | None) -> Any:
        return self._value(name, self._read(name, key), operation)

    def _value(self, name: str, content: _Content, operation: str | None) -> Any:
        place = self.storage.place(name)
        try:
            value = _value(place, content)
            fault = None if operation is None else form_fault(value, operation)
            if fault is not None:
                raise Damaged(f"{place} holds a value of another form: {fault}")
        except Damaged as error:
            if (version := content.metadata.get("version", __version__)) == __version__:
                raise
            raise Foreign(f"{error} (mfv-dsl {version} wrote it)") from None
        return value

    def _read(self, name: str, key: str) -> _Content:
        """What a file holds, whatever its form; KeyError where there is none."""
        if not isinstance(self.storage, FolderStorage):
            return _read(self.storage.place(name), key, self.storage.read(name))
        if not self.storage.exists(name):
            raise KeyError(key)
        return _read(self.storage.path(name), key)

    def put(self, key: str, value: Any, label: str, operation: str) -> None:
        """Keep the value of a finished step; ``label`` and ``operation`` are for people.

        Raises MfvError (MFV5374) for a value that holds NaN or infinity where a number should be.
        """
        name = step_name(key)
        self._put(_own_name(key) if self._is_foreign(name, key) else name,
                  key, value, label, operation)  # fmt: skip

    def _is_foreign(self, name: str, key: str) -> bool:
        """Whether another version of mfv-dsl wrote a file that is there, in a form unknown here:
        what is its own is not written over, or two versions would do so in turn for ever."""
        try:
            content = self._read(name, key)
            self._value(name, content, content.metadata.get("operation"))
        except Foreign:
            return True
        except (KeyError, Damaged):
            return False
        return False

    def _put(self, name: str, key: str, value: Any, label: str, operation: str) -> None:
        check_finite(value, label)
        tensors: dict[str, torch.Tensor] = {}
        metadata = {
            "key": key,
            "label": label,
            "operation": operation,
            "value": _encode(value, tensors),
            "version": __version__,
        }
        metadata["sha256"] = _hash(metadata, tensors)
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), allow_nan=False)
        self.storage.write(name, save(tensors, metadata={"mfv": text}))

    def drop_parts(self, key: str) -> None:
        """Remove the parts of a step that is finished."""
        folder = self.parts_folder(key)
        self.storage.remove(*self.storage.names(folder))
        if isinstance(self.storage, FolderStorage):
            with suppress(OSError):  # another run may be writing there
                self.storage.path(folder).rmdir()

    @staticmethod
    def parts_folder(key: str) -> str:
        """The name of the folder where the parts of an unfinished step are kept."""
        return f"parts/{key}"

    def entries(self) -> Iterator[StoredStep | Path | str]:
        """Every stored step, or the path or URL of a file that cannot be read, in order of key."""
        for name in self._files():
            place, key = self.storage.place(name), name.rpartition("/")[2].partition(".")[0]
            try:
                content = self._read(name, key)
                label, operation = (str(content.metadata.get(of)) for of in ("label", "operation"))
                self._value(name, content, operation)
            except KeyError:  # it was removed meanwhile
                continue
            except Damaged:
                yield place
            else:
                yield StoredStep(key, label, operation, content.bytes, place)

    def _files(self) -> list[str]:
        """The names of the files of all stored steps, in order of key."""
        return [name for name in self.storage.names("steps") if name.endswith(".safetensors")]

    def clear(self) -> int:
        """Remove every stored step, and what is noted of runs; how many steps there were."""
        names = self._files()
        self.storage.remove(*names, *self.storage.names("runs"))
        return len(names)


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
        try:
            return self.store._get(self._file(step, name), _part_key(step, name), "")
        except Damaged:
            raise KeyError(name) from None

    def put(self, step: Step, name: str, value: Any) -> None:
        """Keep a part.  Raises MfvError (MFV5374) for one that is not all numbers."""
        self.store._put(
            self._file(step, name), _part_key(step, name), value, f"{step.label}, part {name}",
            step.operation,
        )  # fmt: skip

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
        there = set(self.store.storage.names(self.store.parts_folder(step.key)))
        return [name for name in names if self._file(step, name) not in there]

    def _file(self, step: Step, name: str) -> str:
        return f"{self.store.parts_folder(step.key)}/{_part_key(step, name)}.safetensors"


def _part_key(step: Step, name: str) -> str:
    return hashlib.sha256(f"{step.key} {name}".encode()).hexdigest()


def default_store() -> Store:
    """The store at :func:`~mfv_dsl.base.places.store_home`."""
    return store_at(store_home())


def store_at(home: str | Path) -> Store:
    """The store at ``home``, a folder or a URL.

    Raises MfvError (MFV6140, MFV6141) for a URL that cannot be used here.
    """
    return Store(storage_at(home))


def _own_name(key: str) -> str:
    """The name of what this version keeps of a step beside what another wrote."""
    return f"{step_name(key).removesuffix('.safetensors')}.{__version__}.safetensors"


class _Content(NamedTuple):
    """A value as a tree, the tensors in it, what else its file says of itself, and its size."""

    tree: Any
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]
    bytes: int


def _read(path: Path | str, key: str, data: bytes | None = None) -> _Content:
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
        if digest != _hash(metadata, tensors) or key != metadata["key"]:
            raise Damaged(f"{path} does not match its hash")
        return _Content(metadata["value"], tensors, metadata, size)
    except _UNREADABLE as error:
        raise Damaged(f"{path} cannot be read: {error}") from None


def _value(path: Path | str, content: _Content) -> Any:
    try:
        value = _decode(content.tree, content.tensors)
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
