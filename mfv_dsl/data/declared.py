"""Datasets by the words of a recipe, before their files are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.checker import load_constructed, load_recipe
from mfv_dsl.lang.parser import read_source


def declared_datasets(text: str, overrides: Sequence[str] = ()) -> Mapping[str, Constructed]:
    """The datasets of a recipe file (``text`` ends in ``.mfv``), changed by ``overrides``, or the
    one that an expression such as ``pairs("pairs.jsonl")`` makes.  None has facts: files with
    mistakes are declared all the same.

    RecipeError for mistakes in the text; MfvError: MFV6101 if a recipe cannot be read, MFV7123 if
    it has no dataset.
    """
    if not text.endswith(".mfv"):
        return {text: replace(load_constructed("dataset", text), name=text)}
    from mfv_dsl.api import find_recipe

    try:
        source = read_source(find_recipe(text), text)
    except OSError as error:
        raise MfvError("MFV6101", f"cannot read {text}: {error.strerror}") from None
    found = load_recipe(source, lambda entry, arguments: None, overrides).datasets
    if not found:
        raise MfvError("MFV7123", f"{text} declares no dataset")
    return found
