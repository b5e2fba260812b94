"""How often a GPU is waited for, and how many kernels it is given: counts, without a GPU.

    python benchmarks/device_counts.py
    python benchmarks/device_counts.py --places      # where the waits are, the most first

The bundled model is worked on as if it were on a GPU (:mod:`benchmarks.pretended_gpu`), with 16
prompts in one batch.  The counts do not depend on the machine.  A wait costs a GPU's whole queue,
tens of microseconds or more, and a kernel about five on the processor's side: where a prompt has
few tokens, these decide how long a GPU takes, not its arithmetic.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.pretended_gpu import Counts, PretendedGpu
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.generation import generate
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.answers import measure_answers, object_names
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.courses import Settings
from mfv_dsl.methods.evaluation import adding, measure_many
from mfv_dsl.methods.mediation import mediate
from mfv_dsl.methods.off_task import off_task_costs
from mfv_dsl.methods.tuning import tune
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models import load

PROMPTS = 16
SCENES = Scenes(seed=11, count=80)
#: Ways of working: what each does once, and what it is told in.
WORK = {
    "a batch: tokens, pictures encoded": "batch",
    "extraction (task_mean)": "extraction",
    "mediation, all heads (mediate)": "mediation",
    'the same in tiny("llava")': "llava mediation",
    "estimates (attribute)": "attribution",
    "a sweep of 10 layers x 3 scales": "sweep",
    "answers under 4 vectors, full": "full",
    "answers under 4 vectors, generate": "generate",
    "a generation, full pass": "generation",
    "off-task cost of 4 vectors": "off_task",
    "a training, an epoch more": "epoch",
}


def works(gpu: PretendedGpu) -> dict[str, Callable[[], object]]:
    """What is counted, by name; everything has been run once."""
    model = load("tiny", device="cuda:0")
    facts = model.facts
    prompts = draw_prompts(SCENES, "left", "extract", PROMPTS, 4)
    bare = draw_prompts(SCENES, "left", "train", PROMPTS, 0)
    batch, zero_shot = model.batch(prompts, SCENES), model.batch(bare, SCENES)
    twins = model.batch([corrupt(p, "mix", SCENES, "extract") for p in prompts], SCENES)
    mean = task_mean(model, [batch], "left", correct_only=False).mean
    space = Space(facts.fingerprint, facts.d_model)
    vector = Vector(torch.randn(facts.d_model, generator=torch.Generator().manual_seed(0)), space)
    sweep = [adding(vector, layer, scale) for layer in range(facts.n_layers) for scale in (1, 2, 3)]
    few = [adding(vector, layer, 1.0) for layer in range(4)]
    names = object_names(SCENES, "extract")
    llava = load("tiny", name="llava", device="cuda:0")
    shown = llava.batch([corrupt(p, "mix", SCENES, "extract") for p in prompts], SCENES)
    heads = torch.zeros(llava.facts.n_layers, llava.facts.n_heads, llava.facts.head_dim)

    def new_batch() -> object:
        model.features.cache = type(model.features.cache)()  # nothing was seen before
        return model.batch(prompts, SCENES)

    def epochs(number: int) -> object:
        settings = Settings(layer=3, epochs=number, lr=0.01)
        return tune(model, [zero_shot], [zero_shot], vector, settings)

    return {
        "batch": new_batch,
        "extraction": lambda: task_mean(model, [batch], "left", correct_only=False),
        "mediation": lambda: mediate(model, [twins], "left", mean),
        "llava mediation": lambda: mediate(llava, [shown], "left", heads),
        "attribution": lambda: attribute(model, [twins], "left", mean),
        "sweep": lambda: measure_many(model, [batch], sweep),
        "full": lambda: measure_answers(model, [batch], few, "full", names),
        "generate": lambda: measure_answers(model, [batch], few, "generate", names),
        "generation": lambda: generate(model, batch, 4, few[0]),
        "off_task": lambda: off_task_costs(model, [batch], few),
        "1 epoch": lambda: epochs(1),
        "2 epochs": lambda: epochs(2),
    }


def measured() -> dict[str, Counts]:
    """The counts of each of :data:`WORK`."""
    with PretendedGpu() as gpu:
        found = {}
        for name, work in works(gpu).items():
            work()  # what is made once is made
            gpu.counts()
            work()
            found[name] = gpu.counts()
    one, two = found.pop("1 epoch"), found.pop("2 epochs")
    found["epoch"] = Counts(
        two.waits - one.waits, two.kernels - one.kernels, two.places - one.places,
        two.operations - one.operations,
    )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--places", action="store_true", help="where the waits are")
    parser.add_argument("--operations", action="store_true", help="which kernels there are")
    parser.add_argument("--only", metavar="TEXT", default="", help="work with this in its name")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measured()
    if asked.json:
        print(json.dumps({n: {"waits": c.waits, "kernels": c.kernels} for n, c in found.items()}))
        return
    print(
        f"{PROMPTS} prompts in one batch      waits a prompt   kernels a prompt   waits   kernels"
    )
    for label, name in WORK.items():
        if asked.only not in name:
            continue
        counts = found[name]
        print(
            f"  {label:<36} {counts.waits / PROMPTS:6.2f} {counts.kernels / PROMPTS:15.1f}"
            f" {counts.waits:12d} {counts.kernels:9d}"
        )
        if asked.places:
            for place, times in counts.places.most_common():
                print(f"      {times:5d}  {place}")
        if asked.operations:
            for place, times in counts.operations.most_common(25):
                print(f"      {times:5d}  {place}")


if __name__ == "__main__":
    main()
