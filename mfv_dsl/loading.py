"""Models and datasets as objects, by the words of a recipe.

model = load_model("tiny")
scenes = load_dataset("scenes", relations=["left", "right"], seed=3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

from mfv_dsl.base.arguments import ArgumentError, shown, truth
from mfv_dsl.base.arguments import text as as_text
from mfv_dsl.given import Kind
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.lang.constructors import CONSTRUCTOR, constructor_module
from mfv_dsl.lang.from_python import as_call
from mfv_dsl.lang.unparse import unparse

if TYPE_CHECKING:
    from mfv_dsl.data.items import Dataset
    from mfv_dsl.models.openflamingo import OpenFlamingo


def load_model(
    name: str,
    /,
    *arguments: Any,
    device: str | None = None,
    download: bool = False,
    **options: Any,
) -> OpenFlamingo:
    """Load a model: ``load_model("tiny")``, ``load_model("openflamingo", path="…", dtype="bf16")``.

    A model that this process has loaded is given again, as long as its weights and files are as
    they were; :func:`clear_models` lets go of all.

    Args:
        name: The constructor's, as in a recipe, or the whole call: ``'tiny("llava")'``.
        arguments: The constructor's, in its order.
        device: Where it runs; as the options say if left out.
        download: Whether files that are missing are fetched.
        options: The constructor's, by name; ``architecture`` may also be an
            :class:`~mfv_dsl.models.vlm.architectures.Architecture`.

    Returns:
        The model; its ``generate`` is :func:`mfv_dsl.engine.generation.generate_texts`.

    Raises:
        RecipeError: Options that the constructor does not have, and values that they do not take.
        MfvError: MFV7001 for a kind of model that cannot be loaded, other MFV70xx for files that
            are missing, do not fit or cannot be fetched; MFV5119 for a value of the wrong type.

    >>> load_model("tiny") is load_model("tiny", name="flamingo")
    True
    """
    from mfv_dsl import models
    from mfv_dsl.engine.generation import generate_texts

    row = options.get("architecture")
    if is_dataclass(row):  # a recipe can name a file alone, and a model of it alone is kept
        del options["architecture"]
    constructor, values = _constructor("model", name, arguments, options)
    place = device_of(device) or values.pop("device", None)
    values.pop("device", None)
    load = models.load
    if is_dataclass(row):
        load, values["architecture"] = models.load_anew, row
    model = load(constructor, place, truth(download, "download"), **values)
    model.generate = MethodType(generate_texts, model)
    model._repr_html_ = partial(_model_html, model)
    return model


def load_dataset(name: str, /, *arguments: Any, **options: Any) -> Dataset:
    """Open a dataset: ``load_dataset("scenes", relations=["left", "right"], seed=3)``.

    Args:
        name: The constructor's, as in a recipe, or the whole call: ``"scenes(seed=3)"``.
        arguments: The constructor's, in its order.
        options: The constructor's, by name.

    Raises:
        RecipeError: Options that the constructor does not have, and values that they do not take.
        MfvError: MFV7002 for a kind of dataset that cannot be read, other MFV71xx for what is wrong
            with its files; MFV5119 for a value of the wrong type.

    >>> load_dataset("scenes", relations=["left"], count=10).relations
    ('left',)
    """
    from mfv_dsl import data

    constructor, values = _constructor("dataset", name, arguments, options)
    opened: Any = data.open_dataset(constructor, **values)
    show_in_notebooks(opened)
    dataset: Dataset = opened
    return dataset


def clear_models() -> int:
    """Let go of the models that this process keeps loaded; how many there were.

    A model that you hold yourself stays with you, and is not given to others any more.
    """
    from mfv_dsl.models import loaded

    return loaded.clear_models()


def device_of(device: Any) -> str | None:
    """A device's name, from text or one of torch's; None where none is given.

    Raises MfvError: MFV5119 for anything else, MFV7219 for one that is not there.
    """
    if device is None:
        return None
    from mfv_dsl.models.devices import devices

    name = str(device) if type(device).__module__ == "torch" else as_text(device, "device")
    if not name:
        raise ArgumentError("device has to be a device's name, and this is empty")
    devices(name)
    return name


def show_in_notebooks(dataset: Any) -> None:
    """Give a dataset what a notebook shows of it; it itself knows nothing of notebooks."""
    dataset._repr_html_ = partial(_dataset_html, dataset)


def _model_html(model: Any) -> str:
    """What a notebook shows of a model, which itself knows nothing of notebooks."""
    from mfv_dsl.given import call_of
    from mfv_dsl.report.html.models import model_html

    return model_html(model, call_of("model", model))


def _dataset_html(dataset: Any) -> str:
    """What a notebook shows of a dataset."""
    from mfv_dsl.data import facts_of
    from mfv_dsl.given import call_of
    from mfv_dsl.report.html.datasets import dataset_html

    return dataset_html(dataset, facts_of(dataset), call_of("dataset", dataset))


def _constructor(
    kind: Kind, name: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A constructor's name and all its arguments, checked."""
    call = as_text(name, f"what kind of {kind} it is")
    entry = CONSTRUCTOR[kind].get(call)
    if entry is None and call.isidentifier():
        constructor_module(kind, call)  # raises MFV7001, MFV7002
    if entry is not None:
        call = unparse(as_call(entry, arguments, options))
    elif arguments or options:
        raise ArgumentError(
            f"{shown(name)} is a whole call, which takes no more arguments",
            "write them within it, or give the constructor's name alone",
        )
    declared = constructed(kind, call, with_facts=False)
    return declared.constructor, dict(declared.arguments)
