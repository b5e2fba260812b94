"""Causal mediation analysis of attention heads (arXiv:2310.15213, section 2.3; arXiv:2510.02528).

For a prompt that is answered correctly when intact, and its corrupted twin:

    CIE(l, h) = p(answer | twin, head (l, h) at the last token := mean(l, h)) - p(answer | twin)

and AIE is the mean over prompts.  :func:`mediate` makes every head a variant of one pass on the
prefix engine; :func:`mediate_plain` takes one full pass per head and is the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought, sent
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.finite import NotFinite, not_finite
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress, rows_of
from mfv_dsl.methods.finite import check_scores
from mfv_dsl.methods.outcomes import outcomes
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.models.sites import Site


@dataclass(frozen=True, repr=False)
class Mediation(Short):
    """Effects of the heads of one site on corrupted prompts of one relation.

    ``cie`` (prompts, layers, heads) float32; ``p_corrupted`` (prompts,).  ``correct``
    (prompts, layers, heads) tells whether the answer came first with the head patched,
    ``correct_corrupted`` (prompts,) whether it did without; estimates have neither.  Row i of the
    layers is the model's layer ``layers[i]``; effects are NaN where that has no such heads.
    """

    relation: str
    cie: np.ndarray
    p_corrupted: np.ndarray
    correct: np.ndarray | None = None
    correct_corrupted: np.ndarray | None = None
    site: str = "lm.attn"
    layers: tuple[int, ...] = ()

    @property
    def aie(self) -> np.ndarray:
        """Average indirect effect, (layers, heads)."""
        mean: np.ndarray = self.cie.mean(axis=0)
        return mean

    @property
    def accuracy_change(self) -> np.ndarray:
        """Accuracy with each head patched less the accuracy without, (layers, heads)."""
        assert self.correct is not None and self.correct_corrupted is not None
        change: np.ndarray = self.correct.mean(axis=0) - self.correct_corrupted.mean()
        change[np.isnan(self.aie)] = np.nan
        return change


def mediate(
    backend: Backend,
    twins: Sequence[PromptBatch],
    relation: str,
    mean: torch.Tensor,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Mediation:
    """The effect of every head of ``site`` (``lm.attn`` or ``xattn``) on ``twins``, corrupted
    prompts whose intact ones were answered correctly.

    ``mean`` is that of :func:`~mfv_dsl.methods.activations.task_mean`.  ``progress`` counts heads
    of a batch.  Effects are differences of probabilities (arXiv:2310.15213, section 2.3).  Raises
    MfvError: MFV5202 for no batch, MFV5370 and MFV5371 where the model computes no numbers, without
    and with a head in its place::

        effects = mediate(model, [twins], "left", task_mean(model, [intact], "left").mean)
        effects.aie.argmax()  # the place of the head with the largest average indirect effect
    """
    heads = sum(backend.sites[site].heads or 1 for _ in backend.sites[site].layers)
    told = _Told(progress)

    def measured(rows: Rows) -> Mediation:
        first, last = rows.share
        done = 0

        def report(units: int) -> None:
            nonlocal done
            done += units
            told.reach(heads * first + (last - first) * done)

        return head_effects(backend, rows.batch, relation, mean, report, site)

    parts = []
    for rows, part in in_parts(backend, twins, measured):
        parts.append(part)
        told.reach(heads * rows.share[1])
        if rows.share[1] == 1.0:
            told.units = 0
    return concatenate_effects(parts, relation)


@dataclass
class _Told:
    """Units of a batch's work that were told; what is done again is not told again."""

    progress: Progress
    units: int = 0

    def reach(self, units: float) -> None:
        whole = int(units + 1e-6)
        if whole > self.units:
            self.progress(whole - self.units)
            self.units = whole


def head_effects(
    backend: Backend,
    twins: PromptBatch,
    relation: str,
    mean: torch.Tensor,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> Mediation:
    """The effects on one batch; :func:`concatenate_effects` puts several together."""
    place, rows = backend.sites[site], rows_of(backend, site)
    shape = (len(twins), len(rows), place.heads or 1)
    cie = np.full((shape[0], shape[1] * shape[2]), np.nan, dtype=np.float32)
    correct = np.zeros(cie.shape, dtype=bool)
    mean = sent(mean, backend.device)
    replacements = list(_replacements(site, place, rows, mean))
    variants = [[edit] for _, _, edit in replacements]
    places = [row * shape[2] + head for row, head, _ in replacements]
    p_corrupted, correct_corrupted = np.empty(0), np.empty(0, dtype=bool)
    with torch.no_grad():
        for chunk in encode_prefix(backend, twins).run(variants):
            p_before = chunk.unedited.p
            is_measured, finite, effects, rank, p, rank_before = brought(
                chunk.unedited.finite[:, 0], chunk.scores.finite,
                (chunk.scores.p - p_before).float(), chunk.scores.rank,
                p_before[:, 0], chunk.unedited.rank[:, 0],
            )  # fmt: skip
            check_scores(backend, twins, is_measured)
            if not bool(finite.all()):
                raise _unmeasured(backend, twins, relation, finite,
                                  [variants[i] for i in chunk.variants])  # fmt: skip
            columns = [places[i] for i in chunk.variants]
            cie[:, columns] = effects.numpy()
            correct[:, columns] = (rank == 0).numpy()
            p_corrupted = p.double().numpy()
            correct_corrupted = (rank_before == 0).numpy()
            progress(len(columns))
    return Mediation(
        relation, cie.reshape(shape), p_corrupted, correct.reshape(shape), correct_corrupted,
        site, rows,
    )  # fmt: skip


def _unmeasured(
    backend: Backend, twins: PromptBatch, relation: str, finite: torch.Tensor,
    variants: Sequence[Sequence[Edit]],
) -> NotFinite:  # fmt: skip
    """The error of the first variant whose scores, ``finite`` (prompts, variants), are none."""
    row, column = (~finite).nonzero()[0].tolist()
    (edit,) = variants[column]
    head = f"{edit.site}[{edit.layer}]" + (f", head {edit.heads[0]}" if edit.heads else "")
    what = f"the effects on `{relation}`, first that of {head}, are"
    return not_finite("MFV5371", what, backend, twins[row : row + 1], [edit])


def mediate_plain(
    backend: Backend,
    twins: Sequence[PromptBatch],
    relation: str,
    mean: torch.Tensor,
    site: str = "lm.attn",
) -> Mediation:
    """What :func:`mediate` gives, by one full pass per head."""
    place, rows = backend.sites[site], rows_of(backend, site)
    parts = []
    for batch in twins:
        with torch.no_grad():
            before = outcomes(full_pass(backend, batch).logits, batch.answers)
        shape = (len(batch), len(rows), place.heads or 1)
        check_scores(backend, batch, np.isfinite(before.p_answer))
        cie, correct = np.full(shape, np.nan, dtype=np.float32), np.zeros(shape, dtype=bool)
        for row, head, edit in _replacements(site, place, rows, mean):
            with torch.no_grad():
                after = outcomes(full_pass(backend, batch, [edit]).logits, batch.answers)
            check_scores(backend, batch, np.isfinite(after.p_answer), [edit])
            cie[:, row, head] = after.p_answer - before.p_answer
            correct[:, row, head] = after.correct
        parts.append(Mediation(relation, cie, before.p_answer, correct, before.correct, site, rows))
    return concatenate_effects(parts, relation)


def concatenate_effects(parts: Sequence[Mediation], relation: str) -> Mediation:
    """Effects on consecutive batches of one relation as one."""
    if not parts:
        raise MfvError(
            "MFV5202",
            f"no prompt of `{relation}` was answered correctly, so no effect can be measured",
            help="use more shots or more trials",
        )
    exact = all(part.correct is not None for part in parts)
    return Mediation(
        relation,
        np.concatenate([part.cie for part in parts]),
        np.concatenate([part.p_corrupted for part in parts]),
        np.concatenate([part.correct for part in parts]) if exact else None,
        np.concatenate([part.correct_corrupted for part in parts]) if exact else None,
        parts[0].site,
        parts[0].layers,
    )


def _replacements(
    site: str, place: Site, rows: Sequence[int], mean: torch.Tensor
) -> Iterator[tuple[int, int, Edit]]:
    """(row, head, edit) for every head of the site, layer by layer; ``rows`` are the layers of the
    rows of ``mean``."""
    for layer in place.layers:
        row = rows.index(layer)
        for head in range(place.heads or 1):
            value = mean[row, head : head + 1]
            yield row, head, Edit(site, layer, "replace", value, (head,))
