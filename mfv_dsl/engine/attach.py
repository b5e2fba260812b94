"""Edits bound to a user's own model, for the user's own forward calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.models.sites import Site, SiteTable

#: Where language models keep their decoder layers, and in a layer the attention's projection.
_LAYERS = {
    "gpt_neox.layers": "attention.dense",
    "model.layers": "self_attn.o_proj",
    "model.language_model.layers": "self_attn.o_proj",
    "language_model.model.layers": "self_attn.o_proj",
    "transformer.h": "attn.c_proj",
    "transformer.blocks": "attn.out_proj",
    "model.decoder.layers": "self_attn.out_proj",
}


@dataclass(frozen=True)
class HookPlan:
    """Edits, and the model and sites that they are bound to."""

    model: nn.Module
    sites: SiteTable
    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, model: Any, edits: Sequence[Edit]) -> HookPlan:
        """Bind ``edits`` to ``model``: one loaded by :func:`mfv_dsl.load_model`, an
        ``open_flamingo.Flamingo``, or a transformers causal language model."""
        if hasattr(model, "sites") and hasattr(model, "model"):
            plan = cls(model.model, model.sites, tuple(edits))
        else:
            plan = cls(model, find_sites(model), tuple(edits))
        Hooks(plan.model, plan.sites, plan.edits)  # refuses what does not fit
        return plan

    def attach(self) -> Hooks:
        """A context in which every forward call of the model is edited; the edits are made at the
        last position of each call.  Leaving it without a call is an error."""
        return Hooks(self.model, self.sites, self.edits)


def find_sites(model: nn.Module) -> SiteTable:
    """The site table of a model whose decoder layers are where a known architecture has them."""
    for prefix in ("", "lang_encoder."):
        for path, projection in _LAYERS.items():
            try:
                layers = model.get_submodule(prefix + path)
            except AttributeError:
                continue
            return _table(model, layers, f"{prefix}{path}.{{layer}}", projection)
    raise MfvError(
        "MFV5108",
        f"the decoder layers of a {type(model).__name__} are not where any known architecture has "
        "them",
        help=f"known places: {', '.join(_LAYERS)}",
    )


def _table(model: Any, layers: nn.Module, block: str, projection: str) -> SiteTable:
    flamingo = hasattr(model, "lang_encoder")
    config = (model.lang_encoder if flamingo else model).config.get_text_config()
    d_model = int(getattr(config, "hidden_size", None) or config.d_model)
    heads = int(getattr(config, "num_attention_heads", None) or config.n_heads)
    numbers = tuple(range(len(list(layers.children()))))
    decoder = f"{block}.decoder_layer" if flamingo else block
    projected: Any = model.get_submodule(f"{decoder}.{projection}".format(layer=0))
    inputs = getattr(projected, "in_features", None) or projected.weight.shape[0]
    return {
        "lm.attn": Site(f"{decoder}.{projection}", "input", numbers, int(inputs) // heads, heads),
        "lm.attn.out": Site(f"{decoder}.{projection}", "output", numbers, d_model),
        "lm.resid": Site(block, "output", numbers, d_model),
    }
