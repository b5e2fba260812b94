"""All-head causal mediation: the prefix engine against one full pass per head.

    python benchmarks/mediation.py                # both models, all figures
    python benchmarks/mediation.py --model tiny --rounds 9
    python benchmarks/mediation.py --model 4b --device cuda --prompts 8 --rounds 3

The plain way is what published code does, written afresh as an honest best effort: for every head
one ``Flamingo.forward`` of one prompt, its images encoded each time, the head replaced by a hook,
no autograd graph.  One pass per head is too slow to repeat for every head and prompt, so some
passes over different heads are timed in each round and multiplied by the number of heads and the
one unedited pass.  Our side is timed whole: images encoded once, prefix, all heads, all prompts.
Both sides run in one process on one thread, in turns; the ratio is taken round by round.

Also printed: the largest difference between the two sides' probabilities, peak memory, time against
prompts, shots and heads, and the rate of multiplications reached against this machine's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.engine.prefix import encode_prefix
from mfv_dsl.methods.activations import task_mean
from mfv_dsl.methods.attribution import attribute, rank_correlation
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


def largest_difference(setting: Setting) -> float:
    """Between the effects of both ways, over all heads of two prompts."""
    batch = setting.model.batch(setting.prompts[:2], SCENES)
    fast = mediate(setting.model, [batch], "left", setting.mean).cie
    slow = mediate_plain(setting.model, [batch], "left", setting.mean).cie
    return float(abs(fast - slow).max())


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
    prefix: float  # all tokens but the last, once
    variants: float  # every head from its layer on, and one unedited copy through all layers


def work_of(setting: Setting, length: int) -> Work:
    """The arithmetic of both ways for a prompt of ``length`` tokens."""
    model, facts = setting.model, setting.model.facts
    language = model.model.lang_encoder
    layers = []
    for block, gate in zip(
        language.old_decoder_blocks, language.gated_cross_attn_layers, strict=True
    ):
        weights = sum(p.numel() for p in block.parameters() if p.ndim == 2)
        if gate is not None:
            weights += sum(p.numel() for p in gate.parameters() if p.ndim == 2)
            weights -= gate.attn.to_kv.weight.numel()  # of images, not of tokens
        layers.append(weights)
    above = [sum(layers[i:]) for i in range(facts.n_layers)]
    logits = language.get_output_embeddings().weight.numel()
    return Work(
        plain=(setting.heads + 1) * length * (above[0] + logits),
        prefix=(length - 1) * above[0],
        variants=facts.n_heads * sum(above) + above[0] + (setting.heads + 1) * logits,
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


def middle(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def measure(name: str, prompts: int, shots: int, rounds: int, passes: int) -> dict[str, object]:
    """One model: ratio, agreement, rate and scaling."""
    model = MODELS[name]()
    setting = Setting.of(model, prompts, shots)
    length = setting.batch().tokens.shape[1]
    shared_prefix(setting), plain(setting, 1, 0)
    shared_seconds, plain_seconds = [], []
    for turn in range(rounds):
        shared_seconds.append(shared_prefix(setting))
        plain_seconds.append(plain(setting, passes, turn * passes))
    ratios = [slow / fast for slow, fast in zip(plain_seconds, shared_seconds, strict=True)]
    work = work_of(setting, length)
    rate = work.variants * prompts / variants_seconds(setting)
    own = matrix_rate(model)
    difference = largest_difference(setting)
    facts = model.facts
    for line in (
        f"\n{name}: {facts.n_layers} layers x {facts.n_heads} heads, d = {facts.d_model}; "
        f"{prompts} prompts of {length} tokens",
        f"  plain, s a prompt          {middle(plain_seconds)}",
        f"  shared prefix, s a prompt  {middle(shared_seconds)}",
        f"  ratio                      {middle(ratios)}",
        f"  largest difference of effects, the same images: {difference:.1e}",
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
    return {"model": name, "prompts": prompts, "tokens": length, "ratio": ratios,
            "plain": plain_seconds, "shared": shared_seconds, "difference": difference,
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
        ratios = [plain(setting, 4, 4 * i) / shared_prefix(setting) for i in range(3)]
        print(f"  {layers} x {heads}: {middle(ratios)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), action="append")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=8, help="plain passes a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    global DEVICE
    DEVICE = torch.device(arguments.device)
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
