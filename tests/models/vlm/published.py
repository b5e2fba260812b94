"""Configurations as they are published.  What matters is which keys are left out."""

from __future__ import annotations

from typing import Any

_CLIP = {"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336,
         "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
         "patch_size": 14, "projection_dim": 768}  # fmt: skip
_SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
           "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14}  # fmt: skip


def _qwen2(hidden: int, layers: int, heads: int, kv: int, mlp: int) -> dict[str, Any]:
    """The language model's sizes stand beside those of the whole, and the vision tower's
    ``hidden_size`` is that of its output."""
    config = _qwen2_5(hidden, layers, heads, kv, mlp)
    vision = {"depth": 32, "embed_dim": 1280, "hidden_size": hidden, "mlp_ratio": 4,
              "num_heads": 16, "in_chans": 3, "patch_size": 14, "spatial_merge_size": 2,
              "spatial_patch_size": 14, "temporal_patch_size": 2}  # fmt: skip
    return {**config, "model_type": "qwen2_vl", "tie_word_embeddings": hidden < 3000,
            "vision_config": vision}  # fmt: skip


def _qwen2_5(hidden: int, layers: int, heads: int, kv: int, mlp: int) -> dict[str, Any]:
    """The language model's sizes stand beside those of the whole."""
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
              "out_hidden_size": hidden, "patch_size": 14, "spatial_merge_size": 2,
              "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
              "tokens_per_second": 2}  # fmt: skip
    return {
        "model_type": "qwen2_5_vl", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": mlp,
        "vocab_size": 151936 if hidden < 3000 else 152064, "tie_word_embeddings": hidden < 3000,
        "max_position_embeddings": 128000, "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
        "vision_end_token_id": 151653, "use_sliding_window": False, "sliding_window": 32768,
        "max_window_layers": 70, "vision_config": vision,
    }  # fmt: skip


def _qwen3(hidden: int, layers: int, heads: int, mlp: int) -> dict[str, Any]:
    """The larger ones have a larger vision tower, and an output of their own."""
    tied = hidden < 3000
    text = {"model_type": "qwen3_vl_text", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": 8, "head_dim": 128,
            "intermediate_size": mlp, "max_position_embeddings": 262144, "vocab_size": 151936,
            "rms_norm_eps": 1e-6, "rope_theta": 5e6,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20],
                             "rope_type": "default"}}  # fmt: skip
    depth, width, inner, deep = (24, 1024, 4096, [5, 11, 17]) if tied else (
        27, 1152, 4304, [8, 16, 24])  # fmt: skip
    vision = {"model_type": "qwen3_vl", "depth": depth, "hidden_size": width,
              "intermediate_size": inner, "num_heads": 16, "num_position_embeddings": 2304,
              "out_hidden_size": hidden, "patch_size": 16, "spatial_merge_size": 2,
              "temporal_patch_size": 2, "deepstack_visual_indexes": deep}  # fmt: skip
    return {"model_type": "qwen3_vl", "image_token_id": 151655, "video_token_id": 151656,
            "vision_start_token_id": 151652, "vision_end_token_id": 151653,
            "tie_word_embeddings": tied, "text_config": text, "vision_config": vision}  # fmt: skip


def _gemma3(hidden: int, layers: int, mlp: int, **more: Any) -> dict[str, Any]:
    """The smallest leaves out the numbers of heads; ``more`` is what the others have."""
    text = {"model_type": "gemma3_text", "hidden_size": hidden, "intermediate_size": mlp,
            "num_hidden_layers": layers, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024, **more}  # fmt: skip
    return {"model_type": "gemma3", "boi_token_index": 255999, "eoi_token_index": 256000,
            "image_token_index": 262144, "mm_tokens_per_image": 256, "text_config": text,
            "vision_config": {**_SIGLIP, "image_size": 896, "vision_use_head": False}}  # fmt: skip


#: name -> (config.json, (layers, heads, head_dim, d_model))
PUBLISHED: dict[str, tuple[dict[str, Any], tuple[int, int, int, int]]] = {
    "Qwen2.5-VL-3B": (_qwen2_5(2048, 36, 16, 2, 11008), (36, 16, 128, 2048)),
    "Qwen3-VL-4B": (_qwen3(2560, 36, 32, 9728), (36, 32, 128, 2560)),
    "llava-1.5-7b": (
        {"model_type": "llava", "image_token_index": 32000,
         "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "model_type": "llama",
                         "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                         "vocab_size": 32064},
         "vision_config": _CLIP, "vision_feature_layer": -2,
         "vision_feature_select_strategy": "default"},
        (32, 32, 128, 4096),
    ),
    "gemma-3-4b": (_gemma3(2560, 34, 10240), (34, 8, 256, 2560)),
    "paligemma2-3b": (
        {"model_type": "paligemma", "image_token_index": 257152, "projection_dim": 2304,
         "text_config": {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216,
                         "num_attention_heads": 8, "num_key_value_heads": 4,
                         "num_hidden_layers": 26, "query_pre_attn_scalar": 256,
                         "sliding_window": 4096, "vocab_size": 257216},
         "vision_config": {**_SIGLIP, "projection_dim": 2304}},
        (26, 8, 256, 2304),
    ),
    "SmolVLM-256M": (
        {"model_type": "idefics3", "image_token_id": 49190, "scale_factor": 4,
         "text_config": {"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30,
                         "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
                         "intermediate_size": 1536, "vocab_size": 49280},
         "vision_config": {"model_type": "idefics3", "hidden_size": 768, "image_size": 512,
                           "num_attention_heads": 12, "patch_size": 16}},
        (30, 9, 64, 576),
    ),
    "Llama-3.2-11B-Vision": (
        {"model_type": "mllama", "image_token_index": 128256,
         "text_config": {"model_type": "mllama_text_model", "hidden_size": 4096,
                         "num_hidden_layers": 40, "num_attention_heads": 32,
                         "num_key_value_heads": 8, "intermediate_size": 14336,
                         "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
                         "vocab_size": 128256},
         "vision_config": {"model_type": "mllama_vision_model", "hidden_size": 1280}},
        (40, 32, 128, 4096),
    ),
    "idefics-9b": (
        {"model_type": "idefics", "hidden_size": 4096, "num_hidden_layers": 32,
         "num_attention_heads": 32, "cross_layer_interval": 4, "use_resampler": True,
         "vocab_size": 32000, "additional_vocab_size": 2, "qk_layer_norms": True,
         "vision_config": {"embed_dim": 1280, "image_size": 224}},
        (32, 32, 128, 4096),
    ),
    "InternVL3-1B": (
        {"model_type": "internvl", "image_seq_length": 256, "image_token_id": 151667,
         "text_config": {"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24,
                         "num_attention_heads": 14, "num_key_value_heads": 2,
                         "intermediate_size": 4864, "vocab_size": 151674},
         "vision_config": {"model_type": "internvl_vision", "hidden_size": 1024}},
        (24, 14, 64, 896),
    ),
    "Mistral-Small-3.1": (
        {"model_type": "mistral3",
         "text_config": {"model_type": "mistral", "hidden_size": 5120, "num_hidden_layers": 40,
                         "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
                         "intermediate_size": 32768, "vocab_size": 131072},
         "image_token_index": 10, "spatial_merge_size": 2,
         "vision_config": {"model_type": "pixtral", "hidden_size": 1024, "image_size": 1540,
                           "intermediate_size": 4096, "num_attention_heads": 16, "head_dim": 64,
                           "num_hidden_layers": 24, "patch_size": 14}},
        (40, 32, 128, 5120),
    ),
}  # fmt: skip
#: Others of the same architectures.
LARGE = {
    "Qwen3-VL-2B": (_qwen3(2048, 28, 16, 6144), (28, 16, 128, 2048)),
    "Qwen3-VL-8B": (_qwen3(4096, 36, 32, 12288), (36, 32, 128, 4096)),
    "Qwen3-VL-32B": (_qwen3(5120, 64, 64, 25600), (64, 64, 128, 5120)),
    "Qwen2-VL-2B": (_qwen2(1536, 28, 12, 2, 8960), (28, 12, 128, 1536)),
    "Qwen2.5-VL-7B": (_qwen2_5(3584, 28, 28, 4, 18944), (28, 28, 128, 3584)),
    "Qwen2.5-VL-72B": (_qwen2_5(8192, 80, 64, 8, 29568), (80, 64, 128, 8192)),
    "gemma-3-12b": (
        _gemma3(3840, 48, 15360, num_attention_heads=16, num_key_value_heads=8, head_dim=256),
        (48, 16, 256, 3840),
    ),
    "gemma-3-27b": (
        _gemma3(5376, 62, 21504, num_attention_heads=32, num_key_value_heads=16, head_dim=128,
                query_pre_attn_scalar=168),
        (62, 32, 128, 5376),
    ),
    "SmolVLM2-500M": (
        {"model_type": "smolvlm", "image_token_id": 49190, "scale_factor": 4,
         "text_config": {"model_type": "llama", "head_dim": 64, "hidden_size": 960,
                         "intermediate_size": 2560, "num_attention_heads": 15,
                         "num_hidden_layers": 32, "num_key_value_heads": 5, "vocab_size": 49280},
         "vision_config": {"model_type": "smolvlm_vision", "hidden_size": 768, "image_size": 512,
                           "num_attention_heads": 12, "patch_size": 16}},
        (32, 15, 64, 960),
    ),
}  # fmt: skip
