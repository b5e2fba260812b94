"""The outputs of heads, prompt by prompt, and heads as classifiers of what they were given.

Two ways of telling classes apart by one head's output at the last token, each head for itself:

- a linear probe (as in Li et al., arXiv:2306.03341, where heads are ranked by their probe's
  accuracy): logistic regression, measured on prompts that it was not fitted to;
- the nearest class mean by cosine (sparse attention vectors, Mitra et al., arXiv:2412.00142), where
  the best heads of a support set then vote together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.short import Short
from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.full_pass import Pass, full_pass
from mfv_dsl.engine.rows import Rows, in_parts
from mfv_dsl.methods.activations import Progress, head_reads, rows_of
from mfv_dsl.methods.finite import check_heads
from mfv_dsl.methods.logistic import logistic_regressions
from mfv_dsl.methods.selection import Head
from mfv_dsl.models.base import Backend, PromptBatch

#: Parts that the prompts of a probe are cut into: it is fitted to all but one of them.
FOLDS = 5
#: Half the squared length of a probe's weights, times this, is added to its loss, the sum over
#: prompts; outputs are scaled to a mean square of 1 before.
RIDGE = 1.0
_INTERCEPT = 1e-6  # the same of its intercept


@dataclass(frozen=True, repr=False)
class HeadOutputs(Short):
    """``outputs`` (prompts, layers, heads, head_dim) float32: every head's output at the last
    token, before the output projection, NaN where a layer has no heads.  ``answers`` are the
    prompts' answers, ``images`` their queries' images."""

    relation: str
    outputs: torch.Tensor
    answers: tuple[str, ...]
    images: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.outputs)


def head_outputs(
    backend: Backend,
    batches: Sequence[PromptBatch],
    relation: str,
    progress: Progress = lambda _: None,
    site: str = "lm.attn",
) -> HeadOutputs:
    """Every head's output at the last token of each prompt of ``batches``.  ``progress`` counts
    prompts.  Raises MfvError (MFV5372) for outputs that are not all numbers."""
    place, rows, reads = backend.sites[site], rows_of(backend, site), head_reads(backend, site)
    own = [rows.index(read.layer) for read in reads]

    def read_heads(part: Rows) -> Pass:
        with torch.no_grad():
            return full_pass(backend, part.batch, reads=reads)

    parts: list[torch.Tensor] = []
    answers: list[str] = []
    images: list[str] = []
    for part, output in in_parts(backend, batches, read_heads):
        readings = brought(*(reading[:, 0] for reading in output.readings))
        states = torch.stack([reading.float() for reading in readings], dim=1)
        what = f"the outputs of heads on `{relation}`"
        by_head = states.permute(1, 2, 0, 3)
        check_heads(backend, what, site, place.layers, by_head, part.batch, "MFV5372")
        whole = torch.full((len(states), len(rows), *states.shape[2:]), torch.nan)
        whole[:, own] = states
        parts.append(whole)
        answers += [prompt.query.answer for prompt in part.batch.prompts]
        images += [prompt.query.image for prompt in part.batch.prompts]
        progress(len(part))
    return HeadOutputs(relation, torch.cat(parts), tuple(answers), tuple(images))


def concatenate_outputs(parts: Sequence[HeadOutputs]) -> HeadOutputs:
    """Outputs on consecutive prompts of one relation as one."""
    return HeadOutputs(
        parts[0].relation,
        torch.cat([part.outputs for part in parts]),
        tuple(answer for part in parts for answer in part.answers),
        tuple(image for part in parts for image in part.images),
    )


# -- linear probes --------------------------------------------------------------------------------
def probe_accuracies(this: HeadOutputs, others: Sequence[HeadOutputs]) -> np.ndarray:
    """How well a linear probe on each head's output tells the prompts of ``this`` relation from
    those of ``others``: (layers, heads) float32, NaN where a layer has no heads.

    It is the mean of the two classes' accuracies over :data:`FOLDS` folds, so that 0.5 is chance.
    Prompts about one image are in one fold, images take turns in the order in which they come up.
    Each probe is a logistic regression with an intercept, both classes weighing the same, its
    weights under a penalty (:data:`RIDGE`); it is fitted by Newton's method, so that nothing is
    drawn at random.  Raises MfvError (MFV5562) for too few prompts to leave some out.
    """
    parts = [this, *others]
    outputs = torch.cat([part.outputs for part in parts])
    is_this = torch.tensor([part is this for part in parts for _ in range(len(part))])
    folds = _folds([image for part in parts for image in part.images])
    for fold in range(FOLDS):
        held = folds == fold
        if bool(held.any()) and len(set(is_this[~held].tolist())) < 2:
            raise MfvError(
                "MFV5562",
                f"a probe of `{this.relation}` has too few prompts: all of a class are about "
                "images that it would be tested on",
                help="use more trials",
            )
    layers, heads = outputs.shape[1:3]
    accuracies = np.full((layers, heads), np.nan, dtype=np.float32)
    for layer in range(layers):
        states = outputs[:, layer].double().movedim(0, 1)  # (heads, prompts, head_dim)
        if bool(states.isnan().any()):
            continue
        right = torch.zeros(heads, len(folds), dtype=torch.float64)
        for fold in sorted(set(folds.tolist())):
            held = folds == fold
            decision = _fitted(states[:, ~held], is_this[~held])(states[:, held])
            right[:, held] = ((decision > 0) == is_this[held]).double()
        by_class = [right[:, is_this == value].mean(-1) for value in (True, False)]
        accuracies[layer] = ((by_class[0] + by_class[1]) / 2).numpy()
    return accuracies


def _folds(images: Sequence[str]) -> torch.Tensor:
    """The fold of each prompt: images take turns."""
    places = {image: place for place, image in enumerate(dict.fromkeys(images))}
    return torch.tensor([places[image] % FOLDS for image in images])


def _fitted(states: torch.Tensor, is_one: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """A logistic regression of ``is_one`` (prompts,) on ``states`` (heads, prompts, width), as a
    function from states to log-odds."""
    mean = states.mean(1, keepdim=True)
    centred = states - mean
    scale = centred.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
    share = torch.where(is_one, is_one.double().mean(), 1 - is_one.double().mean())
    penalty = torch.full((states.shape[-1] + 1,), RIDGE)
    penalty[-1] = _INTERCEPT
    signs = torch.where(is_one, 1.0, -1.0)
    # with 0.5 / share both classes weigh the same
    beta = logistic_regressions(centred / scale, signs, 0.5 / share, penalty)

    def decision(new: torch.Tensor) -> torch.Tensor:
        rows = torch.nn.functional.pad((new - mean) / scale, (0, 1), value=1.0)
        return torch.einsum("hpw,hw->hp", rows, beta)

    return decision


# -- votes of heads -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Support:
    """What heads classify by: ``means`` (classes, layers, heads, head_dim), the mean output of each
    head over the examples of each class, at length 1; ``classes`` in the order in which they come
    up among the examples."""

    classes: tuple[str, ...]
    means: torch.Tensor

    @classmethod
    def of(cls, outputs: torch.Tensor, labels: Sequence[str]) -> Support:
        """Of examples ``outputs`` (examples, layers, heads, head_dim) with a label each."""
        classes = tuple(dict.fromkeys(labels))
        place = torch.tensor([classes.index(label) for label in labels])
        means = torch.stack([outputs[place == i].double().mean(0) for i in range(len(classes))])
        return cls(classes, _at_length_one(means))

    def nearest(self, outputs: torch.Tensor) -> torch.Tensor:
        """The place of the class whose mean is nearest by cosine, for each prompt and head:
        (prompts, layers, heads); of equals the first."""
        cosines = torch.einsum("plhw,clhw->plhc", _at_length_one(outputs.double()), self.means)
        return cosines.nan_to_num(nan=-2.0).argmax(-1)

    def votes(self, outputs: torch.Tensor, heads: Sequence[Head]) -> torch.Tensor:
        """How many of ``heads`` vote for each class, (prompts, classes)."""
        layers, numbers = (torch.tensor(part) for part in zip(*heads, strict=True))
        nearest = self.nearest(outputs)[:, layers, numbers]  # (prompts, heads)
        return torch.nn.functional.one_hot(nearest, len(self.classes)).sum(1)


def _at_length_one(states: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(states, dim=-1)


def vote_accuracies(outputs: torch.Tensor, labels: Sequence[str]) -> np.ndarray:
    """How many of the examples ``outputs`` (examples, layers, heads, head_dim) each head gives to
    their own class by the nearest class mean, as a share: (layers, heads) float32, NaN where a
    layer has no heads.  As in arXiv:2412.00142 an example is one of those that its class's mean is
    of."""
    support = Support.of(outputs, labels)
    own = torch.tensor([support.classes.index(label) for label in labels])
    right = (support.nearest(outputs) == own[:, None, None]).double().mean(0)
    right[outputs[0].isnan().any(-1)] = torch.nan
    return right.float().numpy()
