"""All heads of a vision-language model of transformers: the shared prefix against full passes.

    python benchmarks/vision_language.py [--layers 24] [--heads 8] [--width 256] [--shots 4]
    python benchmarks/vision_language.py --shape 4b --device cuda --dtype bf16

A Qwen3-VL with random weights.  The plain way is one hooked full pass a head, with pictures encoded
once; it is timed on some heads, evenly spread, and taken times all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.exactness import largest_difference
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.load import load_folder
from tests.models.vlm import zoo

#: Of Qwen3-VL-4B: layers, heads, key-value heads, head_dim, width, MLP.
_4B = (36, 32, 8, 128, 2560, 9728)


def built(sizes: tuple[int, ...], dtype: str, device: str) -> VisionLanguageModel:
    """The model with random weights, saved and loaded as a user's would be."""
    layers, heads, kv_heads, head_dim, width, mlp = sizes
    words = zoo.tokenizer(zoo._QWEN_VISION, zoo._QWEN_TOKENS)
    quarter = head_dim // 8
    text = {
        "vocab_size": len(words), "hidden_size": width, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "num_hidden_layers": layers, "intermediate_size": mlp,
        "head_dim": head_dim, "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True,
                            "mrope_section": [head_dim // 2 - 2 * quarter, quarter, quarter]},
    }  # fmt: skip
    vision = {"depth": 3, "hidden_size": 64, "num_heads": 2, "intermediate_size": 128,
              "out_hidden_size": width, "patch_size": 16, "spatial_merge_size": 2,
              "temporal_patch_size": 2, "deepstack_visual_indexes": [0, 1],
              "num_position_embeddings": 64}  # fmt: skip
    torch.manual_seed(0)
    config = zoo.hf.Qwen3VLConfig(text_config=text, vision_config=vision, **zoo._qwen_ids(words))
    _, processor = zoo.qwen3_vl()
    torch.set_default_dtype({"bf16": torch.bfloat16, "fp32": torch.float32}[dtype])
    model = zoo.hf.Qwen3VLForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return load_folder(Path(folder), "random", dtype, device)


def clock(model: VisionLanguageModel) -> float:
    """Seconds of processor time, of a GPU of wall time."""
    if model.device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


@torch.no_grad()
def measured(model: VisionLanguageModel, shots: int, prompts: int, sample: int) -> dict[str, Any]:
    """Seconds both ways for all heads, and how far they differ."""
    rng = np.random.default_rng(0)
    mark = model.architecture.mark
    prompt = f"{mark}Q:mug. A: plate.\n" * shots + f"{mark}Q:table. A:"
    images = [
        [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(shots + 1)]
        for _ in range(prompts)
    ]
    batch = model.texts([prompt] * prompts, images, ["plate"] * prompts)
    difference = largest_difference(model, batch)
    model.is_exact = True
    site = model.sites["lm.attn"]
    heads = [(layer, head) for layer in site.layers for head in range(site.heads or 1)]
    value = torch.randn(1, site.width, generator=torch.Generator().manual_seed(1))
    variants = [[Edit("lm.attn", layer, "replace", value, (head,))] for layer, head in heads]
    started = clock(model)
    encode_prefix(model, batch).scores(variants)
    shared = clock(model) - started
    chosen = variants[:: max(1, len(variants) // sample)]
    started = clock(model)
    for variant in chosen:
        full_pass(model, batch, variant)
    plain = (clock(model) - started) / len(chosen) * len(variants)
    return {
        "tokens": batch.tokens.shape[1], "prompts": prompts, "heads": len(heads),
        "seconds_shared": round(shared, 3), "seconds_plain": round(plain, 3),
        "ratio": round(plain / shared, 1), "largest_difference": difference,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--shape", choices=("small", "4b"), default="small")
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--sample", type=int, default=16, help="heads timed the plain way")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    small = (options.layers, options.heads, options.heads // 2, options.width // options.heads,
             options.width, 2 * options.width)  # fmt: skip
    model = built(_4B if options.shape == "4b" else small, options.dtype, options.device)
    print(json.dumps(measured(model, options.shots, options.prompts, options.sample)))


if __name__ == "__main__":
    main()
