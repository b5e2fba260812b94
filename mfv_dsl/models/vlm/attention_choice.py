"""Which of transformers' attentions a model's whole prompts run under; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from mfv_dsl.base.errors import MfvError

#: What a recipe calls them -> what transformers calls them.
IMPLEMENTATIONS: Mapping[str, str] = {
    "sdpa": "sdpa", "eager": "eager", "flash": "flash_attention_2",
}  # fmt: skip


def check_attention(attention: str, dtype: str) -> None:
    """Refuse (MFV7281) flash attention in float32, which it does not have."""
    if attention == "flash" and dtype == "fp32":
        raise _wrong("flash attention works in bf16 and fp16 only", "use dtype=bf16")


def attention_options(attention: str, dtype: str, device: str) -> dict[str, Any]:
    """What ``from_pretrained`` is told, for a model on a ``device`` of this kind.

    Raises MfvError (MFV7281) for flash attention where it cannot run.
    """
    if attention == "auto":
        return {}
    check_attention(attention, dtype)
    if attention == "flash" and device != "cuda":
        raise _wrong(
            f"flash attention runs on CUDA GPUs only, and the model is to run on {device}",
            "use attention=sdpa, or leave it out",
        )
    if attention == "flash" and find_spec("flash_attn") is None:
        raise _wrong(
            "flash attention needs the package flash_attn",
            "`pip install flash-attn --no-build-isolation`, or use attention=sdpa",
        )
    return {"attn_implementation": IMPLEMENTATIONS[attention]}


def check_taken(model: Any, attention: str) -> None:
    """Refuse (MFV7281) a loaded model that took another attention than the one asked for."""
    taken = model.config.get_text_config()._attn_implementation
    if attention != "auto" and taken != IMPLEMENTATIONS[attention]:
        raise not_supported(attention, f"it took `{taken}`")


def not_supported(attention: str, note: str) -> MfvError:
    """MFV7281: the model's own code does not have this attention."""
    return _wrong(
        f"transformers does not have the attention `{attention}` for this model",
        "leave `attention` out: auto is what the library chooses", note,
    )  # fmt: skip


def _wrong(message: str, help: str, *notes: str) -> MfvError:
    return MfvError("MFV7281", message, help=help, notes=notes, argument="attention")
