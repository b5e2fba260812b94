"""Variants of a prompt's last token, run: scores and readings in the order of the variants."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.edits import Read
from mfv_dsl.engine.prefix import Prefix, Variant
from mfv_dsl.engine.scoring import Scores, concatenate_scores


def run_variants(
    prefix: Prefix, variants: Sequence[Variant], reads: Sequence[Read] = ()
) -> tuple[Scores, list[torch.Tensor]]:
    """Scores of all ``variants``, and what each of ``reads`` took, (prompts, variants, ...)."""
    chunks = list(prefix.run(variants, reads=reads))
    place = torch.tensor([i for chunk in chunks for i in chunk.variants]).argsort()
    scores = concatenate_scores([chunk.scores for chunk in chunks])
    readings = [
        torch.cat([chunk.readings[number] for chunk in chunks], dim=1).index_select(
            1, place.to(chunks[0].readings[number].device)
        )
        for number in range(len(reads))
    ]
    return scores.variants(sent(place, scores.likeliest.device)), readings
