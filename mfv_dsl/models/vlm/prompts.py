"""The forms in which prompts are written for a vision-language model; no torch."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from string import Formatter
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.template import ANSWER, Template
from mfv_dsl.models.vlm.chat import parts_of, written

#: The forms that have a name; the first is what a model gets where nothing is said.
FORMS = ("plain", "chat", "turns", "official")
_FIELDS = ("image", "query", "answer")
#: The tokens of a mark of a picture.
_TOKEN = re.compile(r"<[^>]+>|\[[^]]+\]")


@dataclass(frozen=True)
class Form:
    """How a prompt is written.

    ``plain``: pictures and text side by side, ending at ``A:``.  ``chat``: the same as one turn of
    the user, with ``A:`` as the beginning of the assistant's.  ``turns``: a turn of the user for
    each picture, its answer the assistant's turn.  ``official``: as the official code asks
    Qwen3-VL, with a system text, the answer behind the assistant's header.  Any other ``name`` is
    the text of a demonstration, in the user's own words.
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
                whole=Template(
                    demonstration=f"{mark}{{query}}\n{ANSWER} {{answer}}\n",
                    query=f"{mark}{{query}}", cue="\n", answer="\n{answer}",
                ),
            ))  # fmt: skip
        # no tokenizer merges `A:` with a word behind a blank
        own = name if name not in FORMS else "{image}Q:{query}. A: {answer}.\n"
        question, cue, blanks = _parts(own, mark)
        cue, blanks = (ending, "") if ending else (cue, blanks)
        before = f"{ending}{{answer}}" if ending else f"{ANSWER} {{answer}}"
        return cls(name, Template(
            demonstration=own.replace("{image}", mark), query=question.replace("{image}", mark),
            cue=cue.format(), answer=f"{cue}{blanks}{{answer}}",
            form=f"{name}\n" if name in ("chat", "turns") else "",
            whole=Template(
                demonstration=f"{mark}{{query}}\n{ANSWER} {{answer}}\n",
                query=f"{mark}{{query}}\n{ANSWER}", cue=ending or ANSWER, answer=before,
            ),
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
        return self.name in FORMS and self.name != FORMS[0]

    def text(self, prompt: Prompt, processor: Any, mark: str) -> str:
        """A prompt up to where its answer begins, with marks where pictures belong.

        Raises MfvError as :func:`~mfv_dsl.models.vlm.chat.written` where the chat template of the
        model's processor does not write these prompts as they are meant.
        """
        if not self.is_chat:
            return self.template.text(prompt)
        pieces = [piece.removeprefix(mark) for piece in self.template.pieces(prompt)]
        return written(parts_of(self.name, pieces, prompt), processor, mark)

    def answer_tokens(self, tokenizer: Any, name: str, whole: bool = False) -> tuple[int, ...]:
        """The tokens of ``name`` where an answer stands, of a prompt whose query is a ``whole``
        text or of another.  Raises MfvError (MFV7201) where the tokenizer merges them with what
        stands before."""
        form = self.template.of(whole)
        return self.tokens_behind(tokenizer, form.cue, form.behind_cue(name))

    def tokens_behind(self, tokenizer: Any, cue: str, text: str) -> tuple[int, ...]:
        """The tokens of ``text``, as it stands, behind ``cue``; raises as :meth:`answer_tokens`."""
        before = tokenizer.encode(cue, add_special_tokens=False)
        after = tokenizer.encode(f"{cue}{text}", add_special_tokens=False)
        if after[: len(before)] == before and len(after) > len(before):
            return tuple(map(int, after[len(before) :]))
        raise MfvError(
            "MFV7201",
            f"the tokenizer does not keep `{cue.strip() or 'the line end'}` apart from the answer "
            f"`{text.strip()}`",
            help="first-token scoring needs answers that begin with a token of their own",
        )


def _parts(text: str, mark: str) -> tuple[str, str, str]:
    """Of the text of a demonstration: all before the answer but the blanks, the end of that, which
    is the same in every prompt, and the blanks.  ``mark`` is the model's own for a picture."""
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
    elif marks := [part for part in _TOKEN.findall(mark) if part in text]:
        problem = f"`{marks[0]}` is the model's own mark of a picture, for which `{{image}}` stands"
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
