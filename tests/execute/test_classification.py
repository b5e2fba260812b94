"""Evals whose answers are votes of heads, held against plain numpy on outputs that plain hooks
read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.models import load

HEAD = """mfv 1
model m = tiny({name})
dataset d = scenes(relations=[left, right], count=120)
defaults {{ items = 14, on = [left] }}
"""
SETS = {
    "flamingo": [(2, 1), (5, 3), (5, 4), (8, 0), (9, 7)],
    "llava": [(1, 0), (3, 2), (3, 5), (5, 5), (4, 1)],
}


def outputs(model: Any, dataset: Any, split: str, n: int, shots: int) -> tuple[np.ndarray, list]:
    """Every head's output at the last token, (prompts, layers, heads, head_dim), and the answers,
    a prompt at a time."""
    site = model.sites["lm.attn"]
    rows, answers = [], []
    for prompt in draw_prompts(dataset, "left", split, n, shots, 1234):
        caught: dict[int, torch.Tensor] = {}
        handles = [
            model.model.get_submodule(site.module_path(layer)).register_forward_pre_hook(
                lambda module, args, layer=layer, caught=caught: caught.update(
                    {layer: args[0][0, -1]}
                )
            )
            for layer in site.layers
        ]
        with torch.no_grad():
            model.forward(model.batch([prompt], dataset))
        for handle in handles:
            handle.remove()
        rows.append(np.stack([caught[layer].reshape(8, -1).numpy() for layer in site.layers]))
        answers.append(prompt.query.answer)
    return np.stack(rows), answers


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_answers_are_the_votes_of_plain_numpy(name: str, tmp_path: Path):
    heads = SETS[name]
    labels = ", ".join(f"L{layer}H{head}" for layer, head in heads)
    text = HEAD.format(name=f'"{name}"') + (
        f"eval zero {{}}\neval voted {{ classify = {{{labels}}}, examples = 20, against = zero }}"
    )
    result = mfv.Recipe(text).run(tmp_path / "run")
    from mfv_dsl.data.scenes import Scenes

    dataset = Scenes(relations=("left", "right"), count=120)
    model = load("tiny", name=name)
    known, labels_of = outputs(model, dataset, "extract", 20, 0)
    asked, wanted = outputs(model, dataset, "test", 14, 0)
    classes = list(dict.fromkeys(labels_of))
    right, shares = [], []
    for row, answer in zip(asked, wanted, strict=True):
        votes: Counter[str] = Counter()
        for layer, head in heads:
            cosines = []
            for label in classes:
                own = [known[i, layer, head] for i, k in enumerate(labels_of) if k == label]
                mean, x = np.mean(own, axis=0), row[layer, head]
                cosines.append(x @ mean / np.linalg.norm(x) / np.linalg.norm(mean))
            votes[classes[int(np.argmax(cosines))]] += 1
        most = max(votes.values())
        right.append(next(label for label in classes if votes[label] == most) == answer)
        shares.append(votes[answer] / len(heads))
    row = next(row for row in result.rows if row.eval == "voted" and row.relation == "left")
    assert row.accuracy == pytest.approx(np.mean(right)) and row.n == 14
    assert row.mean_p_answer == pytest.approx(np.mean(shares), abs=1e-9)
    zero = next(row for row in result.rows if row.eval == "zero")
    assert row.against["zero"].difference == pytest.approx(row.accuracy - zero.accuracy)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("eval e { classify = top(3), ablate = top(3) }", "MFV2017"),
        ("eval e { classify = top(3), add = fv(left), layer = 1 }", "MFV2017"),
        ("eval e { classify = fv(left) }", "MFV3001"),
        ("eval e { classify = {L1H1}, controls = [random_heads] }", "MFV5333"),
        ("eval e { classify = top(3), controls = [random_vector] }", "MFV5333"),
        ("eval e { classify = {L1H1}, k = [1, 2] }", "MFV5332"),
        ("eval e { classify = top(3), examples = 0 }", "MFV4003"),
    ],
)
def test_what_does_not_go_with_classify_is_refused(text: str, code: str):
    with pytest.raises(mfv.MfvError) as caught:
        mfv.Recipe(HEAD.format(name="") + text).plan()
    assert code in {caught.value.code, *(d.code for d in caught.value.diagnostics)}


def test_what_has_no_effect_is_warned_of():
    for text, name in (
        ("eval e { classify = top(3), position = all }", "position"),
        ("eval e { ablate = top(3), examples = 8 }", "examples"),
        ("eval e { classify = top(3), layer = 3 }", "layer"),
    ):
        recipe = mfv.Recipe(HEAD.format(name="") + text)
        found = [w for w in recipe.checked.warnings if w.code == "MFV2022"]
        assert len(found) == 1 and f"`{name}`" in found[0].message


def test_heads_chosen_on_another_model_may_not_be_there(tmp_path: Path):
    text = (
        'mfv 1\nmodel large = tiny()\nmodel small = tiny("llava")\n'
        "dataset d = scenes(relations=[left, right], count=40)\n"
        "eval voted {\n  model = small\n  on = [left]\n  items = 4\n  examples = 4\n"
        "  classify = top(80, by=norm, on=[left], trials=2, model=large)\n}\n"
    )
    with pytest.raises(mfv.MfvError, match="MFV3100.*these heads are those of `large`"):
        mfv.Recipe(text).run(tmp_path / "run")
