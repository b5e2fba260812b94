"""The tensors that a value holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch


def tensors_in(tree: Any) -> Iterator[torch.Tensor]:
    """The tensors in a tree of dataclasses, tuples, lists and mappings."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif is_dataclass(tree):
        for item in fields(tree):
            yield from tensors_in(getattr(tree, item.name))
    elif isinstance(tree, tuple | list | Mapping):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_in(part)
