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
    turns of a chat.

    >>> question = Item("1.png", query="cup", answer="spoon", relation="left")
    >>> OPENFLAMINGO.text(Prompt((), question))
    '<image>Q:cup. A:'
    """

    demonstration: str
    query: str
    cue: str
    answer: str
    form: str = ""

    def text(self, prompt: Prompt) -> str:
        """A prompt, up to where the answer to its query begins."""
        return "".join(self.pieces(prompt))

    def pieces(self, prompt: Prompt) -> list[str]:
        """The text of a prompt by image, in the order of :attr:`Prompt.images`."""
        demonstrations = [
            self.demonstration.format(query=item.query, answer=item.answer)
            for item in prompt.demonstrations
        ]
        return [*demonstrations, self.query.format(query=prompt.query.query)]

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


#: Source: fushuhao6/Multimodal-Function-Vector, the code of arXiv:2510.02528.
OPENFLAMINGO = Template(
    demonstration=f"{IMAGE}Q:{{query}}. A:{{answer}}.{END_OF_CHUNK}\n",
    query=f"{IMAGE}Q:{{query}}. A:",
    cue="A:",
    answer="A:{answer}",
)
