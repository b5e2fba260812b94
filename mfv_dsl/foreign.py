"""Files of other tools into a library.  They do not say what model they are of: the user does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.names import plain
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.library.convert import ForeignFile, read_effects, read_foreign
from mfv_dsl.library.folder import Library
from mfv_dsl.library.vector_file import arrays_of, metadata_of
from mfv_dsl.methods.selection import top_heads
from mfv_dsl.methods.vectors import function_vector

#: A vector's arrays and metadata, as a library takes them.
_Content = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]


@dataclass(frozen=True)
class ImportOptions:
    """What the user says of a file.

    ``model`` is a constructor of the language, ``layer`` where the vectors are to be added;
    ``effects`` names the file of effects that heads are chosen by, where the file holds mean head
    outputs, and ``heads`` how many.
    """

    model: str | None = None
    layer: int | None = None
    name: str | None = None
    relation: str | None = None
    bias: str = "none"
    effects: Path | None = None
    heads: int = 10
    license: str | None = None


def import_file(path: Path, library: Library, options: ImportOptions) -> list[Path]:
    """Read ``path`` and write what it holds into ``library``; the files written.

    Raises:
        RecipeError: What is wrong with ``options.model``.
        MfvError: MFV6040 names what is missing, MFV6041 and MFV6042 say why the file cannot be
            read, MFV6043 what does not fit the model.
    """
    content = read_foreign(path)
    layer = _layer(path, content, options)
    missing = [
        option for option, absent in (
            ("--model", options.model is None), ("--layer", layer is None),
            ("--effects", bool(content.activations) and options.effects is None),
        ) if absent
    ]  # fmt: skip
    if missing or layer is None or options.model is None:
        raise MfvError(
            "MFV6040", f"{path} does not say all that a vector's file must; missing: "
            f"{', '.join(missing)}", help="for example `--model tiny --layer 4`",
        )  # fmt: skip
    model, facts = _model(options.model)
    if not 0 <= layer < facts.n_layers:
        raise MfvError("MFV6043", f"{model.constructor} has no layer {layer}, but {facts.n_layers}")
    metadata = {
        "kind": "imported",
        "model": {
            "id": model.arguments.get("path") or model.constructor,
            "fingerprint": facts.fingerprint, "d_model": facts.d_model,
            "n_layers": facts.n_layers, "n_heads": facts.n_heads, "head_dim": facts.head_dim,
        },
        "site": "lm.resid", "bias": options.bias, "layer": layer, "source": path.name,
        "relation": options.relation, "license": options.license,
    }  # fmt: skip
    vectors: Mapping[str, _Content]
    if content.activations:
        vectors = _from_activations(path, content.activations, model, facts, options, metadata)
    else:
        residual = content.vectors[layer if layer in content.vectors else None]
        if residual.shape != (facts.d_model,):
            raise MfvError(
                "MFV6043", f"{path} holds {residual.size} numbers, and the residual stream of "
                f"{model.constructor} has {facts.d_model}",
            )  # fmt: skip
        name = options.name or plain(path.stem)
        vectors = {name: ({"residual": residual}, {**metadata, "expression": name})}
    with library.writing():
        return [library.put(name, *vector) for name, vector in vectors.items()]


def _layer(path: Path, content: ForeignFile, options: ImportOptions) -> int | None:
    """The layer that the user names, which the file may also say."""
    layers = sorted(layer for layer in content.vectors if layer is not None)
    if options.layer is None or not layers:
        return options.layer if len(layers) != 1 else layers[0]
    if options.layer not in layers and None not in content.vectors:
        names = ", ".join(map(str, layers))
        raise MfvError("MFV6043", f"{path} has no vector of layer {options.layer}, but of {names}")
    return options.layer


def _model(text: str) -> tuple[Constructed, ModelFacts]:
    """The model that a constructor names: ``tiny`` or ``tiny()``."""
    model = constructed("model", text)
    if not isinstance(model.facts, ModelFacts):
        call = text if "(" in text else f"{text}()"
        raise MfvError("MFV6043", f"the shape of {call} is not known, so nothing fits it")
    return model, model.facts


def _from_activations(
    path: Path, activations: Mapping[str, np.ndarray], model: Constructed, facts: ModelFacts,
    options: ImportOptions, metadata: Mapping[str, Any],
) -> dict[str, _Content]:  # fmt: skip
    """Function vectors of mean head outputs, by name: the heads with the largest effects, through
    the model's own output projections."""
    assert options.effects is not None
    effects = read_effects(options.effects)
    relations = [options.relation] if options.relation else list(activations)
    if options.name is not None and len(relations) > 1:
        raise MfvError(
            "MFV6040", f"{path} holds {len(relations)} relations, so one name is not enough",
            help=f"name one of them too: --relation {relations[0]}",
        )  # fmt: skip
    shape = (facts.n_layers, facts.n_heads)
    for relation in relations:
        for file, arrays, own_shape in (
            (path, activations, (*shape, facts.head_dim)), (options.effects, effects, shape),
        ):  # fmt: skip
            if relation not in arrays:
                raise MfvError(
                    "MFV6043", f"{file} has no relation `{relation}`",
                    help=f"it has: {', '.join(arrays)}",
                )  # fmt: skip
            if arrays[relation].shape != own_shape:
                raise MfvError(
                    "MFV6043", f"in {file} `{relation}` has shape {arrays[relation].shape}, and "
                    f"{model.constructor} would give {own_shape}",
                )  # fmt: skip
    backend = models.load(model.constructor, **model.arguments)
    vectors: dict[str, _Content] = {}
    for relation in relations:
        scores = effects[relation].astype(np.float64)
        scores[list(facts.layers_without_heads)] = np.nan
        heads = top_heads([scores], options.heads)
        vector = function_vector(
            backend, torch.from_numpy(activations[relation]), heads, options.bias,
            f"fv({relation})", torch.from_numpy(effects[relation]),
        )  # fmt: skip
        name = options.name or plain(relation)
        own = {
            "relation": relation,
            "heads": {
                "chosen": f"top({options.heads}) of {options.effects.name}",
                "list": [[i, j, float(effects[relation][i, j])] for i, j in heads],
            },
        }
        vectors[name] = (arrays_of(vector), metadata_of(vector, {**metadata, **own}, name))
    return vectors
