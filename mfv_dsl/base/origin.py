"""Where a model or dataset comes from, as a recipe would say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """A constructor of the language and the arguments that were given to it."""

    constructor: str
    arguments: Mapping[str, Any]
