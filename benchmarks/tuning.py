"""Training a vector: the shared prefix against the ways in which one would write it oneself.

    python benchmarks/tuning.py                        # mini-batches of 32, 1, 8 and 16
    python benchmarks/tuning.py --batch 32 --epochs 10 --rounds 3
    python benchmarks/tuning.py --ours --epochs 40     # what is done once weighs less

The plain way is what published code does, written afresh: the prompts of a mini-batch one at a
time; for each its picture drawn, preprocessed and encoded anew, one ``Flamingo.forward`` with a
hook that adds the vector, one backward; the gradient accumulated, then a step of the same Adam.  It
is timed with the autograd graph of a model as ``open_flamingo.create_model_and_transforms`` returns
it (perceiver, cross-attention and input embeddings require gradients, so the graph reaches down to
them), and with all weights frozen, as a careful script would have it.

The batched way is what one writes who minds the time: all weights frozen; each mini-batch's
pictures encoded once, and its tokens but the last run once, batched, into a cache of keys and
values; a step runs the last tokens of the mini-batch behind its cache, through the whole model, in
one forward and one backward.

Our side is :func:`mfv_dsl.methods.tuning.tune` whole: pictures, prefixes, steps; and
:func:`~mfv_dsl.methods.tuning.tune_together` of eight relations in the same steps, each counted as
an eighth.  All make the same steps on the same mini-batches in the same order and must end at the
same loss, and a relation among eight at the same vector as alone.  None validates.
One process, one thread, in turns; CPU seconds, which on one thread are wall-clock seconds without
what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.template import OPENFLAMINGO
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.methods.courses import Checkpoint, Settings
from mfv_dsl.methods.tuning import Task, Tuned, tune_together
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models import load
from mfv_dsl.models.openflamingo import OpenFlamingo

SCENES = Scenes(seed=11, count=240)
AGREE = 1e-4
OTHERS = ("plain, as loaded", "plain, frozen", "batched")
LABELS = {
    "plain, as loaded": "plain, as loaded, ms a step",
    "plain, frozen": "plain, frozen, ms a step",
    "batched": "batched, frozen, cached, ms a step",
    "alone": "shared prefix, ms a step",
    "eight": "eight relations together, ms each",
}


@dataclass(frozen=True)
class Result:
    """CPU seconds, the mean loss of the last epoch, and the vector (d_model,)."""

    seconds: float
    loss: float
    vector: torch.Tensor


def shared_prefix(
    model: OpenFlamingo, relations: Sequence[str], size: int, settings: Settings, prompts: int
) -> Result:
    """Our way, images and prefixes included; the seconds of a relation, the loss and vector of the
    first.  One validation prompt, because there must be one."""
    facts = model.facts
    start = Vector(torch.zeros(facts.d_model), Space(facts.fingerprint, facts.d_model))
    values: list[torch.Tensor] = []

    def keep(name: str, make: Callable[[], Checkpoint]) -> Checkpoint:
        checkpoint = make()
        values.append(checkpoint.value)
        return checkpoint

    started = time.process_time()
    tasks = []
    for relation in relations:
        check = model.batch(draw_prompts(SCENES, relation, "validation", 1, 0), SCENES)
        batches = [model.batch(b, SCENES) for b in mini_batches(relation, size, prompts)]
        task = Task(batches, [check], start, settings)
        tasks.append(task if tasks else replace(task, keep=keep))
    tuned = tune_together(model, tasks)[0]
    seconds = (time.process_time() - started) / len(relations)
    assert isinstance(tuned, Tuned)
    loss = tuned.training.epochs[-1].loss
    assert loss is not None
    return Result(seconds, loss, values[-1])


def mini_batches(relation: str, size: int, prompts: int) -> list[list[Prompt]]:
    """Training prompts of a relation, ``size`` at a time."""
    drawn = draw_prompts(SCENES, relation, "train", prompts, 0)
    return [drawn[i : i + size] for i in range(0, prompts, size)]


def batched(model: OpenFlamingo, batches: Sequence[list[Prompt]], settings: Settings) -> Result:
    """A mini-batch at a time: its last tokens behind a cache that was filled once."""
    started = time.process_time()
    language = model.model.lang_encoder
    cached = []
    for prompts in batches:
        batch = model.batch(prompts, SCENES)
        images = batch.tokens == model.model.media_token_id
        with torch.no_grad(), model.conditioned(batch.media):
            output = model.language_pass(batch.tokens[:, :-1], batch.mask[:, :-1], keep=True)
        past = [(layer.keys, layer.values) for layer in output.past_key_values.layers]
        cached.append((batch, images, past))

    def last_logits(i: int) -> torch.Tensor:
        batch, images, past = cached[i]
        with model.conditioned(batch.media):
            for layer in model.layers:
                layer.condition_media_locations(images[:, :-1])
            language._use_cached_vision_x = True
            output = model.language_pass(
                batch.tokens[:, -1:], batch.mask, DynamicCache(past), keep=True
            )
            language._use_cached_vision_x = False
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def gradient(i: int, edit: Edit) -> list[float]:
        with Hooks(model.model, model.sites, [edit]):
            logits = last_logits(i)
        loss = cross_entropy(logits, cached[i][0].answers)
        loss.backward()
        return [loss.item()] * len(batches[i])

    return optimised(model, len(batches), settings, gradient, started)


def plain(model: OpenFlamingo, batches: Sequence[list[Prompt]], settings: Settings) -> Result:
    """A prompt at a time through the whole model."""

    def gradient(i: int, edit: Edit) -> list[float]:
        losses = []
        for prompt in batches[i]:
            pixels = model.preprocess(SCENES.pictures(prompt.images, model.image_size))
            tokens, mask, answer = text(model, prompt)
            with Hooks(model.model, model.sites, [edit]):
                output = model.model(
                    vision_x=pixels[None, :, None], lang_x=tokens, attention_mask=mask
                )
            loss = cross_entropy(output.logits[:, -1], answer) / len(batches[i])
            loss.backward()
            losses.append(loss.item() * len(batches[i]))
        return losses

    return optimised(model, len(batches), settings, gradient, time.process_time())


def optimised(
    model: OpenFlamingo, n: int, settings: Settings, gradient: Callable[[int, Edit], list[float]],
    started: float,
) -> Result:  # fmt: skip
    """All steps of a training with ``n`` mini-batches: ``gradient`` sets that of mini-batch i under
    an edit, and gives the loss of each prompt."""
    vector = torch.zeros(model.facts.d_model, requires_grad=True)
    adam = torch.optim.Adam([vector], lr=settings.lr)
    edit = Edit("lm.resid", settings.layer, "add", vector)
    n_steps, losses = 0, list[float]()
    for epoch in range(1, settings.epochs + 1):
        order = np.random.default_rng([settings.seed, epoch]).permutation(n)
        losses = []
        for i in order.tolist():
            share = n_steps / (settings.epochs * n)
            adam.param_groups[0]["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * share))
            adam.zero_grad()
            losses += gradient(i, edit)
            adam.step()
            n_steps += 1
    seconds = time.process_time() - started
    return Result(seconds, statistics.fmean(losses), vector.detach())


def text(model: OpenFlamingo, prompt: Prompt) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, mask and answer of one prompt."""
    tokens = torch.tensor([model.tokenizer.encode(OPENFLAMINGO.text(prompt)).ids])
    answer = torch.tensor(model.first_tokens([prompt.query.answer]))
    return tokens, torch.ones_like(tokens), answer


def require_gradients(model: OpenFlamingo, as_loaded: bool) -> None:
    """The gradients that ``create_model_and_transforms`` leaves on, or none."""
    model.model.requires_grad_(False)
    language = model.model.lang_encoder
    parts = (model.model.perceiver, language.gated_cross_attn_layers)
    for part in (*parts, language.get_input_embeddings()):
        part.requires_grad_(as_loaded)
        part.zero_grad()


def measure(
    model: OpenFlamingo, size: int, settings: Settings, prompts: int, rounds: int, others: bool
) -> dict[str, object]:
    """One size of mini-batch: seconds of all ways, ratios, agreement; without ``others`` of ours
    alone."""
    batches = mini_batches("left", size, prompts)
    eight = ["left", *(relation for relation in SCENES.relations if relation != "left")][:8]
    theirs = OTHERS if others else ()
    ways: dict[str, list[Result]] = {name: [] for name in (*theirs, "alone", "eight")}
    for _ in range(rounds):
        if others:
            require_gradients(model, True)
            ways["plain, as loaded"].append(plain(model, batches, settings))
            require_gradients(model, False)
            ways["plain, frozen"].append(plain(model, batches, settings))
            ways["batched"].append(batched(model, batches, settings))
        ways["alone"].append(shared_prefix(model, ["left"], size, settings, prompts))
        ways["eight"].append(shared_prefix(model, eight, size, settings, prompts))
    steps = settings.epochs * len(batches)
    print(
        f"\nmini-batches of {size}: {steps} steps, layer {settings.layer} of {model.facts.n_layers}"
    )
    result: dict[str, object] = {"batch": size, "steps": steps}
    for name, results in ways.items():
        per_step = [1000 * r.seconds / steps for r in results]
        print(f"  {LABELS[name]:<36}{middle(per_step)}")
        result[name] = per_step
    for name in theirs:
        for ours in ("alone", "eight"):
            pairs = list(zip(ways[name], ways[ours], strict=True))
            ratios = [other.seconds / own.seconds for other, own in pairs]
            print(f"  {name} / {ours:<{33 - len(name)}}{middle(ratios)}")
            result[f"{name} / {ours}"] = ratios
    together = [a.seconds / b.seconds for a, b in zip(ways["alone"], ways["eight"], strict=True)]
    print(f"  alone / eight{'':<23}{middle(together)}")
    result["alone / eight"] = together
    check(ways)
    sys.stdout.flush()
    return result


def check(ways: dict[str, list[Result]]) -> None:
    """Hold losses and vectors of all ways together."""
    ours = ways["alone"][0]
    for name, results in ways.items():
        loss = max(abs(result.loss - ours.loss) for result in results)
        apart = max(float((r.vector - ours.vector).norm() / ours.vector.norm()) for r in results)
        print(f"  {name}: losses apart by {loss:.1e}, vectors by {apart:.1e} of their length")
        assert loss < AGREE, f"the losses differ by {loss}"


def middle(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 1, 8, 16])
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--layer", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ours", action="store_true", help="alone and together, and no other way")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load("tiny")
    settings = Settings(arguments.layer, arguments.epochs, arguments.lr)
    warm = Settings(arguments.layer, 1, arguments.lr)
    once(model, warm)
    results = [
        measure(model, size, settings, arguments.prompts, arguments.rounds, not arguments.ours)
        for size in arguments.batch
    ]
    if arguments.json:
        print(json.dumps(results, indent=2))


def once(model: OpenFlamingo, settings: Settings) -> None:
    """Everything once, so that nothing is loaded or drawn for the first time while timed."""
    batches = mini_batches("left", 8, 8)
    require_gradients(model, True)
    plain(model, batches, settings)
    require_gradients(model, False)
    batched(model, batches, settings)
    shared_prefix(model, ["left", "right"], 8, settings, 8)


if __name__ == "__main__":
    main()
