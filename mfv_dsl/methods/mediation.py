"""Causal mediation analysis of attention heads (arXiv:2310.15213, section 2.3; arXiv:2510.02528).

For a prompt that is answered correctly when intact, and its corrupted twin:

    CIE(l, h) = p(answer | twin, head (l, h) at the last token := mean(l, h)) - p(answer | twin)

and AIE is the mean over prompts.  This module takes one full pass per head: plain, exact, and the
reference for anything faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.backends.base import Backend, PromptBatch
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.lang.diagnostics import MfvError
from mfv_dsl.methods.activations import Progress
from mfv_dsl.methods.outcomes import outcomes


@dataclass(frozen=True)
class Mediation:
    """``cie`` (prompts, layers, heads) float32; ``p_corrupted`` (prompts,)."""

    relation: str
    cie: np.ndarray
    p_corrupted: np.ndarray

    @property
    def aie(self) -> np.ndarray:
        """Average indirect effect, (layers, heads)."""
        mean: np.ndarray = self.cie.mean(axis=0)
        return mean


def mediate(
    backend: Backend,
    twins: Sequence[PromptBatch],
    relation: str,
    mean: torch.Tensor,
    progress: Progress = lambda _: None,
) -> Mediation:
    """The effect of every head on ``twins``, corrupted prompts whose intact ones were answered
    correctly.  ``mean`` is (layers, heads, head_dim).  ``progress`` counts passes."""
    if not twins:
        raise MfvError(
            "MFV5202",
            f"no prompt of `{relation}` was answered correctly, so no effect can be measured",
            help="use more shots or more trials",
        )
    site = backend.sites["lm.attn"]
    heads = [(layer, head) for layer in site.layers for head in range(site.heads or 1)]
    effects, corrupted = [], []
    for batch in twins:
        with torch.no_grad():
            before = outcomes(full_pass(backend, batch).logits, batch.answers).p_answer
        cie = np.empty((len(batch), *mean.shape[:2]), dtype=np.float32)
        for layer, head in heads:
            edit = Edit("lm.attn", layer, "replace", mean[layer, head : head + 1], (head,))
            with torch.no_grad():
                logits = full_pass(backend, batch, [edit]).logits
            cie[:, layer, head] = outcomes(logits, batch.answers).p_answer - before
            progress(1)
        effects.append(cie)
        corrupted.append(before)
    return Mediation(relation, np.concatenate(effects), np.concatenate(corrupted))
