"""The bundled model's tokenizer: one token a word, and one token a kind of object.

A kind's name (``red circle``) is a single added token, so that scoring the first answer token
scores the whole answer.  White space is not a token: the prompt template is OpenFlamingo's.
"""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit

from mfv_dsl.data.template import END_OF_CHUNK, IMAGE
from mfv_dsl.data.world import GRID, KINDS

PAD, UNKNOWN = "<PAD>", "<unk>"
CELLS = tuple(f"p{i}" for i in range(GRID * GRID))
WORDS = ("Q:", "A:", ".", "where", "what", "which", "left", "right", "above", "below", *CELLS)


def build_tokenizer() -> Tokenizer:
    """The word-level tokenizer, with special tokens and kinds as added tokens."""
    special = (PAD, UNKNOWN, END_OF_CHUNK, IMAGE)
    vocabulary = {token: i for i, token in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(r"Q:|A:|\.|[A-Za-z0-9_]+"), "isolated"), WhitespaceSplit()]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(kind, single_word=True, normalized=False) for kind in KINDS])
    return tokenizer
