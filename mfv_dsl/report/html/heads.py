"""Sets of attention heads: a list of the best, and a small map of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mfv_dsl.report.html.elements import counted, picture, remark, table, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mfv_dsl.methods.selection import Head, Heads

_MOST = 12
#: Blue below zero and orange above, which colour-blind people tell apart; grey where no head is.
_LOW, _HIGH, _NOTHING = (0, 114, 178), (230, 120, 0), (150, 150, 150)
_CELL, _WIDEST = 12, 512  # pixels


def heads_html(heads: Heads) -> str:
    """The heads of a set, best first, and the scores of all heads as a map."""
    scores = None if heads.scores is None else heads.scores.detach().cpu().float().numpy()
    kind = "cross-attention head" if heads.site == "xattn" else "attention head"
    count = counted(len(heads.chosen), kind)
    lines = [title(count, "" if scores is None else "best first")]
    named = None if scores is None else [float(scores[head]) for head in heads.chosen]
    lines.append(head_table(heads.chosen, {} if named is None else {"score": named}))
    if scores is not None and scores.size:
        lines.append(score_map(scores, heads.chosen))
    return "".join(lines)


def head_table(heads: Sequence[Head], numbers: dict[str, Sequence[float]]) -> str:
    """Heads one a line, with numbers of each by title; the first of many."""
    rows = [
        (str(place + 1), f"L{layer}H{head}", *(f"{each[place]:.3g}" for each in numbers.values()))
        for place, (layer, head) in enumerate(heads[:_MOST])
    ]
    text = table(("", "head", *numbers), rows, ("head",)) if rows else ""
    more = len(heads) - _MOST
    return text + (remark(f"and {more:,} more") if more > 0 else "")


def score_map(scores: np.ndarray, chosen: Sequence[Head]) -> str:
    """Scores (layers, heads) as a picture, a layer a row from the top; chosen heads have a dot."""
    from PIL import Image

    layers, heads = scores.shape
    cell = max(1, min(_CELL, _WIDEST // max(layers, heads)))
    there = np.isfinite(scores)
    most = float(np.abs(scores[there]).max(initial=0)) or 1.0
    share = np.clip(np.nan_to_num(scores / most, posinf=0, neginf=0), -1, 1)
    pixels = np.zeros((layers, heads, 4), np.uint8)
    pixels[..., :3] = np.where(share[..., None] < 0, _LOW, _HIGH)
    pixels[..., 3] = np.where(there, np.rint(255 * np.abs(share)), 60)
    pixels[~there, :3] = _NOTHING
    pixels = pixels.repeat(cell, 0).repeat(cell, 1)
    middle = slice(cell // 2 - 1, cell // 2 + 1) if cell >= 4 else slice(0, 0)
    for layer, head in chosen:
        dot = pixels[layer * cell : (layer + 1) * cell, head * cell : (head + 1) * cell]
        dot[middle, middle] = (120, 120, 120, 255)
    about = (f"scores of {layers} layers (rows, from the top) by {heads} heads; "
             f"orange above zero, blue below, strongest {most:.3g}")  # fmt: skip
    frame = "display:inline-block;line-height:0;border:1px solid rgba(128,128,128,.5)"
    return f"<div style='{frame}'>{picture(Image.fromarray(pixels), about)}</div>" + remark(about)
