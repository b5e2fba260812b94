"""The text side of the bundled LLaVA: its tokenizer and its prompt template.

One token a word, and one token a kind of object, as in the bundled Flamingo
(:mod:`mfv_dsl.models.tiny.tokenizer`), but as today's tokenizers have it: a word's token holds
the space in front of it.  A prompt therefore ends at ``A:``, and an answer is encoded with its
space, ``" blue ring"``: one token, whatever stands before it.
"""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.normalizers import Replace, Sequence
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.world import COLOURS, KINDS, SHAPES
from mfv_dsl.models.tiny import tokenizer as flamingo

PAD, UNKNOWN, END, IMAGE = "<pad>", "<unk>", "</s>", "<image>"
QUESTION, ANSWER, STOP, NEWLINE = "Q:", " A:", ".", "\n"

_KIND = f" (?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})(?!\\w)"
_SPACES = Sequence(
    [
        Replace(Regex(r" +(?=Q:|[.\n])"), ""),
        Replace(Regex(r"(?<![ \w])(?!Q:)(?=\w)"), " "),  # "Q:red circle" as "Q: red circle"
    ]
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The word-level tokenizer; it never adds a token of its own to a text."""
    special = (PAD, UNKNOWN, END, IMAGE)
    words = [f" {word}" for word in flamingo.WORDS if word[-1] not in ":."]
    vocabulary = (*special, QUESTION, ANSWER, STOP, NEWLINE, *words, *(f" {k}" for k in KINDS))
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = _SPACES
    tokenizer.pre_tokenizer = Split(Regex(rf"{_KIND}|Q:| A:| \w+|\S|\n"), "isolated")
    tokenizer.decoder = Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE},
        padding_side="left",  # the last token is where an answer begins, in every row
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def flamingo_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """Token numbers by the words of the bundled Flamingo's sequences: the end of a chunk is a new
    line here."""
    ids = tokenizer.get_vocab()
    named = {"Q:": QUESTION, "A:": ANSWER, ".": STOP}
    spaced = (*flamingo.WORDS, *KINDS)
    return {
        flamingo.PAD: ids[PAD],
        flamingo.IMAGE: ids[IMAGE],
        flamingo.END_OF_CHUNK: ids[NEWLINE],
        **{word: ids[named.get(word, f" {word}")] for word in spaced},
    }


def render_text(prompt: Prompt) -> str:
    """A prompt as plain text, ending where the answer begins."""
    told = "".join(f"{IMAGE}Q:{item.query}. A: {item.answer}.\n" for item in prompt.demonstrations)
    return f"{told}{IMAGE}Q:{prompt.query.query}. A:"
