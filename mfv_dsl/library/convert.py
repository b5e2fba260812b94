"""Vectors for other tools: a ``.gguf`` control vector (llama.cpp, repeng), a ``.pt`` steering
dictionary (lm-evaluation-harness), a ``.npy`` array.  :mod:`imported` reads what they write."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically

FORMATS = (".gguf", ".npy", ".pt")
_HOOKPOINT = "layers.{layer}"


def export(
    path: Path, residual: np.ndarray, layer: int | None, model: str, hookpoint: str = _HOOKPOINT
) -> None:
    """Write ``residual`` (d_model,) for another tool; the suffix of ``path`` names the format.

    ``layer`` is where the tool is to add it; ``.npy`` needs none.  ``model`` is noted in a GGUF
    file; ``hookpoint`` is a module's path with ``{layer}``, below the base model.  MFV6044 where
    the format cannot say it.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise MfvError(
            "MFV6044", f"`{path.suffix}` is no format that vectors are exported to",
            help=f"there are: {', '.join(FORMATS)}",
        )  # fmt: skip
    if suffix == ".npy":
        file = io.BytesIO()
        np.save(file, residual)
        data = file.getvalue()
    elif layer is None:
        raise MfvError(
            "MFV6044", f"a {suffix} file says at which layer its vector is added, and this "
            "vector's file names none", help="name it: `--layer 4`",
        )  # fmt: skip
    elif suffix == ".gguf":
        data = _gguf(residual, layer, model)
    elif "{layer}" not in hookpoint:
        raise MfvError(
            "MFV6044", f"the hookpoint `{hookpoint}` does not say where the layer's number stands",
            help="write `{layer}` for it: `--hookpoint 'model.layers.{layer}'`",
        )  # fmt: skip
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


def _gguf_package() -> Any:
    try:
        import gguf
    except ImportError:
        raise MfvError(
            "MFV6045", "GGUF files need the package gguf", help="pip install 'mfv-dsl[convert]'"
        ) from None
    return gguf
