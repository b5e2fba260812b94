"""How well each way of ranking heads agrees with the exact effects, and what it is worth.

    python benchmarks/selection.py [--models flamingo llava] [--trials 40]

For each relation every ranking's rank correlation (Spearman) with `aie` over all heads, how many of
its ten best are among those of `aie`, and the accuracy of the vector of its ten best heads,
zero-shot.  Means over the relations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import mfv_dsl as mfv
from benchmarks.measuring import rank_correlation
from mfv_dsl.lang.functions import RANKINGS

RELATIONS = ("left", "right", "above", "below")


def recipe(model: str, trials: int, items: int, layer: int) -> str:
    """A recipe that ranks heads in every way and adds the vectors of the best."""
    ways = [ranking.name for ranking in RANKINGS]
    evals = "\n".join(
        f"eval by_{way} {{ add = fv(each, heads=top(10, by={way}, per=relation"
        f"{', shots=0' if way == 'votes' else ''})), layer = {layer} }}"
        for way in ways
    )
    return f"""mfv 1
model m = tiny("{model}")
dataset d = scenes(relations=[{", ".join(RELATIONS)}], count=400)
defaults {{ trials = {trials}, items = {items} }}
eval zero {{}}
{evals}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["flamingo", "llava"])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--items", type=int, default=50)
    parser.add_argument("--layer", type=int, default=1)
    given = parser.parse_args()
    for model in given.models:
        compare(model, given)


def compare(model: str, given: argparse.Namespace) -> None:
    """Print the table of one model."""
    text = recipe(model, given.trials, given.items, given.layer)
    with tempfile.TemporaryDirectory() as folder:
        result = mfv.Recipe(text).run(Path(folder) / "run")
    scores: dict[tuple[str, str], np.ndarray] = {}
    for step in result.plan.steps:
        value = result.values[step.key]
        if type(value).__name__ != "Mediation":
            continue
        named = {ranking.operation: ranking.name for ranking in RANKINGS}
        way = str(step.parameters.get("by") or named[step.operation])
        scores[way, value.relation] = value.aie
    accuracy = {row.eval: row.accuracy for row in result.rows if row.relation is None}
    print(f"{model}: zero-shot {accuracy['zero']:.0%}, {given.trials} trials")
    print("| by | Spearman with aie | of ten | accuracy of the vector |")
    print("| --- | --- | --- | --- |")
    for ranking in RANKINGS:
        way = ranking.name
        cells = ["", ""]
        if (way, RELATIONS[0]) in scores:
            pairs = [(scores["aie", r], scores[way, r]) for r in RELATIONS]
            cells = [
                f"{np.mean([rank_correlation(*pair) for pair in pairs]):.2f}",
                f"{np.mean([len(best(a) & best(b)) for a, b in pairs]):.1f}",
            ]
        print(f"| `{way}` | {' | '.join(cells)} | {accuracy[f'by_{way}']:.0%} |")


def best(scores: np.ndarray) -> set[int]:
    """The places of the ten largest scores."""
    return set(np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=None, kind="stable")[:10])


if __name__ == "__main__":
    main()
