"""The paper's main recipe on a model of OpenFlamingo's true shape with random weights.

    python benchmarks/paper.py                                   # a small shape, on the CPU
    python benchmarks/paper.py --shape 4b --device cuda --count 16

A random checkpoint is written in the published layout, loaded like a real one, and
``recipes/paper/spatial-4b.mfv`` is run on it, with 800 × 800 pictures and reduced counts: every
stage, mediation of all heads included.  Accuracies mean nothing; time by stage and peak memory do.
Prompts answered wrongly are used too, since a random model answers none rightly.  What mediation
costs the plain way on the same shape is measured by ``benchmarks/mediation.py --model 4b``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from mfv_dsl.api import Recipe
from mfv_dsl.models.flamingo_classes import declare_torchvision_operators
from tests.models.checkpoints.support import VISION, write_checkpoint


def write(folder: Path, shape: str) -> Path:
    """The checkpoint, in bfloat16."""
    declare_torchvision_operators()
    import open_clip

    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        if shape == "small":
            return write_checkpoint(folder, "gpt_neox", 8, 2, 8, 256, copy.deepcopy(VISION),
                                    num_attention_heads=8, max_position_embeddings=512)  # fmt: skip
        clip = {**open_clip.get_model_config("ViT-L-14"), "quick_gelu": True}
        return write_checkpoint(folder, "gpt_neox", 155, 2, 32, 2560, clip, tokens=50_277,
                                num_attention_heads=32, max_position_embeddings=2048)  # fmt: skip
    finally:
        torch.set_default_dtype(usual)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=("small", "4b"), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=8, help="prompts and items of each kind")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    layers = 8 if arguments.shape == "small" else 32
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place) / "model", arguments.shape)
        os.chdir(place)  # the store, the run and the saved vectors go with it
        os.environ["MFV_HOME"] = f"{place}/store"
        few = arguments.count
        options = (
            f'flamingo=openflamingo("{folder}", dtype=bf16, device="{arguments.device}")',
            f"defaults.trials={few}", f"defaults.items={few}", f"defaults.layer=0..{layers - 1}",
            "defaults.correct_only=false", f"shapes.count={2 * few}", f"tuned.items={few}",
            f"tuned.select_items={few}", "tuned.epochs=2", f"tuned.layer={layers // 2}",
            f"trained.layer={layers // 2}", "few_shot.shots=[2, 4]",
            f"initial.layer=0..{layers - 1}", "initial.choose=[layer]",
        )  # fmt: skip
        recipe = Recipe.from_file("paper/spatial-4b", options)
        # a model of random weights answers nothing with examples, so that such items are not asked
        evals = {row.eval for row in recipe.plan().rows} - {"zero_shot", "raw"}
        result = recipe.run("run", only=[*sorted(evals), "vectors/spatial-4b"])
        seconds: dict[str, float] = defaultdict(float)
        steps: dict[str, int] = defaultdict(int)
        manifest = json.loads(Path("run/manifest.json").read_text())
        for step in result.plan.steps:
            seconds[step.operation] += manifest["seconds"][step.key]
            steps[step.operation] += 1
        print(
            f"{arguments.shape} on {arguments.device}, {few} prompts of each kind, "
            "800 x 800 pictures"
        )
        for operation, total in sorted(seconds.items(), key=lambda item: -item[1]):
            print(f"  {operation:<12} {steps[operation]:>3} steps {total:8.1f} s")
        print(f"  {'all':<12} {'':>9} {result.seconds:8.1f} s, {len(result.rows)} rows")
        peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
        if arguments.device.startswith("cuda"):
            peak["GPU"] = torch.cuda.max_memory_allocated() / 2**30
        shown = ", ".join(f"{where} {size:.1f} GiB" for where, size in peak.items())
        print(f"  peak memory: {shown}")
        if arguments.json:
            print(json.dumps({"seconds": seconds, "all": result.seconds, "peak_gib": peak}))
        os.chdir("/")


if __name__ == "__main__":
    main()
