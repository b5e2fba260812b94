"""Writes the table of recipes/paper/README.md: ``python docs/make_paper.py``."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import mfv_dsl as mfv
from mfv_dsl.plan.estimate import estimate_by_arithmetic
from mfv_dsl.plan.rates import device_rate

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "recipes" / "paper"
PAGE = FOLDER / "README.md"
BEGIN, END = "<!-- table: docs/make_paper.py -->\n", "<!-- end of the table -->\n"
#: by recipe: what of the paper it is, and what is published for OpenFlamingo-4B and for Qwen3-VL-4B
#: (accuracy in %), as secondary sources have it
ROWS = {
    "mediation": ("causal mediation: the effect of every head", "", ""),
    "heads": ("accuracy against the number of heads, 1–50", "", ""),
    "layers": ("accuracy against the layer", "layer 19", "layer 8"),
    "shots": ("vectors from 2, 4 and 8 examples", "", "4 shots: 26.8"),
    "spatial-4b": ("the main experiment: raw and tuned vectors", "zero-shot 4.8, raw 8–9", ""),
    "tuning": ("tuned vectors: the code's 10 epochs at 1e-2 and the text's 20 at 1e-3", "",
               "tuned up to 72.2"),
    "novel": ("objects that no prompt has shown", "", ""),
    "composition": ("relations that no vector was made of: sums and analogies, raw and tuned",
                    "composite 16.8, 4 shots 8.1", "composite 45.1, 4 shots 28.7"),
    "baselines": ("not in the paper: LoRA and a soft prompt on the same items", "", ""),
    "data/cutouts": ("the official synthetic pictures", "as above", "as above"),
    "data/gqa": ("photographs of GQA, seven spatial relations",
                 "zero-shot 11.8, 4 shots 19.0, tuned about 25", ""),
    "data/agentic": ("photographs of GQA, agentic relations", "", ""),
    "data/transfer": ("from drawn pictures to photographs", "", ""),
}  # fmt: skip
#: Pictures of the official synthetic folders, and of each half of the filtered photographs.
SYNTHETIC = {"extract": 4000, "train": 1000, "test": 1000}
PHOTOGRAPHS = 2113
SPATIAL = (
    "above",
    "below",
    "to the left of",
    "to the right of",
    "next to",
    "behind",
    "in front of",
)
AGENTIC = ("wearing", "holding", "riding")


def table() -> str:
    """One row for each recipe and model."""
    lines = [
        "| of the paper | `mfv run …` | a100, hours | published, % |",
        "| --- | --- | ---: | --- |",
    ]
    with TemporaryDirectory() as folder:
        write_stand_ins(Path(folder))
        before = Path.cwd()
        os.chdir(folder)  # paths of files are from here
        try:
            lines += map(_row, _recipes())
        finally:
            os.chdir(before)
    return "\n".join(lines) + "\n"


def _recipes() -> list[tuple[str, str, str]]:
    """What each recipe is of the paper, its name, and what is published."""
    return [
        (what, f"{model}{name}", figure)
        for name, (what, *published) in ROWS.items()
        for model, figure in zip(("", "qwen3-vl/"), published, strict=True)
        if (FOLDER / f"{model}{name}.mfv").exists()
    ]


def _row(recipe: tuple[str, str, str]) -> str:
    what, name, figure = recipe
    took = hours(FOLDER / f"{name}.mfv")
    return f"| {what} | `paper/{name}` | {took:.2g} | {figure or '–'} |"


def hours(path: Path) -> float:
    """How long a recipe takes by arithmetic, from an empty store."""
    plan = mfv.Recipe.from_file(path).plan()
    return estimate_by_arithmetic(plan, (), device_rate("a100")).total / 3600


def write_stand_ins(folder: Path) -> None:
    """Files in the form of the official ones, as many pictures, none of which can be looked at:
    a photograph has one relation, in turn."""
    objects = [f"thing{number}" for number in range(40)]
    for split, count in SYNTHETIC.items():
        place = folder / "data" / "synthetic" / split
        place.mkdir(parents=True)
        sides = ("above", "below", "left", "right")
        fields = ["image_name", "anchor", *(f"{side}_object" for side in sides)]
        with (place / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(fields)
            for number in range(count):
                name = f"image_{number}.png"
                (place / name).write_bytes(f"{split} {number}".encode())
                names = [objects[(number + step) % len(objects)] for step in range(5)]
                writer.writerow([name, *names])
    images = folder / "data" / "gqa" / "raw" / "images"
    images.mkdir(parents=True)
    for where, name, predicates in (
        ("processed", "spatial", SPATIAL), ("agentic", "agentic", AGENTIC)
    ):  # fmt: skip
        (folder / "data" / "gqa" / where).mkdir()
        for half, part in enumerate(("train", "test")):
            entries = []
            for number in range(PHOTOGRAPHS):
                key = str(number + half * PHOTOGRAPHS)
                (images / f"{key}.jpg").write_bytes(key.encode())
                names = [objects[(number + step) % len(objects)] for step in range(3)]
                entries.append({
                    "image_id": key,
                    "objects": [{"name": one, "bbox": {"x": 0, "y": 0, "w": 9, "h": 9}}
                                for one in names],
                    "relations": [{"subject": names[0], "object": names[1],
                                   "predicate": predicates[number % len(predicates)]}],
                })  # fmt: skip
            file = folder / "data" / "gqa" / where / f"gqa_filtered_{name}_{part}.json"
            file.write_text(json.dumps(entries), encoding="utf-8")


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
