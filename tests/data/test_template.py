"""The text of a prompt, by image and in one piece, and its name in the files of vectors."""

from __future__ import annotations

from mfv_dsl.data.items import Item, Prompt
from mfv_dsl.data.template import OPENFLAMINGO


def item(query: str, answer: str) -> Item:
    return Item("x", query, answer, "left")


def test_a_prompt_is_its_pieces():
    prompt = Prompt((item("a", "b"), item("c", "d")), item("e", "f"))
    pieces = OPENFLAMINGO.pieces(prompt)
    assert pieces == [
        "<image>Q:a. A:b.<|endofchunk|>\n", "<image>Q:c. A:d.<|endofchunk|>\n", "<image>Q:e. A:",
    ]  # fmt: skip
    assert len(pieces) == len(prompt.images) and OPENFLAMINGO.text(prompt) == "".join(pieces)


def test_braces_in_a_name_are_a_name():
    assert OPENFLAMINGO.text(Prompt((), item("{answer}", "x"))) == "<image>Q:{answer}. A:"


def test_its_hash_stands_in_the_files_of_vectors():
    assert OPENFLAMINGO.hash == ("23330769618ee4fe6823520bb07464811f7b1f1df1fced405cd4a12b77873a31")
