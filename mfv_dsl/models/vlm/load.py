"""Loads a transformers vision-language model with its processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.devices import devices
from mfv_dsl.models.flamingo_classes import declare_torchvision_operators
from mfv_dsl.models.quiet import quiet_transformers
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.facts import facts_of, read_architecture

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def load_folder(
    folder: Path, path: str, dtype: str = "bf16", device: str = "auto", prompt: str = "plain"
) -> VisionLanguageModel:
    """The model in ``folder``, which the user calls ``path``, with weights and activations in
    ``dtype`` (bf16, fp16, fp32), its prompts in the form ``prompt``.

    Raises MfvError: MFV7260 and MFV7261 for architectures that are not served, MFV7271 for a
    processor that is missing or does not load, MFV7272 for weights that do not fit.
    """
    _, architecture = read_architecture(folder, path)
    facts = facts_of(folder, path, dtype, prompt)
    where = _one_device(device)
    declare_torchvision_operators()  # before transformers looks for torchvision
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        with quiet_transformers():
            processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of many kinds, by what is missing
        raise _unusable("MFV7271", folder, "processor", error) from None
    if getattr(processor, "tokenizer", None) is None:
        raise MfvError(
            "MFV7271", f"{folder} has a tokenizer, but no processor of pictures and texts",
            help="is it a text model?  The folder needs preprocessor_config.json",
        )  # fmt: skip
    try:
        with quiet_transformers():
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, dtype=_DTYPES[dtype], output_loading_info=True
            )
    except Exception as error:
        raise _unusable("MFV7272", folder, "weights", error) from None
    if missing := sorted(report.get("missing_keys") or ()):
        raise MfvError(
            "MFV7272", f"the weights in {folder} do not have all that its config.json asks for",
            notes=[f"missing: {', '.join(missing[:5])}" + (" …" if len(missing) > 5 else "")],
        )  # fmt: skip
    return VisionLanguageModel(model.to(where), processor, architecture, facts, prompt)


def _one_device(device: str) -> torch.device:
    """Where the model runs.  Raises MfvError (MFV7219) for a device that is not there, and for
    several: this version runs a transformers model on one."""
    if device == "balanced" and torch.cuda.device_count() > 1:
        raise MfvError(
            "MFV7219", "cannot run on balanced: a transformers model runs on one device",
            help="name one, as in device=cuda",
        )  # fmt: skip
    return devices(device)[0]


def _unusable(code: str, folder: Path, part: str, error: Exception) -> MfvError:
    summary = str(error).strip().partition("\n")[0][:300]
    return MfvError(
        code,
        f"the {part} in {folder} cannot be loaded",
        notes=[f"{type(error).__name__}: {summary}"],
    )
