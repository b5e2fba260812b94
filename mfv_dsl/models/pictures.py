"""Pictures and texts of a user's own, checked before a model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.images import read_rgb
from mfv_dsl.models.base import Picture


def check_rows(
    texts: Sequence[str],
    images: Sequence[Sequence[Picture]],
    answers: Sequence[str] | None = None,
) -> None:
    """Refuse (MFV7242) texts, lists of images and answers that do not go together one by one."""
    problem = ""
    if isinstance(texts, str) or not texts:
        problem = "no list of texts was given"
    elif len(texts) != len(images):
        problem = f"there are {len(texts)} texts and {len(images)} lists of images"
    elif answers is not None and len(texts) != len(answers):
        problem = f"there are {len(texts)} texts and {len(answers)} answers"
    elif any(not isinstance(row, list | tuple) for row in images):
        row = next(i for i, row in enumerate(images) if not isinstance(row, list | tuple))
        problem = f"images[{row}] is of type {type(images[row]).__name__}, not a list"
    if problem:
        raise MfvError(
            "MFV7242",
            problem,
            help='give one list of images for each text, for example texts=["<image>Q:"], '
            "images=[[picture]]; the list is empty for a text without images",
        )


def check_marks(place: str, marks: int, images: int) -> None:
    """Refuse (MFV7243) a text with ``marks`` that stand for images and another number of images."""
    if marks == images:
        return
    excess = abs(marks - images)
    if images > marks:
        advice = f"write `<image>` where each image belongs, or leave {excess} out"
    else:
        advice = f"give {excess} more, in the order of the text, or take {excess} `<image>` out"
    raise MfvError(
        "MFV7243",
        f"{place} has {_counted(marks, '`<image>` mark')} and {_counted(images, 'image')}",
        help=advice,
    )


def check_length(length: int, most: int, what: str) -> None:
    """Refuse (MFV7244) ``what`` if its ``length`` in tokens is more than ``most``."""
    if length > most:
        raise MfvError(
            "MFV7244",
            f"{what} is {length} tokens long, and the model takes {most}",
            help="use fewer demonstrations, each with its image, or generate fewer tokens",
        )


def as_array(picture: Picture, place: str) -> np.ndarray:
    """``picture`` as (height, width, 3) uint8; MFV7245 where it is none."""
    if isinstance(picture, str | Path):
        try:
            return read_rgb(picture)
        except MfvError as error:
            raise MfvError("MFV7245", f"{place} cannot be read", notes=(str(error),)) from None
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    if isinstance(picture, np.ndarray):
        if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
            return picture
        what = f"an array of {picture.dtype} with shape {picture.shape}"
    else:
        what = f"of type {type(picture).__name__}"
    raise MfvError(
        "MFV7245",
        f"{place} is {what}",
        help="an image is an array (height, width, 3) of uint8, a PIL image, or a file's path",
    )


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
