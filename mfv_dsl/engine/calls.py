"""The calls of a user's own model: which tokens of a call are text, and which are padding.

with Calls(model, sites) as calls:
    model(tokens, attention_mask=mask)  # within, `calls.ends` has each row's last real token
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.sites import SiteTable


@dataclass(frozen=True)
class _Call:
    """What a call was given: its mask (rows, all tokens so far), None where there is no padding;
    how many tokens a cache holds, None where that is not known; its rows, and the ids of its
    tokens (rows, tokens), likewise."""

    mask: torch.Tensor | None
    cached: int | None
    rows: int | None
    tokens: torch.Tensor | None = None


class Calls:
    """Follows the calls of a model, and of the parts of it that stand around its layers.

    A call is that of the outermost such part that is called.
    """

    def __init__(self, model: nn.Module, sites: SiteTable) -> None:
        paths = {""}
        for site in sites.values():
            if not site.of_pictures:
                parts = site.path.partition(".{layer}")[0].split(".")[:-1]
                paths.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
        self._modules = [model.get_submodule(path) for path in sorted(paths)]
        self._handles: list[RemovableHandle] = []
        self._depth = 0
        self._call: _Call | None = None
        self.number = 0  # of the call, from 1

    def __enter__(self) -> Calls:
        for module in self._modules:
            self._handles.append(
                module.register_forward_pre_hook(self._begin, with_kwargs=True, prepend=True)
            )
            self._handles.append(module.register_forward_hook(self._end, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._depth, self._call = 0, None

    @property
    def running(self) -> bool:
        """Whether a call is under way."""
        return self._depth > 0

    @property
    def tokens(self) -> torch.Tensor | None:
        """The ids of the call's tokens, (rows, tokens); None where it was given none."""
        return None if self._call is None else self._call.tokens

    def ends(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The place of each row's last real token in ``tensor`` (rows, tokens, width), (rows,);
        None where that is the last place of every row.

        Raises MfvError: MFV5115 for a tensor of other rows than the call's, MFV5116 for a mask that
        does not fit the tokens.
        """
        call = self._call
        if call is None:
            return None
        rows, tokens = tensor.shape[:2]
        if call.rows is not None and rows != call.rows:
            raise MfvError(
                "MFV5115",
                f"the model is called with {call.rows} rows, and {rows} pass through its layers",
                help="make the edits by a hook of your own that knows how they are arranged",
            )
        if call.mask is None:
            return None
        mask = call.mask
        seen = mask.shape[1]
        if len(mask) != rows or seen < tokens or call.cached not in (None, seen - tokens):
            behind = f" behind {call.cached} in the cache" if call.cached else ""
            raise unusable_mask(
                f"it has shape {tuple(mask.shape)}, for {rows} rows of {tokens} tokens{behind}"
            )
        present = mask[:, -tokens:].to(tensor.device)
        numbers = torch.arange(1, tokens + 1, device=tensor.device)
        ends: torch.Tensor = (present * numbers).amax(-1) - 1
        if bool((ends < 0).any()):
            row = int((ends < 0).nonzero()[0])
            raise unusable_mask(f"it leaves no token of row {row}")
        return ends

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        self.number += 1
        try:
            self._call = _call_of(module, inputs, options)
        except MfvError:
            self._depth, self._call = 0, None
            raise

    def _end(self, *_: object) -> None:
        self._depth = max(self._depth - 1, 0)
        if not self._depth:
            self._call = None


def _call_of(module: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> _Call:
    """What a call of ``module`` is given, by name or by place.  Raises MfvError (MFV5116) for a
    mask that does not say which tokens are padding."""
    try:
        given = inspect.signature(module.forward).bind_partial(*inputs, **options).arguments
    except (TypeError, ValueError):  # the call itself will fail, or has no signature
        given = {}
    given = {**given, **given.get("kwargs", {}), **options}
    cached = _cached(given.get("past_key_values"))
    texts = (given.get(name) for name in ("input_ids", "inputs_embeds", "lang_x"))
    text = next((value for value in texts if isinstance(value, torch.Tensor)), None)
    mask, rows = _padding(given.get("attention_mask")), None if text is None else len(text)
    if mask is not None and rows not in (None, len(mask)):
        raise unusable_mask(f"it has shape {tuple(mask.shape)}, for {rows} rows")
    ids = (given.get(name) for name in ("input_ids", "lang_x"))
    tokens = next((value for value in ids if isinstance(value, torch.Tensor)), None)
    return _Call(mask, cached, rows, tokens)


def _cached(cache: Any) -> int | None:
    """How many tokens a cache holds, None where that is not known."""
    if cache is None:
        return 0
    try:
        return int(cache.get_seq_length())
    except (AttributeError, ValueError):  # another kind, or one of layers without attention
        return None


def _padding(mask: Any) -> torch.Tensor | None:
    """A mask (rows, tokens) of ones and zeros, None where it leaves nothing out."""
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor):
        raise unusable_mask(f"it is a {type(mask).__name__}")
    if mask.ndim != 2:
        raise unusable_mask(f"it has shape {tuple(mask.shape)}")
    present = mask != 0
    if not bool(((mask == 1) | ~present).all()):
        raise unusable_mask("it has other values than 0 and 1")
    return None if bool(present.all()) else present.long()


def unusable_mask(what: str) -> MfvError:
    """MFV5116: an attention mask from which the last token of each row is not known."""
    return MfvError(
        "MFV5116",
        f"the attention mask does not say where the texts end: {what}",
        help="give the mask as (rows, tokens), 1 for text and 0 for padding; in a generation leave "
        "out `cache_implementation`, for some caches make masks of another form",
    )
