"""Edits bound to a user's own model, for the user's own forward calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mfv_dsl.base.arguments import ArgumentError, shown
from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.hooks import EDITED, Hooks, find_site
from mfv_dsl.models.sites import SiteSource, SiteTable, find_sites, unknown_projection


@dataclass(frozen=True, repr=False)
class HookPlan:
    """Edits, and the model and sites that they are bound to; ``image_tokens`` are those that stand
    for pictures in its calls, as far as they are known."""

    model: nn.Module
    sites: SiteTable
    edits: tuple[Edit, ...]
    image_tokens: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        model: Any,
        edits: Sequence[Edit],
        sites: SiteSource | None = None,
        attention_output: str | None = None,
    ) -> HookPlan:
        """Bind ``edits`` to ``model``: one loaded by :func:`mfv_dsl.load_model`, an
        ``open_flamingo.Flamingo``, or a transformers causal language model.

        ``sites`` says where a model of another make keeps its parts, ``attention_output`` which
        module of a decoder layer is its attention's output projection
        (:func:`~mfv_dsl.models.sites.find_sites`).  Raises MfvError: MFV5108 where the parts that
        the edits need are not known, MFV5102 to MFV5105 for edits that do not fit, MFV5123 for
        positions that calls do not tell.
        """
        given = sites is not None or attention_output is not None
        if not given and hasattr(model, "sites") and hasattr(model, "model"):
            plan = cls(model.model, model.sites, (), model.image_tokens)
        elif isinstance(model, nn.Module):
            table = find_sites(model, sites, attention_output)
            plan = cls(model, table, (), _image_tokens(model))
        else:
            raise MfvError(
                "MFV5108", f"a {type(model).__name__} is no model that edits can be bound to",
                help="give a model of PyTorch, or one from mfv_dsl.load_model",
            )  # fmt: skip
        return plan.with_edits(edits)

    def with_edits(self, edits: Sequence[Edit]) -> HookPlan:
        """Other edits, bound to the same model.  Raises MfvError as :meth:`of`."""
        for edit in edits:
            if not isinstance(edit, Edit):
                raise ArgumentError(f"an edit is an `Edit`, and this is {shown(edit)}")
            check_numbers(self.model, edit)
        plan = replace(self, edits=tuple(edits))
        at_projection = any(edit.site in ("lm.attn", "lm.attn.out") for edit in plan.edits)
        if at_projection and "lm.attn" not in plan.sites:
            raise unknown_projection(plan.model, plan.sites)
        plan.attach()  # refuses what does not fit
        return plan

    def check_layer(self, layer: int | str) -> None:
        """Refuse (MFV5103) a layer of the residual stream that the model does not have."""
        if isinstance(layer, int):
            find_site(self.sites, "lm.resid", layer)

    def attach(self) -> Hooks:
        """A context in which every forward call of the model is edited.

        The edits are made at each row's last token that the call's ``attention_mask`` (rows,
        tokens) does not leave out, wherever the padding is; without a mask at the last position.
        In a generation with a cache that is the new token of every call.  Edits at all tokens are
        made at all of every call, those at pictures where a call has their tokens.  Leaving the
        block without a call, or without a picture, is an error.
        """
        return Hooks(
            self.model, self.sites, self.edits, by_mask=True, image_tokens=self.image_tokens
        )

    def __repr__(self) -> str:
        edits = [str(edit) for edit in self.edits]
        more = f" and {len(edits) - 5} more" if len(edits) > 5 else ""
        return f"HookPlan({type(self.model).__name__}: {'; '.join(edits[:5]) or 'no edits'}{more})"


def _image_tokens(model: Any) -> frozenset[int]:
    """The tokens that stand for pictures in calls of a user's own model; none where it does not
    say."""
    config = getattr(model, "config", None)
    places = (model, "media_token_id"), (config, "image_token_id"), (config, "image_token_index")
    tokens = (getattr(holder, name, None) for holder, name in places)
    return frozenset({next((token for token in tokens if isinstance(token, int)), -1)} - {-1})


def check_numbers(model: nn.Module, edit: Edit) -> None:
    """Refuse (MFV5370) an edit whose value is not all numbers in the model's precision."""
    dtypes = (p.dtype for p in model.parameters() if p.is_floating_point())
    dtype = next(dtypes, torch.float32)
    if not bool(edit.value.to(dtype).isfinite().all()):
        raise MfvError(
            "MFV5370", f"what is written, {edit}, is not all numbers in {dtype}",
            help="look at the vector and its scale",
        )  # fmt: skip


def is_edited(model: nn.Module) -> bool:
    """Whether edits are attached to a module of ``model`` now, by :meth:`HookPlan.attach`."""
    return any(module in EDITED for module in model.modules())
