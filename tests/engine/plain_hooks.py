"""The bundled models as their own libraries call them, with a plain hook of PyTorch on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import IMAGES, LAST, Edit, Positions, Span

LAYER = 1
#: The text of each position that is one, and the places of its tokens in `Q : name . A :`, counted
#: from the end, of models whose tokens are `Q:`, the name, `.` and `A:`.
TEXTS = {"Q:": (-4,), "{query}": (-3,), ". A": (-2, -1), "{query}. A:": (-3, -2, -1)}
POSITIONS: dict[str, Positions] = {
    "last": LAST, "all": None, "images": IMAGES, **{text: Span(text) for text in TEXTS},
}  # fmt: skip


@lru_cache
def bundled(name: str) -> Any:
    return mfv.load_model("tiny" if name == "flamingo" else 'tiny("llava")')


def prompts_of(scenes: Scenes, shots: Sequence[int] = (2, 0, 1)) -> list[Prompt]:
    """Prompts of different lengths, about different objects."""
    relations = ("left", "above", "right", "below")
    return [
        draw_prompts(scenes, relations[n % 4], "test", 4, k)[n % 4] for n, k in enumerate(shots)
    ]


def tokens_at(name: str, tokens: torch.Tensor, image: int) -> list[int]:
    """The places in one prompt's ``tokens`` that a position means, as it is documented."""
    length = len(tokens)
    if name == "last":
        return [length - 1]
    if name == "all":
        return list(range(length))
    if name == "images":
        return [place for place in range(length) if tokens[place] == image]
    return [length + place for place in TEXTS[name]]


class Plain:
    """A bundled model called as its own library calls it, with a plain hook of PyTorch on it."""

    def __init__(self, name: str, scenes: Scenes) -> None:
        self.model, self.scenes, self.is_flamingo = bundled(name), scenes, name == "flamingo"
        whole = self.model.model
        layers = whole.lang_encoder.gpt_neox.layers if self.is_flamingo else (
            whole.model.language_model.layers
        )  # fmt: skip
        block = layers[LAYER]
        decoder = block.decoder_layer if self.is_flamingo else block
        attention = decoder.attention.dense if self.is_flamingo else decoder.self_attn.o_proj
        self.modules = {
            "lm.resid": block, "lm.attn": attention, "lm.attn.out": attention, "lm.mlp": decoder.mlp
        }  # fmt: skip
        self.image = whole.media_token_id if self.is_flamingo else whole.config.image_token_id

    def inputs(self, prompt: Prompt, more: Sequence[int] = ()) -> dict[str, torch.Tensor]:
        """What the library's own call takes for one prompt, with tokens behind it."""
        model, behind = self.model, torch.tensor([list(more)], dtype=torch.long)
        pictures = self.scenes.pictures(prompt.images, 40)
        text = model.template.text(prompt)
        if self.is_flamingo:
            tokens = torch.cat([torch.tensor([model.tokenizer.encode(text).ids]), behind], 1)
            pixels = model.preprocess(pictures)[None, :, None]
            mask = torch.ones_like(tokens)
            return {"vision_x": pixels, "lang_x": tokens, "attention_mask": mask}
        images = [Image.fromarray(picture) for picture in pictures]
        made = model.processor(text=[text], images=[images], return_tensors="pt")
        tokens = torch.cat([made["input_ids"], behind], 1)
        return {"pixel_values": made["pixel_values"], "input_ids": tokens,
                "attention_mask": torch.ones_like(tokens)}  # fmt: skip

    @torch.no_grad()
    def logits(
        self, prompt: Prompt, change: Callable[[torch.Tensor], torch.Tensor], site: str, name: str,
        more: Sequence[int] = (),
    ) -> torch.Tensor:  # fmt: skip
        """Of the next token behind one prompt, with ``change`` made to some of its tokens."""
        inputs = self.inputs(prompt, more)
        tokens = inputs["lang_x" if self.is_flamingo else "input_ids"][0]
        places = tokens_at(name, tokens[: len(tokens) - len(more)], self.image)

        def changed(states: torch.Tensor) -> torch.Tensor:
            states = states.clone()
            states[0, places] = change(states[0, places])
            return states

        def behind(_: Any, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (changed(output[0]), *output[1:])
            return changed(output)

        module = self.modules[site]
        if site == "lm.attn":
            handle = module.register_forward_pre_hook(lambda _, given: (changed(given[0]),))
        else:
            handle = module.register_forward_hook(behind)
        try:
            result: torch.Tensor = self.model.model(**inputs).logits[0, -1]
        finally:
            handle.remove()
        return result


def case(plain: Plain, site: str) -> tuple[Edit, Callable[[torch.Tensor], torch.Tensor]]:
    """An edit at the last token of LAYER, and the same by hand; large enough to matter."""
    facts = plain.model.facts
    generator = torch.Generator().manual_seed(3)
    if site != "lm.attn":
        value = 6 * torch.randn(facts.d_model, generator=generator)
        return Edit(site, LAYER, "add", value), lambda states: states + value
    value = 20 * torch.randn(2, facts.head_dim, generator=generator)

    def replaced(states: torch.Tensor) -> torch.Tensor:
        heads = states.reshape(len(states), facts.n_heads, facts.head_dim).clone()
        heads[:, [3, 1]] = value
        return heads.reshape(states.shape)

    return Edit(site, LAYER, "replace", value, heads=(3, 1)), replaced


def at(edit: Edit, positions: Positions) -> Edit:
    return replace(edit, positions=positions)
