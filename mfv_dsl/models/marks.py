"""What a model's tokenizer reads as marks of its own, and which words it does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mfv_dsl.base.errors import MfvError


def marks_of(tokenizer: Any) -> frozenset[str]:
    """The special tokens of a tokenizer, of ``tokenizers`` or of ``transformers``, as texts."""
    if hasattr(tokenizer, "get_added_tokens_decoder"):
        added, named = tokenizer.get_added_tokens_decoder(), ()
    else:
        added, named = tokenizer.added_tokens_decoder, tokenizer.all_special_tokens
    special = {token.content for token in added.values() if token.special}
    return frozenset(filter(str.strip, {*special, *named}))


def unknown_token(tokenizer: Any) -> int | None:
    """The token that stands for what the tokenizer does not know, None where it knows all."""
    if hasattr(tokenizer, "get_added_tokens_decoder"):
        text = getattr(tokenizer.model, "unk_token", None)
        return None if text is None else tokenizer.token_to_id(text)
    token: int | None = tokenizer.unk_token_id
    return token


def unknown_words(
    tokenizer: Any,
    answer_tokens: Callable[[Sequence[str]], list[tuple[int, ...]]],
    names: Sequence[str],
) -> list[str]:
    """The words of ``names`` that the tokenizer does not know, each once, in their order; a name
    whose words it knows one by one, and not together, is there as a whole."""
    unknown = unknown_token(tokenizer)
    if unknown is None:
        return []
    words: dict[str, None] = {}

    def is_unknown(text: str) -> bool:
        try:
            return unknown in answer_tokens([text])[0]
        except MfvError:  # it has no tokens of its own where an answer stands
            return False

    for name in filter(is_unknown, names):
        words.update(dict.fromkeys(list(filter(is_unknown, name.split())) or [name]))
    return list(words)
