"""The bundled Flamingo's training sequences, as the bundled LLaVA reads them.

The sequences themselves are :mod:`tools.tiny.sequences`.  Here a picture becomes its 16
tokens, every question stands in a chunk of its own (``Q:… A: …`` and ``.`` and a new line), and the
end of a chunk, then the end of the text, are to be predicted too, so that an answer can end itself.
"""

from __future__ import annotations

import numpy as np

from tools.llava.model import PICTURE_TOKENS
from tools.llava.text import END, IMAGE, NEWLINE, PAD, QUESTION, STOP, build_tokenizer, flamingo_ids
from tools.tiny.sequences import Batch, in_context, statements

#: The kind, in a :class:`Batch`, of tokens that end an answer, a chunk or the text.
ENDING = "ending"


class Sequences:
    """Draws batches; ``rng`` decides everything."""

    def __init__(self, rng: np.random.Generator) -> None:
        tokenizer = build_tokenizer()
        self.rng = rng
        self.ids = tokenizer.get_vocab()
        self.words = flamingo_ids(tokenizer)

    def statements(self, n: int, forms: dict[str, float]) -> Batch:
        """Six statements about each of ``n`` pictures, of ``forms`` with their shares."""
        return self._rewritten(statements(self.rng, self.words, n, forms))

    def in_context(self, n: int, form: str, length: int = 5) -> Batch:
        """``n`` sequences of ``length`` pictures under one relation; see ``form`` there."""
        return self._rewritten(in_context(self.rng, self.words, n, form, length))

    def _rewritten(self, batch: Batch) -> Batch:
        rows = [self._row(*row) for row in zip(batch.tokens, batch.kind, strict=True)]
        length = max(map(len, rows))
        tokens = np.full((len(rows), length), self.ids[PAD], dtype=np.int64)
        kind = np.full((len(rows), length), "", dtype=object)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = [token for token, _ in row]
            kind[i, : len(row)] = [name for _, name in row]
        return Batch(batch.images, tokens, kind != "", kind)

    def _row(self, tokens: np.ndarray, kinds: np.ndarray) -> list[tuple[int, str]]:
        """One sequence, (token, kind of answer) each, from one of the bundled Flamingo's."""
        ids = self.ids
        length = int((tokens != ids[PAD]).sum())
        row: list[tuple[int, str]] = []
        for i in range(length):
            token, kind = int(tokens[i]), str(kinds[i])
            ends_answer = token == ids[STOP] and i > 0 and kinds[i - 1] != ""
            if token == ids[IMAGE]:
                row += [(token, "")] * PICTURE_TOKENS
            elif ends_answer:
                row.append((token, ENDING))
                if i + 1 == length or tokens[i + 1] == ids[QUESTION]:
                    row.append((ids[NEWLINE], ENDING))
            elif token == ids[NEWLINE]:
                row.append((token, row[-1][1]))  # unforeseeable where a note follows the answer
            else:
                row.append((token, kind))
        return [*row, (ids[END], ENDING)]
