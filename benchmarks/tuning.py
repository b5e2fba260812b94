"""Training a vector: the shared prefix against one whole forward and backward per prompt.

    python benchmarks/tuning.py                        # mini-batches of 16, 32, 64, 128 and 1
    python benchmarks/tuning.py --batch 32 --epochs 10 --rounds 3

The plain way is what published code does, written afresh: the prompts of a mini-batch one at a
time; for each its picture drawn, preprocessed and encoded anew, one ``Flamingo.forward`` with a
hook that adds the vector, one backward; the gradient accumulated, then a step of the same Adam.  It
is timed with the autograd graph of a model as ``open_flamingo.create_model_and_transforms`` returns
it (perceiver, cross-attention and input embeddings require gradients, so the graph reaches down to
them), and with all weights frozen, as a careful script would have it.

Our side is :func:`mfv_dsl.methods.tuning.tune` whole: pictures, prefixes, steps.  Both make the
same steps on the same mini-batches in the same order and must end at the same loss.  Neither
validates.
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
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from mfv_dsl.data.items import Prompt
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.template import OPENFLAMINGO
from mfv_dsl.engine.edits import Edit
from mfv_dsl.engine.hooks import Hooks
from mfv_dsl.methods.training import Checkpoint, Settings
from mfv_dsl.methods.tuning import tune
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.models import load
from mfv_dsl.models.openflamingo import OpenFlamingo

SCENES = Scenes(seed=11, count=240)
AGREE = 1e-4


@dataclass(frozen=True)
class Result:
    """CPU seconds, the mean loss of the last epoch, and the vector (d_model,)."""

    seconds: float
    loss: float
    vector: torch.Tensor


def shared_prefix(
    model: OpenFlamingo, batches: Sequence[list[Prompt]], settings: Settings
) -> Result:
    """Our way, images and prefixes included.  One validation prompt, because there must be one."""
    facts = model.facts
    start = Vector(torch.zeros(facts.d_model), Space(facts.fingerprint, facts.d_model))
    check = model.batch(draw_prompts(SCENES, "left", "validation", 1, 0), SCENES)
    values: list[torch.Tensor] = []

    def keep(name: str, make: Callable[[], Checkpoint]) -> Checkpoint:
        checkpoint = make()
        values.append(checkpoint.value)
        return checkpoint

    started = time.process_time()
    tuned = tune(
        model,
        [model.batch(batch, SCENES) for batch in batches],
        [check],
        start,
        settings,
        keep=keep,
    )
    loss = tuned.training.epochs[-1].loss
    assert loss is not None
    return Result(time.process_time() - started, loss, values[-1])


def plain(model: OpenFlamingo, batches: Sequence[list[Prompt]], settings: Settings) -> Result:
    """A prompt at a time through the whole model."""
    started = time.process_time()
    vector = torch.zeros(model.facts.d_model, requires_grad=True)
    adam = torch.optim.Adam([vector], lr=settings.lr)
    edit = Edit("lm.resid", settings.layer, "add", vector)
    n_steps, mean = 0, 0.0
    for epoch in range(1, settings.epochs + 1):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(batches))
        losses = []
        for i in order.tolist():
            share = n_steps / (settings.epochs * len(batches))
            adam.param_groups[0]["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * share))
            adam.zero_grad()
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
            adam.step()
            n_steps += 1
        mean = statistics.fmean(losses)
    return Result(time.process_time() - started, mean, vector.detach())


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
    model: OpenFlamingo, size: int, settings: Settings, prompts: int, rounds: int
) -> dict[str, object]:
    """One size of mini-batch: seconds of all three, ratios, agreement."""
    all_prompts = draw_prompts(SCENES, "left", "train", prompts, 0)
    batches = [all_prompts[i : i + size] for i in range(0, prompts, size)]
    ways: dict[str, list[Result]] = {"as loaded": [], "frozen": [], "ours": []}
    for _ in range(rounds):
        require_gradients(model, True)
        ways["as loaded"].append(plain(model, batches, settings))
        require_gradients(model, False)
        ways["frozen"].append(plain(model, batches, settings))
        ways["ours"].append(shared_prefix(model, batches, settings))
    steps = settings.epochs * len(batches)
    ours = ways["ours"]
    print(
        f"\nmini-batches of {size}: {steps} steps, layer {settings.layer} of {model.facts.n_layers}"
    )
    print(f"  shared prefix, ms a step       {middle([1000 * r.seconds / steps for r in ours])}")
    result: dict[str, object] = {"batch": size, "steps": steps}
    for name in ("as loaded", "frozen"):
        plain_results = ways[name]
        ratios = [a.seconds / b.seconds for a, b in zip(plain_results, ours, strict=True)]
        loss_difference = max(
            abs(a.loss - b.loss) for a, b in zip(plain_results, ours, strict=True)
        )
        distance = max((a.vector - b.vector).norm() / b.vector.norm()
                    for a, b in zip(plain_results, ours, strict=True))  # fmt: skip
        label = f"plain, {name}, ms a step"
        print(f"  {label:<31}{middle([1000 * r.seconds / steps for r in plain_results])}")
        print(f"    ratio                        {middle(ratios)}")
        print(f"    loss of the last epoch {plain_results[-1].loss:.6f} and {ours[-1].loss:.6f}; "
              f"vectors apart by {distance:.1e} of their length")  # fmt: skip
        assert loss_difference < AGREE, f"the losses differ by {loss_difference}"
        result[name] = ratios
    return result


def middle(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 32, 64, 128, 1])
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--layer", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load("tiny")
    settings = Settings(arguments.layer, arguments.epochs, arguments.lr)
    warm = Settings(arguments.layer, 1, arguments.lr)
    once(model, warm)
    results = [
        measure(model, size, settings, arguments.prompts, arguments.rounds)
        for size in arguments.batch
    ]
    if arguments.json:
        print(json.dumps(results, indent=2))


def once(model: OpenFlamingo, settings: Settings) -> None:
    """Everything once, so that nothing is loaded or drawn for the first time while timed."""
    batches = [draw_prompts(SCENES, "left", "train", 8, 0)]
    require_gradients(model, True)
    plain(model, batches, settings)
    require_gradients(model, False)
    shared_prefix(model, batches, settings)


if __name__ == "__main__":
    main()
