"""All that a lent GPU is asked, in one go of ten minutes at most: results and targets as JSON.

    python benchmarks/on_gpu.py --out gpu.json                          # on a GPU
    python benchmarks/on_gpu.py --shape tiny --device cpu --out x.json  # the same in miniature

Every part is a process of its own with its own limit of time, so that one that fails or takes too
long costs the others nothing; the file is written anew after each.  The parts:

- ``same``: the bundled model's effects, answers and training there and on the processor;
- ``mediation``: OpenFlamingo-4B's shape, against the official way and a KV cache written by hand;
- ``vision_language``: Qwen3-VL-4B's shape;
- ``paper``: the paper's main recipe at reduced counts, with peak memory.

Targets: mediation at least 300 times as fast as the official way and 10 times as fast as the KV
cache by hand, and its variants' pass at least 40 % of the rate of a plain product of the model's
own shape in the model's precision.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from mfv_dsl.base.files import write_atomically

HERE = Path(__file__).parent
#: By part: the script's options for the whole shape and in miniature, and its limit in seconds.
PARTS = {
    "same": ("", "", 60),
    "mediation": (
        "--model 4b --prompts 8 --rounds 3 --passes 4 --json",
        "--model tiny --prompts 2 --rounds 1 --passes 1 --json", 150,
    ),
    "vision_language": (
        "--shape 4b --dtype bf16 --prompts 8 --sample 12", "--layers 2 --prompts 1 --sample 2", 120,
    ),
    "paper": ("--shape 4b --count 16 --json", "--shape small --count 4 --json", 240),
}  # fmt: skip
#: What mediation should reach: a name, the least, and where it is found.
TARGETS = {
    "times as fast as the official way": 300.0,
    "times as fast as a KV cache by hand": 10.0,
    "share of the matrix rate": 0.4,
}


def run(part: str, shape: str, device: str, limit: float) -> dict[str, Any]:
    """What a part says, with its seconds; or what went wrong (``error``)."""
    options = PARTS[part][0 if shape == "4b" else 1].split()
    script = HERE / ("on_gpu.py" if part == "same" else f"{part}.py")
    command = [sys.executable, str(script), *options, "--device", device]
    if part == "same":
        command.append("--same")
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(HERE.parent)}
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=HERE.parent, env=environment, timeout=limit, text=True,
            capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {limit:.0f} s"}
    seconds = round(time.perf_counter() - started, 1)
    if done.returncode:
        return {"error": (done.stderr or done.stdout)[-2000:], "seconds": seconds}
    return {"seconds": seconds, "printed": done.stdout, "found": last_json(done.stdout)}


def last_json(text: str) -> Any:
    """The JSON that a script prints at its end, behind whatever else it prints."""
    lines = text.rstrip().splitlines()
    for start in range(len(lines) - 1, -1, -1):
        if lines[start][:1] in ("[", "{"):
            try:
                return json.loads("\n".join(lines[start:]))
            except json.JSONDecodeError:
                continue
    raise ValueError("the script printed no JSON")


def reached(mediation: dict[str, Any]) -> dict[str, float]:
    """What mediation reached, by the names of :data:`TARGETS`."""
    ratios = {way: statistics.median(values) for way, values in mediation["ratios"].items()}
    official = next(ratio for way, ratio in ratios.items() if "official way" in way)
    by_hand = ratios["KV cache by hand, all prompts"]
    rate = mediation["rate"] / mediation["matrix_rate"]
    return dict(zip(TARGETS, (official, by_hand, rate), strict=True))


def report(parts: dict[str, Any], shape: str, device: str) -> dict[str, Any]:
    """All that is known so far."""
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else platform.processor()
    found: dict[str, Any] = {
        "device": name, "torch": torch.__version__, "python": platform.python_version(),
        "shape": shape, "parts": parts, "targets": {},
    }  # fmt: skip
    if "found" in parts.get("mediation", {}):
        got = reached(parts["mediation"]["found"][0])
        found["targets"] = {
            name: {"reached": got[name], "least": least, "met": got[name] >= least}
            for name, least in TARGETS.items()
        }
    return found


def same(device: str) -> dict[str, float]:
    """How far what comes out there is from what comes out on the processor."""
    from mfv_dsl.data.prompts import draw_prompts
    from mfv_dsl.data.scenes import Scenes
    from mfv_dsl.methods.activations import task_mean
    from mfv_dsl.methods.answers import measure_answers, object_names
    from mfv_dsl.methods.courses import Settings
    from mfv_dsl.methods.evaluation import adding
    from mfv_dsl.methods.mediation import mediate
    from mfv_dsl.methods.tuning import tune
    from mfv_dsl.methods.vectors import Space, Vector
    from mfv_dsl.models import load_anew

    scenes = Scenes(seed=11, count=80)
    prompts = draw_prompts(scenes, "left", "extract", 16, 4)
    bare = draw_prompts(scenes, "left", "train", 16, 0)
    names = object_names(scenes, "extract")
    by_device = []
    for where in ("cpu", device):
        model = load_anew("tiny", device=where)
        batch, zero_shot = model.batch(prompts, scenes), model.batch(bare, scenes)
        mean = task_mean(model, [batch], "left").mean
        effects = torch.from_numpy(mediate(model, [batch], "left", mean).cie)
        space = Space(model.facts.fingerprint, model.facts.d_model)
        numbers = torch.randn(space.d_model, generator=torch.Generator().manual_seed(0))
        vector = Vector(numbers, space)
        answers = [
            torch.from_numpy(answer.outcomes.p_answer)
            for how in ("first", "full", "generate")
            for answer in measure_answers(model, [batch], [[], adding(vector, 3, 1.0)], how, names)
        ]
        settings = Settings(layer=3, epochs=2, lr=0.01)
        tuned = tune(model, [zero_shot], [zero_shot], vector, settings)
        by_device.append({
            "means": mean, "effects": effects, "answers": torch.cat(answers),
            "trained": tuned.residual,
        })  # fmt: skip
    return {
        name: float((value - by_device[1][name]).abs().max())
        for name, value in by_device[0].items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=("4b", "tiny"), default="4b")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, help="the file that the results go into")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="parts to run")
    parser.add_argument("--same", action="store_true", help="that part alone, in this process")
    asked = parser.parse_args()
    if asked.same:
        print(json.dumps(same(asked.device)))
        return 0
    parts: dict[str, Any] = {}
    for part in asked.only or PARTS:
        parts[part] = run(part, asked.shape, asked.device, PARTS[part][2])
        found = report(parts, asked.shape, asked.device)
        if asked.out is not None:
            write_atomically(asked.out, (json.dumps(found, indent=2) + "\n").encode())
        print(f"{part}: {parts[part].get('error', 'done')}", flush=True)
    for name, target in found["targets"].items():
        met = "met" if target["met"] else "missed"
        print(f"{name}: {target['reached']:.3g}, target {target['least']:g}: {met}")
    return int(any("error" in part for part in parts.values()))


if __name__ == "__main__":
    sys.exit(main())
