"""What the work of a transformers vision-language model is counted with; no torch."""

from __future__ import annotations

from pathlib import Path

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.models.vlm.folder import weight_files
from mfv_dsl.models.vlm.known import TOWERS, KnownModel, Tower
from mfv_dsl.models.weight_counts import WeightCounts, count_weights

_NO_TOWER = Tower(0, 1, 0)


def folder_work(folder: Path, facts: ModelFacts, picture_tokens: int) -> dict[str, int]:
    """Of a model in ``folder``, by the headers of its files; zeros where these cannot be read."""
    try:
        counts = count_weights(weight_files(folder), facts.n_layers)
    except MfvError:  # loading will say so
        counts = WeightCounts()
    return _work(counts, facts.family, picture_tokens)


def known_work(known: KnownModel, picture_tokens: int) -> dict[str, int]:
    """Of a published model whose files are not here, about."""
    tower = TOWERS.get(known.model_type, _NO_TOWER)
    counts = WeightCounts(
        int(known.parameters), known.in_layers // known.n_layers,
        tower.vocabulary * known.d_model, int(tower.parameters),
    )  # fmt: skip
    return _work(counts, known.model_type, picture_tokens)


def _work(counts: WeightCounts, model_type: str, picture_tokens: int) -> dict[str, int]:
    patches = picture_tokens * TOWERS.get(model_type, _NO_TOWER).patches
    return {
        "parameters": counts.all, "layer_parameters": counts.layer,
        "output_parameters": counts.output, "picture_work": int(counts.vision * patches),
    }  # fmt: skip
