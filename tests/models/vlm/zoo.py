"""Small checkpoints with random weights of every architecture, saved in transformers' layout.

Each has a real processor over a byte-level tokenizer that is trained here, as few weights as the
architecture allows, grouped heads, and more width in its heads than in its residual stream where
the architecture can have that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as token_models

from mfv_dsl.models.flamingo_classes import declare_torchvision_operators

declare_torchvision_operators()  # before transformers looks for torchvision
import transformers as hf  # noqa: E402

_CORPUS = ["Q:red circle. A: blue ring.\n", "Q:mug. A: plate.\n", "user assistant system"] * 60
_QWEN_TURN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}MARK{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
    "projection_dim": 32,
}  # fmt: skip
_SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
    "vision_use_head": False,
}  # fmt: skip
_QWEN_VISION = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
_QWEN_TOKENS = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}


def tokenizer(special: list[str], named: dict[str, str]) -> Any:
    """A byte-level tokenizer with special tokens, padded on the left."""
    model = Tokenizer(token_models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator(_CORPUS, trainer)
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=model, padding_side="left", pad_token="<pad>", eos_token="<eos>",
        bos_token="<bos>", extra_special_tokens=named,
    )  # fmt: skip
    tokens = [AddedToken(text, special=True, normalized=False) for text in special]
    if tokens:
        fast.add_special_tokens({"additional_special_tokens": tokens})
    return fast


def text(words: Any, head_dim: int | None = 16, **more: Any) -> dict[str, Any]:
    """The sizes of a small language model."""
    sizes: dict[str, Any] = {
        "vocab_size": len(words), "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "num_hidden_layers": 4, "intermediate_size": 128,
        "max_position_embeddings": 4096,
    }  # fmt: skip
    return sizes | ({} if head_dim is None else {"head_dim": head_dim}) | more


def _ids(words: Any, **names: str) -> dict[str, int]:
    return {name: words.convert_tokens_to_ids(token) for name, token in names.items()}


def _qwen_ids(words: Any) -> dict[str, int]:
    return _ids(
        words, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>", vision_end_token_id="<|vision_end|>",
    )  # fmt: skip


def _chat(mark: str) -> str:
    return _QWEN_TURN.replace("MARK", mark)


def qwen2_vl() -> tuple[Any, Any]:
    words = tokenizer(_QWEN_VISION, _QWEN_TOKENS)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    vision = {"depth": 2, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2, "hidden_size": 64,
              "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}  # fmt: skip
    config = hf.Qwen2VLConfig(text_config=text(words, None, rope_parameters=rope),
                              vision_config=vision, **_qwen_ids(words))  # fmt: skip
    images = hf.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    chat = _chat("<|vision_start|><|image_pad|><|vision_end|>")
    processor = hf.Qwen2VLProcessor(images, words, hf.Qwen2VLVideoProcessor(), chat_template=chat)
    return hf.Qwen2VLForConditionalGeneration(config), processor


def qwen2_5_vl() -> tuple[Any, Any]:
    words = tokenizer(_QWEN_VISION, _QWEN_TOKENS)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64,
              "out_hidden_size": 64, "patch_size": 14, "spatial_merge_size": 2, "window_size": 56,
              "fullatt_block_indexes": [1], "temporal_patch_size": 2}  # fmt: skip
    config = hf.Qwen2_5_VLConfig(text_config=text(words, None, rope_parameters=rope),
                                 vision_config=vision, **_qwen_ids(words))  # fmt: skip
    images = hf.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    chat = _chat("<|vision_start|><|image_pad|><|vision_end|>")
    processor = hf.Qwen2_5_VLProcessor(images, words, hf.Qwen2VLVideoProcessor(),
                                       chat_template=chat)  # fmt: skip
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    words = tokenizer(_QWEN_VISION, _QWEN_TOKENS)
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 4, 4],
            "mrope_interleaved": True}  # fmt: skip
    vision = {"depth": 3, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64,
              "out_hidden_size": 64, "patch_size": 16, "spatial_merge_size": 2,
              "temporal_patch_size": 2, "deepstack_visual_indexes": [0, 1],
              "num_position_embeddings": 64}  # fmt: skip
    config = hf.Qwen3VLConfig(text_config=text(words, 24, rope_parameters=rope),
                              vision_config=vision, **_qwen_ids(words))  # fmt: skip
    images = hf.Qwen2VLImageProcessor(min_pixels=64 * 64, max_pixels=128 * 128, patch_size=16)
    chat = _chat("<|vision_start|><|image_pad|><|vision_end|>")
    processor = hf.Qwen3VLProcessor(images, words, hf.Qwen3VLVideoProcessor(), chat_template=chat)
    return hf.Qwen3VLForConditionalGeneration(config), processor


def llava() -> tuple[Any, Any]:
    words = tokenizer([], {"image_token": "<image>"})
    config = hf.LlavaConfig(
        vision_config=_CLIP, text_config={"model_type": "llama", **text(words)},
        image_token_index=words.image_token_id, vision_feature_layer=-2,
        vision_feature_select_strategy="default", image_seq_length=16,
    )  # fmt: skip
    images = hf.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    processor = hf.LlavaProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=_chat("<image>"),
    )  # fmt: skip
    return hf.LlavaForConditionalGeneration(config), processor


def llava_next() -> tuple[Any, Any]:
    words = tokenizer([], {"image_token": "<image>"})
    pins = [[56, 112], [112, 56], [112, 112]]
    config = hf.LlavaNextConfig(
        vision_config=_CLIP, text_config={"model_type": "llama", **text(words)},
        image_token_index=words.image_token_id, vision_feature_layer=-2,
        vision_feature_select_strategy="default", image_seq_length=16, image_grid_pinpoints=pins,
    )  # fmt: skip
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=pins
    )
    processor = hf.LlavaNextProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=_chat("<image>"),
    )  # fmt: skip
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    words = tokenizer(["<|im_start|>", "<|im_end|>"],
                      {"image_token": "<image>", "video_token": "<video>"})  # fmt: skip
    pins = [[56, 56], [56, 112], [112, 56], [112, 112]]
    config = hf.LlavaOnevisionConfig(
        vision_config=_SIGLIP, text_config={"model_type": "qwen2", **text(words, None)},
        image_token_index=words.image_token_id, video_token_index=words.video_token_id,
        image_grid_pinpoints=pins, vision_feature_layer=-1, vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )  # fmt: skip
    side = {"height": 56, "width": 56}
    images = hf.LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=pins)
    processor = hf.LlavaOnevisionProcessor(
        images, words, hf.LlavaOnevisionVideoProcessor(size=side), num_image_tokens=16,
        vision_feature_select_strategy="full", chat_template=_chat("<image>"),
    )  # fmt: skip
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def idefics2() -> tuple[Any, Any]:
    words = tokenizer(
        ["<end_of_utterance>"],
        {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"},
    )
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 56, "patch_size": 14}  # fmt: skip
    resampler = {"hidden_size": 64, "resampler_n_latents": 8, "resampler_depth": 1,
                 "resampler_n_heads": 2, "resampler_head_dim": 16,
                 "num_key_value_heads": 1}  # fmt: skip
    config = hf.Idefics2Config(
        vision_config=vision, perceiver_config=resampler,
        text_config={"model_type": "mistral", "sliding_window": None, **text(words)},
        image_token_id=words.image_token_id,
    )  # fmt: skip
    images = hf.Idefics2ImageProcessor(
        size={"shortest_edge": 28, "longest_edge": 56}, do_image_splitting=False
    )
    processor = hf.Idefics2Processor(images, words, image_seq_len=8)
    return hf.Idefics2ForConditionalGeneration(config), processor


def _idefics3(family: str) -> tuple[Any, Any]:
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    words = tokenizer(tiles, {
        "image_token": "<image>", "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>",
        "boi_token": "<fake_token_around_image>",
    })  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 56, "patch_size": 14}  # fmt: skip
    config = getattr(hf, f"{family}Config")(
        vision_config=vision, text_config={"model_type": "llama", **text(words)},
        image_token_id=words.image_token_id, scale_factor=2, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    images = getattr(hf, f"{family}ImageProcessor")(
        size={"longest_edge": 112}, max_image_size={"longest_edge": 56}, do_image_splitting=True
    )
    video = {} if family == "Idefics3" else {"video_processor": hf.SmolVLMVideoProcessor()}
    processor = getattr(hf, f"{family}Processor")(
        images, words, image_seq_len=4, chat_template=_chat("<image>"), **video
    )
    return getattr(hf, f"{family}ForConditionalGeneration")(config), processor


def idefics3() -> tuple[Any, Any]:
    return _idefics3("Idefics3")


def smolvlm() -> tuple[Any, Any]:
    return _idefics3("SmolVLM")


def gemma3() -> tuple[Any, Any]:
    words = tokenizer(["<start_of_turn>", "<end_of_turn>"], {
        "image_token": "<image_soft_token>", "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    })  # fmt: skip
    kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    config = hf.Gemma3Config(
        vision_config=_SIGLIP,
        text_config=text(words, 24, query_pre_attn_scalar=24, sliding_window=24, layer_types=kinds,
                         pad_token_id=words.pad_token_id),
        image_token_id=words.image_token_id, boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id, mm_tokens_per_image=4,
    )  # fmt: skip
    images = hf.Gemma3ImageProcessor(size={"height": 56, "width": 56})
    processor = hf.Gemma3Processor(images, words, image_seq_length=4,
                                   chat_template=_chat("<start_of_image>"))  # fmt: skip
    model = hf.Gemma3ForConditionalGeneration(config)
    projector = model.model.multi_modal_projector
    torch.nn.init.normal_(projector.mm_input_projection_weight, std=0.1)  # zero when new
    return model, processor


def paligemma() -> tuple[Any, Any]:
    words = tokenizer(["<loc0000>"], {"image_token": "<image>"})
    config = hf.PaliGemmaConfig(
        vision_config=_SIGLIP,
        text_config={"model_type": "gemma2", **text(
            words, 24, query_pre_attn_scalar=24, sliding_window=4096, attn_logit_softcapping=50.0,
            final_logit_softcapping=30.0, pad_token_id=words.pad_token_id)},
        image_token_id=words.image_token_id, projection_dim=64, hidden_size=64,
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    images = hf.SiglipImageProcessor(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    return hf.PaliGemmaForConditionalGeneration(config), hf.PaliGemmaProcessor(images, words)


def paligemma_1() -> tuple[Any, Any]:
    """The first PaliGemma has no norms behind attention and MLP."""
    words = tokenizer(["<loc0000>"], {"image_token": "<image>"})
    config = hf.PaliGemmaConfig(
        vision_config=_SIGLIP,
        text_config={"model_type": "gemma", **text(words, 24, pad_token_id=words.pad_token_id)},
        image_token_id=words.image_token_id, projection_dim=64, hidden_size=64,
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    images = hf.SiglipImageProcessor(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    return hf.PaliGemmaForConditionalGeneration(config), hf.PaliGemmaProcessor(images, words)


def internvl() -> tuple[Any, Any]:
    words = tokenizer(["<|im_start|>", "<|im_end|>"], {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
    })  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": [56, 56], "patch_size": [14, 14]}  # fmt: skip
    config = hf.InternVLConfig(
        vision_config=vision, text_config={"model_type": "qwen2", **text(words, None)},
        image_token_id=words.context_image_token_id, image_seq_length=4,
    )  # fmt: skip
    images = hf.GotOcr2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    processor = hf.InternVLProcessor(images, words, hf.InternVLVideoProcessor(), image_seq_length=4,
                                     chat_template=_chat("<IMG_CONTEXT>"))  # fmt: skip
    return hf.InternVLForConditionalGeneration(config), processor


def mistral3() -> tuple[Any, Any]:
    names = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]",
             "image_end_token": "[IMG_END]"}  # fmt: skip
    words = tokenizer(["[INST]", "[/INST]"], names)
    vision = {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 64,
              "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16, "image_size": 112,
              "patch_size": 14}  # fmt: skip
    config = hf.Mistral3Config(
        vision_config=vision, spatial_merge_size=2, image_token_index=words.image_token_id,
        text_config={"model_type": "mistral", "sliding_window": None, **text(words, 24)},
    )  # fmt: skip
    images = hf.PixtralImageProcessor(
        size={"longest_edge": 112}, patch_size={"height": 28, "width": 28}
    )
    processor = hf.PixtralProcessor(images, words, patch_size=14, spatial_merge_size=2, **names)
    return hf.Mistral3ForConditionalGeneration(config), processor


def pixtral() -> tuple[Any, Any]:
    """Pixtral is a LLaVA by its configuration, with another processor."""
    names = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]",
             "image_end_token": "[IMG_END]"}  # fmt: skip
    words = tokenizer(["[INST]", "[/INST]"], names)
    vision = {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 64,
              "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16, "image_size": 112,
              "patch_size": 14}  # fmt: skip
    config = hf.LlavaConfig(
        vision_config=vision, image_token_index=words.image_token_id, vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        text_config={"model_type": "mistral", "sliding_window": None, **text(words, 24)},
    )  # fmt: skip
    images = hf.PixtralImageProcessor(
        size={"longest_edge": 112}, patch_size={"height": 14, "width": 14}
    )
    processor = hf.PixtralProcessor(images, words, patch_size=14, **names)
    return hf.LlavaForConditionalGeneration(config), processor


def molmo2_o() -> tuple[Any, Any]:
    """Molmo 2 on OLMo has norms behind attention and MLP."""
    return molmo2(norm_after=True)


def molmo2(**language: Any) -> tuple[Any, Any]:
    marks = [
        "<|im_start|>",
        "<|im_end|>",
        "<im_patch>",
        "<im_col>",
        "<im_start>",
        "<low_res_im_start>",
        "<frame_start>",
        "<im_end>",
        "<frame_end>",
        "<im_low>",
    ]
    words = tokenizer(marks, {"image_token": "<|image|>", "video_token": "<|video|>"})
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
              "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
              "image_size": [56, 56], "patch_size": 14}  # fmt: skip
    adapter = {"vision_feature_layer": [2, 1], "hidden_size": 32, "num_attention_heads": 2,
               "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64,
               "text_hidden_size": 64}  # fmt: skip
    config = hf.Molmo2Config(
        vision_config=vision, adapter_config=adapter,
        text_config=text(words, additional_vocab_size=8, **language),
        **_ids(words, image_start_token_id="<im_start>", image_end_token_id="<im_end>",
               low_res_image_start_token_id="<low_res_im_start>", image_patch_id="<im_patch>",
               frame_start_token_id="<frame_start>", frame_end_token_id="<frame_end>"),
    )  # fmt: skip
    side = {"height": 56, "width": 56}
    images = hf.Molmo2ImageProcessor(
        size=side, max_crops=2, overlap_margins=[0, 0], patch_size=14, pooling_size=[2, 2]
    )
    videos = hf.Molmo2VideoProcessor(size=side, patch_size=14)
    return hf.Molmo2ForConditionalGeneration(config), hf.Molmo2Processor(images, videos, words)


def mllama() -> tuple[Any, Any]:
    words = tokenizer([], {"image_token": "<|image|>"})
    ratios = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
              "num_global_layers": 1, "attention_heads": 2, "image_size": 56, "patch_size": 14,
              "max_num_tiles": 4, "vision_output_dim": 64, "intermediate_layers_indices": [1],
              "supported_aspect_ratios": ratios}  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 5e5}
    config = hf.MllamaConfig(
        vision_config=vision, image_token_index=words.image_token_id,
        text_config=text(words, None, cross_attention_layers=[1, 3], rope_parameters=rope,
                         pad_token_id=words.pad_token_id, bos_token_id=words.bos_token_id,
                         eos_token_id=words.eos_token_id),
    )  # fmt: skip
    images = hf.MllamaImageProcessor(size={"height": 56, "width": 56}, max_image_tiles=4)
    model = hf.MllamaForConditionalGeneration(config)
    for layer in model.model.language_model.layers:
        if hasattr(layer, "cross_attn_attn_gate"):  # closed when new
            torch.nn.init.constant_(layer.cross_attn_attn_gate, 1.0)
            torch.nn.init.constant_(layer.cross_attn_mlp_gate, 0.7)
    return model, hf.MllamaProcessor(images, words, chat_template=_chat("<|image|>"))


def idefics() -> tuple[Any, Any]:
    words = tokenizer(["<fake_token_around_image>", "<image>"], {})
    vision = {"embed_dim": 32, "image_size": 56, "intermediate_size": 64, "patch_size": 14,
              "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": "gelu"}  # fmt: skip
    resampler = {"resampler_n_latents": 8, "resampler_depth": 1, "resampler_n_heads": 2,
                 "resampler_head_dim": 16, "qk_layer_norms_perceiver": False}  # fmt: skip
    config = hf.IdeficsConfig(
        vocab_size=len(words), additional_vocab_size=0, hidden_size=64, intermediate_size=128,
        num_hidden_layers=4, num_attention_heads=4, cross_layer_interval=2,
        alpha_initializer="ones", alpha_type="float", use_resampler=True, qk_layer_norms=True,
        freeze_text_layers=False, freeze_vision_layers=False, vision_config=vision,
        perceiver_config=resampler, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    images = hf.IdeficsImageProcessor(image_size=56)
    return hf.IdeficsForVisionText2Text(config), hf.IdeficsProcessor(images, words)


ZOO: dict[str, Callable[[], tuple[Any, Any]]] = {
    builder.__name__: builder
    for builder in (
        qwen2_vl, qwen2_5_vl, qwen3_vl, llava, llava_next, llava_onevision, idefics2, idefics3,
        smolvlm, gemma3, paligemma, paligemma_1, internvl, mistral3, pixtral, molmo2,
        molmo2_o, mllama, idefics,
    )
}  # fmt: skip


def save_checkpoint(name: str, folder: Path, seed: int = 0) -> Path:
    """A checkpoint of the architecture ``name`` as a repository on the Hub has it.  Weights are
    larger than those of a new model, whose answers are all equally likely."""
    torch.manual_seed(seed)
    model, processor = ZOO[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
