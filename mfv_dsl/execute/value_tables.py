"""Tables that a run makes of its steps' values: effects of heads, epochs of trainings, vectors'
lengths and likeness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from mfv_dsl.base.columns import cell
from mfv_dsl.base.csv_text import csv_text
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.execute.rankings import NO_SETTING
from mfv_dsl.execute.tables import COLUMNS, EPOCHS, HEADS, NORMS, SIMILARITY, Line
from mfv_dsl.lang.functions import RANKINGS
from mfv_dsl.methods.geometry import similarity
from mfv_dsl.methods.means import effect_intervals
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.statistics import benjamini_hochberg, holm, sign_flip_test
from mfv_dsl.methods.tuning import Tuned
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.steps import Plan, Step, needed, values_of
from mfv_dsl.plan.treatments import treatments

#: Of more vectors than these a run writes no table of all pairs.
MOST_COMPARED = 200


def effect_arrays(step: Step, effect: Mediation) -> dict[str, np.ndarray]:
    """What is known of the effects of one relation, each (layers, heads): ``aie``; of several
    prompts its 95 % interval ``aie_low``, ``aie_high`` and ``aie_p`` of the sign-flip test; where
    they were measured ``accuracy_change``."""
    arrays = {"aie": effect.aie}
    if len(effect.cie) > 1:
        arrays["aie_low"], arrays["aie_high"] = effect_intervals(effect.cie)
        arrays["aie_p"] = sign_flip_test(effect.cie, step.parameters["seed"])
    if effect.correct is not None:
        arrays["accuracy_change"] = effect.accuracy_change
    return arrays


def value_files(
    plan: Plan, values: Mapping[str, Any], effects: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, str]:
    """The texts of the CSV files of a run's values, by name, those that have lines.  ``effects``
    are the :func:`effect_arrays` of its steps, by key."""
    vectors = named_vectors(plan, values)
    made = {
        HEADS: head_lines(plan, values, effects),
        EPOCHS: list(epoch_lines(plan, values)),
        NORMS: norm_lines(vectors),
        SIMILARITY: similarity_lines({name: vector for name, (_, vector) in vectors.items()}),
    }
    return {file: csv_text(lines, COLUMNS[file]) for file, lines in made.items() if lines}


def head_lines(
    plan: Plan, values: Mapping[str, Any], effects: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Line]:
    """The score of every head on every relation, by what heads are ranked; what else tells two
    rankings apart has columns of its own."""
    steps = [step for step in plan.steps if isinstance(values.get(step.key), Mediation)]
    settings = {
        step.key: {**step.parameters, **_pool(plan, step), "model": step.model,
                   "dataset": step.dataset}
        for step in steps
    }  # fmt: skip
    lines: list[Line] = []
    for step in steps:
        effect = values[step.key]
        own = settings[step.key]
        layers = effect.layers or range(effect.cie.shape[1])
        said = {
            "step": step.key[:8], "relation": effect.relation, "by": _ranking(step),
            "n": len(effect.cie) if step.key in effects else None,
        } | {
            name: own[name] if isinstance(own[name], int | float | str | None) else cell(own[name])
            for name in _differing(list(settings.values())) if name in own
        }  # fmt: skip
        arrays = effects.get(step.key) or {"aie": effect.aie}
        columns = {"score": "aie", "low": "aie_low", "high": "aie_high", "p": "aie_p",
                   "accuracy_change": "accuracy_change"}  # fmt: skip
        for row, layer in enumerate(layers):
            for head in range(effect.cie.shape[2]):
                scores = {
                    column: _number(arrays[name][row, head])
                    for column, name in columns.items()
                    if name in arrays
                }
                lines.append({**said, "layer": layer, "head": head, **scores})
    return _tested_together(lines)


def _tested_together(lines: list[Line]) -> list[Line]:
    """The lines with the p-values that they have when all heads on all relations of a ranking are
    tested together."""
    families: dict[str, list[Line]] = {}
    for line in lines:
        own = {name: line[name] for name in line if name == "by" or name not in NO_SETTING}
        families.setdefault(repr(own), []).append(line)
    for family in families.values():
        tested = [line for line in family if line.get("p") is not None]
        p_values = [line["p"] for line in tested]
        for line, p_holm, q_bh in zip(
            tested, holm(p_values), benjamini_hochberg(p_values), strict=True
        ):
            line |= {"p_holm": float(p_holm), "q_bh": float(q_bh)}
    return lines


def _pool(plan: Plan, step: Step) -> dict[str, Any]:
    """The pool of a corrupted twin as a recipe says it: all relations but each one's own are
    ``others`` whatever the relation."""
    pool, dataset = step.parameters.get("pool"), plan.datasets.get(step.dataset or "")
    facts = None if dataset is None else dataset.facts
    if pool is None or not isinstance(facts, DatasetFacts):
        return {}
    others = [name for name in facts.relations if name != step.parameters.get("relation")]
    return {"pool": "others"} if list(pool) == others else {}


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    """The settings, but relation and what is a column, that differ among rankings."""
    names = dict.fromkeys(name for each in settings for name in each)
    own = ("relation", "by")
    return [n for n in names if n not in own and len({cell(e.get(n)) for e in settings}) > 1]


def _ranking(step: Step) -> str:
    """What heads are ranked by in a step that scores them."""
    named = {ranking.operation: ranking.name for ranking in reversed(RANKINGS)}
    by = str(step.parameters.get("by") or named[step.operation])
    return f"{by} of {site}" if (site := step.parameters.get("site")) else by


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def epoch_lines(plan: Plan, values: Mapping[str, Any]) -> Iterable[Line]:
    """What was measured after every epoch of every training, from the start (0) on."""
    for row in plan.tunes:
        step, vector = plan[row.step], values[row.step]
        assert isinstance(vector, Tuned)
        training = vector.training
        for number, epoch in enumerate(training.epochs):
            yield {
                "tune": row.tune, "relation": row.relation, **values_of(row.axes),
                "variable": step.parameters["variable"], "layer": step.parameters["layer"],
                "epoch": number, "chosen": number == training.chosen, "n": training.n,
                **asdict(epoch),
            }  # fmt: skip


def named_vectors(plan: Plan, values: Mapping[str, Any]) -> dict[str, tuple[Step, Vector]]:
    """The vectors that evals write, tunes train and saves keep, and those that they are made of, by
    what the plan calls them; those of one name with the beginning of their step's key."""
    keys = [saved.step for save in plan.saves for saved in save.vectors]
    keys += [row.step for row in plan.tunes]
    for row in plan.rows:
        step = plan[row.step]
        real = treatments({**step.parameters, "controls": ()})
        keys += [step.inputs[t.name] for t in real if t.name in step.inputs]  # type: ignore[misc]
    steps = [
        step for step in needed(plan.steps, keys) if isinstance(values.get(step.key), Vector)
    ]  # fmt: skip
    labels = [step.label for step in steps]
    return {
        step.label if labels.count(step.label) == 1 else f"{step.label} ({step.key[:8]})": (
            step, values[step.key],
        )
        for step in steps
    }  # fmt: skip


def norm_lines(vectors: Mapping[str, tuple[Step, Vector]]) -> list[Line]:
    """How long each vector is, of those known head by head what each layer's heads give, and of
    those of several places each part."""
    lines: list[Line] = []
    for name, (step, vector) in vectors.items():
        said = {"step": step.key[:8], "vector": name}
        if vector.heads is not None and vector.head_projected is not None:
            places: dict[int, list[int]] = {}
            for place, (layer, _) in enumerate(vector.heads):
                places.setdefault(layer, []).append(place)
            for layer, own in sorted(places.items()):
                part = vector.head_projected[torch.tensor(own)].double().sum(0)
                lines.append(
                    {**said, "layer": layer, "heads": len(own), "norm": float(part.norm())}
                )
        for (site, layer), part in vector.parts_by_place().items():
            norm = float(part.double().norm())
            lines.append({**said, "layer": layer, "heads": None, "norm": norm, "site": site})
        heads = None if vector.heads is None else len(vector.heads)
        lines.append({**said, "layer": None, "heads": heads, "norm": vector.norm()})
    return lines


def similarity_lines(vectors: Mapping[str, Vector]) -> list[Line]:
    """The cosine of every two vectors of one space, nothing with one that is zero; no lines for a
    single vector or more than :data:`MOST_COMPARED`.  Where some are of several places, the others
    are compared."""
    if len({vector.space.places for vector in vectors.values()}) > 1:
        vectors = {name: vector for name, vector in vectors.items() if not vector.space.places}
    if not 1 < len(vectors) <= MOST_COMPARED or len({v.space for v in vectors.values()}) > 1:
        return []
    cosines = similarity(list(vectors.values()), zero_is_nan=True)
    names = list(vectors)
    return [
        {"vector": name, "other": other, "cosine": _number(cosines[i, j])}
        for i, name in enumerate(names)
        for j, other in enumerate(names)
    ]
