"""Tables of what is found by looking at vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from mfv_dsl.base.numbers import decimals, percent
from mfv_dsl.data.off_task import OFF_TASKS
from mfv_dsl.data.prompts import DEFAULT_SEED
from mfv_dsl.execute.heads import HeadEffect
from mfv_dsl.methods.decoding import VectorTokens
from mfv_dsl.methods.geometry import Decomposition, Ratio
from mfv_dsl.methods.off_task import OffTaskCost
from mfv_dsl.probing import Reply


def decoded_table(found: Sequence[VectorTokens]) -> Table:
    """One row a layer, the likeliest tokens with their scores; where there is one layer, or none to
    speak of, one row a token."""
    if len(found) > 1:
        table = _table({"layer": "right"})
        table.add_column("tokens and scores")
        for one in found:
            pairs = zip(one.words, one.scores, strict=True)
            said = ", ".join(f"{word} {score:.1f}" for word, score in pairs)
            table.add_row(str(one.layer), escape(said))
        return table
    one = found[0]
    table = _table({"token": "left", "score": "right"})
    if one.probabilities is not None:
        table.add_column("probability", justify="right")
    for i, word in enumerate(one.words):
        p = [] if one.probabilities is None else [f"{one.probabilities[i]:.3f}"]
        table.add_row(escape(word), f"{one.scores[i]:.2f}", *p)
    return table


def similarity_table(names: Sequence[str], cosines: np.ndarray) -> Table:
    """The cosine of every two vectors."""
    table = _table({"": "left"} | dict.fromkeys(names, "right"))
    for name, row in zip(names, cosines, strict=True):
        table.add_row(name, *(decimals(cosine) for cosine in row))
    return table


def identified_table(found: Decomposition) -> Table:
    """One row a member, the largest coefficients first."""
    table = _table({"member": "left", "coefficient": "right", "cosine": "right"})
    for name in sorted(found.coefficients, key=lambda name: -abs(found.coefficients[name])):
        coefficient, cosine = found.coefficients[name], found.cosines[name]
        table.add_row(name, decimals(coefficient, 3), decimals(cosine))
    return table


def norms_table(ratios: Sequence[Ratio]) -> Table:
    """One row a layer: the stream's length, and the vector's as a share of it."""
    table = _table({"layer": "right", "stream": "right", "±": "right", "vector / stream": "right"})
    for one in ratios:
        table.add_row(
            str(one.layer), f"{one.stream:.1f}", f"{one.deviation:.1f}", f"{one.share:.2f}"
        )
    return table


def cost_table(costs: Mapping[str, OffTaskCost], seed: int = DEFAULT_SEED) -> Table:
    """One row a kind of off-task prompt; accuracies in per cent, with 95 % intervals."""
    table = _table({"off-task prompts": "left", "n": "right", "KL (nats)": "right",
                    "accuracy %": "right", "with the vector": "right",
                    "change": "right"})  # fmt: skip
    for kind, cost in costs.items():
        low, high = cost.kl_interval(seed)
        before, after = cost.accuracy_intervals(seed)
        table.add_row(
            OFF_TASKS[kind].doc, str(len(cost)), f"{cost.kl_mean:.3f} [{low:.3f}, {high:.3f}]",
            percent(cost.accuracy_before, *before), percent(cost.accuracy_after, *after),
            percent(cost.change, *cost.change_interval(seed), "+"),
        )  # fmt: skip
    return table


def answers_table(reply: Reply) -> Table:
    """The likeliest answers side by side."""
    table = _table({"answer": "left", "p": "right"})
    if reply.after is not None:
        table.add_column("with the vector", justify="left")
        table.add_column("p", justify="right")
    for i, (name, probability) in enumerate(reply.before):
        row = [escape(name), f"{probability:.3f}"]
        if reply.after is not None:
            other, other_probability = reply.after[i]
            row += [escape(other), f"{other_probability:.3f}"]
        table.add_row(*row)
    return table


def heads_table(heads: Sequence[HeadEffect]) -> Table:
    """Chosen heads, the best first, each with its mean score and that on every relation."""
    relations = list(heads[0].by_relation) if heads else []
    table = _table({"": "right", "head": "left"} | ({"mean": "right"} if relations else {})
                   | dict.fromkeys(relations, "right"))  # fmt: skip
    for place, head in enumerate(heads, 1):
        scores = [] if head.mean is None else [f"{head.mean:.3f}"]
        for score, interval in head.by_relation.values():
            shown = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
            scores.append(f"{score:.3f}{shown}")
        table.add_row(str(place), f"L{head.layer}H{head.head}", *scores)
    return table


def weights_table(weights: Sequence[Mapping[str, Any]]) -> Table:
    """Mean weights of the candidates of blends, one row a candidate."""
    table = _table({"eval": "left", "relation": "left", "layer": "right", "candidate": "left",
                    "mean weight": "right"})  # fmt: skip
    for i, row in enumerate(weights):
        new = i == 0 or weights[i - 1]["eval"] != row["eval"]
        if new and i:
            table.add_section()
        for j, one in enumerate(row["weights"]):
            first = (row["relation"], str(row["layer"])) if j == 0 else ("", "")
            table.add_row(row["eval"] if new and j == 0 else "", *first, one["vector"],
                          f"{one['weight']:.2f}")  # fmt: skip
    return table


def _table(columns: Mapping[str, str]) -> Table:
    """An empty table with columns by name and their side."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in columns.items():
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    return table
