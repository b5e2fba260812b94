"""Pictures from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mfv_dsl.lang.diagnostics import MfvError


def read_rgb(path: str | Path) -> np.ndarray:
    """The picture in a file, (height, width, 3) uint8.

    It is opened and converted to RGB by Pillow, and nothing else, before anything is resized: what
    OpenFlamingo's training did with every picture.  So transparency is dropped, not laid on white,
    and an orientation noted in EXIF is not followed, for the model never saw pictures turned by it.

    Raises MfvError (MFV7221) for a file that is no picture.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MfvError("MFV7221", f"cannot read the picture {path}: {error}") from None
