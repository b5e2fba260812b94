"""Small random checkpoints, written in the layouts of the published ones."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn

from mfv_dsl.models.flamingo_classes import declare_torchvision_operators, flamingo_classes

SENTENCES = (
    "Q: what stands left of the red circle? A: a blue square. B: the ring above it.",
    "the green star is right of a yellow heart, below the red cross and above the grey mug",
)
VISION: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 32, "head_width": 8, "patch_size": 14},
    "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESS = {"mean": [0.48145466, 0.4578275, 0.40821073],
              "std": [0.26862954, 0.26130258, 0.27577711],
              "interpolation": "bicubic", "resize_mode": "shortest"}  # fmt: skip
GPT_NEOX: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 128, "use_parallel_residual": False, "tie_word_embeddings": False,
}  # fmt: skip
MPT: dict[str, Any] = {
    "model_type": "mpt", "d_model": 32, "n_heads": 4, "n_layers": 4, "expansion_ratio": 4,
    "max_seq_len": 128, "no_bias": True, "norm_type": "low_precision_layernorm",
    "attn_config": {"alibi": True, "alibi_bias_max": 8, "attn_impl": "torch",
                    "attn_type": "multihead_attention", "qk_ln": False, "clip_qkv": None,
                    "prefix_lm": False, "softmax_scale": None},
}  # fmt: skip
MOSAIC: dict[str, Any] = {
    "model_type": "mosaic_gpt", "architectures": ["MosaicGPT"], "d_model": 32, "n_heads": 4,
    "n_layers": 4, "mlp_ratio": 4, "max_seq_len": 128, "no_bias": True, "alibi": True,
    "alibi_bias_max": 8, "attn_clip_qkv": None, "attn_qk_ln": True, "softmax_scale": None,
    "low_precision_layernorm": True, "prefix_lm": False,
    "auto_map": {"AutoModelForCausalLM": "mosaic_gpt.MosaicGPT"},
}  # fmt: skip


# -- parts ----------------------------------------------------------------------------------------
def write_tokenizer(folder: Path, tokens: int = 0) -> int:
    """A byte-level BPE like GPT-NeoX-20B's, with runs of spaces added, and with unused tokens up to
    ``tokens``; how many tokens it has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=["<|endoftext|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_tokens([" " * 4, " " * 2])
    tokenizer.add_tokens([f"<unused {i}>" for i in range(tokenizer.get_vocab_size(), tokens)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "unk")}
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "GPTNeoXTokenizer", "add_prefix_space": False, **special},
    )
    return tokenizer.get_vocab_size()


def write_gpt_neox(folder: Path, rows: int, **sizes: Any) -> None:
    """A GPT-NeoX with ``rows`` embeddings as transformers saves it now."""
    of = flamingo_classes()
    of.GPTNeoXForCausalLM(
        of.GPTNeoXConfig(vocab_size=rows, **{**GPT_NEOX, **sizes})
    ).save_pretrained(folder)


def as_of_2023(folder: Path, shards: int = 1, layers: int = 4) -> None:
    """A saved GPT-NeoX as transformers saved it then: pickled, in float16, with its buffers."""
    from safetensors.torch import load_file

    state = {
        name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()
    }
    (folder / "model.safetensors").unlink()
    state |= old_buffers("gpt_neox.layers.{}.attention", layers)
    names = sorted(state)
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return
    files = [f"pytorch_model-{i + 1:05}-of-{shards:05}.bin" for i in range(shards)]
    where = {name: files[i % shards] for i, name in enumerate(names)}
    for file in files:
        torch.save({name: state[name] for name in names if where[name] == file}, folder / file)
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {}, "weight_map": where})


def old_buffers(place: str, layers: int = 4) -> dict[str, torch.Tensor]:
    """What old GPT-NeoX modules kept beside their parameters."""
    return {
        f"{place.format(i)}.{name}": tensor
        for i in range(layers)
        for name, tensor in {
            "bias": torch.ones(1, 1, 128, 128, dtype=torch.bool).tril(),
            "masked_bias": torch.tensor(-1e9), "rotary_emb.inv_freq": torch.rand(1),
        }.items()
    }  # fmt: skip


def write_mpt(folder: Path, config: dict[str, Any], rows: int) -> dict[str, torch.Tensor]:
    """An MPT of either kind in the names of its own remote code; its weights."""
    new = config["model_type"] == "mpt"
    d, layers = config["d_model"], config["n_layers"]
    names = {"norm_1.weight" if new else "ln_1.weight": (d,), "attn.Wqkv.weight": (3 * d, d),
             "attn.out_proj.weight": (d, d), "norm_2.weight" if new else "ln_2.weight": (d,),
             "ffn.up_proj.weight" if new else "mlp.mlp_up.weight": (4 * d, d),
             "ffn.down_proj.weight" if new else "mlp.mlp_down.weight": (d, 4 * d)}  # fmt: skip
    if not new:
        names |= {"attn.q_ln.weight": (d,), "attn.k_ln.weight": (d,)}
    shapes = {f"transformer.blocks.{i}.{name}": shape for i in range(layers)
              for name, shape in names.items()}  # fmt: skip
    shapes |= {"transformer.wte.weight": (rows, d),
               "transformer.norm_f.weight" if new else "transformer.ln_f.weight": (d,)}  # fmt: skip
    state = {name: torch.randn(shape) * 0.1 + (len(shape) == 1) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin")
    write_json(folder / "config.json", {**config, "vocab_size": rows})
    return state


def write_clip(folder: Path, config: dict[str, Any] = VISION) -> None:
    """A whole CLIP in open_clip's layout."""
    declare_torchvision_operators()
    from open_clip import CLIP

    folder.mkdir(parents=True, exist_ok=True)
    clip = CLIP(**copy.deepcopy(config))
    for norm in (clip.visual.ln_pre, clip.visual.ln_post):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    write_json(folder / "open_clip_config.json",
               {"model_cfg": config, "preprocess_cfg": PREPROCESS})  # fmt: skip


# -- a whole checkpoint ---------------------------------------------------------------------------
def write_checkpoint(
    folder: Path, kind: str, extra_rows: int, every: int = 2, layers: int = 4, width: int = 32,
    vision: dict[str, Any] = VISION, tokens: int = 0, **sizes: Any,
) -> Path:  # fmt: skip
    """A checkpoint over a language model of ``kind`` whose files have ``extra_rows`` embeddings
    more than its tokenizer has tokens (fewer, if below 0); ``sizes`` are of a GPT-NeoX."""
    torch.manual_seed(0)
    rows = write_tokenizer(folder / "language", tokens) + extra_rows
    if kind == "gpt_neox":
        write_gpt_neox(folder / "language", rows, hidden_size=width, num_hidden_layers=layers,
                       **{"intermediate_size": 4 * width, **sizes})  # fmt: skip
        names = {"blocks": "gpt_neox.layers", "input": "gpt_neox.embed_in.weight",
                 "output": "embed_out.weight"}  # fmt: skip
    else:
        config = {"mpt": MPT, "mosaic_gpt": MOSAIC}[kind]
        write_mpt(folder / "language", {**config, "d_model": width, "n_layers": layers}, rows)
        names = {"blocks": "transformer.blocks", "input": "transformer.wte.weight"}
    write_clip(folder / "vision", vision)
    write_json(folder / "flamingo.json", {"language": "language", "vision": "vision",
                                          "cross_attn_every_n_layers": every})  # fmt: skip
    state = trained(names, rows - extra_rows + 3, every, layers, width, vision)
    torch.save(state, folder / "checkpoint.pt")
    return folder


def trained(
    names: dict[str, str],
    words: int,
    every: int,
    layers: int,
    d: int,
    vision: dict[str, Any] = VISION,
) -> dict[str, torch.Tensor]:
    """What OpenFlamingo publishes of a model: perceiver, cross-attention with its gates open,
    embeddings; all random."""
    of = flamingo_classes()
    width = vision["vision_cfg"]["width"]
    state = {f"perceiver.{name}": tensor
             for name, tensor in of.PerceiverResampler(dim=width).state_dict().items()}  # fmt: skip
    for layer in range(every - 1, layers, every):
        block = of.GatedCrossAttentionBlock(dim=d, dim_visual=width)
        nn.init.constant_(block.attn_gate, 1.0)
        nn.init.constant_(block.ff_gate, -0.5)
        place = f"lang_encoder.{names['blocks']}.{layer}.gated_cross_attn_layer"
        state |= {f"{place}.{name}": tensor for name, tensor in block.state_dict().items()}
    for embedding in ("input", "output"):
        if embedding in names:
            state[f"lang_encoder.{names[embedding]}"] = torch.randn(words, d) * 0.1
    return state


# -- open_flamingo's own way ----------------------------------------------------------------------
@contextlib.contextmanager
def registered(config: dict[str, Any], folder: Path) -> Iterator[str]:
    """A name under which open_clip's factory knows ``config``."""
    import open_clip

    name = f"clip-{abs(hash(str(folder)))}"
    write_json(folder / f"{name}.json", config)
    open_clip.add_model_config(folder / f"{name}.json")
    yield name


def by_factory(folder: Path, every: int) -> tuple[Any, Any, Any]:
    """``create_model_and_transforms`` on a folder's files, untouched but for one thing.

    The published tokenizers name no token for padding, so the factory added one.  Since version 5,
    transformers' class for them brings ``<|padding|>``; a neutral class leaves it as it was.
    """
    neutral = folder / "neutral"
    neutral.mkdir(exist_ok=True)
    shutil.copy(folder / "language" / "tokenizer.json", neutral)
    said = json.loads((folder / "language" / "tokenizer_config.json").read_text())
    write_json(
        neutral / "tokenizer_config.json", said | {"tokenizer_class": "PreTrainedTokenizerFast"}
    )
    from open_flamingo import create_model_and_transforms

    config = json.loads((folder / "vision" / "open_clip_config.json").read_text())["model_cfg"]
    with registered(config, folder) as name, contextlib.redirect_stdout(io.StringIO()):
        model, transform, tokenizer = create_model_and_transforms(
            clip_vision_encoder_path=name,
            clip_vision_encoder_pretrained=str(folder / "vision" / "open_clip_model.safetensors"),
            lang_encoder_path=str(folder / "language"),
            tokenizer_path=str(neutral),
            cross_attn_every_n_layers=every,
            use_local_files=True,
        )
    return model.eval(), transform, tokenizer


def write_json(path: Path, said: Any) -> None:
    path.write_text(json.dumps(said, indent=2))
