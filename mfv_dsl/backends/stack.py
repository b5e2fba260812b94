"""The one place that imports open_flamingo, open_clip and transformers' model classes."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace


def declare_torchvision_operators() -> None:
    """Let torchvision import beside a torch it was not compiled for.

    open_clip imports torchvision for its pure-Python parts only.  Where torchvision's compiled
    operators cannot load, importing it fails because ``torchvision::nms`` has no schema; declaring
    the schemas is enough.
    """
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@lru_cache(maxsize=1)
def flamingo_classes() -> SimpleNamespace:
    """Every class a Flamingo is made of, imported once."""
    declare_torchvision_operators()
    from open_clip.transformer import VisionTransformer
    from open_flamingo.src.flamingo import Flamingo
    from open_flamingo.src.flamingo_lm import FlamingoLMMixin
    from open_flamingo.src.helpers import FeedForward, MaskedCrossAttention, PerceiverResampler
    from open_flamingo.src.utils import extend_instance
    from transformers.models.gpt_neox.configuration_gpt_neox import GPTNeoXConfig
    from transformers.models.gpt_neox.modeling_gpt_neox import (
        GPTNeoXForCausalLM,
        GPTNeoXRotaryEmbedding,
    )

    return SimpleNamespace(
        VisionTransformer=VisionTransformer,
        FeedForward=FeedForward,
        Flamingo=Flamingo,
        FlamingoLMMixin=FlamingoLMMixin,
        MaskedCrossAttention=MaskedCrossAttention,
        PerceiverResampler=PerceiverResampler,
        extend_instance=extend_instance,
        GPTNeoXConfig=GPTNeoXConfig,
        GPTNeoXForCausalLM=GPTNeoXForCausalLM,
        GPTNeoXRotaryEmbedding=GPTNeoXRotaryEmbedding,
    )
