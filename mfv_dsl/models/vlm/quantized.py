"""Decoder layers whose weights are held as 4 or 8 bits a number.

bitsandbytes rounds and packs the weights.  It is not asked to multiply: by its own code for 8 bits
what comes out for a prompt depends on the prompts beside it, and that for 4 bits has no gradient on
some processors.  A packed projection here unpacks its weights for each product, in the model's
precision, and again for the gradient, so that nothing of the unpacked is kept.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.vlm.folder import weight_files

_PACKAGES = ("bitsandbytes", "accelerate")


class PackedLinear(nn.Module):
    """A projection whose weights are packed; ``y = x Wᵀ + b`` as :class:`torch.nn.Linear`."""

    def __init__(self, packed: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = packed.in_features, packed.out_features
        self.weight, self.bias, self.dtype = packed.weight, packed.bias, dtype
        if self.weight.dtype == torch.int8:
            scale = self.weight.SCB.float() / 127
            self.register_buffer("scale", scale[:, None], persistent=False)

    def unpacked(self) -> torch.Tensor:
        """The weights that are multiplied by, (out_features, in_features), in ``dtype``."""
        if self.weight.dtype == torch.int8:
            return (self.weight.float() * self.scale).to(self.dtype)
        from bitsandbytes.functional import dequantize_4bit

        weights: torch.Tensor = dequantize_4bit(self.weight.data, self.weight.quant_state)
        return weights.to(self.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _Product.apply(x.to(self.weight.device), self)
        return product if self.bias is None else product + self.bias.to(product)


class _Product(torch.autograd.Function):
    """``x Wᵀ`` with weights that are unpacked anew for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, linear: PackedLinear) -> torch.Tensor:
        ctx.linear = linear
        return functional.linear(x, linear.unpacked().to(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient @ ctx.linear.unpacked().to(gradient.dtype), None


def quantization(quantize: str, text: str, dtype: torch.dtype) -> dict[str, Any]:
    """What ``from_pretrained`` is told so that the decoder layers of the language model at
    ``text``, and nothing else, are packed.

    Raises MfvError (MFV7282) where a package is missing.
    """
    if quantize == "none":
        return {}
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MfvError(
            "MFV7282", f"quantize={quantize} needs the package {' and '.join(missing)}",
            help=f"`pip install {' '.join(missing)}`", argument="quantize",
        )  # fmt: skip
    from transformers import BitsAndBytesConfig

    others = rf"(?!{re.escape(f'{text}.layers.')}).*"  # by their full names
    if quantize == "nf4":
        return {"quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=[others],
        )}  # fmt: skip
    return {"quantization_config": BitsAndBytesConfig(
        load_in_8bit=True, llm_int8_skip_modules=[others]
    )}  # fmt: skip


def replace_packed(model: nn.Module, text: str, dtype: torch.dtype) -> None:
    """Put a :class:`PackedLinear` in the place of every packed projection of ``model``.

    Raises MfvError (MFV7282) where other parts were packed than the decoder layers at ``text``.
    """
    names = [
        name for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not module.weight.is_floating_point()
    ]  # fmt: skip
    outside = [name for name in names if not name.startswith(f"{text}.layers.")]
    if outside or not names:
        raise MfvError(
            "MFV7282", "the library packed other parts than the decoder layers: "
            + (", ".join(outside[:5]) or "none"),
            help="please report the model and the versions of transformers and bitsandbytes",
        )  # fmt: skip
    for name in names:
        holder, _, child = name.rpartition(".")
        packed: Any = model.get_submodule(name)
        setattr(model.get_submodule(holder), child, PackedLinear(packed, dtype))


def check_numbers_in_files(folder: Path) -> None:
    """Refuse (MFV7276) weights that are no numbers, or infinite: once packed, they look like
    others."""
    from safetensors import safe_open

    for file in weight_files(folder):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                tensor = weights.get_tensor(name)
                extremes = tensor.aminmax() if tensor.is_floating_point() else ()
                if not all(bool(extreme.isfinite()) for extreme in extremes):
                    raise MfvError(
                        "MFV7276", f"the weights of {folder} are not all numbers: {name}",
                        help="fetch the file again",
                    )  # fmt: skip
