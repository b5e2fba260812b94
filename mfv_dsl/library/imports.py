"""Files of other tools into a library.  They do not say what model they are of: the user does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.names import plain
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.library.convert import Found, read_effects, read_foreign
from mfv_dsl.library.folder import Library


@dataclass(frozen=True)
class Telling:
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


def import_file(path: Path, library: Library, told: Telling) -> list[Path]:
    """Read ``path`` and write what it holds into ``library``; the files written.

    MFV6040 names what is missing, MFV6043 what does not fit the model.
    """
    found = read_foreign(path)
    layer = _layer(path, found, told)
    missing = [
        option for option, absent in (
            ("--model", told.model is None), ("--layer", layer is None),
            ("--effects", bool(found.activations) and told.effects is None),
        ) if absent
    ]  # fmt: skip
    if missing or layer is None or told.model is None:
        raise MfvError(
            "MFV6040", f"{path} does not say all that a vector's file must; missing: "
            f"{', '.join(missing)}", help="for example `--model tiny --layer 4`",
        )  # fmt: skip
    made, facts = _model(told.model)
    if not 0 <= layer < facts.n_layers:
        raise MfvError("MFV6043", f"{made.constructor} has no layer {layer}, but {facts.n_layers}")
    said = {
        "kind": "imported",
        "model": {
            "id": made.arguments.get("path") or made.constructor,
            "fingerprint": facts.fingerprint, "d_model": facts.d_model,
            "n_layers": facts.n_layers, "n_heads": facts.n_heads, "head_dim": facts.head_dim,
        },
        "site": "lm.resid", "bias": told.bias, "layer": layer, "source": path.name,
        "relation": told.relation, "license": told.license,
    }  # fmt: skip
    if found.activations:
        vectors = _from_activations(path, found.activations, made, facts, told, said)
    else:
        residual = found.vectors[layer if layer in found.vectors else None]
        if residual.shape != (facts.d_model,):
            raise MfvError(
                "MFV6043", f"{path} holds {residual.size} numbers, and the residual stream of "
                f"{made.constructor} has {facts.d_model}",
            )  # fmt: skip
        name = told.name or plain(path.stem)
        vectors = {name: ({"residual": residual}, {**said, "expression": name})}
    with library.writing():
        return [library.put(name, *vector) for name, vector in vectors.items()]


def _layer(path: Path, found: Found, told: Telling) -> int | None:
    """The layer as told, which the file may also say."""
    known = sorted(layer for layer in found.vectors if layer is not None)
    if told.layer is None or not known:
        return told.layer if len(known) != 1 else known[0]
    if told.layer not in known and None not in found.vectors:
        shown = ", ".join(map(str, known))
        raise MfvError("MFV6043", f"{path} has no vector of layer {told.layer}, but of {shown}")
    return told.layer


def _model(text: str) -> tuple[Constructed, ModelFacts]:
    """The model that a constructor names: ``tiny`` or ``tiny()``."""
    call = text if "(" in text else f"{text}()"
    made = load_recipe(Source(f"mfv 1\nmodel m = {call}\n", "--model")).models["m"]
    if not isinstance(made.facts, ModelFacts):
        raise MfvError("MFV6043", f"the shape of {call} is not known, so nothing fits it")
    return made, made.facts


def _from_activations(
    path: Path, activations: Mapping[str, np.ndarray], made: Constructed, facts: ModelFacts,
    told: Telling, said: Mapping[str, Any],
) -> dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]]:  # fmt: skip
    """Function vectors of mean head outputs, by name: the heads with the largest effects, through
    the model's own output projections."""
    import torch

    from mfv_dsl import models
    from mfv_dsl.library.vector_file import arrays_of, said_of
    from mfv_dsl.methods.selection import top_heads
    from mfv_dsl.methods.vectors import function_vector

    assert told.effects is not None
    effects = read_effects(told.effects)
    relations = [told.relation] if told.relation else list(activations)
    if told.name is not None and len(relations) > 1:
        raise MfvError(
            "MFV6040", f"{path} holds {len(relations)} relations, so one name is not enough",
            help=f"name one of them too: --relation {relations[0]}",
        )  # fmt: skip
    shape = (facts.n_layers, facts.n_heads)
    for relation in relations:
        for file, found, want in (
            (path, activations, (*shape, facts.head_dim)), (told.effects, effects, shape),
        ):  # fmt: skip
            if relation not in found:
                raise MfvError(
                    "MFV6043", f"{file} has no relation `{relation}`",
                    help=f"it has: {', '.join(found)}",
                )  # fmt: skip
            if found[relation].shape != want:
                raise MfvError(
                    "MFV6043", f"in {file} `{relation}` has shape {found[relation].shape}, and "
                    f"{made.constructor} would give {want}",
                )  # fmt: skip
    backend = models.load(made.constructor, **made.arguments)
    vectors = {}
    for relation in relations:
        chosen = top_heads([effects[relation]], told.heads)
        vector = function_vector(
            backend, torch.from_numpy(activations[relation]), chosen, told.bias,
            f"fv({relation})", torch.from_numpy(effects[relation]),
        )  # fmt: skip
        name = told.name or plain(relation)
        heads = [[i, j, float(effects[relation][i, j])] for i, j in chosen]
        own = {
            "relation": relation,
            "heads": {"chosen": f"top({told.heads}) of {told.effects.name}", "list": heads},
        }
        vectors[name] = (arrays_of(vector), said_of(vector, {**said, **own}, name))
    return vectors
