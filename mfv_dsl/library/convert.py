"""Vectors from and for other tools.

Out: a ``.gguf`` control vector (llama.cpp, repeng), a ``.pt`` steering dictionary (lm-evaluation-
harness), a ``.npy`` array.  In: the same, and the pickled activations and ``.ckpt`` vectors of the
official code of arXiv:2510.02528.
"""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.library.header import LARGEST

FORMATS = (".gguf", ".npy", ".pt")
_DIRECTION = re.compile(r"direction\.([0-9]{1,6})")
_HOOKPOINT = "layers.{layer}"
#: how the files of torch.save begin, now and before version 1.6
_ZIP, _OLD_TORCH = b"PK", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class ForeignFile:
    """What a file of another tool holds: vectors by layer (None where it does not say), or mean
    head outputs (layers, heads, head_dim) by relation."""

    vectors: Mapping[int | None, np.ndarray]
    activations: Mapping[str, np.ndarray]


# -- out ------------------------------------------------------------------------------------------
def export(
    path: Path, residual: np.ndarray, layer: int | None, model: str, hookpoint: str = _HOOKPOINT
) -> None:
    """Write ``residual`` (d_model,) for another tool; the suffix of ``path`` names the format.

    ``layer`` is where the tool is to add it; ``.npy`` needs none.  ``model`` is noted in a GGUF
    file; ``hookpoint`` is a module's path with ``{layer}``, below the base model.  MFV6044 where
    the format cannot say it.
    """
    if path.suffix not in FORMATS:
        raise MfvError(
            "MFV6044", f"`{path.suffix}` is no format that vectors are exported to",
            help=f"there are: {', '.join(FORMATS)}",
        )  # fmt: skip
    if path.suffix == ".npy":
        file = io.BytesIO()
        np.save(file, residual)
        data = file.getvalue()
    elif layer is None:
        raise MfvError(
            "MFV6044", f"a {path.suffix} file says at which layer its vector is added, and this "
            "vector's file names none", help="name it: `--layer 4`",
        )  # fmt: skip
    elif path.suffix == ".gguf":
        data = _gguf(residual, layer, model)
    else:
        data = _steering(residual, hookpoint.replace("{layer}", str(layer)))
    write_atomically(path, data)


def _gguf(residual: np.ndarray, layer: int, model: str) -> bytes:
    """A control vector of one direction, as repeng writes it; ``direction.N`` is added to the
    output of layer N, counted from 0, and llama.cpp knows none for layer 0."""
    if layer == 0:
        raise MfvError(
            "MFV6044", "a GGUF control vector cannot be added at layer 0: llama.cpp has no "
            "direction there", help="export it for another layer, or as .pt or .npy",
        )  # fmt: skip
    gguf = _gguf_package()
    writer = gguf.GGUFWriter(None, "controlvector")
    writer.add_string("controlvector.model_hint", model)
    writer.add_uint32("controlvector.layer_count", 1)
    writer.add_tensor(f"direction.{layer}", residual.astype(np.float32))
    return _bytes_of(writer)


def _bytes_of(writer: Any) -> bytes:
    """The bytes of a GGUF file: its writer takes a path alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vector.gguf"
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _steering(residual: np.ndarray, hookpoint: str) -> bytes:
    """What lm-evaluation-harness's ``steered`` models load; it adds to every token."""
    import torch

    entry = {
        "steering_vector": torch.from_numpy(residual.copy()), "steering_coefficient": 1.0,
        "action": "add", "bias": None,
    }  # fmt: skip
    file = io.BytesIO()
    torch.save({hookpoint: entry}, file)
    return file.getvalue()


# -- in -------------------------------------------------------------------------------------------
def read_foreign(path: Path) -> ForeignFile:
    """What a file of another tool holds.  No code of it is run: MFV6042 for a pickle that would.

    MFV6041 for a file that cannot be read or holds something else.
    """
    data = _bytes(path)
    if path.suffix == ".gguf":
        return ForeignFile(_directions(path), {})
    if path.suffix == ".npy":
        with _unreadable(path, "an array"):
            return ForeignFile(
                {None: _vector(np.load(io.BytesIO(data), allow_pickle=False), path)}, {}
            )
    return _from_tree(_tree(data, path), path)


def read_effects(path: Path) -> dict[str, np.ndarray]:
    """The official code's pickled effects: (layers, heads) by relation."""
    tree = _tree(_bytes(path), path)
    effects = _arrays(_plain(tree)) if isinstance(tree, dict) else {}
    if not effects or any(array.ndim != 2 for array in effects.values()):
        raise MfvError("MFV6041", f"{path} does not hold one effect for each layer and head")
    return effects


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise MfvError("MFV6041", f"{path} is larger than {LARGEST >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise MfvError("MFV6041", f"cannot read {path}: {error.strerror}") from None


def _tree(data: bytes, path: Path) -> Any:
    """The content of a torch file or of a pickle."""
    import torch

    from mfv_dsl.library.unpickle import read_pickle

    if not data.startswith((_ZIP, _OLD_TORCH)):
        return read_pickle(data, path)
    try:
        if data.startswith(_ZIP):
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                if sum(entry.file_size for entry in file.infolist()) > LARGEST:
                    raise ValueError(f"it unpacks to more than {LARGEST >> 20} MiB")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch says it in many ways
        first = str(error).split("\n")[0]
        code = "MFV6042" if "weights_only" in str(error).lower() else "MFV6041"
        raise MfvError(
            code, f"{path} cannot be read as tensors alone: {first}",
            help="nothing of it was run; save the numbers as .npy",
        ) from None  # fmt: skip


def _from_tree(tree: Any, path: Path) -> ForeignFile:
    from mfv_dsl.library.unpickle import as_tensor

    tensor = as_tensor(tree)
    if tensor is not None:
        return ForeignFile({None: _vector(tensor.numpy(), path)}, {})
    if isinstance(tree, dict) and tree:
        tree = {key: _plain(value) for key, value in _plain(tree).items()}
        if all(isinstance(value, dict) and "steering_vector" in value for value in tree.values()):
            return ForeignFile(_steered(tree, path), {})
        arrays = _arrays(tree)
        if len(arrays) == len(tree) and all(array.ndim == 3 for array in arrays.values()):
            return ForeignFile({}, arrays)
    raise MfvError(
        "MFV6041",
        f"{path} holds neither a vector, nor steering vectors, nor mean head outputs by relation",
    )


def _steered(tree: dict[Any, dict[Any, Any]], path: Path) -> dict[int | None, np.ndarray]:
    """The vectors of a steering dictionary, times their coefficients, by layer."""
    from mfv_dsl.library.unpickle import as_tensor

    vectors: dict[int | None, np.ndarray] = {}
    for hookpoint, entry in tree.items():
        tensor, action = as_tensor(entry["steering_vector"]), entry.get("action")
        factor = entry.get("steering_coefficient", 1.0)
        if tensor is None or action != "add" or not isinstance(factor, int | float):
            raise MfvError(
                "MFV6041", f"{path} steers `{hookpoint}` by `{action}`; only what is added is "
                "a vector",
            )  # fmt: skip
        numbers = re.findall("[0-9]+", str(hookpoint))
        layer = int(numbers[-1]) if numbers else None
        vectors[layer] = _vector(factor * tensor.numpy(), path)
    return vectors


def _directions(path: Path) -> dict[int | None, np.ndarray]:
    """The directions of a GGUF control vector by layer."""
    gguf = _gguf_package()
    vectors: dict[int | None, np.ndarray] = {}
    with _unreadable(path, "a GGUF control vector"):
        for tensor in gguf.GGUFReader(path).tensors:
            name = _DIRECTION.fullmatch(tensor.name)
            if name and tensor.tensor_type == gguf.GGMLQuantizationType.F32:
                vectors[int(name[1])] = _vector(np.array(tensor.data), path)
    if not vectors:
        raise MfvError("MFV6041", f"{path} holds no directions of a control vector")
    return vectors


def _plain(value: Any) -> Any:
    """A dict without attributes: torch's reader lets a file give an OrderedDict some."""
    return dict(dict.items(value)) if isinstance(value, dict) else value


def _arrays(tree: dict[Any, Any]) -> dict[str, np.ndarray]:
    from mfv_dsl.library.unpickle import as_tensor

    tensors = {str(key): as_tensor(value) for key, value in tree.items()}
    return {key: tensor.numpy() for key, tensor in tensors.items() if tensor is not None}


def _vector(array: np.ndarray, path: Path) -> np.ndarray:
    """A vector (d_model,) of an array of that many numbers, e.g. (1, d_model)."""
    if (
        array.dtype.kind not in "fiu"
        or array.size == 0
        or array.size != max(array.shape, default=0)
    ):
        raise MfvError("MFV6041", f"{path} holds an array of shape {array.shape}, not one vector")
    vector = array.astype(np.float32).reshape(-1)
    if not np.isfinite(vector).all():
        raise MfvError("MFV6041", f"{path} holds values that are not finite")
    return vector


@contextmanager
def _unreadable(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except MfvError:
        raise
    except Exception as error:  # readers of foreign formats end in any way on damaged files
        why = f"{type(error).__name__}: {error}".split("\n")[0]
        raise MfvError("MFV6041", f"{path} cannot be read as {what}: {why}") from None


def _gguf_package() -> Any:
    try:
        import gguf
    except ImportError:
        raise MfvError(
            "MFV6045", "GGUF files need the package gguf", help="pip install 'mfv-dsl[convert]'"
        ) from None
    return gguf
