"""Whether bfloat16 would pay as a first look at all heads on this processor.

    python benchmarks/precision.py

All heads' effects in float32, in bfloat16, and in float32 again for the eighth of the heads that
bfloat16 ranks first: what a screen with exact measurement of its best heads would take.  CPU time,
one thread, in turns; ratios are of the best of some rounds.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.measuring import rank_correlation
from benchmarks.mediation import MODELS, Setting
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.mediation import Mediation, mediate
from mfv_dsl.models.openflamingo import OpenFlamingo


def in_bf16(model: OpenFlamingo) -> OpenFlamingo:
    """A copy of the model in bfloat16."""
    return OpenFlamingo(
        copy.deepcopy(model.model).to(torch.bfloat16), model.tokenizer, model.preprocess,
        model.facts, model.image_size, model.pad_token,
    )  # fmt: skip


def effects(setting: Setting) -> Mediation:
    return mediate(setting.model, [setting.batch()], "left", setting.mean)


def order(effects: Mediation) -> list[int]:
    """Heads, the largest average effect first."""
    return torch.from_numpy(-effects.aie).flatten().argsort().tolist()


def measure(name: str, prompts: int, rounds: int) -> None:
    exact = Setting.of(MODELS[name](), prompts, 4)
    half = Setting(in_bf16(exact.model), exact.prompts, exact.mean)
    ours, theirs = effects(exact), effects(half)
    n_heads = exact.model.facts.n_heads
    count = max(10, exact.heads // 8)
    again = [
        [Edit("lm.attn", i // n_heads, "replace",
              exact.mean[i // n_heads, i % n_heads][None], (i % n_heads,))]
        for i in order(theirs)[:count]
    ]  # fmt: skip

    @torch.no_grad()
    def once_more() -> object:
        return encode_prefix(exact.model, exact.batch()).scores(again)

    ways: dict[str, Callable[[], object]] = {
        "exact": lambda: effects(exact), "bf16": lambda: effects(half), "again": once_more,
    }  # fmt: skip
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for way, run in ways.items():
            started = time.process_time()
            run()
            best[way] = min(best[way], time.process_time() - started)
    share = {way: seconds / best["exact"] for way, seconds in best.items()}
    found = len(set(order(ours)[:10]) & set(order(theirs)[:count]))
    print(
        f"{name}: bfloat16 takes {share['bf16']:.2f} of float32's time, {count} heads of "
        f"{exact.heads} again {share['again']:.2f}, both {share['bf16'] + share['again']:.2f};\n"
        f"  Spearman's correlation of the rankings {rank_correlation(ours.aie, theirs.aie):.3f}, "
        f"{found} of the exact first ten among those {count}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    has = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    print(f"this processor {'has' if has else 'does not have'} matrix units for bfloat16 (AMX)")
    for name in ("16x16", "tiny"):
        measure(name, asked.prompts, asked.rounds)


if __name__ == "__main__":
    main()
