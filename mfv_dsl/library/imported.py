"""Vectors in files of other tools: what a file holds, whichever form it has.

A form is known by the file's content, not by its name: GGUF control vectors (llama.cpp, repeng),
arrays of numpy, safetensors, and torch files or pickles of a vector, ``{layer: vector}``, steering
dictionaries (lm-evaluation-harness), ``SteeringVector`` (steering-vectors), or mean head outputs
(the official codes of arXiv:2310.15213 and arXiv:2510.02528).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import read_regular
from mfv_dsl.library.array_files import (
    Unfit,
    directions,
    numpy_archive,
    numpy_array,
    safetensors,
)
from mfv_dsl.library.gguf_file import MAGIC
from mfv_dsl.library.header import LARGEST
from mfv_dsl.library.hookpoints import layer_of_key, layer_of_path
from mfv_dsl.library.torch_file import ZIP, read_tree
from mfv_dsl.library.trees import (
    described,
    entries,
    is_numeric,
    is_vector,
    listed,
    name_of,
    shape_of,
)
from mfv_dsl.library.unpickle import Numbers, Record, plain

_NUMPY = b"\x93NUMPY"
_STEERED = "steering_vector"
_SHOWN = 8  # entries that a message names
_WIDEST = 1 << 20  # numbers of a vector


@dataclass(frozen=True)
class ForeignFile:
    """What a file of another tool holds: vectors (d_model,) by layer (None where it does not say),
    or mean head outputs (layers, heads, head_dim) by relation (likewise), float32.

    ``remarks`` are what there is in it that was not understood.
    """

    vectors: Mapping[int | None, np.ndarray]
    activations: Mapping[str | None, np.ndarray]
    remarks: tuple[str, ...] = ()


def read_foreign(path: Path, entry: str | None = None) -> ForeignFile:
    """What a file of another tool holds; ``entry`` names a part of it, ``state/vector``.

    No code of it is run.  Raises MfvError: MFV6042 for a pickle that would; MFV6041 for a file that
    cannot be read, holds something else, or numbers that are not finite or beyond float32; MFV6046
    for a vector that is added elsewhere than at a decoder layer's output; MFV6047 for two vectors
    of one layer.
    """
    return _Reading(path).content(entry)


def read_effects(path: Path) -> dict[str | None, np.ndarray]:
    """Effects (layers, heads) by relation (None where there is but one), float32.

    Of an array of every trial (trials, layers, heads) the mean is taken, and of one with kinds of
    tokens (trials, layers, heads, kinds) the last kind: the token that the answer is read at.
    """
    reading = _Reading(path)
    tree = plain(reading.tree())
    parts = tree if isinstance(tree, dict) else {None: tree}
    effects: dict[str | None, np.ndarray] = {}
    for key, value in parts.items():
        shape = shape_of(value) or ()
        if 0 in shape or len(shape) not in ((2,) if key is not None else (2, 3, 4)):
            raise MfvError("MFV6041", f"{path} does not hold one effect for each layer and head")
        array = reading.numbers(value, key, finite=False)
        array = array[..., -1] if array.ndim == 4 else array
        effects[key if key is None else name_of(key)] = array.mean(0) if array.ndim == 3 else array
    if not effects:
        raise MfvError("MFV6041", f"{path} does not hold one effect for each layer and head")
    return effects


def check_finite(path: Path, name: object, array: np.ndarray, layers: Iterable[int]) -> None:
    """MFV6041 where an array by layer is not finite in one of ``layers``."""
    bad = ~np.isfinite(array)
    bad[[layer for layer in range(len(array)) if layer not in set(layers)]] = False
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise _not_finite(path, name, array.shape, at, array[at], int(bad.sum()))


def _not_finite(
    path: Path, name: object, shape: tuple[int, ...], at: tuple[int, ...], value: Any, count: int
) -> MfvError:
    place = ", ".join(map(str, at))
    problem = "is not finite" if not np.isfinite(value) else "is beyond the range of float32"
    return MfvError(
        "MFV6041", f"in {path} {_called(name)} {problem} at [{place}]: {value}",
        notes=[f"{count:,} of its {np.prod(shape, dtype=object):,} numbers are so"],
        help="make the file again: a mean over nothing, or a number too large for its type, "
        "gives such values",
    )  # fmt: skip


def _called(name: object) -> str:
    return "its array" if name is None else f"`{name_of(name)}`"


def _names(keys: Iterable[object]) -> str:
    names = [_called(key) for key in keys]
    return ", ".join([*names[:_SHOWN], *(["…"] if len(names) > _SHOWN else [])])


def _place(hookpoint: object) -> int | str | None:
    """The layer that a hookpoint is, or in words what it is instead; None where there is none."""
    if hookpoint is None:
        return None
    if isinstance(hookpoint, str):
        return layer_of_path(hookpoint)
    layer = layer_of_key(hookpoint)
    return "is no path of a module" if layer is None else layer


class _Reading:
    """One file: its bytes, and how much room is left for its numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._room = LARGEST
        self._remarks: list[str] = []
        try:
            self.data = read_regular(path, LARGEST)
        except OSError as error:
            raise MfvError("MFV6041", f"cannot read {path}: {error.strerror}") from None

    def content(self, entry: str | None) -> ForeignFile:
        tree = plain(self.tree())
        content = self._content(tree if entry is None else self._entry(tree, entry))
        return ForeignFile(*content, tuple(self._remarks))

    def tree(self) -> Any:
        """What the file holds: arrays, in plain containers."""
        data, suffix = self.data, self.path.suffix.lower()
        if data.startswith(MAGIC) or suffix == ".gguf":
            vectors, remarks = self._try(directions, "a GGUF control vector")
            self._remarks += [f"{self.path}: {remark}" for remark in remarks]
            return vectors
        if data.startswith(_NUMPY) or suffix == ".npy":
            return self._try(numpy_array, "an array")
        length = int.from_bytes(data[:8], "little")
        if suffix == ".safetensors" or (data[8:9] == b"{" and length <= len(data) - 8):
            return self._try(safetensors, "a safetensors file")
        if data.startswith(ZIP) and (arrays := self._try(numpy_archive, "an archive")):
            return arrays
        return read_tree(data, self.path)

    def _try(self, read: Any, what: str) -> Any:
        try:
            return read(self.data)
        except Unfit as error:
            self._refuse(error.args[0], error.args[1] or None)
        except Exception as error:  # readers of foreign formats end in any way on damaged files
            why = f"{type(error).__name__}: {error}".split("\n")[0]
            message = f"{self.path} cannot be read as {what}: {why[:200]}"
            raise MfvError("MFV6041", message) from None

    # -- numbers ----------------------------------------------------------------------------------
    def numbers(self, value: Any, name: object, finite: bool = True) -> np.ndarray:
        """An array as float32.  MFV6041 where that is too much, or for a number that float32 cannot
        hold; if ``finite``, also for one that is not finite."""
        value = plain(value)
        count = value.count if isinstance(value, Numbers) else value.size
        self._room -= 4 * count
        if self._room < 0:
            raise MfvError("MFV6041", f"{self.path} holds more than {LARGEST >> 20} MiB of numbers")
        try:
            array: Any = value.array() if isinstance(value, Numbers) else value
        except Exception as error:  # it reaches beyond what is stored
            raise MfvError(
                "MFV6041", f"in {self.path} {_called(name)} is not what is stored: {error}"
            ) from None
        with np.errstate(over="ignore", invalid="ignore"):
            result: np.ndarray = np.array(array, dtype=np.float32)
        bad = ~np.isfinite(result)
        if not finite:
            bad &= np.isfinite(array)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise _not_finite(self.path, name, result.shape, at, array[at], int(bad.sum()))
        return result

    def _vector(self, value: Any, name: object) -> np.ndarray:
        """A vector (d_model,) of an array of that many numbers, e.g. (1, d_model)."""
        shape = shape_of(value)
        if shape is None or not is_vector(shape):
            self._refuse(f"{_called(name)} is {described(value)}, not one vector")
        if max(shape) > _WIDEST:
            self._refuse(f"{_called(name)} is {described(value)}, longer than any model is wide")
        return self.numbers(value, name).reshape(-1)

    def _refuse(self, problem: str, help: str | None = None) -> NoReturn:
        raise MfvError("MFV6041", f"in {self.path} {problem}", help=help)

    # -- forms ------------------------------------------------------------------------------------
    def _content(
        self, tree: Any
    ) -> tuple[dict[int | None, np.ndarray], dict[str | None, np.ndarray]]:
        """Vectors by layer, and mean head outputs by relation."""
        tree = plain(tree)
        if (shape := shape_of(tree)) is not None:
            if is_vector(shape):
                return {None: self._vector(tree, None)}, {}
            return {}, {None: self._means(tree, None)}
        if isinstance(tree, Record):
            tree = self._attributes(tree)
        if isinstance(tree, list | tuple) and tree and all(_is_steered(part) for part in tree):
            return self._steered((part.get("hookpoint"), part) for part in tree), {}
        if not isinstance(tree, dict):
            self._nothing(tree)
        if _is_steered(tree):
            return self._steered([(tree.get("hookpoint"), tree)]), {}
        if any(_is_steered(part) for part in tree.values()):
            return self._steered(tree.items()), {}
        if "layer_activations" in tree:
            return self._layer_activations(tree), {}
        arrays = {key: part for key, part in tree.items() if shape_of(part) is not None}
        others = [key for key in tree if key not in arrays]
        if any(next(entries(tree[key]), None) for key in others):
            raise self._several(tree)
        shapes = [shape_of(part) or () for part in arrays.values()]
        if arrays and others:
            self._remarks.append(
                f"{self.path}: of it {_names(arrays)} alone was taken, not {_names(others)}"
            )
        if shapes and all(len(shape) >= 3 and not is_vector(shape) for shape in shapes):
            return {}, {name_of(key): self._means(part, key) for key, part in arrays.items()}
        layers = {key: layer_of_key(key) for key in arrays}
        if arrays and None not in layers.values():
            return self._by_layer((key, layers[key], part) for key, part in arrays.items()), {}
        if len(arrays) == 1:
            ((key, part),) = arrays.items()
            return {None: self._vector(part, key)}, {}
        raise self._several(tree)

    def _means(self, value: Any, name: object) -> np.ndarray:
        """Mean head outputs (layers, heads, head_dim), of (layers, heads, tokens, head_dim) those
        at the last token, which the answer is read at."""
        shape = shape_of(value) or ()
        if len(shape) not in (3, 4) or 0 in shape:
            raise MfvError(
                "MFV6041", f"{self.path} holds neither a vector, nor mean head outputs: "
                f"{_called(name)} is {described(value)}",
                help="save the vector alone, as an array of one axis",
            )  # fmt: skip
        array = self.numbers(value, name, finite=False)
        return array[:, :, -1] if array.ndim == 4 else array

    def _attributes(self, record: Record) -> dict[Any, Any]:
        state = dict(record.state)
        if "directions" in state:  # repeng's
            return {"layer_activations": state["directions"]}
        return state

    def _layer_activations(self, tree: dict[Any, Any]) -> dict[int | None, np.ndarray]:
        """The vectors of a ``SteeringVector`` of the package steering-vectors, by layer."""
        kind, vectors = tree.get("layer_type", "decoder_block"), plain(tree["layer_activations"])
        if kind != "decoder_block":
            raise MfvError(
                "MFV6046", f"{self.path} holds vectors of the `{name_of(kind, 40)}` of layers, and "
                "vectors are added at a decoder layer's output",
                help="train one for layer_type='decoder_block'",
            )  # fmt: skip
        if not isinstance(vectors, dict) or not vectors:
            self._nothing(vectors)
        if any(layer_of_key(key) is None for key in vectors):
            self._refuse(f"{_names(vectors)} are not all numbers of layers")
        return self._by_layer((key, layer_of_key(key), part) for key, part in vectors.items())

    def _steered(self, parts: Iterable[tuple[Any, Any]]) -> dict[int | None, np.ndarray]:
        """The vectors of a steering dictionary, times their coefficients, by layer."""
        pairs = list(parts)
        for hookpoint, part in pairs:
            if not _is_steered(part):
                self._refuse(f"{_called(hookpoint)} has no {_STEERED}")
        places = [_place(hookpoint) for hookpoint, _ in pairs]
        wrong = [
            f"{_called(hookpoint)}, which {place}"
            for (hookpoint, _), place in zip(pairs, places, strict=True) if isinstance(place, str)
        ]  # fmt: skip
        if wrong:
            raise MfvError(
                "MFV6046", f"{self.path} steers {', '.join(wrong[:_SHOWN])}",
                notes=["vectors are added at a decoder layer's output, e.g. `layers.4`"],
                help="others of its vectors can be taken alone: `--entry HOOKPOINT`"
                if len(wrong) < len(pairs)
                else "where that means the same in its model, save it under such a path",
            )  # fmt: skip
        return self._by_layer(
            (hookpoint, place, self._product(hookpoint, part))
            for (hookpoint, part), place in zip(pairs, places, strict=True)
        )

    def _product(self, hookpoint: object, entry: dict[Any, Any]) -> np.ndarray:
        if entry.get("action") != "add":
            self._refuse(
                f"{_called(hookpoint)} is steered by `{name_of(entry.get('action'), 40)}`; only "
                "what is added is a vector"
            )
        if entry.get("head_index") is not None:
            self._refuse(f"{_called(hookpoint)} is steered in one head alone")
        vector = self._vector(entry[_STEERED], f"{name_of(hookpoint)}.{_STEERED}")
        factor = self._number(entry.get("steering_coefficient", 1.0), hookpoint)
        with np.errstate(over="ignore"):
            product: np.ndarray = vector * np.float64(factor)
        return self.numbers(product, hookpoint)

    def _number(self, value: Any, hookpoint: object) -> float:
        """A coefficient: a number, or a tensor of one."""
        name, number = f"{name_of(hookpoint)}.steering_coefficient", plain(value)
        if isinstance(number, Numbers) and number.count == 1 and is_numeric(number):
            number = float(self.numbers(number, name).reshape(-1)[0])
        if isinstance(number, bool) or not isinstance(number, int | float):
            self._refuse(f"`{name}` is {described(value)}, expected a number")
        if not abs(number) < 1e300:
            self._refuse(f"`{name}` is beyond the range of float32, or no number")
        return float(number)

    def _by_layer(self, parts: Iterable[tuple[Any, Any, Any]]) -> dict[int | None, np.ndarray]:
        """Vectors by layer; MFV6047 lists two of one layer."""
        vectors: dict[int | None, np.ndarray] = {}
        keys: dict[int | None, Any] = {}
        for key, layer, value in parts:
            if layer in keys:
                raise MfvError(
                    "MFV6047", f"{self.path} holds two vectors of layer {layer}: "
                    f"{_called(keys[layer])} and {_called(key)}",
                    help=f"name the one to take: `--entry '{name_of(key)}'`",
                )  # fmt: skip
            keys[layer] = key
            vectors[layer] = self._vector(value, key)
        return vectors

    # -- what is not clear ------------------------------------------------------------------------
    def _entry(self, tree: Any, entry: str) -> Any:
        """A part of the file: a container as it is, anything else under its own key."""
        place, rest = tree, entry
        while True:
            place = plain(place)
            parts = dict(place.state) if isinstance(place, Record) else place
            keys = {name_of(key): key for key in parts} if isinstance(parts, dict) else {}
            if rest in keys:
                part = parts[keys[rest]]
                whole = isinstance(part, dict | list | Record) and not _is_steered(part)
                return part if whole else {rest: part}
            head, _, rest = rest.partition("/")
            if head not in keys or not rest:
                raise MfvError(
                    "MFV6041", f"{self.path} has no entry `{entry}`",
                    help=f"it has: {listed(tree)}",
                )  # fmt: skip
            place = parts[keys[head]]

    def _several(self, tree: Any) -> MfvError:
        first = next(entries(tree), None)
        if first is None:
            self._nothing(tree)
        return MfvError(
            "MFV6041", f"{self.path} does not say which of its arrays is the vector: "
            f"{listed(tree)}",
            help=f"name it: `--entry '{first[0]}'`",
        )  # fmt: skip

    def _nothing(self, tree: Any) -> NoReturn:
        raise MfvError(
            "MFV6041", f"{self.path} holds neither a vector, nor vectors by layer, nor steering "
            "vectors, nor mean head outputs by relation",
            notes=[f"it is {described(tree)}"],
        )  # fmt: skip


def _is_steered(value: Any) -> bool:
    return isinstance(value, dict) and _STEERED in value
