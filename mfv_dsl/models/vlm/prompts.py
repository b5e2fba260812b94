"""The forms in which prompts are written for a vision-language model; no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.template import Template

#: The forms that have a name; the first is what a model gets where nothing is said.
FORMS = ("plain", "chat", "official")
#: The system text of the official code for Qwen3-VL.
#: Source: fushuhao6/Multimodal-Function-Vector, the code of arXiv:2510.02528.
OFFICIAL_SYSTEM = "Use the following template to answer the question:\nQ:object1. A:object2"
_FIELDS = ("image", "query", "answer")


@dataclass(frozen=True)
class Form:
    """How a prompt is written.

    ``plain``: pictures and text side by side, ending at ``A:``.  ``chat``: the same as one turn of
    the user, with ``A:`` as the beginning of the assistant's.  ``official``: as the official code
    asks Qwen3-VL, with a system text, the answer behind the assistant's header.  Any other ``name``
    is the text of a demonstration, in the user's own words.
    """

    name: str
    template: Template

    @classmethod
    def of(cls, name: str, mark: str, ending: str = "") -> Form:
        """The form ``name`` with ``mark`` where a picture belongs; ``ending`` is what the model's
        processor writes behind every prompt.  Raises MfvError (MFV7278) for a text that cannot be a
        demonstration."""
        if name == "official":
            return cls(name, Template(
                demonstration=f"{mark}Q:{{query}}. A:{{answer}}.\n",
                query=f"{mark}Q:{{query}}. A:", cue="\n", answer="\n{answer}", form=f"{name}\n",
            ))  # fmt: skip
        # no tokenizer merges `A:` with a word behind a blank
        own = name if name not in FORMS else "{image}Q:{query}. A: {answer}.\n"
        question, cue, blanks = _parts(own)
        cue, blanks = (ending, "") if ending else (cue, blanks)
        return cls(name, Template(
            demonstration=own.replace("{image}", mark), query=question.replace("{image}", mark),
            cue=cue.format(), answer=f"{cue}{blanks}{{answer}}",
            form=f"{name}\n" if name == "chat" else "",
        ))  # fmt: skip

    @property
    def identity(self) -> str:
        """What tells vectors of models with different prompts apart; nothing for ``plain``."""
        if self.name == FORMS[0]:
            return ""
        if self.name in FORMS:
            return f":{self.name}"
        return f":{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    @property
    def is_chat(self) -> bool:
        """Whether prompts are written by the chat template of the model's processor."""
        return self.name in ("chat", "official")

    def text(self, prompt: Prompt, processor: Any, mark: str) -> str:
        """A prompt up to where its answer begins, with marks where pictures belong.

        Raises MfvError: MFV7268 for a processor that has no chat template, MFV7269 for one that
        moves pictures.
        """
        if not self.is_chat:
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

    def answer_tokens(self, tokenizer: Any, name: str) -> tuple[int, ...]:
        """The tokens of ``name`` where an answer stands.  Raises MfvError (MFV7201) where the
        tokenizer merges them with what stands before."""
        cue, whole = self.template.cue, self.template.answer.format(answer=name)
        before = tokenizer.encode(cue, add_special_tokens=False)
        after = tokenizer.encode(whole, add_special_tokens=False)
        if after[: len(before)] == before and len(after) > len(before):
            return tuple(map(int, after[len(before) :]))
        raise MfvError(
            "MFV7201",
            f"the tokenizer does not keep `{cue.strip() or 'the line end'}` apart from the answer "
            f"`{name}`",
            help="first-token scoring needs answers that begin with a token of their own",
        )


def _parts(text: str) -> tuple[str, str, str]:
    """Of the text of a demonstration: all before the answer but the blanks, the end of that, which
    is the same in every prompt, and the blanks."""
    problem = ""
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        raise _no_demonstration(f"{error}") from None
    names = [field for _, field, _, _ in pieces if field is not None]
    if any(form or change for _, _, form, change in pieces):
        problem = "fields have nothing but a name"
    elif unknown := [name for name in names if name not in _FIELDS]:
        problem = f"`{{{unknown[0]}}}` is no field of it"
    elif missing := [name for name in _FIELDS if name not in names]:
        problem = f"it has no `{{{missing[0]}}}`"
    elif names.count("image") > 1 or names.count("answer") > 1:
        problem = "there is one picture and one answer in a demonstration"
    elif names[-1] != "answer":
        problem = "the picture and the query come before the answer"
    elif not names.index("image") < names.index("query"):
        problem = "the picture comes before the query"
    if problem:
        raise _no_demonstration(problem)
    before = text[: text.index("{answer}")]
    question = before.rstrip(" ")
    cue = question[question.rindex("}") + 1 :]
    if not cue:
        raise _no_demonstration("something has to stand between the query and the answer")
    return question, cue, before[len(question) :]


def _no_demonstration(problem: str) -> MfvError:
    return MfvError(
        "MFV7278", f"this prompt cannot be the text of a demonstration: {problem}",
        help='write it as in prompt="{image}Q:{query}. A: {answer}.\\n", or choose one of '
        f"{', '.join(FORMS)}",
        argument="prompt",
    )  # fmt: skip


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
