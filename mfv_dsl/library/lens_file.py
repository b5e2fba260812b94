"""A tuned lens as a safetensors file: its translators, and the model that it is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mfv_dsl.base.disk import check_path, disk_trouble
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.methods.lens import TunedLens

_KEY, _VERSION = "mfv_lens", 1


def save_lens(lens: TunedLens, path: Path) -> None:
    """Write ``lens``; the same lens gives the same bytes.  Raises MfvError (MFV6102) where it
    cannot be written."""
    from safetensors.torch import save

    about = {
        "version": _VERSION,
        "fingerprint": lens.fingerprint,
        "divergences": lens.divergences.tolist(),
    }
    tensors = {"weights": lens.weights.contiguous(), "biases": lens.biases.contiguous()}
    with disk_trouble(path, what="cannot write the lens", code="MFV6102"):
        check_path(path.parent)
        write_atomically(path, save(tensors, {_KEY: json.dumps(about)}))


def load_lens(path: Path) -> TunedLens:
    """The lens of a file.  Raises MfvError (MFV5585) for a file that is not there or holds none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about: Any = json.loads((file.metadata() or {})[_KEY])
            weights, biases = file.get_tensor("weights"), file.get_tensor("biases")
            divergences = np.array(about["divergences"], dtype=float)
            version, fingerprint = about["version"], about["fingerprint"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError) or not Path(path).exists()
        reason = "there is no such file" if missing else "it holds no lens"
        raise _unreadable(path, reason) from None
    if version != _VERSION:
        raise _unreadable(path, f"it is of version {version}, and this program reads {_VERSION}")
    layers, width = biases.shape if biases.ndim == 2 else (0, 0)
    fits = weights.shape == (layers, width, width) and divergences.shape == (layers, 2)
    if not layers or not fits or not isinstance(fingerprint, str):
        raise _unreadable(path, "its parts do not fit one another")
    if not bool(weights.isfinite().all() and biases.isfinite().all()):
        raise _unreadable(path, "its numbers are not all finite")
    return TunedLens(fingerprint, weights.float(), biases.float(), divergences)


def _unreadable(path: Path, reason: str) -> MfvError:
    return MfvError(
        "MFV5585", f"cannot read the lens {path}: {reason}",
        help="write `logit` for the logit lens, or train one by `mfv train-lens FILE`",
    )  # fmt: skip
