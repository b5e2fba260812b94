"""Heads as classifiers, held against plain numpy and plain optimisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.head_outputs import (
    FOLDS,
    RIDGE,
    HeadOutputs,
    Support,
    head_outputs,
    probe_accuracies,
    vote_accuracies,
)
from mfv_dsl.models import load

LAYERS, HEADS, WIDTH = 2, 3, 4


def drawn(relation: str, n: int, shift: float, seed: int) -> HeadOutputs:
    """Outputs of which head (0, 1) alone tells the relation."""
    outputs = torch.randn(n, LAYERS, HEADS, WIDTH, generator=torch.Generator().manual_seed(seed))
    outputs[:, 0, 1] += shift
    images = tuple(f"{relation}{place // 2}" for place in range(n))  # two prompts an image
    return HeadOutputs(relation, outputs, tuple("abc"[i % 3] for i in range(n)), images)


def plain_probe(parts: list[HeadOutputs], layer: int, head: int) -> float:
    """A logistic regression by general optimisation, prompt by prompt of a fold that it has not
    seen."""
    x = torch.cat([part.outputs[:, layer, head] for part in parts]).double()
    y = torch.tensor([float(part is parts[0]) for part in parts for _ in range(len(part))])
    images = [image for part in parts for image in part.images]
    order = list(dict.fromkeys(images))
    fold = torch.tensor([order.index(image) % FOLDS for image in images])
    right = torch.zeros(len(x))
    for held in range(FOLDS):
        odds = plain_fit(x[fold != held], y[fold != held], x[fold == held])
        right[fold == held] = ((odds > 0).double() == y[fold == held]).float()
    return float((right[y == 1].mean() + right[y == 0].mean()) / 2)


def plain_fit(x: torch.Tensor, y: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The log-odds of ``new``."""
    mean = x.mean(0)
    size = (x - mean).pow(2).mean().sqrt()
    z, y = (x - mean) / size, y.double()
    weight = torch.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    beta = torch.zeros(WIDTH, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([beta, bias], max_iter=200, tolerance_grad=1e-10)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            z @ beta + bias, y, weight, reduction="sum"
        )
        total = each + RIDGE / 2 * beta.pow(2).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return ((new - mean) / size @ beta + bias).detach()


def test_probes_are_logistic_regressions_on_held_out_images():
    parts = [drawn("left", 40, 1.0, 0), drawn("right", 30, 0.0, 1), drawn("above", 24, 0.0, 2)]
    accuracies = probe_accuracies(parts[0], parts[1:])
    for layer in range(LAYERS):
        for head in range(HEADS):
            plain = plain_probe(parts, layer, head)
            assert accuracies[layer, head] == pytest.approx(plain, abs=1e-6)
    assert accuracies.argmax() == 1 and accuracies[0, 1] > 0.8
    others = np.delete(accuracies.ravel(), 1)
    assert np.abs(others - 0.5).max() < 0.2  # at chance, as they are measured on other prompts


def test_a_layer_without_heads_has_no_probe():
    parts = [drawn("left", 20, 1.0, 0), drawn("right", 20, 0.0, 1)]
    for part in parts:
        part.outputs[:, 1] = torch.nan
    assert np.isnan(probe_accuracies(parts[0], parts[1:])[1]).all()
    assert np.isnan(vote_accuracies(parts[0].outputs, parts[0].answers)[1]).all()
    assert not np.isnan(vote_accuracies(parts[0].outputs, parts[0].answers)[0]).any()


def plain_votes(
    support: np.ndarray, labels: list[str], asked: np.ndarray, heads: list[tuple[int, int]]
) -> list[list[str]]:
    """The class that each head votes for, for each prompt."""
    classes = list(dict.fromkeys(labels))
    votes = []
    for prompt in asked:
        of_prompt = []
        for layer, head in heads:
            x = prompt[layer, head]
            cosines = []
            for name in classes:
                mean = np.mean(
                    [s[layer, head] for s, label in zip(support, labels, strict=True)
                     if label == name], axis=0,
                )  # fmt: skip
                cosines.append(x @ mean / np.linalg.norm(x) / np.linalg.norm(mean))
            of_prompt.append(classes[int(np.argmax(cosines))])
        votes.append(of_prompt)
    return votes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flamingo", "llava"])
def test_votes_are_those_of_plain_numpy(name: str, scenes: Scenes):
    model: Any = load("tiny", name=name)
    support, asked = (
        head_outputs(
            model, [model.batch(draw_prompts(scenes, "left", split, n, 0), scenes)], "left"
        )
        for split, n in (("extract", 12), ("test", 6))
    )
    assert support.answers == tuple(
        prompt.query.answer for prompt in draw_prompts(scenes, "left", "extract", 12, 0)
    )
    labels = list(support.answers)
    heads = [(0, 0), (2, 5), (model.facts.n_layers - 1, 3)]
    plain = plain_votes(support.outputs.numpy(), labels, asked.outputs.numpy(), heads)
    known = Support.of(support.outputs, labels)
    votes = known.votes(asked.outputs, heads)
    for row, of_prompt in zip(votes.tolist(), plain, strict=True):
        assert row == [of_prompt.count(label) for label in known.classes]
    own = plain_votes(support.outputs.numpy(), labels, support.outputs.numpy(), heads)
    accuracies = vote_accuracies(support.outputs, labels)
    for place, (layer, head) in enumerate(heads):
        share = np.mean([row[place] == label for row, label in zip(own, labels, strict=True)])
        assert accuracies[layer, head] == pytest.approx(share)
