"""Loads a transformers vision-language model with its processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.models.check_numbers import check_numbers
from mfv_dsl.models.flamingo_classes import declare_torchvision_operators
from mfv_dsl.models.quiet import quiet_transformers
from mfv_dsl.models.vlm.architectures import Architecture
from mfv_dsl.models.vlm.attention_choice import attention_options, check_taken, not_supported
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.batch import VlmBatch
from mfv_dsl.models.vlm.facts import facts_of, read_architecture, sizes
from mfv_dsl.models.vlm.placement import check_placed, placement
from mfv_dsl.models.vlm.quantized import check_numbers_in_files, quantization, replace_packed
from mfv_dsl.models.vlm.table_file import Row
from mfv_dsl.models.vlm.tiles import set_sizes

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def load_folder(
    folder: Path, path: str, dtype: str = "bf16", device: str = "auto", prompt: str = "plain",
    pixels: int | None = None, tiles: int | None = None, quantize: str = "none",
    attention: str = "auto", row: Row | None = None,
) -> VisionLanguageModel:  # fmt: skip
    """The model in ``folder``, which the user calls ``path``, with weights and activations in
    ``dtype`` (bf16, fp16, fp32), its prompts in the form ``prompt``, every picture brought to about
    ``pixels`` pixels, where that is given, and cut into ``tiles`` tiles at most, by default one.
    ``quantize`` holds the decoder layers' weights in 4 bits a number (``nf4``) or 8 (``int8``);
    ``row`` says how it is built, where the table does not.

    Raises MfvError: MFV7260, MFV7261 and MFV7265 for architectures that are not served, MFV7271
    for a processor that is missing, does not load or is of another model, MFV7272 for weights that
    do not fit, MFV7276 for weights that are no numbers, MFV7219, MFV7248 and MFV7283 for devices
    that it cannot be on, MFV7281 and MFV7282 for an attention and packed weights that cannot be
    had, MFV7284 for a file that is no row.
    """
    config, architecture = read_architecture(folder, path, row)
    facts = facts_of(folder, path, dtype, prompt, pixels, tiles, quantize, attention, row)
    where, spread = placement(device)
    options = attention_options(attention, dtype, where.type)
    options |= quantization(quantize, architecture.text, _DTYPES[dtype])
    if spread is not None or quantize != "none":
        options["device_map"] = spread or {"": where}
    declare_torchvision_operators()  # before transformers looks for torchvision
    from transformers import AutoModelForImageTextToText, AutoProcessor

    usual: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers():
            processor: Any = AutoProcessor.from_pretrained(folder, **usual)
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
                folder, dtype=_DTYPES[dtype], output_loading_info=True, **options, **usual
            )
    except Exception as error:
        if attention != "auto" and "attention" in str(error):
            raise not_supported(attention, _summary(error)) from None
        raise _unusable("MFV7272", folder, "weights", error) from None
    if missing := sorted(report.get("missing_keys") or ()):
        raise MfvError(
            "MFV7272", f"the weights in {folder} do not have all that its config.json asks for",
            notes=[f"missing: {', '.join(missing[:5])}" + (" …" if len(missing) > 5 else "")],
        )  # fmt: skip
    check_taken(model, attention)
    check_placed(model)
    _check_sizes(model, architecture, sizes(config), folder)
    _check_processor(model, processor, folder)
    if quantize == "none":
        check_numbers(model, folder)
    else:
        replace_packed(model, architecture.text, _DTYPES[dtype])
        check_numbers_in_files(folder)
    set_sizes(model, processor, architecture, pixels, tiles or 1)
    mark = getattr(processor, "image_token", architecture.mark)
    if mark not in architecture.mark:  # of one architecture, with processors of two
        architecture = replace(architecture, mark=mark)
    if "device_map" not in options:
        model = model.to(where)
    backend = VisionLanguageModel(model, processor, architecture, facts, prompt)
    _check_stream(backend, _try_picture(backend, folder), folder)
    return backend


def _check_sizes(
    model: Any, architecture: Architecture, shape: tuple[int, int, int, int], folder: Path
) -> None:
    """Refuse (MFV7267) a model whose modules are not of the sizes that recipes were checked for."""
    try:
        layers = model.get_submodule(architecture.text).layers
        heads = next(layer.self_attn for layer in layers if hasattr(layer, "self_attn"))
        projection = heads.o_proj
        for name in (architecture.attention_output, architecture.mlp_output):
            layers[0].get_submodule(name)
    except (AttributeError, StopIteration):
        kind = model.config.get_text_config().model_type
        raise MfvError(
            "MFV7261", f"the language model in {folder}, a `{kind}`, is not built as those that "
            "are served",
            help="its decoder layers need heads in `self_attn.o_proj`",
        ) from None  # fmt: skip
    actual = (len(layers), projection.in_features, projection.out_features)
    n_layers, n_heads, head_dim, d_model = shape
    if actual != (n_layers, n_heads * head_dim, d_model):
        raise MfvError(
            "MFV7267", f"the model in {folder} is not of the sizes that its config.json gives",
            notes=["layers, width of all heads, width of the residual stream: "
                   f"{actual} in place of {(n_layers, n_heads * head_dim, d_model)}"],
            help="please report the model and the version of transformers",
        )  # fmt: skip


def _check_processor(model: Any, processor: Any, folder: Path) -> None:
    """Refuse (MFV7271) a processor that was made for another model."""
    config, tokenizer = model.config, processor.tokenizer
    token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    marks = {getattr(part, "image_token_id", None) for part in (processor, tokenizer)}
    marks.update(getattr(processor, "image_token_ids", ()))
    if token is not None and token not in marks:
        raise MfvError(
            "MFV7271", f"the processor in {folder} is not this model's: the model knows pictures "
            f"by token {token}, which the processor never writes",
            help="take the processor's files from where the weights come from",
        )  # fmt: skip


def _try_picture(backend: VisionLanguageModel, folder: Path) -> VlmBatch:
    """A text with one picture.  Refuses (MFV7271) a processor from whose picture the model's vision
    tower makes nothing."""
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    try:
        return backend.texts([f"{backend.architecture.mark}Q:"], [[picture]])
    except Exception as error:  # of many kinds, by what does not fit
        raise _unusable("MFV7271", folder, "processor", error, "does not fit its model") from None


class _Stop(Exception):
    """Enough of the model was run."""


@torch.no_grad()
def _check_stream(backend: VisionLanguageModel, batch: VlmBatch, folder: Path) -> None:
    """Refuse (MFV7261) a model whose residual stream does not get, as it is, what attention and MLP
    put out by its row: a norm or a factor stands between that the row does not know of.

    In the first layer with heads, attention puts out chosen numbers and the MLP nothing: the
    stream behind it has to be the stream before it and these numbers.
    """
    layer = next(layer for layer in backend.layers if hasattr(layer, "self_attn"))
    stream: list[torch.Tensor] = []
    chosen: list[torch.Tensor] = []

    def enters(_: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        stream.append(arguments[0] if arguments else options["hidden_states"])

    def attends(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        numbers = torch.linspace(-1, 1, output.shape[-1], device=output.device)
        size = 10 * (1 + float(stream[0].float().abs().mean()))  # no norm would leave them so
        chosen.append((numbers * size).to(output).expand_as(output))
        return chosen[0]

    def leaves(_: Any, __: Any, output: Any) -> None:
        stream.append(output[0] if isinstance(output, tuple) else output)
        raise _Stop

    row = backend.architecture
    hooks = [
        layer.register_forward_pre_hook(enters, with_kwargs=True),
        layer.get_submodule(row.attention_output).register_forward_hook(attends),
        layer.get_submodule(row.mlp_output).register_forward_hook(
            lambda _, __, output: torch.zeros_like(output)
        ),
        layer.register_forward_hook(leaves),
    ]
    try:
        backend.forward(batch)
    except _Stop:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    before, after, written = (part.cpu().double() for part in (*stream, chosen[0]))
    difference = (after - before - written).abs().max()
    if not difference <= 0.02 * (before.abs().max() + written.abs().max()):  # rounding
        kind = backend.model.config.get_text_config().model_type
        raise MfvError(
            "MFV7261", f"in the language model in {folder}, a `{kind}`, what heads put out does "
            "not reach the residual stream as it is",
            help="a row of the table names the norms behind attention and MLP; docs/models.md",
        )  # fmt: skip


def _unusable(
    code: str, folder: Path, part: str, error: Exception, what: str = "cannot be loaded"
) -> MfvError:
    return MfvError(code, f"the {part} in {folder} {what}", notes=[_summary(error)])


def _summary(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {first}"
