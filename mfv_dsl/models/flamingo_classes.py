"""The one place that imports open_flamingo, open_clip and transformers' model classes.

Both packages import all that they have, and with it torchvision, which imports PyTorch's compiler:
seconds, of which the classes of a Flamingo need nothing (:mod:`mfv_dsl.models.light_imports`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.light_imports import lazy_package

#: What to type for open_flamingo, which pins a torch of 2023 and so cannot be a plain dependency.
OPEN_FLAMINGO = "pip install --no-deps open_flamingo==2.0.1"

_library: Any = None  # what declares torchvision's operators, where they cannot be loaded


def declare_torchvision_operators() -> None:
    """Let torchvision import beside a torch it was not compiled for.

    open_clip imports torchvision for its pure-Python parts only.  Where torchvision's compiled
    operators cannot load, importing it fails because ``torchvision::nms`` has no schema; declaring
    the schemas is enough.  Where they can, they are loaded first: they declare the schemas
    themselves, and doing it twice would end the process.
    """
    import torch

    if hasattr(torch.ops.torchvision, "nms") or _compiled_operators_load():
        return
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _compiled_operators_load() -> bool:
    """Load torchvision's compiled operators as it would itself; whether that worked."""
    import torch

    package = find_spec("torchvision")
    places = None if package is None else package.submodule_search_locations
    library = PathFinder.find_spec("_C", places) if places else None
    if library is None or library.origin is None:
        return False
    try:
        torch.ops.load_library(library.origin)
    except OSError:  # compiled for another torch, or for a GPU that is not here
        return False
    return hasattr(torch.ops.torchvision, "nms")


def torchvision_state() -> str:
    """Whether torchvision works ``as is``, with ``declared`` operators, or is ``missing``."""
    if find_spec("torchvision") is None:
        return "missing"
    declare_torchvision_operators()
    return "as is" if _library is None else "declared"


@lru_cache(maxsize=1)
def flamingo_classes() -> SimpleNamespace:
    """Every class a Flamingo is made of, imported once.  Raises MFV7222 where a package is missing
    that mfv-dsl cannot bring along by itself."""
    return _found(_imported)


@lru_cache(maxsize=1)
def clip_builders() -> SimpleNamespace:
    """What open_clip builds image towers and their transforms by, imported once.  Raises MFV7222 as
    :func:`flamingo_classes`."""
    declare_torchvision_operators()
    return _found(_imported_builders)


def _found(imported: Callable[[], SimpleNamespace]) -> SimpleNamespace:
    try:
        return imported()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise MfvError(
            "MFV7222",
            f"{package} is not installed",
            help=OPEN_FLAMINGO if package == "open_flamingo" else "`mfv doctor` says what to type",
        ) from None


def is_duplicate(name: str) -> bool:
    """Whether a state entry is Flamingo's second registration of its decoder blocks and gates."""
    return name.startswith(
        ("lang_encoder.old_decoder_blocks.", "lang_encoder.gated_cross_attn_layers.")
    )


def _imported_builders() -> SimpleNamespace:
    from open_clip.model import _build_vision_tower
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    return SimpleNamespace(
        build_vision_tower=_build_vision_tower,
        PreprocessCfg=PreprocessCfg,
        image_transform=image_transform_v2,
        merge_preprocess_dict=merge_preprocess_dict,
    )


def _imported() -> SimpleNamespace:
    for package in ("torchvision", "torchvision.ops", "open_clip", "open_flamingo"):
        lazy_package(package, before=declare_torchvision_operators)
    from open_clip.transformer import VisionTransformer
    from open_flamingo.src.flamingo import Flamingo
    from open_flamingo.src.flamingo_lm import FlamingoLMMixin
    from open_flamingo.src.helpers import (
        FeedForward,
        GatedCrossAttentionBlock,
        MaskedCrossAttention,
        PerceiverResampler,
    )
    from open_flamingo.src.utils import extend_instance
    from transformers.models.gpt_neox.configuration_gpt_neox import GPTNeoXConfig
    from transformers.models.gpt_neox.modeling_gpt_neox import (
        GPTNeoXForCausalLM,
        GPTNeoXRotaryEmbedding,
    )
    from transformers.models.mpt.configuration_mpt import MptConfig
    from transformers.models.mpt.modeling_mpt import MptForCausalLM

    return SimpleNamespace(
        VisionTransformer=VisionTransformer,
        FeedForward=FeedForward,
        Flamingo=Flamingo,
        FlamingoLMMixin=FlamingoLMMixin,
        GatedCrossAttentionBlock=GatedCrossAttentionBlock,
        MaskedCrossAttention=MaskedCrossAttention,
        PerceiverResampler=PerceiverResampler,
        extend_instance=extend_instance,
        GPTNeoXConfig=GPTNeoXConfig,
        GPTNeoXForCausalLM=GPTNeoXForCausalLM,
        GPTNeoXRotaryEmbedding=GPTNeoXRotaryEmbedding,
        MptConfig=MptConfig,
        MptForCausalLM=MptForCausalLM,
    )
