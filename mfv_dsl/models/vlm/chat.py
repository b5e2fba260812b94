"""Prompts as turns of a chat, by the chat template of a model's own processor; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.template import ANSWER

#: The system text of the official code for Qwen3-VL.
#: Source: fushuhao6/Multimodal-Function-Vector, the code of arXiv:2510.02528.
OFFICIAL_SYSTEM = "Use the following template to answer the question:\nQ:object1. A:object2"
#: The day that templates are told in place of today, 26 July 2024, by directives of ``strftime``.
#: It is the one that Llama 3.2's template has where there is no clock.
DAY: Mapping[str, str] = {
    "%-d": "26", "%-m": "7", "%d": "26", "%e": "26", "%j": "208", "%m": "07", "%b": "Jul",
    "%B": "July", "%y": "24", "%Y": "2024", "%a": "Fri", "%A": "Friday", "%H": "00", "%I": "12",
    "%M": "00", "%S": "00", "%p": "AM", "%F": "2024-07-26", "%T": "00:00:00",
}  # fmt: skip
_CLOCK = "strftime_now"
_FIXED_CLOCK = (
    f"{{%- macro {_CLOCK}(form) -%}}{{{{ form"
    + "".join(f" | replace('{directive}', '{text}')" for directive, text in DAY.items())
    + " }}{%- endmacro %}\n"
)


@dataclass(frozen=True)
class Part:
    """A text that is asked for, behind a picture or not, by one of the speakers of a chat."""

    role: str
    text: str
    picture: bool = False


def parts_of(form: str, pieces: Sequence[str], prompt: Prompt) -> list[Part]:
    """What a prompt in the form ``chat``, ``turns`` or ``official`` has in it; ``pieces`` are its
    texts by picture."""
    *shown, question = pieces
    if form == "official":
        asked = [Part("user", piece, picture=True) for piece in pieces]
        return asked if prompt.whole else [Part("system", OFFICIAL_SYSTEM), *asked]
    parts = []
    cue = ANSWER if prompt.whole else "A:"
    for piece, item in zip(shown, prompt.demonstrations, strict=True):
        if form == "chat":
            parts.append(Part("user", piece, picture=True))
            continue
        asks = item.query if prompt.whole else f"Q:{item.query}."
        answers = piece.removeprefix(asks).strip()
        parts += [Part("user", asks, picture=True), Part("assistant", answers)]
    last = Part("user", question.removesuffix(cue).rstrip(), picture=True)
    return [*parts, last, Part("assistant", cue)]


def written(parts: Sequence[Part], processor: Any, mark: str) -> str:
    """The parts by the processor's chat template, with ``mark`` where pictures belong, up to where
    the answer begins: behind the last part, if the assistant has it, else behind the assistant's
    header.

    Raises MfvError: MFV7268 where there is no chat template, MFV7269 for one that moves pictures,
    MFV7294 for one that does not take these turns, or leaves out some of them, MFV7295 for one
    whose header does not end in a line end, where there is nothing else before the answer.
    """
    template = _template(processor)
    turns = _turns(parts)
    goes_on = turns[-1]["role"] == "assistant"
    problem: Exception | None = None
    rendered = ""
    for contents in (turns, _with_texts(turns)):
        try:
            rendered = processor.apply_chat_template(
                contents, chat_template=template, tokenize=False,
                add_generation_prompt=not goes_on, continue_final_message=goes_on,
            )  # fmt: skip
            problem = None
            break
        except Exception as error:  # of many kinds: templates are programs
            problem = problem or error
    if problem is not None:
        summary = str(problem).strip().partition("\n")[0]
        raise _unfit("does not take this prompt", f"{type(problem).__name__}: {summary}")
    _check_places(rendered, parts, mark)
    _check_ends(rendered, processor.tokenizer.bos_token, parts[-1].text if goes_on else "")
    return rendered


def _template(processor: Any) -> str:
    """The chat template, the processor's or its tokenizer's, without a clock: a text with today's
    date in it would be another one tomorrow."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    if isinstance(template, Mapping):
        if "default" not in template:
            names = ", ".join(map(str, template))
            raise _unfit("is several, and none is called `default`", f"they are called {names}")
        template = template["default"]
    if not template:
        raise MfvError(
            "MFV7268", "this model's processor has no chat template",
            help="write its prompts with prompt=plain",
        )  # fmt: skip
    return f"{_FIXED_CLOCK}{template}" if _CLOCK in template else str(template)


def _turns(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Parts as transformers takes them, those of one speaker behind another in one turn."""
    turns: list[dict[str, Any]] = []
    for part in parts:
        if not turns or turns[-1]["role"] != part.role:
            turns.append({"role": part.role, "content": []})
        picture = [{"type": "image"}] if part.picture else []
        turns[-1]["content"] += [*picture, {"type": "text", "text": part.text}]
    return turns


def _with_texts(turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The turns with a plain text in place of a list of one: some templates want that."""
    return [
        {**turn, "content": turn["content"][0]["text"] if len(turn["content"]) == 1 else
         turn["content"]}
        for turn in turns
    ]  # fmt: skip


def _check_places(rendered: str, parts: Sequence[Part], mark: str) -> None:
    """Refuse a template that leaves out a text, and one that does not leave each picture right
    before its question."""
    texts = [part.text.strip() for part in parts]
    for text in texts:
        if rendered.count(text) < texts.count(text):
            raise _unfit("leaves out a part of the prompt", f"this is missing: {text!r}")
    at, moved = 0, rendered.count(mark) != sum(part.picture for part in parts)
    for part, text in zip(parts, texts, strict=True):
        place, start = rendered.find(mark, at), rendered.find(text, at)
        if part.picture:
            moved |= not 0 <= place < start or bool(rendered[place + len(mark) : start].strip())
        else:
            moved |= start < 0 or 0 <= place < start
        at = start + len(text)
    if moved:
        raise MfvError(
            "MFV7269", "this model's chat template moves pictures away from their questions",
            help="write its prompts with prompt=turns, which has one picture a turn, or with "
            "prompt=plain",
        )  # fmt: skip


def _check_ends(rendered: str, first: str | None, cue: str) -> None:
    """Refuse a template that begins a text twice, and one behind which there is no answer: behind
    the ``cue`` with which the assistant's turn begins, or behind its header."""
    if first and rendered.startswith(first * 2):
        raise _unfit("begins a text twice", f"it writes {first * 2}")
    if cue and not rendered.endswith(cue):
        raise _unfit("does not end where the answer begins", f"it ends in {rendered[-20:]!r}")
    if not cue and not rendered.endswith("\n"):
        raise MfvError(
            "MFV7295",
            "this model's chat template has no line end behind the assistant's header, where "
            "prompt=official has the answer",
            notes=[f"it ends in {rendered[-20:]!r}"],
            help="write its prompts with prompt=chat, where `A:` stands before the answer",
        )


def _unfit(problem: str, note: str) -> MfvError:
    return MfvError(
        "MFV7294", f"this model's chat template {problem}", notes=[note],
        help="write its prompts with another of prompt=plain, chat, turns",
    )  # fmt: skip
