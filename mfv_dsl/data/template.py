"""How the prompts of a family of models are written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mfv_dsl.data.items import Item, Prompt

#: Special tokens of OpenFlamingo: where an image belongs, and the end of an image's text.
IMAGE, END_OF_CHUNK = "<image>", "<|endofchunk|>"


@dataclass(frozen=True)
class Template:
    """The forms of a prompt's parts, in which ``{query}`` and ``{answer}`` stand for names.

    ``demonstration`` and ``query`` are about one image each, and have the mark of it; ``query``
    ends where the answer begins.  The tokens of an answer are those of ``answer`` behind those of
    ``cue``, the text before it.  ``form`` names what else is written around the parts, such as the
    turns of a chat.  ``whole`` has the forms of prompts whose queries are whole texts.

    >>> question = Item("1.png", query="cup", answer="spoon", relation="left")
    >>> OPENFLAMINGO.text(Prompt((), question))
    '<image>Q:cup. A:'
    """

    demonstration: str
    query: str
    cue: str
    answer: str
    form: str = ""
    whole: Template | None = None

    def of(self, is_whole: bool) -> Template:
        """The forms of prompts whose queries are whole texts, or of others."""
        return self.whole if is_whole and self.whole is not None else self

    def behind_cue(self, name: str) -> str:
        """What stands behind the cue where ``name`` is the answer.

        >>> OPENFLAMINGO.behind_cue("cup")
        'cup'
        """
        return self.answer.format(answer=name).removeprefix(self.cue)

    def text(self, prompt: Prompt) -> str:
        """A prompt, up to where the answer to its query begins."""
        return "".join(self.pieces(prompt))

    def pieces(self, prompt: Prompt) -> list[str]:
        """The text of a prompt by image, in the order of :attr:`Prompt.images`."""
        form = self.of(prompt.whole)
        demonstrations = [
            form.demonstration.format(query=item.query, answer=item.answer)
            for item in prompt.demonstrations
        ]
        return [*demonstrations, form.query.format(query=prompt.query.query)]

    def question(self, mark: str) -> str:
        """What stands behind a query's picture, with ``{query}`` for its name.

        >>> OPENFLAMINGO.question(IMAGE)
        'Q:{query}. A:'
        """
        return self.query.rpartition(mark)[2]

    @property
    def hash(self) -> str:
        """SHA-256 of a prompt of one demonstration, with names in braces for what varies; it tells
        templates apart in the files of vectors."""
        item = Item("", "{query}", "{answer}", "")
        text = self.form + self.text(Prompt((item,), item))
        return hashlib.sha256(text.encode()).hexdigest()


#: What stands before the answer to a whole text.
ANSWER = "Answer:"
#: Source: fushuhao6/Multimodal-Function-Vector, the code of arXiv:2510.02528.
OPENFLAMINGO = Template(
    demonstration=f"{IMAGE}Q:{{query}}. A:{{answer}}.{END_OF_CHUNK}\n",
    query=f"{IMAGE}Q:{{query}}. A:",
    cue="A:",
    answer="A:{answer}",
    whole=Template(
        demonstration=f"{IMAGE}{{query}}\n{ANSWER}{{answer}}{END_OF_CHUNK}\n",
        query=f"{IMAGE}{{query}}\n{ANSWER}",
        cue=ANSWER,
        answer=f"{ANSWER}{{answer}}",
    ),
)
