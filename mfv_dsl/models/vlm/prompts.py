"""The forms in which prompts are written for a vision-language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.template import Template

#: The system text of the official code for Qwen3-VL.
#: Source: fushuhao6/Multimodal-Function-Vector, the code of arXiv:2510.02528.
OFFICIAL_SYSTEM = "Use the following template to answer the question:\nQ:object1. A:object2"


@dataclass(frozen=True)
class Form:
    """How a prompt is written.

    ``plain``: pictures and text side by side, ending at ``A:``.  ``chat``: the same as one turn of
    the user, with ``A:`` as the beginning of the assistant's.  ``official``: as the official code
    asks Qwen3-VL, with a system text, the answer behind the assistant's header.
    """

    name: str
    template: Template

    @classmethod
    def of(cls, name: str, mark: str) -> Form:
        """The form ``name`` with ``mark`` where a picture belongs."""
        space = "" if name == "official" else " "  # no tokenizer merges `A:` with what follows ` `
        template = Template(
            demonstration=f"{mark}Q:{{query}}. A:{space}{{answer}}.\n",
            query=f"{mark}Q:{{query}}. A:",
            cue="\n" if name == "official" else "A:",
            answer="\n{answer}" if name == "official" else "A: {answer}",
            form="" if name == "plain" else f"{name}\n",
        )
        return cls(name, template)

    def text(self, prompt: Prompt, processor: Any, mark: str) -> str:
        """A prompt up to where its answer begins, with marks where pictures belong."""
        if self.name == "plain":
            return self.template.text(prompt)
        pieces = [piece.removeprefix(mark) for piece in self.template.pieces(prompt)]
        if self.name == "chat":
            pieces[-1] = pieces[-1].removesuffix(" A:")
        content: list[dict[str, str]] = []
        for piece in pieces:
            content += [{"type": "image"}, {"type": "text", "text": piece}]
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.name == "official":
            system = {"type": "text", "text": OFFICIAL_SYSTEM}
            turns.insert(0, {"role": "system", "content": [system]})
        else:
            turns.append({"role": "assistant", "content": [{"type": "text", "text": "A:"}]})
        rendered = _rendered(processor, turns, self.name == "official")
        _check_places(rendered, pieces, mark)
        return rendered


def _rendered(processor: Any, turns: Sequence[dict[str, Any]], answers_next: bool) -> str:
    if not getattr(processor, "chat_template", None):
        raise MfvError(
            "MFV7268", "this model's processor has no chat template",
            help="write its prompts with prompt=plain",
        )  # fmt: skip
    rendered: str = processor.apply_chat_template(
        list(turns), tokenize=False, add_generation_prompt=answers_next,
        continue_final_message=not answers_next,
    )  # fmt: skip
    return rendered


def _check_places(rendered: str, pieces: Sequence[str], mark: str) -> None:
    """Refuse a template that does not leave each picture right before its question."""
    at = 0
    for piece in pieces:
        place = rendered.find(mark, at)
        text = rendered.find(piece.strip(), at)
        if place < 0 or text < place or rendered[place + len(mark) : text].strip():
            raise MfvError(
                "MFV7269", "this model's chat template moves pictures away from their questions",
                help="write its prompts with prompt=plain",
            )  # fmt: skip
        at = text + len(piece.strip())
