"""Published vision-language models that recipes can be checked and planned for without their files.

Facts of their configurations; what is on this machine comes before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple


class KnownModel(NamedTuple):
    """What is known of a repository: its architecture, the sizes of its language model, about how
    many parameters it has in all, and about how many tokens a picture of ordinary size takes."""

    model_type: str
    n_layers: int
    n_heads: int
    head_dim: int
    d_model: int
    parameters: float
    kv_heads: int
    picture_tokens: int

    def fingerprint(self, name: str, revision: str | None) -> str:
        """What stands for the weights' fingerprint until they are on this machine."""
        text = f"{name}@{revision or 'main'} {self.n_layers} {self.n_heads} {self.d_model}"
        return hashlib.sha256(text.encode()).hexdigest()


KNOWN: Mapping[str, KnownModel] = {
    "Qwen/Qwen3-VL-4B-Instruct": KnownModel("qwen3_vl", 36, 32, 128, 2560, 4.4e9, 8, 256),
    "Qwen/Qwen2.5-VL-3B-Instruct": KnownModel("qwen2_5_vl", 36, 16, 128, 2048, 3.8e9, 2, 256),
    "Qwen/Qwen2.5-VL-7B-Instruct": KnownModel("qwen2_5_vl", 28, 28, 128, 3584, 8.3e9, 4, 256),
    "llava-hf/llava-1.5-7b-hf": KnownModel("llava", 32, 32, 128, 4096, 7.1e9, 32, 576),
    "llava-hf/llava-1.5-13b-hf": KnownModel("llava", 40, 40, 128, 5120, 13.4e9, 40, 576),
    "google/gemma-3-4b-it": KnownModel("gemma3", 34, 8, 256, 2560, 4.3e9, 4, 256),
    "HuggingFaceTB/SmolVLM-256M-Instruct": KnownModel("idefics3", 30, 9, 64, 576, 0.26e9, 3, 1088),
    "meta-llama/Llama-3.2-11B-Vision-Instruct": KnownModel(
        "mllama", 40, 32, 128, 4096, 10.7e9, 8, 1
    ),
    "OpenGVLab/InternVL3-1B-hf": KnownModel("internvl", 24, 14, 64, 896, 0.94e9, 2, 256),
}
