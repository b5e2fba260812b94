"""The content-addressed store of finished steps: one safetensors file a step, named by its key.

Values are dataclasses of this project, tensors, arrays and plain data; nothing is pickled.  Files
are written whole or not at all, so several runs, machines and people may share a store.  A file
whose content does not match its hash is reported and made again.  One that another version of
mfv-dsl kept, in a form that this one does not know, stays; the step is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from mfv_dsl.base.places import step_file, step_name, store_home
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.execute.finite import check_finite
from mfv_dsl.execute.session import Makes
from mfv_dsl.execute.storage import FolderStorage, Storage, storage_at
from mfv_dsl.execute.stored_content import (
    Content,
    Damaged,
    Foreign,
    encoded,
    hash_of,
    read_content,
    value_of,
)
from mfv_dsl.execute.stored_form import form_fault
from mfv_dsl.plan.steps import Step
from mfv_dsl.version import __version__


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

    >>> import numpy as np
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
            return self.get_at(step_name(key), key, operation)
        except Foreign as foreign:
            try:
                return self.get_at(_own_name(key), key, operation)
            except KeyError:
                raise foreign from None

    def get_at(self, name: str, key: str, operation: str | None = None) -> Any:
        """As :meth:`get`, of the file of that name."""
        return self._value(name, self._read(name, key), operation)

    def _value(self, name: str, content: Content, operation: str | None) -> Any:
        place = self.storage.place(name)
        try:
            value = value_of(place, content)
            fault = None if operation is None else form_fault(value, operation)
            if fault is not None:
                raise Damaged(f"{place} holds a value of another form: {fault}")
        except Damaged as error:
            if (version := content.metadata.get("version", __version__)) == __version__:
                raise
            raise Foreign(f"{error} (mfv-dsl {version} wrote it)") from None
        return value

    def _read(self, name: str, key: str) -> Content:
        """What a file holds, whatever its form; KeyError where there is none."""
        if not isinstance(self.storage, FolderStorage):
            return read_content(self.storage.place(name), key, self.storage.read(name))
        if not self.storage.exists(name):
            raise KeyError(key)
        return read_content(self.storage.path(name), key)

    def put(self, key: str, value: Any, label: str, operation: str) -> None:
        """Keep the value of a finished step; ``label`` and ``operation`` are for people.

        Raises MfvError (MFV5374) for a value that holds NaN or infinity where a number should be.
        """
        name = step_name(key)
        own = _own_name(key) if self._is_foreign(name, key) else name
        self.put_at(own, key, value, label, operation)

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

    def put_at(self, name: str, key: str, value: Any, label: str, operation: str) -> None:
        """As :meth:`put`, in the file of that name."""
        check_finite(value, label)
        tensors: dict[str, torch.Tensor] = {}
        metadata = {
            "key": key,
            "label": label,
            "operation": operation,
            "value": encoded(value, tensors),
            "version": __version__,
        }
        metadata["sha256"] = hash_of(metadata, tensors)
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
        """Remove every stored step, the parts of unfinished ones, and what is noted of runs; how
        many steps there were."""
        names = self._files()
        self.storage.remove(*names, *self.storage.names("parts"), *self.storage.names("runs"))
        if isinstance(self.storage, FolderStorage):  # what was being written when a process died
            shutil.rmtree(self.storage.path("parts"), ignore_errors=True)
        return len(names)

    def unfinished(self) -> list[tuple[str, str, int]]:
        """The steps of which parts alone are kept: key, label and how many parts, in order of
        key."""
        parts: dict[str, list[str]] = {}
        for name in self.storage.names("parts"):
            key = name.split("/")[1]
            parts.setdefault(key, []).append(name)
        done = self.storage.present(map(step_name, parts))
        return [
            (key, self._label_of_parts(names), len(names))
            for key, names in parts.items()
            if step_name(key) not in done
        ]

    def _label_of_parts(self, names: Iterable[str]) -> str:
        """What the step is called whose parts these are; empty where none can be read."""
        for name in names:
            with suppress(KeyError, Damaged):
                content = self._read(name, name.rpartition("/")[2].partition(".")[0])
                return str(content.metadata.get("label")).partition(", part ")[0]
        return ""


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
            return self.store.get_at(self._file(step, name), _part_key(step, name), "")
        except Damaged:
            raise KeyError(name) from None

    def put(self, step: Step, name: str, value: Any) -> None:
        """Keep a part.  Raises MfvError (MFV5374) for one that is not all numbers."""
        self.store.put_at(
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
