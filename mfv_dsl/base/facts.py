"""What is known of models, datasets and stored vectors before any is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mfv_dsl.base.short import Short

#: Precisions of a model's weights, and the bytes that one number takes.
PRECISIONS = {"bf16": 2, "fp16": 2, "fp32": 4}


@dataclass(frozen=True, repr=False)
class ModelFacts(Short):
    """A model's shape, known from its configuration.

    ``n_layers`` decoder layers of ``n_heads`` attention heads, each ``head_dim`` numbers wide;
    ``d_model`` is the width of the residual stream.  ``fingerprint`` says which weights these are,
    whatever their ``precision``, one of :data:`PRECISIONS`; ``family`` is the kind of its language
    model.  ``paths`` has the path of each site's module, with ``{layer}``.  ``shares_prefix``: a
    prompt's earlier tokens can be run once for many variants of its last.  ``kv_width`` is the
    width of a layer's keys, 0 where it is that of the residual stream; ``picture_tokens`` is about
    how many tokens of a prompt a picture takes, and ``context`` how many a prompt may have, 0 where
    none or not known.  ``layers_without_heads`` are those decoder layers that have no
    self-attention.  ``attention`` names the code of its attention where that was chosen;
    ``quantize`` says as what weights are held that are not held in ``precision``; ``weights`` is
    about how many bytes all take, 0 where not known.  ``inputs`` is a hash of the files that make
    tokens and pixels of prompts, where they are not in the fingerprint.

    What work is counted with, 0 where it is not known: ``parameters`` of the whole model,
    ``layer_parameters`` of a decoder layer on average, with its cross-attention where there is one,
    ``output_parameters`` of the output head, and ``picture_work``, about how many multiply-adds it
    takes to encode a picture.

    ``query`` is how a query is written behind its picture, with ``{query}`` for the name that it
    asks about; empty where that is not known before a model is loaded.
    """

    n_layers: int
    n_heads: int
    head_dim: int
    d_model: int
    fingerprint: str
    description: str = ""
    precision: str = "fp32"
    family: str = "gpt_neox"
    paths: Mapping[str, str] = field(default_factory=dict, hash=False)
    shares_prefix: bool = True
    kv_width: int = 0
    picture_tokens: int = 0
    attention: str = "auto"
    quantize: str = "none"
    weights: int = 0
    context: int = 0
    layers_without_heads: tuple[int, ...] = ()
    parameters: int = 0
    layer_parameters: int = 0
    output_parameters: int = 0
    picture_work: int = 0
    inputs: str = field(default="", compare=False)
    query: str = field(default="", compare=False)

    @property
    def head_layers(self) -> tuple[int, ...]:
        """The decoder layers that have heads of self-attention."""
        return tuple(n for n in range(self.n_layers) if n not in self.layers_without_heads)

    @property
    def head_count(self) -> int:
        """How many heads of self-attention the model has in all."""
        return len(self.head_layers) * self.n_heads

    def has_head(self, layer: int, head: int) -> bool:
        """Whether there is a head of this number in this layer."""
        return layer in self.head_layers and 0 <= head < self.n_heads

    @property
    def heads_add_up(self) -> bool:
        """Whether what heads write is added to the residual stream with no norm between."""
        return self.paths.get("lm.attn") == self.paths.get("lm.attn.out")

    @property
    def identity(self) -> str:
        """Fingerprint, files of tokenizer and processor, precision and a chosen attention:
        models of one identity give the same results.  Vectors of one fingerprint belong together;
        finished steps are found again by identity."""
        chosen = (self.inputs[:16], ""), (self.precision, "fp32"), (self.attention, "auto")
        return ":".join([self.fingerprint, *(name for name, usual in chosen if name != usual)])

    @property
    def weights_as(self) -> str:
        """As what weights are held, in a word."""
        return self.precision if self.quantize == "none" else f"{self.quantize}, {self.precision}"


@dataclass(frozen=True, repr=False)
class DatasetFacts(Short):
    """What a dataset offers, known without reading images; ``hash`` is that of its items,
    ``counts`` how many it has of a relation and split, ``images`` on how many different images,
    where that is not the same, and ``warnings`` what its files should be looked at for, each a code
    and a message.  ``asks`` are the ways of answering that its items' questions with options allow,
    ``choice`` and ``yes_no``, and ``options`` how many options a question has on average."""

    relations: tuple[str, ...]
    splits: tuple[str, ...]
    hash: str
    description: str = ""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict, compare=False, repr=False)
    images: Mapping[str, Mapping[str, int]] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    asks: tuple[str, ...] = field(default=(), compare=False, repr=False)
    options: float = field(default=0.0, compare=False, repr=False)


@dataclass(frozen=True)
class VectorFacts:
    """What a stored vector's file says of it, known without reading its numbers.

    ``model`` names the model and ``fingerprint`` its weights, ``d_model`` is the vector's length,
    ``site`` where it is to be written, ``bias`` the convention about output biases, ``parts``
    whether it has per-head parts; ``content`` is the hash of its numbers, ``revision`` the commit
    of the Hub that it comes from, ``pinned`` the content that ``mfv.lock`` asks for, if it does;
    ``layer`` is the one it was trained at or is meant for; ``places`` are the sites and layers of
    a vector with a part for each of several.
    """

    file: str
    model: str
    fingerprint: str
    d_model: int
    site: str
    bias: str
    parts: bool
    content: str
    revision: str | None = None
    pinned: str | None = None
    layer: int | None = None
    places: tuple[tuple[str, int], ...] = ()
