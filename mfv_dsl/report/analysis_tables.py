"""Tables of what analyses of vectors give, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from mfv_dsl.base.numbers import decimals, p_value, percent
from mfv_dsl.report.grid import grid

if TYPE_CHECKING:
    from mfv_dsl.methods.decoding import VectorTokens
    from mfv_dsl.methods.geometry import Decomposition, Ratio
    from mfv_dsl.methods.model_comparison import Ceiling, ModelComparison
    from mfv_dsl.methods.off_task import CostRow


def decoded_table(decodings: Sequence[VectorTokens]) -> Table:
    """One row a layer, the likeliest tokens with their scores; where there is one layer, or none to
    speak of, one row a token."""
    if len(decodings) > 1:
        table = grid({"layer": "right"})
        table.add_column("tokens and scores")
        for decoding in decodings:
            pairs = zip(decoding.words, decoding.scores, strict=True)
            text = ", ".join(f"{word} {score:.1f}" for word, score in pairs)
            table.add_row(str(decoding.layer), text)
        return table
    decoding = decodings[0]
    probabilities = decoding.probabilities
    table = grid({"token": "left", "score": "right"})
    if probabilities is not None:
        table.add_column("probability", justify="right")
    for i, word in enumerate(decoding.words):
        p = [] if probabilities is None else [f"{probabilities[i]:.3f}"]
        table.add_row(word, f"{decoding.scores[i]:.2f}", *p)
    return table


def similarity_table(names: Sequence[str], cosines: np.ndarray) -> Table:
    """The cosine of every two vectors."""
    table = grid({"": "left", **dict.fromkeys(names, "right")})
    for name, row in zip(names, cosines, strict=True):
        table.add_row(name, *("–" if cosine != cosine else decimals(cosine) for cosine in row))
    return table


def identified_table(decomposition: Decomposition) -> Table:
    """One row a member, the largest coefficients first."""
    table = grid({"member": "left", "coefficient": "right", "cosine": "right"})
    coefficients = decomposition.coefficients
    for name in sorted(coefficients, key=lambda name: -abs(coefficients[name])):
        cosine = decomposition.cosines[name]
        table.add_row(name, decimals(coefficients[name], 3), decimals(cosine))
    return table


def norms_table(ratios: Sequence[Ratio]) -> Table:
    """One row a layer: the stream's length, and the vector's as a share of it."""
    table = grid({"layer": "right", "stream": "right", "±": "right", "vector / stream": "right"})
    for ratio in ratios:
        table.add_row(
            str(ratio.layer), f"{ratio.stream:.1f}", f"{ratio.deviation:.1f}", f"{ratio.share:.2f}"
        )
    return table


def cost_table(rows: Sequence[CostRow]) -> Table:
    """One row a kind of off-task prompt; accuracies in per cent, with 95 % intervals."""
    table = grid({"off-task prompts": "left", "n": "right", "KL (nats)": "right",
                  "accuracy %": "right", "with the vector": "right",
                  "change": "right"})  # fmt: skip
    for row in rows:
        low, high = row.kl_interval
        table.add_row(
            row.doc, str(row.n), f"{row.kl:.3f} [{low:.3f}, {high:.3f}]",
            percent(row.accuracy_before, *row.before_interval),
            percent(row.accuracy_after, *row.after_interval),
            percent(row.change, *row.change_interval, "+"),
        )  # fmt: skip
    return table


def models_compared_table(pairs: Mapping[tuple[str, str], ModelComparison]) -> Table:
    """One row for every two models: correlations of their dissimilarities, and CKA."""
    table = grid({"model": "left", "and": "left", "Spearman": "right", "p": "right",
                  "Pearson": "right", "p ": "right", "CKA": "right", "by chance": "right",
                  "p  ": "right"})  # fmt: skip
    for (one, other), pair in pairs.items():
        table.add_row(
            one, other, decimals(pair.spearman), p_value(pair.spearman_p),
            decimals(pair.pearson), p_value(pair.pearson_p), decimals(pair.cka),
            decimals(pair.cka_by_chance), p_value(pair.cka_p),
        )  # fmt: skip
    return table


def ceilings_lines(
    pairs: Mapping[tuple[str, str], ModelComparison], ceilings: Mapping[str, Ceiling]
) -> Iterator[str]:
    """What stands beside comparisons of models: which relations, what p-values can be, and how well
    models agree with themselves."""
    pair = next(iter(pairs.values()))
    how = "all" if pair.exact else "drawn"
    yield (
        f"{len(pair.relations)} relations: {', '.join(pair.relations)}; p-values of "
        f"{pair.orders:,} orders of them ({how}), so that none is below {pair.least_p:.2g}"
    )
    for name, own in ceilings.items():
        yield (
            f"{name}: its {own.sets} sets agree with one another by a Spearman correlation of "
            f"{decimals(own.lower)} to {decimals(own.upper)} (noise ceiling)"
        )


def answers_table(
    before: Sequence[tuple[str, float]], after: Sequence[tuple[str, float]] | None
) -> Table:
    """The likeliest answers with their probabilities; side by side, where there are others with a
    vector added."""
    table = grid({"answer": "left", "p": "right"})
    if after is not None:
        table.add_column("with the vector", justify="left")
        table.add_column("p", justify="right")
    for i, (name, probability) in enumerate(before):
        row = [name, f"{probability:.3f}"]
        if after is not None:
            other, other_probability = after[i]
            row += [other, f"{other_probability:.3f}"]
        table.add_row(*row)
    return table
