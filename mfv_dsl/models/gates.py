"""The gates of a Flamingo's cross-attention blocks."""

from __future__ import annotations

from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
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


def cross_attention_gate(backend: Backend, layer: int) -> torch.Tensor:
    """What a model multiplies the output of its cross-attention by, in or before ``layer``: a
    scalar or (d_model,), of a Flamingo, an Idefics or a Llama with pictures.  Raises MfvError
    (MFV5566) for a model of another make."""
    known = gates(backend, layer)
    if known is not None:
        return known[0]
    path, part, _ = backend.sites["xattn"].module_path(layer).rpartition(".cross_attn.")
    block: Any = backend.model.get_submodule(path) if part else None
    if hasattr(block, "cross_attn_attn_gate"):
        opened: torch.Tensor = block.cross_attn_attn_gate.detach().tanh()
    elif hasattr(block, "alpha_cross_attn"):
        opened = block.act_cross_attn(block.alpha_cross_attn.detach())
    else:
        raise _unknown(layer)
    return opened


def _unknown(layer: int) -> MfvError:
    return MfvError(
        "MFV5566", f"how the cross-attention of layer {layer} is added to the residual stream is "
        "not known, so what its heads write is not known",
        help="ablate such heads, or rank heads of self-attention",
    )  # fmt: skip
