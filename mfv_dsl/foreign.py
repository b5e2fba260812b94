"""Files of other tools into a library and out of it.  They do not say what model they are of: the
user does."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mfv_dsl import models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.names import file_name, plain, quoted_relation
from mfv_dsl.lang.checked import Constructed
from mfv_dsl.lang.constructed import calls_of_id, constructed, model_id
from mfv_dsl.library.convert import export
from mfv_dsl.library.folder import Library
from mfv_dsl.library.header import read_header
from mfv_dsl.library.imported import ForeignFile, check_finite, read_effects, read_foreign
from mfv_dsl.library.stored import hash_of
from mfv_dsl.library.vector_file import arrays_of, metadata_of
from mfv_dsl.methods.function_vectors import function_vector
from mfv_dsl.methods.selection import Head, top_heads
from mfv_dsl.models.families import FAMILIES

#: A vector's arrays and metadata, as a library takes them.
_Content = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]
_HEAD = re.compile(r"\s*L([0-9]{1,6})H([0-9]{1,6})\s*")


@dataclass(frozen=True)
class ImportOptions:
    """What the user says of a file.

    ``model`` is a constructor of the language, ``layer`` where the vectors are to be added, or
    ``all`` for one vector of each layer that the file has, called ``<name>_L<layer>``.  Where the
    file holds mean head outputs, ``heads`` are those to add: (layer, head) pairs, or how many, of
    the largest effects in the file ``effects``.  ``entry`` names the part of the file to take.
    """

    model: str | None = None
    layer: int | Literal["all"] | None = None
    name: str | None = None
    relation: str | None = None
    bias: str = "none"
    effects: Path | None = None
    heads: int | tuple[Head, ...] = 10
    license: str | None = None
    entry: str | None = None


def parse_heads(text: str) -> int | tuple[Head, ...]:
    """How many heads, or which, as they are typed: ``10``, ``L4H1,L5H2`` or ``{L4H1, L5H2}``.

    Raises MfvError (MFV6040) for another text.

    >>> parse_heads("{L4H1, L5H2}")
    ((4, 1), (5, 2))
    """
    if re.fullmatch("[1-9][0-9]{0,5}", text):
        return int(text)
    matches = [_HEAD.fullmatch(part) for part in text.strip(" {}").split(",")]
    if not all(matches):
        raise MfvError(
            "MFV6040", f"`{text}` says neither how many heads, nor which",
            help="write `--heads 10` or `--heads '{L4H1, L5H2}'`",
        )  # fmt: skip
    return tuple(dict.fromkeys((int(match[1]), int(match[2])) for match in matches if match))


def export_vector(
    path: Path, residual: np.ndarray, metadata: Mapping[str, Any], layer: int | None = None,
    model: str | None = None, hookpoint: str | None = None,
) -> None:  # fmt: skip
    """Write a vector (d_model,) for another tool; the suffix of ``path`` names the format.

    Args:
        path: ``.gguf``, ``.npy`` or ``.pt``.
        residual: The vector.
        metadata: What its file says of it.
        layer: Where the tool is to add it; what its file says if left out.
        model: Its model, a constructor, where the one that its file names is not at hand.
        hookpoint: For ``.pt`` the path of a decoder layer below the base model, with ``{layer}``;
            where the model's own family has it if left out.

    Raises:
        MfvError: MFV6044 where the format cannot say it, the model has no such layer, or where its
            layers are is not known.
    """
    if "places" in metadata:
        raise MfvError(
            "MFV6044",
            f"this vector has a part for each of {len(metadata['places'])} places, and files of "
            "other tools are written for vectors of one",
            help="read one layer, and export that",
        )
    own = metadata.get("layer")
    at = own if layer is None and isinstance(own, int) else layer
    n_layers = metadata["model"].get("n_layers")
    if at is not None and not 0 <= at < (n_layers or at + 1):
        raise MfvError(
            "MFV6044", f"there is no layer {at} in the vector's model, but {n_layers or 'others'}"
        )
    if hookpoint is None and path.suffix.lower() == ".pt":
        hookpoint = hookpoint_of(_facts_for(metadata["model"], model))
    identity = metadata["model"].get("id", "")
    export(path, residual, at, identity, *(() if hookpoint is None else (hookpoint,)))


def hookpoint_of(facts: ModelFacts) -> str:
    """The path of a decoder layer below a model's ``base_model``, with ``{layer}``: of a Flamingo
    that in its language model, which other tools know alone.

    >>> hookpoint_of(constructed("model", "tiny").facts)
    'layers.{layer}'
    """
    if facts.family in FAMILIES:
        return FAMILIES[facts.family].hookpoint
    return facts.paths["lm.resid"].removeprefix("model.")


def _facts_for(model: Mapping[str, Any], call: str | None) -> ModelFacts:
    """The facts of a vector's model: of ``call``, or found by what its file calls it."""
    if call is not None:
        return _model(call)[1]
    id = str(model.get("id", ""))
    for text in calls_of_id(id):
        try:
            facts = _model(text)[1]
        except MfvError:  # it is another constructor's, or not here
            continue
        if facts.d_model == model["d_model"] and facts.paths:
            return facts
    raise MfvError(
        "MFV6044", f"where `{id}` has its decoder layers is not known: its files are not here",
        help="name the model, as in a recipe: `--model 'hf(\"…\")'`\n"
        "or the path of a layer below transformers' base model: `--hookpoint 'layers.{layer}'`",
    )  # fmt: skip


def import_file(path: Path, library: Library, options: ImportOptions) -> list[Path]:
    """Read ``path`` and write what it holds into ``library``; the files written.

    What was not understood of the file is warned of, and what it replaces in the library.

    Raises:
        RecipeError: What is wrong with ``options.model``.
        MfvError: MFV6040 names what is missing, MFV6041, MFV6042, MFV6046 and MFV6047 say why the
            file cannot be taken (:func:`~mfv_dsl.library.imported.read_foreign`), MFV6043 what does
            not fit the model.
    """
    content = read_foreign(path, options.entry)
    layer = options.layer
    if layer is None and len(content.vectors) == 1:
        (layer,) = content.vectors
    _need_all(path, content, layer, options)
    assert options.model is not None and layer is not None
    model, facts = _model(options.model)
    layers = sorted(i for i in content.vectors if i is not None) if layer == "all" else [layer]
    for at in layers:
        if not 0 <= at < facts.n_layers:
            raise MfvError(
                "MFV6043", f"{model.constructor} has no layer {at}, but 0 to {facts.n_layers - 1}",
                help="layers are counted from 0; what counts the embeddings as 0 is one ahead",
            )  # fmt: skip
    metadata: dict[str, Any] = {
        "kind": "imported",
        "model": {
            "id": model_id(model),
            "fingerprint": facts.fingerprint, "d_model": facts.d_model,
            "n_layers": facts.n_layers, "n_heads": facts.n_heads, "head_dim": facts.head_dim,
        },
        "site": "lm.resid", "bias": options.bias, "source": path.name,
        "relation": options.relation, "license": options.license,
    }  # fmt: skip
    vectors: dict[str, _Content] = {}
    if content.activations:
        metadata["layer"] = layers[0]
        vectors = _from_activations(path, content.activations, model, facts, options, metadata)
    else:
        stem = options.name or plain(path.stem)
        for at in layers:
            name = f"{stem}_L{at}" if layer == "all" else stem
            residual = _residual(path, content, at, model, facts)
            own = {**metadata, "layer": at, "expression": name}
            vectors[name] = ({"residual": residual}, own)
    for remark in content.remarks:
        warnings.warn(remark, stacklevel=2)
    with library.writing():
        _warn_of_others(library, vectors)
        return [library.put(name, *vector) for name, vector in vectors.items()]


def _warn_of_others(library: Library, vectors: Mapping[str, _Content]) -> None:
    """Say which vectors of the library are replaced by others."""
    for name in sorted(vectors.keys() & set(library.names())):
        with suppress(MfvError):  # one that cannot be read is no loss
            header = read_header(library.path(name))
            if header.metadata["content_sha256"] != hash_of(vectors[name][0]):
                warnings.warn(
                    f"{library.root} had another vector `{name}`, which this one replaces; "
                    "another name is given by `--name`",
                    stacklevel=3,
                )


def _need_all(
    path: Path, content: ForeignFile, layer: int | str | None, options: ImportOptions
) -> None:
    """MFV6040 where the user has to say more."""
    chosen = options.effects is not None or isinstance(options.heads, tuple)
    missing = [
        option for option, absent in (
            ("--model", options.model is None), ("--layer", layer is None),
            ("--effects", bool(content.activations) and not chosen),
        ) if absent
    ]  # fmt: skip
    layers = sorted(i for i in content.vectors if i is not None)
    if missing:
        help = "for example `--model tiny --layer 4`"
        if "--layer" in missing and layers:
            help = f"it has vectors of the layers {_spans(layers)}; `--layer all` takes each"
        elif missing == ["--effects"]:
            help = "or name the heads: `--heads '{L4H1, L5H2}'`"
        raise MfvError(
            "MFV6040", f"{path} does not say all that a vector's file must; missing: "
            f"{', '.join(missing)}", help=help,
        )  # fmt: skip
    if layer == "all" and not layers:
        what = "mean head outputs" if content.activations else "a vector of no layer in particular"
        raise MfvError(
            "MFV6040", f"{path} holds {what}, so it has to be said where it is to be added",
            help="for example `--layer 4`",
        )  # fmt: skip
    if content.vectors and layer != "all" and not {layer, None} & set(content.vectors):
        raise MfvError("MFV6043", f"{path} has no vector of layer {layer}, but of {_spans(layers)}")


def _spans(layers: list[int]) -> str:
    """Numbers in words, long runs as their ends: ``2, 5, 8 to 11``."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def _residual(
    path: Path, content: ForeignFile, layer: int, model: Constructed, facts: ModelFacts
) -> np.ndarray:
    residual = content.vectors[layer if layer in content.vectors else None]
    if residual.shape != (facts.d_model,):
        raise MfvError(
            "MFV6043", f"{path} holds {residual.size} numbers, and the residual stream of "
            f"{model.constructor} has {facts.d_model}",
        )  # fmt: skip
    return residual


def _model(text: str) -> tuple[Constructed, ModelFacts]:
    """The model that a constructor names: ``tiny`` or ``tiny()``."""
    model = constructed("model", text)
    if not isinstance(model.facts, ModelFacts):
        call = text if "(" in text else f"{text}()"
        raise MfvError("MFV6043", f"the shape of {call} is not known, so nothing fits it")
    return model, model.facts


def _from_activations(
    path: Path, activations: Mapping[str | None, np.ndarray], model: Constructed,
    facts: ModelFacts, options: ImportOptions, metadata: Mapping[str, Any],
) -> dict[str, _Content]:  # fmt: skip
    """Function vectors of mean head outputs, by name: the heads named, or those with the largest
    effects, through the model's own output projections."""
    effects = {} if options.effects is None else read_effects(options.effects)
    relations = [options.relation] if options.relation else list(activations)
    if options.name is not None and len(relations) > 1:
        raise MfvError(
            "MFV6040", f"{path} holds {len(relations)} relations, so one name is not enough",
            help=f"name one of them too: --relation {relations[0]}",
        )  # fmt: skip
    if len(relations) > 1 and None in effects:
        raise MfvError(
            "MFV6043", f"{options.effects} does not say which of the {len(relations)} relations of "
            f"{path} its effects are of",
            help=f"take one of them: --relation {relations[0]}",
        )  # fmt: skip
    heads_of = {
        relation: _of_relation(relation, path, activations, (facts.head_dim,), model, facts)
        for relation in relations
    }
    effects_of = {
        relation: _of_relation(relation, options.effects, effects, (), model, facts)
        for relation in relations if options.effects is not None
    }  # fmt: skip
    chosen = {
        relation: _heads(relation, effects_of.get(relation), options, model, facts)
        for relation in relations
    }
    backend = models.load(model.constructor, **model.arguments)
    vectors: dict[str, _Content] = {}
    for relation in relations:
        scores, heads = effects_of.get(relation), chosen[relation]
        name = options.name or (file_name(relation) if relation else plain(path.stem))
        vector = function_vector(
            backend, torch.from_numpy(heads_of[relation]), heads, options.bias,
            f"fv({quoted_relation(relation or name)})",
            None if scores is None else torch.from_numpy(scores),
        )  # fmt: skip
        number = options.heads if isinstance(options.heads, int) else None
        by = "named" if number is None else f"top({number})"
        listed = [[i, j, None if scores is None else float(scores[i, j])] for i, j in heads]
        own = {
            "relation": relation,
            "heads": {
                "chosen": f"{by} of {options.effects.name}" if options.effects else by,
                "list": listed,
            },
        }
        vectors[name] = (arrays_of(vector), metadata_of(vector, {**metadata, **own}, name))
    return vectors


def _of_relation(
    relation: str | None, file: Path, arrays: Mapping[str | None, np.ndarray],
    width: tuple[int, ...], model: Constructed, facts: ModelFacts,
) -> np.ndarray:  # fmt: skip
    """A relation's array (layers, heads, ...) of a file, or the only one of a file that names no
    relations.  MFV6043 where it does not fit, MFV6041 where it is not finite."""
    key = relation if relation in arrays else None
    if key not in arrays:
        if relation is None and len(arrays) == 1:
            (key,) = arrays
        else:
            raise MfvError(
                "MFV6043", f"{file} has no relation `{relation}`" if relation else
                f"{file} has {len(arrays)} relations, and not which of them is meant",
                help=f"it has: {', '.join(map(str, arrays))}"
                + ("" if relation else "; say it by `--relation`"),
            )  # fmt: skip
    shape, array = (facts.n_layers, facts.n_heads, *width), arrays[key]
    if array.shape != shape:
        what = "its array" if key is None else f"`{key}`"
        raise MfvError(
            "MFV6043", f"in {file} {what} has shape {array.shape}, and {model.constructor} would "
            f"give {shape}",
        )  # fmt: skip
    check_finite(file, key, array, facts.head_layers)
    return array


def _heads(
    relation: str | None, effects: np.ndarray | None, options: ImportOptions,
    model: Constructed, facts: ModelFacts,
) -> tuple[Head, ...]:  # fmt: skip
    """The heads that the user names, or those with the largest effects on a relation."""
    if isinstance(options.heads, tuple):
        for layer, head in options.heads:
            if not facts.has_head(layer, head):
                raise MfvError("MFV6043", f"{model.constructor} has no head L{layer}H{head}")
        return options.heads
    assert effects is not None  # or the import would have asked for them
    if options.heads > facts.head_count:
        raise MfvError(
            "MFV6043", f"{options.heads} heads were asked for, and {model.constructor} has "
            f"{facts.head_count}",
        )  # fmt: skip
    scores = effects.astype(np.float64)
    scores[list(facts.layers_without_heads)] = np.nan
    return top_heads([scores], options.heads)
