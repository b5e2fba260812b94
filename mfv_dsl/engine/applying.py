"""One edit made on the states that pass through a site."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.edits import Change, Edit
from mfv_dsl.models.sites import Site


def apply(
    edit: Edit, site: Site, tensor: torch.Tensor, ends: torch.Tensor | None = None
) -> torch.Tensor:
    """``tensor`` (prompts, length, site width) with ``edit`` made; the input is untouched.

    ``ends`` (prompts,) is the place of each prompt's last token, where rows are padded behind it.
    """
    if edit.when is None:
        return _applied(edit, site, tensor, ends)
    assert isinstance(edit.when, torch.Tensor)  # gates were looked at, and are masks now
    if edit.when.shape != tensor.shape[:1]:
        raise MfvError(
            "MFV5117",
            f"the edit is for prompts of a mask of {len(edit.when)}, and {len(tensor)} pass "
            f"through {edit.site}[{edit.layer}]",
            help="a mask of prompts is for their batch alone",
        )
    mask = sent(edit.when, tensor.device)[:, None, None]
    return torch.where(mask, _applied(edit, site, tensor, ends), tensor)


def _applied(
    edit: Edit, site: Site, tensor: torch.Tensor, ends: torch.Tensor | None
) -> torch.Tensor:
    """``tensor`` with ``edit`` made in every prompt."""
    positions = edit.positions
    if positions is None:
        return _everywhere(edit, site, tensor)
    if isinstance(positions, torch.Tensor):
        return _where(edit, site, tensor, positions)
    assert isinstance(positions, tuple)  # others were told by a prompt, and are places now
    out = tensor.clone()
    for position in positions:
        at = _place(tensor, position, ends)
        before = split_heads(site, tensor[at])
        if site.heads is None:
            out[at] = apply_change(edit.change, before, edit.value)
        else:
            heads = slice(None) if edit.heads is None else list(edit.heads)
            after = before.clone()
            after[:, heads] = apply_change(edit.change, before[:, heads], edit.value)
            out[at] = after.flatten(-2)
    return out


def _everywhere(edit: Edit, site: Site, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` with ``edit`` made at every token."""
    value = edit.value
    if _is_per_prompt(edit, site):
        value = value.unsqueeze(1)  # for all tokens of a prompt
    before = split_heads(site, tensor)
    if site.heads is None or edit.heads is None:
        after = apply_change(edit.change, before, value)
    else:
        heads = list(edit.heads)
        after = before.clone()
        after[:, :, heads] = apply_change(edit.change, before[:, :, heads], value)
    return after.reshape(tensor.shape)


def _where(edit: Edit, site: Site, tensor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``tensor`` with ``edit`` made where ``mask`` (prompts, length) is true."""
    if mask.shape != tensor.shape[:2]:
        raise MfvError(
            "MFV5117",
            f"the edit is for tokens of {tuple(mask.shape)}, and {tuple(tensor.shape[:2])} pass "
            f"through {edit.site}[{edit.layer}]",
            help="places in a batch are for that batch alone",
        )
    at = mask.to(tensor.device).nonzero(as_tuple=True)
    value = edit.value
    if _is_per_prompt(edit, site) and len(value) > 1:
        value = value[at[0].to(value.device)]
    before = split_heads(site, tensor[at])
    heads = slice(None) if site.heads is None or edit.heads is None else list(edit.heads)
    if site.heads is None:
        after = apply_change(edit.change, before, value)
    else:
        after = before.clone()
        after[:, heads] = apply_change(edit.change, before[:, heads], value)
    return tensor.index_put(at, after.reshape(len(at[0]), tensor.shape[-1]))


def _is_per_prompt(edit: Edit, site: Site) -> bool:
    """Whether an edit's value has a dimension of prompts."""
    return edit.value.ndim > (1 if site.heads is None else 2)


def _place(tensor: torch.Tensor, position: int, ends: torch.Tensor | None) -> tuple[Any, Any]:
    """The index of ``position`` in every row of ``tensor`` (prompts, length, width)."""
    length = tensor.shape[1]
    at: tuple[Any, Any]
    if ends is None or position >= 0:
        fits, at = -length <= position < length, (slice(None), position)
    else:
        places = ends + (position + 1)
        fits, at = bool((places >= 0).all()), (torch.arange(len(places)), places)
    if not fits:
        raise MfvError(
            "MFV5117",
            f"there is no position {position}: the model is called with {length} tokens",
            help="in a generation each call has the new token alone; edit the last, -1, or all",
        )
    return at


def apply_change(change: Change, before: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``before`` (..., width) after ``change`` with ``value``, which broadcasts to it.  Lengths and
    inner products are taken in float32 at least."""
    value = sent(value, before.device)
    if change.is_plain and change.operation != "project_out":
        value = value.to(before.dtype)
        if change.operation == "add":
            return before + value
        return value.expand_as(before) if change.operation == "replace" else before * value
    precise = before if before.dtype == torch.float64 else before.float()
    value = value.to(precise.dtype)
    if change.operation == "project_out":
        along = value / torch.linalg.vector_norm(value, dim=-1, keepdim=True)
        left: torch.Tensor = precise - (precise * along).sum(-1, keepdim=True) * along
        return left.to(before.dtype)
    length = torch.linalg.vector_norm(precise, dim=-1, keepdim=True)
    if change.scaled_by == "angle":
        cosine = functional.cosine_similarity(precise, value.expand_as(precise), dim=-1)
        value = value * (1 - cosine.clamp(max=0)).unsqueeze(-1)
    if change.scaled_by != "vector":
        value = length * value
    total = change.keep * precise + value
    if change.length == "kept":
        total = functional.normalize(total, dim=-1) * length
    return total.to(before.dtype)


def split_heads(site: Site, tensor: torch.Tensor) -> torch.Tensor:
    """The last dimension as (heads, width) where the site has heads; a view."""
    if site.heads is None:
        return tensor
    return tensor.view(*tensor.shape[:-1], site.heads, site.width)


def taken(
    tensor: torch.Tensor,
    positions: tuple[int, ...] | torch.Tensor | None,
    ends: torch.Tensor | None,
) -> torch.Tensor:
    """``tensor`` (prompts, length, width) at some positions of every row,
    (prompts, positions, width); of a mask (prompts, length) the mean where it is true,
    (prompts, 1, width)."""
    if positions is None:
        return tensor
    if isinstance(positions, torch.Tensor):
        if positions.shape != tensor.shape[:2]:
            raise MfvError(
                "MFV5117",
                f"tokens of {tuple(positions.shape)} are read, and {tuple(tensor.shape[:2])} pass",
                help="places in a batch are for that batch alone",
            )
        weights = sent(positions, tensor.device).float()
        weights = weights / weights.sum(-1, keepdim=True)
        chosen = tensor.float().masked_fill(weights[..., None] == 0, 0.0)  # padding may be anything
        return torch.einsum("pl,plw->pw", weights, chosen)[:, None]
    return torch.stack([tensor[_place(tensor, position, ends)] for position in positions], 1)
