"""Writes the bundled model's card: ``python -m tools.tiny.card``.

The figures are those of ``recipes/testbed.mfv``, run here and now.
"""

from __future__ import annotations

import json

from mfv_dsl.api import run
from mfv_dsl.base.numbers import percent
from mfv_dsl.data.world import NOVEL_KINDS, RELATIONS
from mfv_dsl.execute.results import ResultRow
from mfv_dsl.models.tiny.facts import WEIGHTS
from tools.tiny.sequences import IN_CONTEXT_RELATIONS

_CARD = """\
---
library_name: mfv
license: mit
tags: [flamingo, in-context-learning, function-vectors, synthetic]
---
# The bundled Flamingo

A small Flamingo made of open_flamingo's own classes: GPT-NeoX language model ({layers} layers,
{heads} heads, d = {d_model}), open_clip vision transformer (3 layers, 40 × 40 px), perceiver
(16 latents), gated cross-attention before every second layer. {parameters} parameters, float32.
Patch tokens are taken before `ln_post`.

**Data.** Rendered scenes of coloured shapes (`mfv_dsl/data/world.py`), layouts of the `pretrain`
split alone; no layout of the splits extract, train, validation and test was seen. Never in an
in-context sequence, only by name: the relations {named_relations} and the kinds
{novel}. Nothing of function vectors enters the training.

**Training.** `{command}`, seed {seed}: {steps} steps,
{minutes} minutes of one thread. Stages and running accuracies are in `training_log.jsonl`.
`--seed N` trains another one, which recipes load by `tiny("DIR")`.

**Figures** (`mfv run testbed`; per cent correct [95 % interval], n = {n} a cell, held-out layouts):

{table}

The columns without "novel" ask about familiar kinds. Chance among the four neighbours is 25 %.
Zero-shot answers on diagonal scenes follow the two diagonal relations met in context, so the other
two are near 0; and they avoid kinds that were never an answer in context, so novel ones are too.
"""


def main() -> None:
    rows = run("testbed").rows
    config = json.loads((WEIGHTS / "config.json").read_text())["language"]
    log = [json.loads(line) for line in (WEIGHTS / "training_log.jsonl").read_text().splitlines()]
    card = _CARD.format(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        d_model=config["hidden_size"],
        parameters=f"{_parameters() / 1e6:.1f} M",
        named_relations=_listed([r for r in RELATIONS if r not in IN_CONTEXT_RELATIONS]),
        novel=_listed(NOVEL_KINDS),
        command="python -m tools.tiny.train --out DIR",
        seed=0,
        steps=f"{log[-1]['step']:,}",
        minutes=round(log[-1]["cpu_seconds"] / 60),
        n=rows[0].n,
        table=_table(rows),
    )
    (WEIGHTS / "README.md").write_text(card)
    print(card)


def _parameters() -> int:
    from mfv_dsl import load_model

    return sum(parameter.numel() for parameter in set(load_model("tiny").model.parameters()))


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]


def _table(rows: list[ResultRow]) -> str:
    """Relations down, conditions across."""
    conditions = list(dict.fromkeys((row.eval, row.shots) for row in rows))
    titles = [f"{'novel, ' if name.startswith('novel') else ''}{k}-shot" for name, k in conditions]
    lines = ["| relation | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for relation in RELATIONS:
        cells = []
        for name, k in conditions:
            row = next(r for r in rows if (r.eval, r.shots, r.relation) == (name, k, relation))
            cells.append(percent(row.accuracy, row.ci_low, row.ci_high))
        lines.append(f"| {relation} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
