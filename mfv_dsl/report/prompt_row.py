"""A prompt as it is drawn: its pictures with the text that goes with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PromptRow:
    """One prompt: pictures (height, width, 3) uint8 as the model gets them, the text that goes with
    each, and the answer that is wanted."""

    title: str
    pictures: Sequence[np.ndarray]
    texts: Sequence[str]
    answer: str
