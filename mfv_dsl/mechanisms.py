"""What a vector does inside a model: lenses by layer, shares in a logit, paths, attention maps.

probe = Probe.open("tiny", "scenes()")
steer = read_vector("fv(left)", heads="top(10)")
curve = lens_curve(probe, steer, layer=3)
paths = paths_of(probe, steer, layer=3)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfv_dsl.base.short import Short
from mfv_dsl.data.prompts import DEFAULT_SEED, draw_prompts
from mfv_dsl.engine.edits import Edit
from mfv_dsl.execute.session import Batches, batched
from mfv_dsl.execute.settings import Listener, Silence
from mfv_dsl.inputs import VectorInput
from mfv_dsl.inspection import Probe, own_layer, preprocessed_pictures, relation_of
from mfv_dsl.methods.answers import object_names
from mfv_dsl.methods.attention_maps import AttentionHead, AttentionMap, attention_maps
from mfv_dsl.methods.decoding import word_of
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.intervals import student
from mfv_dsl.methods.lens import AnswerCurve, TunedLens, answer_curve, require_lens, train_lens
from mfv_dsl.methods.logit_attribution import LogitAttribution, logit_attribution
from mfv_dsl.methods.paths import VectorPaths, vector_paths
from mfv_dsl.methods.vectors import Vector, require_model
from mfv_dsl.models.base import Backend

#: Demonstrations of the prompts that a lens is trained on.
_TAUGHT = (0, 4)


@dataclass(frozen=True)
class Asked:
    """Which prompts of a dataset are asked: ``items`` of each of ``relations``, by default all."""

    relations: tuple[str, ...] = ()
    items: int = 25
    shots: int = 0
    split: str = "test"
    seed: int = DEFAULT_SEED

    def batches(self, probe: Probe) -> Batches:
        """Raises MfvError: MFV7112 for a relation or split that the dataset does not have, MFV7110
        and MFV7111 for more items or demonstrations than it has."""
        names = self.relations or probe.dataset.relations
        relations = dict.fromkeys(relation_of(probe.dataset, name, self.split) for name in names)
        prompts = [
            prompt
            for relation in relations
            for prompt in draw_prompts(
                probe.dataset, relation, self.split, self.items, self.shots, self.seed
            )
        ]
        return batched(probe.backend, probe.dataset, prompts)


@dataclass(frozen=True)
class Added:
    """A vector as it is added at the last token: ``scale`` times, at ``layer`` (by default where
    its file says, else as :func:`mfv_dsl.inspection.ask` does)."""

    vector: VectorInput | Vector | None = None
    layer: int | str | None = None
    scale: float = 1.0

    def at(self, backend: Backend) -> int | str | None:
        """Where it is added; None without a vector."""
        if self.vector is None:
            return None
        return own_layer(backend, self._input(self.vector)) if self.layer is None else self.layer

    def edits(self, backend: Backend) -> list[Edit]:
        """What adds it; none without a vector.  Raises MfvError: MFV5303 for a vector of another
        model, MFV5305 for ``native`` without parts, MFV5103 for a layer that is not there."""
        if self.vector is None:
            return []
        layer = self.at(backend)
        assert layer is not None
        return adding(require_model(backend, self._input(self.vector).vector), layer, self.scale)

    @staticmethod
    def _input(vector: VectorInput | Vector) -> VectorInput:
        return vector if isinstance(vector, VectorInput) else VectorInput(vector)


NOTHING, USUAL = Added(), Asked()
#: What the effects of paths are on.
UNITS = ("logit", "log_p", "p")


def lens_curve(
    probe: Probe,
    added: Added = NOTHING,
    asked: Asked = USUAL,
    lens: TunedLens | None = None,
    listener: Listener | None = None,
) -> AnswerCurve:
    """The answer through a lens behind every layer, without and with a vector
    (:func:`~mfv_dsl.methods.lens.answer_curve`)."""
    if lens is not None:
        require_lens(probe.backend, lens)
    edits, batches = added.edits(probe.backend), asked.batches(probe)
    done = (listener or Silence()).begin("states through a lens", batches.n_prompts)
    return answer_curve(probe.backend, batches, edits, lens, done)


def curve_rows(curve: AnswerCurve, backend: Backend) -> list[dict[str, Any]]:
    """By layer, without and with the vector: the answer's mean probability with its interval, its
    median rank (1: the likeliest), the share of prompts where it is the likeliest, and the token
    that is the likeliest most often."""
    rows = []
    for layer in range(curve.log_p.shape[-1]):
        for condition, name in enumerate(_CONDITIONS[: len(curve.log_p)]):
            rank = curve.rank[condition, :, layer]
            tokens, counts = np.unique(curve.likeliest[condition, :, layer], return_counts=True)
            rows.append(
                {"layer": layer, "vector": name,
                 **_mean("p", np.exp(curve.log_p[condition, :, layer])),
                 "median_rank": float(np.median(rank)) + 1,
                 "likeliest_share": float((rank == 0).mean()),
                 "says": word_of(backend, int(tokens[counts.argmax()])),
                 "n": len(rank)}
            )  # fmt: skip
    return rows


_CONDITIONS = ("without", "with")


def trained_lens(
    probe: Probe,
    items: int = 200,
    epochs: int = 40,
    seed: int = DEFAULT_SEED,
    listener: Listener | None = None,
) -> TunedLens:
    """A tuned lens of the model: on ``items`` prompts of each relation of the split ``train``,
    zero-shot ones and as many with four demonstrations, and measured on a quarter as many of the
    split ``validation``."""

    def prompts(split: str, n: int) -> Batches:
        drawn = [
            prompt
            for shots in _TAUGHT
            for relation in probe.dataset.relations
            for prompt in draw_prompts(probe.dataset, relation, split, n, shots, seed)
        ]
        return batched(probe.backend, probe.dataset, drawn)

    below = probe.backend.facts.n_layers - 1
    done = (listener or Silence()).begin("training a lens", epochs * below)
    own, held_out = prompts("train", items), prompts("validation", max(1, items // 4))
    return train_lens(probe.backend, own, held_out, epochs, seed, done)


def attribution(
    probe: Probe,
    added: Added = NOTHING,
    asked: Asked = USUAL,
    relative: bool = True,
    listener: Listener | None = None,
) -> LogitAttribution:
    """What each part of the model adds to the answer's logit, without and with a vector; with
    ``relative`` less the mean logit of the other objects that the split names
    (:func:`~mfv_dsl.methods.logit_attribution.logit_attribution`)."""
    edits, batches = added.edits(probe.backend), asked.batches(probe)
    names = object_names(probe.dataset, asked.split) if relative else ()
    done = (listener or Silence()).begin("shares in the logit", batches.n_prompts)
    tokens = probe.backend.first_tokens(names)
    return logit_attribution(probe.backend, batches, edits, tokens, done)


def attribution_rows(found: LogitAttribution) -> list[dict[str, Any]]:
    """A row a part: its kind, layer and head, its mean share without and with the vector, and the
    mean change with its interval."""
    rows = []
    for number, part in enumerate(found.parts):
        shares = found.shares[:, :, number]
        row: dict[str, Any] = {
            "part": str(part), "kind": part.kind, "layer": part.layer, "head": part.head,
            **_mean("without", shares[0]),
        }  # fmt: skip
        if len(shares) > 1:
            row |= _mean("with", shares[1]) | _mean("change", shares[1] - shares[0])
        rows.append(row | {"n": shares.shape[1]})
    return rows


def paths_of(
    probe: Probe, added: Added, asked: Asked = USUAL, listener: Listener | None = None
) -> VectorPaths:
    """The paths from a vector to the answers (:func:`~mfv_dsl.methods.paths.vector_paths`); the
    candidates are the objects that the split names."""
    edits, batches = added.edits(probe.backend), asked.batches(probe)
    tokens = probe.backend.first_tokens(object_names(probe.dataset, asked.split))
    done = (listener or Silence()).begin("paths", batches.n_prompts)
    return vector_paths(probe.backend, batches, edits, tokens, done)


def path_rows(paths: VectorPaths) -> list[dict[str, Any]]:
    """A row a reader, with the mean effects on the answer's log-probability (``…_log_p``),
    probability (``…_p``) and logit less that of other objects (``…_logit``), each with its
    interval; before them a row of all readers together (``total``: its ``sent`` is the whole
    effect, its ``removed`` the opposite) and one of the path past all of them (``straight``)."""
    effects = {unit: paths.effects(unit) for unit in UNITS}

    def row(name: str, site: str, layer: int | None, head: int | None,
            values: Mapping[str, np.ndarray]) -> dict[str, Any]:  # fmt: skip
        numbers: dict[str, Any] = {}
        for effect, own in values.items():
            numbers |= _mean(effect, own)
        place = {"reader": name, "site": site, "layer": layer, "head": head}
        return {**place, **numbers, "n": len(paths.unedited)}

    total = {f"sent_{unit}": own["total"] for unit, own in effects.items()}
    total |= {f"removed_{unit}": -own["total"] for unit, own in effects.items()}
    straight = {f"{name}_{unit}": own["straight"] for name in ("sent", "to_answer")
                for unit, own in effects.items()}  # fmt: skip
    rows = [row("total", "", None, None, total), row("straight", "", None, None, straight)]
    for number, reader in enumerate(paths.readers):
        values = {
            f"{effect}_{unit}": own[effect][:, number]
            for effect in ("sent", "to_answer", "removed")
            for unit, own in effects.items()
        }
        rows.append(row(str(reader), reader.site, reader.layer, reader.head, values))
    return rows


@dataclass(frozen=True, repr=False, eq=False)
class Looks(Short):
    """Where heads look in the pictures of one prompt: ``views`` (height, width, 3) uint8 as the
    model gets them, a map of each head over them, the query and its answer."""

    views: tuple[np.ndarray, ...]
    maps: tuple[AttentionMap, ...]
    query: str
    answer: str


def looks(
    probe: Probe, heads: Sequence[AttentionHead], item: int = 0, added: Added = NOTHING,
    asked: Asked = USUAL,
) -> Looks:  # fmt: skip
    """Where ``heads`` look in item number ``item`` (from 0) of the one relation that is ``asked``
    for, from the prompt's last token, without and with a vector
    (:func:`~mfv_dsl.methods.attention_maps.attention_maps`)."""
    edits, backend = added.edits(probe.backend), probe.backend
    (relation,) = asked.relations or probe.dataset.relations[:1]
    relation = relation_of(probe.dataset, relation, asked.split)
    prompt = draw_prompts(
        probe.dataset, relation, asked.split, item + 1, asked.shots, asked.seed
    )[item]  # fmt: skip
    batch: Any = backend.batch([prompt], probe.dataset)
    model: Any = backend
    pictures = probe.dataset.pictures(prompt.images, model.image_size)
    maps = attention_maps(backend, batch, pictures, heads, edits)
    views = preprocessed_pictures(model.preprocess, pictures)
    return Looks(tuple(views), tuple(maps), prompt.query.query, prompt.query.answer)


def look_rows(found: Looks) -> list[dict[str, Any]]:
    """A row a patch: the head, the picture's number, row and column from 0, and the weight without
    and with the vector; and a row a latent of heads of cross-attention."""
    rows = []
    for one in found.maps:
        first = len(found.views) - len(one.pictures)  # cross-attention sees the last picture alone
        for number, weights in enumerate(one.pictures, first):
            for place in np.ndindex(*weights.shape[1:]):
                rows.append(_weights(one.head, weights[(slice(None), *place)], number, *place))
        if one.latents is not None:
            rows += [
                _weights(one.head, own, len(found.views) - 1, latent=latent)
                for latent, own in enumerate(one.latents.T)
            ]
    return rows


def _weights(
    head: AttentionHead, weights: np.ndarray, picture: int, row: int | None = None,
    column: int | None = None, latent: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    values = dict(zip(_CONDITIONS, weights.tolist(), strict=False))
    return {"head": str(head), "picture": picture, "row": row, "column": column, "latent": latent,
            **values}  # fmt: skip


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    """The mean of ``values`` (prompts,), with the ends of Student's 95 % interval."""
    mean = float(values.mean())
    if len(values) < 2:
        return {name: mean, f"{name}_low": float("nan"), f"{name}_high": float("nan")}
    half = student(len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
