"""Files of other tools, as the tests of imports write them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError


def saved(path: Path, value: Any) -> Path:
    """``value`` as its suffix says: a torch file, a pickle or an array."""
    if path.suffix in (".pt", ".ckpt"):
        torch.save(value, path)
    elif path.suffix == ".npy":
        np.save(path, value)
    else:
        path.write_bytes(pickle.dumps(value))
    return path


def code(work: Callable[..., object], *arguments: object) -> str:
    """The code that a call ends with."""
    with pytest.raises(MfvError) as found:
        work(*arguments)
    return found.value.code
