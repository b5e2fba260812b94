"""Published vision-language models that recipes can be checked and planned for without their files.

Facts of their configurations; what is on this machine comes before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple


class KnownModel(NamedTuple):
    """What is known of a repository: its architecture, the sizes of its language model, about how
    many parameters it has in all, about how many tokens a whole picture of ordinary size takes, how
    many tokens a prompt may have, and how wide the layers' MLPs are."""

    model_type: str
    n_layers: int
    n_heads: int
    head_dim: int
    d_model: int
    parameters: float
    kv_heads: int
    picture_tokens: int
    context: int
    mlp_width: int

    @property
    def in_layers(self) -> int:
        """How many parameters are in the matrices of decoder layers."""
        attention = 2 * (self.n_heads + self.kv_heads) * self.head_dim
        return self.n_layers * self.d_model * (attention + 3 * self.mlp_width)

    def fingerprint(self, name: str, revision: str | None) -> str:
        """What stands for the weights' fingerprint until they are on this machine."""
        text = f"{name}@{revision or 'main'} {self.n_layers} {self.n_heads} {self.d_model}"
        return hashlib.sha256(text.encode()).hexdigest()


class Tower(NamedTuple):
    """What a kind of model encodes pictures with, about: how many parameters, and how many patches
    it sees for a token of the prompt; and how many tokens the vocabulary has."""

    parameters: float
    patches: float
    vocabulary: int


#: By model_type; no more than estimates of work follow from these.
TOWERS: Mapping[str, Tower] = {
    "qwen3_vl": Tower(0.41e9, 4, 151936),
    "qwen2_vl": Tower(0.67e9, 4, 151936),
    "qwen2_5_vl": Tower(0.67e9, 4, 151936),
    "llava": Tower(0.3e9, 1, 32064),
    "gemma3": Tower(0.42e9, 16, 262208),
    "idefics3": Tower(0.093e9, 16, 49280),
    "smolvlm": Tower(0.093e9, 16, 49280),
    "mllama": Tower(0.86e9, 1601, 128256),
    "internvl": Tower(0.3e9, 4, 151674),
    "mistral3": Tower(0.42e9, 4, 131072),
}

KNOWN: Mapping[str, KnownModel] = {
    "Qwen/Qwen3-VL-2B-Instruct": KnownModel(
        "qwen3_vl", 28, 16, 128, 2048, 2.13e9, 8, 196, 262144, 6144
    ),
    "Qwen/Qwen3-VL-4B-Instruct": KnownModel(
        "qwen3_vl", 36, 32, 128, 2560, 4.4e9, 8, 196, 262144, 9728
    ),
    "Qwen/Qwen3-VL-8B-Instruct": KnownModel(
        "qwen3_vl", 36, 32, 128, 4096, 8.8e9, 8, 196, 262144, 12288
    ),
    "Qwen/Qwen3-VL-32B-Instruct": KnownModel(
        "qwen3_vl", 64, 64, 128, 5120, 33.4e9, 8, 196, 262144, 25600
    ),
    "Qwen/Qwen2-VL-2B-Instruct": KnownModel(
        "qwen2_vl", 28, 12, 128, 1536, 2.2e9, 2, 256, 32768, 8960
    ),
    "Qwen/Qwen2.5-VL-3B-Instruct": KnownModel(
        "qwen2_5_vl", 36, 16, 128, 2048, 3.8e9, 2, 256, 128000, 11008
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": KnownModel(
        "qwen2_5_vl", 28, 28, 128, 3584, 8.3e9, 4, 256, 128000, 18944
    ),
    "Qwen/Qwen2.5-VL-72B-Instruct": KnownModel(
        "qwen2_5_vl", 80, 64, 128, 8192, 73.4e9, 8, 256, 128000, 29568
    ),
    "llava-hf/llava-1.5-7b-hf": KnownModel("llava", 32, 32, 128, 4096, 7.1e9, 32, 576, 4096, 11008),
    "llava-hf/llava-1.5-13b-hf": KnownModel(
        "llava", 40, 40, 128, 5120, 13.4e9, 40, 576, 4096, 13824
    ),
    "google/gemma-3-4b-it": KnownModel("gemma3", 34, 8, 256, 2560, 4.3e9, 4, 256, 131072, 10240),
    "google/gemma-3-12b-it": KnownModel("gemma3", 48, 16, 256, 3840, 12.2e9, 8, 256, 131072, 15360),
    "google/gemma-3-27b-it": KnownModel(
        "gemma3", 62, 32, 128, 5376, 27.4e9, 16, 256, 131072, 21504
    ),
    "HuggingFaceTB/SmolVLM-256M-Instruct": KnownModel(
        "idefics3", 30, 9, 64, 576, 0.26e9, 3, 64, 8192, 1536
    ),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": KnownModel(
        "smolvlm", 32, 15, 64, 960, 0.51e9, 5, 64, 8192, 2560
    ),
    "meta-llama/Llama-3.2-11B-Vision-Instruct": KnownModel(
        "mllama", 40, 32, 128, 4096, 10.7e9, 8, 1, 131072, 14336
    ),
    "OpenGVLab/InternVL3-1B-hf": KnownModel(
        "internvl", 24, 14, 64, 896, 0.94e9, 2, 256, 32768, 4864
    ),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": KnownModel(
        "mistral3", 40, 32, 128, 5120, 24.0e9, 8, 3025, 131072, 32768
    ),
}
