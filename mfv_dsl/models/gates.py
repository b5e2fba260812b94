"""The gates of a Flamingo's cross-attention blocks."""

from __future__ import annotations

from typing import Any

import torch

from mfv_dsl.models.base import Backend


def gates(backend: Backend, layer: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What a Flamingo multiplies the output of its cross-attention before ``layer`` by, and that of
    the MLP behind it, both scalars; None where there are no such gates."""
    sites = backend.sites
    if "xattn.mlp" not in sites or layer not in sites["xattn.mlp"].layers:
        return None
    path = sites["xattn.mlp"].module_path(layer).removesuffix(".ff")
    block: Any = backend.model.get_submodule(path)
    return block.attn_gate.detach().tanh(), block.ff_gate.detach().tanh()
