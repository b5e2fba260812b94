"""The published OpenFlamingo checkpoints: what they are made of and how large they are.

Sizes follow from shapes, which a test builds, so that nothing has to be fetched to plan with a
checkpoint.  No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.facts import PRECISIONS

#: Tokens of GPT-NeoX-20B's tokenizer, which all five share, and with ``<|endofchunk|>``,
#: ``<image>`` and ``<PAD>``, which open_flamingo adds.
_TOKENS = 50277
_TOKENS_ADDED = 3

# Fixed in open_flamingo: depth, heads times their width, latents and widening of the perceiver and
# the cross-attention.
_DEPTH, _INNER, _LATENTS, _WIDER = 6, 8 * 64, 64, 4

#: A batch for :func:`memory`: prompts, tokens of a 4-shot prompt, pictures encoded at a time.
_PROMPTS, _PROMPT_TOKENS, _PICTURES = 64, 64, 256


@dataclass(frozen=True)
class Language:
    """A language model on the hub.  ``number_bytes`` is what its files take for one number,
    ``weights`` are the files that hold them."""

    repo: str
    model_type: str
    n_layers: int
    n_heads: int
    d_model: int
    rows: int  # of the embedding in its files
    number_bytes: int
    weights: tuple[str, ...] = ("pytorch_model.bin",)
    tied: bool = True  # one matrix is input and output embedding
    biases: bool = False
    normed: bool = False  # layer norms on queries and keys

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    def parameters(self, rows: int) -> int:
        """Its parameters with ``rows`` tokens in the vocabulary; with 0, those of its layers."""
        d = self.d_model
        norms = 2 if self.biases else 1
        block = 12 * d * d + 2 * norms * d  # attention 4 d², feed-forward of width 4 d, two norms
        block += 9 * d if self.biases else 0  # of queries, keys, values; out; up; down
        block += 2 * d if self.normed else 0
        return self.n_layers * block + norms * d + rows * d * (1 if self.tied else 2)


@dataclass(frozen=True)
class Vision:
    """A CLIP on the hub, of which the image tower is used."""

    repo: str
    name: str  # as open_clip calls it
    quick_gelu: bool
    image_size: int
    patch_size: int
    width: int
    layers: int
    output: int
    text: int  # parameters of the tower that is not used but fetched

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def parameters(self) -> int:
        """Parameters of the image tower."""
        w = self.width
        embedding = 3 * self.patch_size**2 * w + w + (self.patches + 1) * w
        return embedding + self.layers * (12 * w * w + 13 * w) + 4 * w + w * self.output


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A published checkpoint: trained parts, and the language and vision models they were trained
    on."""

    name: str
    revision: str
    language: Language
    every: int  # cross-attention stands before every so many-th decoder layer
    vision: Vision

    @property
    def short(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]

    @property
    def vocabulary(self) -> int:
        return _TOKENS + _TOKENS_ADDED

    @property
    def trained(self) -> int:
        """Parameters in ``checkpoint.pt``: perceiver, cross-attention, embeddings."""
        d, w = self.language.d_model, self.vision.width
        attention = w * _INNER + w * 2 * _INNER + _INNER * w + 4 * w
        perceiver = _LATENTS * w + _DEPTH * (attention + 2 * _WIDER * w * w + 2 * w) + 2 * w
        crossing = d * _INNER + w * 2 * _INNER + _INNER * d + 2 * d + 1
        crossing += 2 * _WIDER * d * d + 2 * d + 1
        embeddings = self.vocabulary * d * (1 if self.language.tied else 2)
        return perceiver + self.language.n_layers // self.every * crossing + embeddings

    @property
    def parameters(self) -> int:
        """Parameters of the whole model."""
        return self.trained + self.language.parameters(0) + self.vision.parameters

    @property
    def layer_parameters(self) -> int:
        """Parameters of a decoder layer on average, with its share of the cross-attention."""
        d, n_layers = self.language.d_model, self.language.n_layers
        crossing = 2 * d * _INNER + 2 * _WIDER * d * d
        return (self.language.parameters(0) + n_layers // self.every * crossing) // n_layers

    @property
    def picture_work(self) -> int:
        """About how many multiply-adds it takes to encode a picture: the image tower's matrices and
        attention over its patches, the perceiver, and its latents' keys and values in every
        cross-attention."""
        vision, w = self.vision, self.vision.width
        patches = vision.patches + 1
        tower = vision.layers * (12 * w * w * patches + 2 * w * patches * patches)
        latents = _LATENTS * (2 * w * _INNER + 2 * _WIDER * w * w) + 2 * w * _INNER * patches
        keys_and_values = self.language.n_layers // self.every * _LATENTS * 2 * w * _INNER
        return tower + _DEPTH * latents + keys_and_values

    @property
    def download(self) -> dict[str, int]:
        """About how many bytes come from each of its three repositories."""
        rows = self.language.rows
        return {
            self.name: 4 * self.trained,
            self.language.repo: self.language.number_bytes * self.language.parameters(rows),
            self.vision.repo: 4 * (self.vision.parameters + self.vision.text),
        }


def memory(checkpoint: PublishedCheckpoint, dtype: str) -> int:
    """About how many bytes running ``checkpoint`` takes, in ``dtype`` of :data:`PRECISIONS`.

    Weights; keys and values of 64 prompts of 64 tokens, ``2 · layers · d_model`` numbers a token;
    and 24 activations as wide as the image tower for each patch of the 256 pictures that are
    encoded at a time (the tower holds up to 22 on a processor).
    """
    language, vision = checkpoint.language, checkpoint.vision
    keys_and_values = _PROMPTS * _PROMPT_TOKENS * 2 * language.n_layers * language.d_model
    activations = _PICTURES * (vision.patches + 1) * 24 * vision.width
    return PRECISIONS[dtype] * (checkpoint.parameters + keys_and_values + activations)


def _shards(count: int) -> tuple[str, ...]:
    names = (f"pytorch_model-{i + 1:05}-of-{count:05}.bin" for i in range(count))
    return ("pytorch_model.bin.index.json", *names)


_CLIP = Vision(
    "timm/vit_large_patch14_clip_224.openai", "ViT-L-14", quick_gelu=True, image_size=224,
    patch_size=14, width=1024, layers=24, output=768,
    # 12 layers of width 768 on 77 of 49408 tokens, the projection, the temperature
    text=12 * (12 * 768**2 + 13 * 768) + (49408 + 77 + 2 + 768) * 768 + 1,
)  # fmt: skip
_MPT_1B: dict[str, Any] = {
    "model_type": "mosaic_gpt", "n_layers": 24, "n_heads": 16, "d_model": 2048, "rows": 50432,
    "number_bytes": 4, "normed": True,
}  # fmt: skip
_REDPAJAMA: dict[str, Any] = {
    "model_type": "gpt_neox", "n_layers": 32, "n_heads": 32, "d_model": 2560, "rows": 50432,
    "number_bytes": 2, "tied": False, "biases": True,
}  # fmt: skip

_CHECKPOINTS = (
    PublishedCheckpoint(
        "openflamingo/OpenFlamingo-3B-vitl-mpt1b", "ed3a0c3190b2fc2d1c39630738896d4e73ce1bbc",
        Language("anas-awadalla/mpt-1b-redpajama-200b", **_MPT_1B), 1, _CLIP,
    ),
    PublishedCheckpoint(
        "openflamingo/OpenFlamingo-3B-vitl-mpt1b-langinstruct",
        "656bbbcd4508db84ccc83c02361011c6fe92ae93",
        Language("anas-awadalla/mpt-1b-redpajama-200b-dolly", **_MPT_1B), 1, _CLIP,
    ),
    PublishedCheckpoint(
        "openflamingo/OpenFlamingo-4B-vitl-rpj3b", "df8d3f7e75bcf891ce2fbf5253a12f524692d9c2",
        Language("togethercomputer/RedPajama-INCITE-Base-3B-v1", **_REDPAJAMA), 2, _CLIP,
    ),
    PublishedCheckpoint(
        "openflamingo/OpenFlamingo-4B-vitl-rpj3b-langinstruct",
        "ef1d867b2bdf3e0ffec6d9870a07e6bd51eb7e88",
        Language("togethercomputer/RedPajama-INCITE-Instruct-3B-v1", **_REDPAJAMA), 2, _CLIP,
    ),
    PublishedCheckpoint(
        "openflamingo/OpenFlamingo-9B-vitl-mpt7b", "e6e175603712c7007fe3b9c0d50bdcfbd83adfc2",
        Language("anas-awadalla/mpt-7b", "mpt", 32, 32, 4096, 50432, 4, _shards(3)), 4, _CLIP,
    ),
)  # fmt: skip

#: The published checkpoints by name.
KNOWN = {checkpoint.name: checkpoint for checkpoint in _CHECKPOINTS}
#: Their language and vision models by name.
LANGUAGES = {checkpoint.language.repo: checkpoint.language for checkpoint in _CHECKPOINTS}
VISIONS = {checkpoint.vision.repo: checkpoint.vision for checkpoint in _CHECKPOINTS}
