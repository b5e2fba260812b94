"""Writes the bundled LLaVA's card: ``python -m tools.llava.card DIR``.

Every figure is read from ``config.json``, ``training.json`` and ``figures.json`` of the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mfv_dsl.base.numbers import percent
from mfv_dsl.data.world import NOVEL_KINDS, RELATIONS
from tools.tiny.sequences import IN_CONTEXT_RELATIONS

_CARD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
license: mit
tags: [llava, in-context-learning, function-vectors, synthetic]
---
# The bundled LLaVA

A small `LlavaForConditionalGeneration` of transformers: CLIP vision tower ({vision_layers} layers,
{size} × {size} px, {pictures} tokens a picture, features of its last layer), Llama language model
({layers} layers, {heads} heads, d = {d_model}, MLP {mlp}, tied embeddings). {parameters}
parameters, float32. `LlavaForConditionalGeneration.from_pretrained` and
`AutoProcessor.from_pretrained` load this folder.

**Text.** `<image>Q:red circle. A: blue ring.\\n` for each example, then `<image>Q:green cross. A:`.
One token a word or kind of object, each with the space in front of it; the answer ` blue ring` is
one token. Generation ends its answer by itself: `.`, a new line, then `</s>`.

**Data.** Rendered scenes of coloured shapes (`mfv_dsl/data/world.py`), layouts of the `pretrain`
split alone; no layout of the splits extract, train, validation and test was seen. Never in an
in-context sequence, only by name: the relations {named_relations} and the kinds
{novel}. Nothing of function vectors enters the training.

**Training.** `{command}`: {steps} steps, {seconds}
CPU-seconds ({minutes} minutes of {threads} thread). Stages and running accuracies are in
`training.json`. Before the first step, embeddings are set at right angles to each other, and the
heads of the first two layers so that they look for what is like the token at hand and copy it. The
vision tower learns to say pictures in terms of the embeddings, and is frozen from then on.

**Figures** (`{measured}`; per cent correct among all tokens,
first answer token [Wilson's 95 % interval], held-out layouts).
Relation never named, n = {n} a cell:

{context}

Relation named in the question (`Q:left red circle. A:`), no examples, n = {n} a cell:

{named}

| question | accuracy | n |
|---|---|---|
{others}

The columns without "novel" ask about familiar kinds. Chance among the four neighbours is 25 %.
Zero-shot answers on diagonal scenes follow the two diagonal relations met in context, so the other
two are low; and they avoid kinds that were never an answer in context, so novel ones are too.
"""
_OTHERS = {
    "what": "what stands in a cell (`Q:what p5. A:`)",
    "where": "where an object stands (`Q:where red circle. A:`)",
    "ends itself": "after four examples, generation is the answer, `.`, a new line and `</s>`",
}


def card(folder: Path) -> str:
    """The card's text."""
    config = _read(folder / "config.json")
    training = _read(folder / "training.json")
    measured = _read(folder / "figures.json")
    text, vision = config["text_config"], config["vision_config"]
    figures = {(f["measure"], f["shots"], f["relation"]): f for f in measured["figures"]}
    columns = list(dict.fromkeys((f["measure"], f["shots"]) for f in measured["figures"]))
    return _CARD.format(
        vision_layers=vision["num_hidden_layers"],
        size=vision["image_size"],
        pictures=config["image_seq_length"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        d_model=text["hidden_size"],
        mlp=text["intermediate_size"],
        parameters=f"{training['parameters'] / 1e6:.2f} M",
        named_relations=_listed([r for r in RELATIONS if r not in IN_CONTEXT_RELATIONS]),
        novel=_listed(NOVEL_KINDS),
        command=training["command"],
        steps=f"{training['steps']:,}",
        seconds=f"{training['cpu_seconds']:,}",
        minutes=round(training["cpu_seconds"] / 60),
        threads=training["threads"],
        measured=measured["command"],
        n=figures["familiar", 4, "left"]["n"],
        context=_table(figures, [c for c in columns if c[0] in ("familiar", "novel")]),
        named=_table(figures, [c for c in columns if c[0].startswith("named")]),
        others="\n".join(
            f"| {title} | {_cell(figures[name, shots, ''])} | {figures[name, shots, '']['n']} |"
            for name, shots in columns
            if (title := _OTHERS.get(name))
        ),
    )


def _table(figures: dict[Any, dict[str, Any]], columns: list[tuple[str, int]]) -> str:
    """Relations down, measures across."""
    titles = [
        f"{'novel, ' if 'novel' in name else ''}{'named' if 'named' in name else f'{k}-shot'}"
        for name, k in columns
    ]
    lines = ["| relation | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for relation in RELATIONS:
        cells = [_cell(figures[name, shots, relation]) for name, shots in columns]
        lines.append(f"| {relation} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: dict[str, Any]) -> str:
    return percent(figure["accuracy"], figure["low"], figure["high"])


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (folder / "README.md").write_text(card(folder))
    print(card(folder))


if __name__ == "__main__":
    main()
