"""Reads weight files, without copying them into memory and without running anything in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import open_regular

_LISTED = 20

#: What reading a damaged or dangerous file may raise.
UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError,
    zipfile.BadZipFile,
)  # fmt: skip


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.safetensors``, ``.pt`` or ``.bin`` file by name, mapped from the file.

    A training checkpoint's ``{"model_state_dict": …}`` and names beginning with ``module.`` are
    understood.  Raises MFV7215 for a file that is damaged, or that holds anything but tensors.
    """
    try:
        open_regular(path).close()  # nothing else is mapped, nor a pointer of git-LFS
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    if isinstance(state, dict) and isinstance(state.get("model_state_dict"), dict):
        state = state["model_state_dict"]
    has_names = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    )
    if not has_names:
        raise MfvError("MFV7215", f"{path} holds no tensors by name")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def unreadable(path: Path, error: Exception) -> MfvError:
    """MFV7215: a file, or one of those in a folder, that is damaged or holds more than tensors."""
    code = re.search(r"Unsupported \w+: GLOBAL (\S+)", str(error))
    if code is not None:
        return MfvError(
            "MFV7215",
            f"{path} holds more than weights, and none of it was run",
            notes=(f"reading it would call {code[1]}",),
            help="get it again from where it is published",
        )
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return MfvError(
        "MFV7215",
        f"{path} cannot be read: {why.strip().partition(chr(10))[0]}",
        help="get it again; a download that was cut off looks like this",
    )


@torch.no_grad()
def fill(
    into: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    path: Path,
    optional: Collection[str] = (),
) -> None:
    """Copy ``state``, read from ``path``, into the tensors of the same names, whose precision is
    kept.

    Raises MFV7216 unless every name but the ``optional`` ones is there, with its shape, and no
    other.
    """
    missing = [name for name in into if name not in state and name not in optional]
    left_over = [name for name in state if name not in into]
    misshapen = [
        f"{name}: {tuple(tensor.shape)} in the file, {tuple(into[name].shape)} in the model"
        for name, tensor in state.items()
        if name in into and tensor.shape != into[name].shape
    ]
    if missing or left_over or misshapen:
        raise misfit(path, missing=missing, left_over=left_over, misshapen=misshapen)
    for name, tensor in state.items():
        into[name].copy_(tensor)


def misfit(path: Path, **problems: Collection[str]) -> MfvError:
    """MFV7216: the weights in ``path`` are not those of the model, in what way."""
    notes = []
    for what, names in problems.items():
        if names:
            first_names = [*sorted(names)[:_LISTED], *(["…"] if len(names) > _LISTED else [])]
            notes.append("\n".join([f"{what.replace('_', ' ')}, {len(names)}:", *first_names]))
    return MfvError(
        "MFV7216",
        f"the weights in {path} do not fit the model",
        notes=notes,
        help="do the checkpoint, its language and vision models and cross_attn_every_n_layers "
        "belong together?",
    )
