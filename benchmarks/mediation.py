"""All-head causal mediation: the prefix engine, one full pass per head, and a KV cache by hand.

    python benchmarks/mediation.py                # both models, all figures
    python benchmarks/mediation.py --model tiny --rounds 9
    python benchmarks/mediation.py --model 4b --device cuda --prompts 8 --rounds 3

The plain way is what published code does, written afresh as an honest best effort: for every head
one ``Flamingo.forward`` of one prompt, its images encoded each time, the head replaced by a hook,
no autograd graph.  One pass per head is too slow to repeat for every head and prompt, so some
passes over different heads are timed in each round and multiplied by the number of heads and the
one unedited pass.  Our side is timed whole: images encoded once, prefix, all heads, all prompts.

The KV-cache script (:mod:`benchmarks.kv_cache`) is what a careful user writes with open_flamingo,
transformers and hooks: images encoded once, the prefix once, then for every layer one batch of last
tokens with a row for each head; a prompt at a time, or with all prompts in the batch.  The last
tokens are given their last picture, which is all that text sees, or all pictures, as open_flamingo
does by itself.  It is timed whole, too.

All run in one process on one thread, in turns; ratios are taken round by round.  Effects must be
the same within rounding, else the script fails.

Also printed: the largest differences of effects, peak memory, time against prompts, shots and
heads, and the rate of multiplications reached against this machine's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.kv_cache import cached_probabilities
from benchmarks.measuring import agree, machine, middle, rank_correlation, ratios
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.attribution import attribute
from mfv_dsl.methods.mediation import mediate, mediate_plain
from mfv_dsl.models import load
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.models.tiny.build import CONFIG, build_flamingo
from mfv_dsl.models.tiny.load import preprocess
from mfv_dsl.models.tiny.tokenizer import END_OF_CHUNK, IMAGE, PAD, build_tokenizer
from tests.conftest import small_flamingo

SCENES = Scenes(seed=11, count=80)
DEVICE = torch.device("cpu")

#: OpenFlamingo-4B's sizes: RedPajama-INCITE-3B, CLIP ViT-L/14, cross-attention every second layer.
SHAPE_4B: dict[str, Any] = {
    "vision": {"image_size": 224, "patch_size": 14, "width": 1024, "layers": 24, "heads": 16,
               "mlp_ratio": 4.0, "output_dim": 768},
    "perceiver": {"depth": 6, "heads": 8, "dim_head": 64, "num_latents": 64},
    "cross_attention": {"every": 2, "heads": 8, "dim_head": 64, "ff_mult": 4},
    "language": {**CONFIG["language"], "hidden_size": 2560, "num_hidden_layers": 32,
                 "num_attention_heads": 32, "intermediate_size": 10240},
}  # fmt: skip


def shape_of_4b() -> OpenFlamingo:
    """A Flamingo of OpenFlamingo-4B's exact shape with random weights in bfloat16; its words are
    the bundled tokenizer's."""
    tokenizer = build_tokenizer()
    ids = tokenizer.get_vocab()
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with DEVICE:
            model = build_flamingo(SHAPE_4B, 50435, ids[IMAGE], ids[END_OF_CHUNK])
    finally:
        torch.set_default_dtype(usual)
    sizes = SHAPE_4B["language"]
    layers, heads = sizes["num_hidden_layers"], sizes["num_attention_heads"]
    width = sizes["hidden_size"]
    facts = ModelFacts(layers, heads, width // heads, width, "random-4b")
    return OpenFlamingo(
        model, tokenizer, lambda pictures: preprocess(pictures, 224), facts, 224, ids[PAD]
    )


MODELS: dict[str, Callable[[], OpenFlamingo]] = {
    "tiny": lambda: load("tiny", device=str(DEVICE)),
    "16x16": lambda: small_flamingo(layers=16, heads=16, d_model=512),
    "4b": shape_of_4b,
}
USUAL = ("tiny", "16x16")
OURS, PLAIN = "shared prefix (mediate)", "a full pass a head (official way)"
ONE, ALL = "KV cache by hand, a prompt at once", "KV cache by hand, all prompts"
PICTURES = "the same, handing on all pictures"
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.05}  # of probabilities


def clock() -> float:
    """Seconds: CPU time, or on a GPU wall-clock time with all work done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


@dataclass(frozen=True)
class Setting:
    """A model, prompts of one relation, and a mean for every head."""

    model: OpenFlamingo
    prompts: list[Prompt]
    mean: torch.Tensor

    @classmethod
    def of(cls, model: OpenFlamingo, prompts: int, shots: int) -> Setting:
        facts = model.facts
        torch.manual_seed(0)
        mean = torch.randn(facts.n_layers, facts.n_heads, facts.head_dim)
        return cls(model, draw_prompts(SCENES, "left", "test", prompts, shots), mean)

    @property
    def heads(self) -> int:
        return self.model.facts.n_layers * self.model.facts.n_heads

    def batch(self) -> PromptBatch:
        return self.model.batch(self.prompts, SCENES)


def shared_prefix(setting: Setting) -> float:
    """CPU seconds a prompt of every head's effect, images and all."""
    started = clock()
    mediate(setting.model, [setting.batch()], "left", setting.mean)
    return (clock() - started) / len(setting.prompts)


def plain(setting: Setting, passes: int, first: int) -> float:
    """CPU seconds a prompt of every head's effect by full passes, from ``passes`` of them."""
    model, prompt = setting.model, setting.prompts[first % len(setting.prompts)]
    batch = model.batch([prompt], SCENES)
    pixels = model.preprocess(SCENES.pictures(prompt.images, model.image_size))[None, :, None]
    pixels = pixels.to(batch.media)
    facts = model.facts
    started = clock()
    for i in range(passes):
        place = (first + i) * 7 % setting.heads
        layer, head = divmod(place, facts.n_heads)
        edit = Edit("lm.attn", layer, "replace", setting.mean[layer, head : head + 1], (head,))
        with torch.no_grad(), Hooks(model.model, model.sites, [edit]):
            logits = model.model(
                vision_x=pixels, lang_x=batch.tokens, attention_mask=batch.mask
            ).logits
            logits[:, -1].softmax(-1)
    return (clock() - started) / passes * (setting.heads + 1)


def by_hand(setting: Setting, at_once: int, all_pictures: bool = False) -> torch.Tensor:
    """Effects by the KV-cache script, (prompts, layers, heads), so many prompts at once."""
    batch = setting.batch()
    parts = []
    for start in range(0, len(setting.prompts), at_once):
        rows = slice(start, start + at_once)
        part = replace(
            batch, prompts=batch.prompts[rows], tokens=batch.tokens[rows], mask=batch.mask[rows],
            media=batch.media[rows], answers=batch.answers[rows],
        )  # fmt: skip
        before, after = cached_probabilities(setting.model.model, part, setting.mean, all_pictures)
        parts.append(after - before[:, None, None])
    return torch.cat(parts)


def timed_by_hand(setting: Setting, at_once: int, all_pictures: bool = False) -> float:
    """Seconds a prompt of the KV-cache script."""
    started = clock()
    by_hand(setting, at_once, all_pictures)
    return (clock() - started) / len(setting.prompts)


def differences(setting: Setting) -> dict[str, float]:
    """Largest differences of our effects from the other ways', over all heads of two prompts."""
    two = replace(setting, prompts=setting.prompts[:2])
    batch = two.batch()
    ours = torch.from_numpy(mediate(two.model, [batch], "left", two.mean).cie)
    others = {
        PLAIN: torch.from_numpy(mediate_plain(two.model, [batch], "left", two.mean).cie),
        ONE: by_hand(two, 1).float().cpu(),
        ALL: by_hand(two, 2).float().cpu(),
        PICTURES: by_hand(two, 2, all_pictures=True).float().cpu(),
    }
    return {name: float((other - ours).abs().max()) for name, other in others.items()}


def matrix_rate(model: OpenFlamingo) -> float:
    """Multiply-adds a second of this machine on the model's own MLP shape, best of several."""
    width, dtype = model.facts.d_model, model.model.perceiver.latents.dtype
    a = torch.randn(1024, width).to(DEVICE, dtype)
    b = torch.randn(width, 4 * width).to(DEVICE, dtype)
    best = 0.0
    for _ in range(20):
        started = clock()
        for _ in range(5):
            a @ b
        best = max(best, 5 * a.shape[0] * b.numel() / (clock() - started))
    return best


@dataclass(frozen=True)
class Work:
    """Multiply-adds with the language model's weights for one prompt."""

    plain: float  # one full pass per head and one more
    prefix: float  # all tokens but the last, once, up to the last layer's keys
    variants: float  # every head from its layer's projection on, one unedited copy all through


def work_of(setting: Setting, length: int) -> Work:
    """The arithmetic of both ways for a prompt of ``length`` tokens."""
    model, facts = setting.model, setting.model.facts
    language = model.model.lang_encoder
    layers, before_heads = [], []
    for block, gate in zip(
        language.old_decoder_blocks, language.gated_cross_attn_layers, strict=True
    ):
        weights = sum(p.numel() for p in block.parameters() if p.ndim == 2)
        before = block.attention.query_key_value.weight.numel()
        if gate is not None:
            crossing = sum(p.numel() for p in gate.parameters() if p.ndim == 2)
            crossing -= gate.attn.to_kv.weight.numel()  # of images, not of tokens
            weights, before = weights + crossing, before + crossing
        layers.append(weights)
        before_heads.append(before)
    above = [sum(layers[i:]) for i in range(facts.n_layers)]
    logits = language.get_output_embeddings().weight.numel()
    return Work(
        plain=(setting.heads + 1) * length * (above[0] + logits),
        prefix=(length - 1) * (above[0] - layers[-1] + before_heads[-1]),
        variants=facts.n_heads * (sum(above) - sum(before_heads))
        + above[0]
        + (setting.heads + 1) * logits,
    )


def variants_seconds(setting: Setting) -> float:
    """Seconds of the variants' pass over all prompts, the prefix already run."""
    model, facts = setting.model, setting.model.facts
    prefix = encode_prefix(model, setting.batch())
    variants = [
        [Edit("lm.attn", i, "replace", setting.mean[i, j : j + 1], (j,))]
        for i in range(facts.n_layers)
        for j in range(facts.n_heads)
    ]
    with torch.no_grad():
        prefix.scores(variants)
        started = clock()
        prefix.scores(variants)
    return clock() - started


def measure(name: str, prompts: int, shots: int, rounds: int, passes: int) -> dict[str, object]:
    """One model: ratio, agreement, rate and scaling."""
    model = MODELS[name]()
    setting = Setting.of(model, prompts, shots)
    length = setting.batch().tokens.shape[1]
    apart = differences(setting)
    agree(apart, ROUNDING[setting.batch().media.dtype])
    ways: dict[str, Callable[[int], float]] = {
        OURS: lambda _: shared_prefix(setting),
        PLAIN: lambda turn: plain(setting, passes, turn * passes),
        ONE: lambda _: timed_by_hand(setting, 1),
        ALL: lambda _: timed_by_hand(setting, prompts),
        PICTURES: lambda _: timed_by_hand(setting, prompts, all_pictures=True),
    }
    shared_prefix(setting), plain(setting, 1, 0)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way, run in ways.items():
            seconds[way].append(run(turn))
    compared = ratios(seconds, OURS)
    work = work_of(setting, length)
    rate = work.variants * prompts / variants_seconds(setting)
    own = matrix_rate(model)
    facts = model.facts
    for line in (
        f"\n{name}: {facts.n_layers} layers x {facts.n_heads} heads, d = {facts.d_model}; "
        f"{prompts} prompts of {length} tokens",
        f"  {'':36}{'ms a prompt':36}{'ratio':26}difference",
        *(
            f"  {way:36}{middle([1000 * value for value in seconds[way]]):36}"
            + (f"{middle(compared[way]):26}{apart[way]:.1e}" if way in apart else "1")
            for way in ways
        ),
        f"  multiply-adds a prompt: plain {work.plain / 1e9:.2f} G, shared prefix "
        f"{(work.prefix + work.variants) / 1e9:.2f} G, ratio "
        f"{work.plain / (work.prefix + work.variants):.0f}",
        f"  variants' pass: {rate / 1e9:.1f} G multiply-adds a second, {100 * rate / own:.0f} % of "
        f"the {own / 1e9:.1f} G of a plain product",
    ):
        print(line)
    scaling: dict[str, float] = {}
    points = ((1, shots), (2, shots), (prompts, shots), (prompts, 1), (prompts, 8))
    for n_prompts, n_shots in points if name in USUAL else ():
        smaller = Setting.of(model, n_prompts, n_shots)
        shared_prefix(smaller)
        scaling[f"{n_prompts} prompts, {n_shots} shots"] = statistics.median(
            shared_prefix(smaller) for _ in range(3)
        )
    curve = "; ".join(f"{what}: {1000 * value:.1f}" for what, value in scaling.items())
    if curve:
        print(f"  shared prefix, ms a prompt: {curve}")
    return {"model": name, "prompts": prompts, "tokens": length,
            "seconds": seconds, "ratios": compared, "differences": apart,
            "rate": rate, "matrix_rate": own, "scaling": scaling}  # fmt: skip


def screen() -> None:
    """Attribution patching on the bundled model: how well it ranks heads, and at what cost."""
    model = load("tiny")
    print("\nattribution patching on tiny, 32 prompts a relation: Spearman's correlation of AIE "
          "with the exact one, CPU time against exact")  # fmt: skip
    for relation in ("left", "right", "above", "below"):
        prompts = draw_prompts(SCENES, relation, "extract", 32, 4)
        mean = task_mean(model, [model.batch(prompts, SCENES)], relation).mean
        twins = [corrupt(prompt, "mix", SCENES, "extract") for prompt in prompts]
        batch = model.batch(twins, SCENES)
        started = time.process_time()
        exact = mediate(model, [batch], relation, mean)
        between = time.process_time()
        estimate = attribute(model, [batch], relation, mean)
        after = time.process_time()
        correlation = rank_correlation(exact.aie, estimate.aie)
        print(f"  {relation}: {correlation:.2f}, {(after - between) / (between - started):.2f}")


def heads_curve() -> None:
    """Time of both ways against the number of heads, at d = 128 and 4 shots."""
    print("\nheads (layers x heads), d = 128: ratio")
    for layers, heads in ((2, 4), (4, 8), (8, 8), (16, 8)):
        setting = Setting.of(small_flamingo(layers, heads, 128), 8, 4)
        shared_prefix(setting), plain(setting, 1, 0)
        times = [plain(setting, 4, 4 * i) / shared_prefix(setting) for i in range(3)]
        print(f"  {layers} x {heads}: {middle(times)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), action="append")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=8, help="plain passes a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="one round of the bundled model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.model, arguments.rounds, arguments.prompts = ["tiny"], 1, 4
    torch.set_num_threads(arguments.threads)
    global DEVICE
    DEVICE = torch.device(arguments.device)
    print(machine())
    results = [
        measure(name, arguments.prompts if name == "tiny" else min(8, arguments.prompts),
                arguments.shots, arguments.rounds, arguments.passes)
        for name in arguments.model or USUAL
    ]  # fmt: skip
    if not arguments.model:
        heads_curve()
        screen()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of the process: {peak:.0f} MiB")
    if DEVICE.type == "cuda":
        print(f"peak memory of the GPU: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
