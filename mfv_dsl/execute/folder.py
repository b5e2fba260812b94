"""A run's folder: what was run, with what, and what came out."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from mfv_dsl import models
from mfv_dsl.base.csv_text import csv_text
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.files import write_atomically
from mfv_dsl.base.names import file_name
from mfv_dsl.base.short import Short
from mfv_dsl.execute.items import items_file, option_lines
from mfv_dsl.execute.provenance import vector_metadata
from mfv_dsl.execute.rows import Results
from mfv_dsl.execute.run_folder import FINISHED, RECIPE, RESULTS, Origin, RunFolder, Write
from mfv_dsl.execute.tables import COLUMNS, OPTIONS, result_files
from mfv_dsl.execute.tuning_rows import curves
from mfv_dsl.execute.value_tables import effect_arrays, value_files
from mfv_dsl.library.folder import Library
from mfv_dsl.library.vector_file import arrays_of, metadata_of, save_vector
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.vectors import Vector
from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.steps import Plan, Save, Step
from mfv_dsl.version import __version__, package_versions


@dataclass(frozen=True, repr=False)
class Performance(Short):
    """What running a plan's steps gave, by key: value, seconds, whether it came from the store, and
    where traced what was read and written; by model, if it was loaded, where it ran; and why steps
    have no value."""

    values: dict[str, Any]
    seconds: dict[str, float]
    cached: set[str]
    touches: dict[str, list[str]]
    devices: dict[str, str]
    failures: dict[str, MfvError]


def write_run(
    folder: Path,
    text: str,
    plan: Plan,
    performance: Performance,
    results: Results,
    origin: Origin,
    trace: bool = False,
) -> None:
    """Write recipe, plan, manifest, results, items, head effects and vectors of a finished run,
    with ``trace`` also what its steps read and wrote; the files of an earlier run go."""
    files: dict[str, Write] = {
        RECIPE: _bytes(text.encode()), "plan.json": _json(plan.to_json())
    }  # fmt: skip
    files |= {name: _bytes(used.encode()) for name, used in origin.used.items()}
    labels = [step.label for step in plan.steps if step.parameters.get("allow_mismatch")]
    mismatches = {"allow_mismatch": labels} if labels else {}
    files[RESULTS] = _json({**results.to_json(), **mismatches})
    done = plan.without(performance.failures)
    effects = {
        step.key: effect_arrays(step, performance.values[step.key])
        for step in done.steps
        if step.operation in ("mediation", "head_relevance")
    }
    tables = result_files(results.to_json()) | value_files(done, performance.values, effects)
    files |= {name: _bytes(table.encode()) for name, table in tables.items()}
    if options := option_lines(done, performance.values):
        files[OPTIONS] = _bytes(csv_text(options, COLUMNS[OPTIONS]).encode())
    for name, curve in curves(done, performance.values):
        files[f"tune/{name}"] = _bytes(curve)
    if (items := items_file(done, performance.values)) is not None:
        files[items[0]] = _bytes(items[1])
    if trace:
        files["trace.txt"] = _bytes(trace_text(plan, performance).encode())
    for step in done.steps:
        value, file = performance.values[step.key], OPERATIONS[step.operation].file
        relation = file_name(step.parameters.get("relation") or "")
        name = f"{file.format(relation=relation)}_{step.key[:8]}.safetensors"
        if file and isinstance(value, Vector):
            metadata = vector_metadata(plan, step, performance.values, results.rows)
            files[name] = partial(save_vector, vector=value, metadata=metadata)
        elif file:
            files[name] = partial(_write_effect, step=step, effect=value, arrays=effects[step.key])
    RunFolder(folder).write(files, {**origin.to_json(), **manifest(plan, performance)})


def manifest(plan: Plan, performance: Performance) -> dict[str, Any]:
    """What a run was made with: versions, models and their files, devices, times, step keys."""
    return {
        "mfv_version": __version__,
        "python": platform.python_version(),
        "packages": package_versions(),
        "models": {
            name: {
                "constructor": model.constructor,
                "arguments": dict(model.arguments),
                "fingerprint": getattr(model.facts, "fingerprint", None),
                "files": models.sources(model.constructor, **model.arguments),
                "device": performance.devices.get(name),
            }
            for name, model in plan.models.items()
        },
        "threads": torch.get_num_threads(),
        "finished": time.strftime(FINISHED, time.gmtime()),
        "seconds": performance.seconds,
        "steps": {
            step.key: {"label": step.label, "cached": step.key in performance.cached}
            for step in plan.steps
        },
    }


def trace_text(plan: Plan, performance: Performance) -> str:
    """What each step that was run read and wrote where."""
    lines = []
    for step in plan.steps:
        state = " (from the store)" if step.key in performance.cached else ""
        lines.append(f"{step.operation}: {step.label}{state}")
        lines += [f"  {touch}" for touch in performance.touches.get(step.key, ())]
    return "\n".join(lines) + "\n"


def write_library(
    save_item: Save,
    plan: Plan,
    values: Mapping[str, Any],
    results: Results,
    *,
    recipe: str,
    text: str,
) -> list[Path]:
    """Write the vectors of one ``save`` into its library, with the ``text`` of the recipe that made
    them under its name ``recipe``; returns the vectors' files."""
    library = Library(save_item.folder)
    files = []
    for saved in save_item.vectors:
        metadata = vector_metadata(plan, plan[saved.step], values, results.rows, saved.relation)
        attributes = {
            "layer": save_item.layer, "license": save_item.license, "about": saved.about or None,
        }  # fmt: skip
        metadata |= {key: value for key, value in attributes.items() if value is not None}
        vector = replace(values[saved.step], expression=saved.expression)
        files.append((saved.name, arrays_of(vector), metadata_of(vector, metadata, saved.name)))
    with library.writing():
        library.put_recipe(recipe, text)
        return [library.put(*file) for file in files]


def _write_effect(
    path: Path, step: Step, effect: Mediation, arrays: Mapping[str, np.ndarray]
) -> None:
    """Effects of one relation: ``cie`` (prompts, layers, heads), ``p_corrupted`` (prompts,) and
    ``arrays``, those of :func:`~mfv_dsl.execute.value_tables.effect_arrays`."""
    metadata = {"relation": effect.relation, "n": len(effect.cie), "step": step.key,
                "parameters": dict(step.parameters)}  # fmt: skip
    arrays = {"cie": effect.cie, "p_corrupted": effect.p_corrupted, **arrays}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    data = save(tensors, metadata={"mfv": json.dumps(metadata, sort_keys=True, allow_nan=False)})
    write_atomically(path, data)


def _bytes(data: bytes) -> Write:
    return partial(write_atomically, data=data)


def _json(data: Any) -> Write:
    return _bytes((json.dumps(data, indent=2, allow_nan=False) + "\n").encode())
