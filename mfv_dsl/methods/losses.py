"""The loss of a training step, of several vectors at once, with its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import kl_div

from mfv_dsl.base.memory import free_bytes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.injection import Injection
from mfv_dsl.engine.prefix_cache import PrefixCache
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.courses import Work
from mfv_dsl.models.base import Backend, PromptBatch

_SHARE = 8  # of free memory, one part in so many is for what teachers said


class Teacher:
    """What the unedited model says behind demonstrations: log-probabilities of the next token.

    It is run once for each mini-batch, and kept as far as an eighth of the memory that is free at
    the start allows; beyond that it is run again.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._left = free_bytes(backend.device) // _SHARE
        self._kept: dict[tuple[int, int], torch.Tensor] = {}
        self._batches: list[Sequence[PromptBatch]] = []  # so that no other gets its identity

    def log_p(self, batches: Sequence[PromptBatch], number: int) -> torch.Tensor:
        """Of mini-batch ``number``, (prompts, vocabulary)."""
        key = id(batches), number
        if key in self._kept:
            return self._kept[key]

        def said(rows: Rows) -> torch.Tensor:
            with torch.no_grad():
                return full_pass(self._backend, rows.batch).logits.float().log_softmax(-1)

        found = torch.cat([part for _, part in in_parts(self._backend, [batches[number]], said)])
        if found.nbytes <= self._left:
            self._left -= found.nbytes
            self._kept[key] = found
            self._batches.append(batches)
        return found


class Losses:
    """The losses of courses that are taken together, each on its own prompts under its own
    vector."""

    def __init__(self, backend: Backend, prefixes: PrefixCache) -> None:
        self.prefixes, self.teacher = prefixes, Teacher(backend)
        #: Whether batches come together with the same others from now on.
        self.settled = False
        self._unedited: dict[int, torch.Tensor] = {}  # by the identity of the batch

    def of(self, works: Sequence[Work]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each work the loss and its KL on off-task prompts, both with gradients."""
        drawn = [work.drawn() for work in works]
        edits = [
            work.course.variable.edits(work.value, own)
            for work, own in zip(works, drawn, strict=True)
        ]
        losses = [
            work.course.variable.objective(work.value, own, each)
            for work, own, each in zip(works, drawn, self._by_prompt(works, edits), strict=True)
        ]
        kls = [work.value.new_zeros(()) for work in works]
        weighed = [n for n, work in enumerate(works) if work.course.settings.kl]
        if weighed:
            off_task = [works[n].course.off_task[works[n].number] for n in weighed]
            found = self.off_task_kl(off_task, [edits[n] for n in weighed])
            for n, kl in zip(weighed, found, strict=True):
                kls[n] = kl
        for n, (course, _, value, _) in enumerate(works):
            settings, device = course.settings, losses[n].device
            if settings.weight_decay:
                squares = course.variable.vector(value).square().sum()
                losses[n] = losses[n] + (settings.weight_decay / 2 * squares).to(device)
            if settings.sparsity:
                penalty = course.variable.penalty(value).to(device)
                losses[n] = losses[n] + settings.sparsity * penalty
            if settings.kl:
                losses[n] = losses[n] + settings.kl * kls[n]
        return list(zip(losses, kls, strict=True))

    def _by_prompt(
        self, works: Sequence[Work], edits: Sequence[Sequence[Edit]]
    ) -> list[torch.Tensor]:
        """For each work the loss of each of its prompts, (prompts,)."""
        group = self.together([work.batch for work in works])
        if all(work.course.settings.loss == "nll" for work in works):
            return [-part for part in group.log_p(edits).split(group.sizes)]
        log_p = group.logits(edits).float().log_softmax(-1)
        losses = []
        for work, own in zip(works, log_p.split(group.sizes), strict=True):
            settings, answers = work.course.settings, work.batch.answers
            assert answers is not None
            nll = -own.gather(1, answers.to(own.device)[:, None])[:, 0]
            if settings.loss == "teacher":
                taught = self.teacher.log_p(work.course.teacher, work.number).to(own.device)
                kl = kl_div(own, taught, reduction="none", log_target=True).sum(-1)
                losses.append(kl + settings.nll_weight * nll if settings.nll_weight else kl)
            else:
                losses.append(nll)
        return losses

    def off_task_kl(
        self, batches: Sequence[PromptBatch], edits: Sequence[Sequence[Edit]]
    ) -> list[torch.Tensor]:
        """For each batch the mean KL(unedited ‖ edited) of the next token over its prompts."""
        for batch in batches:
            if id(batch) not in self._unedited:
                with torch.no_grad():
                    unedited = self.prefixes.of(batch).scores([()], logits=True).logits
                assert unedited is not None
                self._unedited[id(batch)] = unedited[:, 0].float().log_softmax(-1)
        group = self.together(batches)
        edited = group.logits(edits).float().log_softmax(-1).split(group.sizes)
        return [
            kl_div(part, self._unedited[id(batch)], reduction="batchmean", log_target=True)
            for part, batch in zip(edited, batches, strict=True)
        ]

    def together(self, batches: Sequence[PromptBatch]) -> Injection:
        """The prompts of ``batches``, to be run at once."""
        return self.prefixes.together(batches, self.settled)
