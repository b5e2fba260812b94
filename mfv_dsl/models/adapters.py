"""Small trainable parts that are put into a frozen model, by peft, and taken out again.

``lora`` adds a product of two low-rank matrices to linear maps of the decoder layers (Hu et al.,
arXiv:2106.09685); ``soft_prompt`` puts embeddings that are learned before the first token of every
prompt (Lester et al., arXiv:2104.08691).  Within :func:`adapted` the model runs with them; leaving
the block puts back the modules that were there, untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mfv_dsl.data.items import Dataset, Prompt
from mfv_dsl.models.base import Backend, Decoder, PromptBatch
from mfv_dsl.models.quiet import quiet_peft


@dataclass(frozen=True)
class Lora:
    """``alpha / rank`` · B·A beside every linear map of the self-attentions, or of ``all`` that a
    decoder layer has; B begins as zero, so that the model begins as it is."""

    rank: int
    alpha: float
    modules: str = "attention"


@dataclass(frozen=True)
class SoftPrompt:
    """So many embeddings before every prompt; they begin as those of tokens drawn at random."""

    tokens: int


@dataclass(frozen=True)
class Adapted:
    """A model with an adapter in it: the ``backend`` that runs it, and what is learned, in float32,
    by name."""

    backend: Backend
    parameters: Mapping[str, nn.Parameter]


def adapted(backend: Any, form: Lora | SoftPrompt, seed: int) -> AbstractContextManager[Adapted]:
    """Within the block ``backend`` has an adapter in its beginning state, which ``seed`` draws.

    Batches for it have to be made by the backend that comes back.  Needs peft.
    """
    quiet_peft()
    put_in = _with_lora if isinstance(form, Lora) else _with_soft_prompt
    return put_in(backend, form, seed)  # type: ignore[operator,no-any-return]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within the block random numbers come from ``seed``; outside they are as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


# -- low-rank matrices ----------------------------------------------------------------------------
def lora_modules(backend: Any, modules: str) -> list[str]:
    """The paths of the linear maps that get low-rank matrices, from the root of the model."""
    site = backend.sites["lm.attn"]
    paths = []
    for layer in site.layers:
        attention = site.module_path(layer).rpartition(".")[0]
        root = attention if modules == "attention" else attention.rpartition(".")[0]
        parts = backend.model.get_submodule(root).named_modules(prefix=root)
        paths += [path for path, module in parts if isinstance(module, nn.Linear)]
    return paths


@contextmanager
def _with_lora(backend: Any, form: Lora, seed: int) -> Iterator[Adapted]:
    from peft import LoraConfig, inject_adapter_in_model

    paths = lora_modules(backend, form.modules)
    before = [backend.model.get_submodule(path) for path in paths]
    # peft sees the linear maps alone, and so leaves nothing behind in the model
    names = [f"part{number}" for number in range(len(paths))]
    holder = nn.Module()
    for name, module in zip(names, before, strict=True):
        holder.add_module(name, module)
    config = LoraConfig(
        r=form.rank, lora_alpha=form.alpha, lora_dropout=0.0, bias="none", target_modules=names
    )
    with _seeded(seed):
        inject_adapter_in_model(config, holder)
    holder.eval()
    parameters = {}
    for name, path in zip(names, paths, strict=True):
        module = holder.get_submodule(name)
        for part in ("lora_A", "lora_B"):
            weight = module.get_submodule(f"{part}.default").weight
            weight.data = weight.data.float()
            parameters[f"{path}.{part}"] = weight
    try:
        for name, path in zip(names, paths, strict=True):
            backend.model.set_submodule(path, holder.get_submodule(name))
        yield Adapted(backend, parameters)
    finally:
        for path, module in zip(paths, before, strict=True):
            backend.model.set_submodule(path, module)


# -- embeddings before the prompt -----------------------------------------------------------------
@contextmanager
def _with_soft_prompt(backend: Any, form: SoftPrompt, seed: int) -> Iterator[Adapted]:
    from peft import PromptEmbedding, PromptTuningConfig

    words = getattr(backend.model, "lang_encoder", backend.model).get_input_embeddings()
    config = PromptTuningConfig(
        num_virtual_tokens=form.tokens, token_dim=words.weight.shape[1],
        num_transformer_submodules=1, prompt_tuning_init="SAMPLE_VOCAB",
    )  # fmt: skip
    with _seeded(seed):
        prompt = PromptEmbedding(config, words).to(words.weight.device)
    weight = prompt.embedding.weight
    wrapped = _SoftPrompted(backend, weight)
    hook = words.register_forward_hook(wrapped.put_in)
    try:
        yield Adapted(wrapped, {"soft_prompt": weight})  # type: ignore[arg-type]
    finally:
        hook.remove()


class _SoftPrompted:
    """A backend whose prompts have learned embeddings before their first tokens."""

    def __init__(self, backend: Any, prompt: nn.Parameter) -> None:
        self._backend, self._prompt = backend, prompt
        self._starts: torch.Tensor | None = None  # (prompts,) where the embeddings belong now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def batch(self, prompts: Sequence[Prompt], dataset: Dataset) -> PromptBatch:
        """The prompts with room for the embeddings."""
        batch = self._backend.batch(prompts, dataset)
        more = len(self._prompt)
        self._backend.check_length(batch.tokens.shape[1] + more, "a prompt with a soft prompt")
        return with_room(batch, more, self._filler)

    @property
    def _filler(self) -> int:
        """The token that stands where the embeddings come; no picture's."""
        pad = getattr(self._backend, "pad_token", None)
        if pad is None:
            pad = self._backend.tokenizer.pad_token_id
        return int(pad) if pad is not None else 0

    def forward(self, batch: PromptBatch) -> torch.Tensor:
        """As of the model, behind the embeddings."""
        with self._shown(batch):
            logits: torch.Tensor = self._backend.forward(batch)
        return logits

    def prefix(self, batch: PromptBatch) -> Any:
        """As of the model, behind the embeddings."""
        with self._shown(batch):
            return self._backend.prefix(batch)

    @contextmanager
    def decoding(self, batch: PromptBatch) -> Iterator[Decoder]:
        """As of the model, behind the embeddings."""
        with self._shown(batch), self._backend.decoding(batch) as decoder:
            yield decoder

    @contextmanager
    def _shown(self, batch: PromptBatch) -> Iterator[None]:
        before, self._starts = self._starts, batch.mask.shape[1] - batch.mask.sum(-1)
        try:
            yield
        finally:
            self._starts = before

    def put_in(self, module: nn.Module, inputs: Any, embedded: torch.Tensor) -> torch.Tensor:
        """The embeddings of whole prompts, the learned ones in their places; single tokens stand
        behind them."""
        if self._starts is None or embedded.shape[1] < 2:
            return embedded
        prompt = self._prompt
        places = self._starts[:, None] + torch.arange(len(prompt), device=self._starts.device)
        rows = torch.arange(len(embedded), device=embedded.device)[:, None]
        learned = prompt.to(embedded.dtype).expand(len(embedded), -1, -1)
        return embedded.index_put((rows, places.to(embedded.device)), learned.to(embedded.device))


def with_room(batch: Any, more: int, filler: int) -> Any:
    """A batch with ``more`` tokens before the first of every prompt.

    ``filler`` stands for them.  Tensors by token, of pictures and kinds, are zero there; positions
    go on by one from the prompt's first.
    """
    rows, length = batch.mask.shape
    device = batch.mask.device
    start = (length - batch.mask.sum(-1))[:, None]  # (rows, 1)
    column = torch.arange(length + more, device=device).expand(rows, -1)
    is_new = (column >= start) & (column < start + more)
    source = torch.where(column < start, column, (column - more).clamp_min(0))
    source = torch.where(is_new, start, source)

    def spread(values: torch.Tensor, new: int) -> torch.Tensor:
        """``values`` (rows, length, ...) with ``new`` in the room."""
        shape = (rows, length + more, *(1 for _ in values.shape[2:]))
        index = source.view(shape).expand(-1, -1, *values.shape[2:])
        gathered = values.gather(1, index)
        return gathered.masked_fill(is_new.view(shape), new)

    changes: dict[str, Any] = {
        "tokens": spread(batch.tokens, filler),
        "mask": spread(batch.mask, 1),
    }
    if hasattr(batch, "positions"):
        positions = batch.positions
        index = source.expand(*positions.shape[:-2], rows, length + more)
        moved = positions.gather(-1, index) + torch.where(column >= start + more, more, 0)
        changes["positions"] = torch.where(is_new, moved + column - start, moved)
    if hasattr(batch, "per_token"):
        changes["per_token"] = {name: spread(v, 0) for name, v in batch.per_token.items()}
    return replace(batch, **changes)
