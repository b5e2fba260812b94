"""The datasets that a recipe file, or an expression, declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import find_recipe
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.inclusion import FilesBeside
from mfv_dsl.lang.parser import read_source


def is_recipe(text: str) -> bool:
    """Whether a text names a recipe rather than a dataset.

    >>> is_recipe("quickstart"), is_recipe("scenes"), is_recipe("scenes(count=4)")
    (True, False, False)
    """
    if "(" in text or text in CONSTRUCTOR["dataset"]:
        return False
    if text.lower().endswith(".mfv"):
        return True
    try:
        return find_recipe(text).is_file()
    except MfvError:
        return False


def declared_datasets(
    text: str, overrides: Sequence[str] = (), profile: str | None = None
) -> Mapping[str, Constructed]:
    """Datasets before their files are looked at: none has facts, and files with mistakes are
    declared all the same.

    Args:
        text: A recipe, by its file or its name, or an expression such as ``pairs("pairs.jsonl")``.
        overrides: What changes a recipe, ``NAME.ATTRIBUTE=VALUE``.
        profile: The name of one of the recipe's profiles.

    Returns:
        The recipe's datasets by name, or the expression's, called as it is written.

    Raises:
        RecipeError: For mistakes in the text.
        MfvError: MFV6101 if a recipe cannot be read, MFV7123 if it has no dataset.

    >>> list(declared_datasets("scenes"))
    ['scenes']
    """
    if not is_recipe(text):
        return {text: replace(constructed("dataset", text, with_facts=False), name=text)}
    try:
        file = find_recipe(text)
        source = read_source(file, text)
    except OSError as error:
        raise MfvError("MFV6101", f"cannot read {text}: {error.strerror}") from None
    read = FilesBeside(file, text)
    recipe = load_recipe(
        source, lambda entry, arguments: None, overrides, profile=profile, read=read
    )
    datasets = recipe.datasets
    if not datasets:
        raise MfvError("MFV7123", f"{text} declares no dataset")
    return datasets
