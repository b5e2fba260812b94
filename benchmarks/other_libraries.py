"""All-head causal mediation with mfv-dsl, and written with nnsight and with pyvene.

    python benchmarks/other_libraries.py [--prompts 8] [--rounds 3] [--json]

For every attention head of the bundled model: its slice of the input of ``attention.dense`` at the
last token becomes a given vector, and the probability of the answer is read, on one batch of 4-shot
prompts.  The ways:

- ``mediate``, the prefix engine: all heads in one pass behind a prefix that is run once;
- ``mediate_plain``: one full pass of the batch with a hook, per head;
- nnsight: ``NNsight(model)``, one trace per head that assigns into ``dense.input``; and one trace
  per layer with an invoke per head, for which a bare ``NNsight`` must be told how to join inputs
  (``_batch_size`` and ``_batch``, as its documentation says);
- pyvene: an ``IntervenableModel`` per layer on the path of ``dense.input`` with a constant source,
  called once per head with the last token as the unit and the head's columns as the subspace.
  (A subspace of its own for every row, to join the heads of a layer, gives other values in 0.1.8.)

Nobody encodes an image in the timed part: ``PromptBatch`` holds them encoded, and nnsight and
pyvene get the model with the batch's media set (:class:`Conditioned`).  So this compares machinery
and the shared prefix only.  Each library has its own copy of the model, so that none runs through
the hooks of another, and wraps it before the clock starts.  The ways must give the same
probabilities before any is timed; then they run in turns, on one thread, and the ratios of CPU time
to ``mediate`` are taken round by round.  A library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import nn

from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.methods.mediation import Mediation, mediate, mediate_plain
from mfv_dsl.models import load
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.flamingo_classes import declare_torchvision_operators
from mfv_dsl.models.openflamingo import OpenFlamingo

declare_torchvision_operators()  # before a library imports transformers' models

SHOTS, TOLERANCE = 4, 1e-4
OURS = "mediate"
Way = Callable[[], torch.Tensor]


class Conditioned(nn.Module):
    """The language encoder with a batch's media: tokens and mask to the last token's logits."""

    def __init__(self, backend: OpenFlamingo, batch: PromptBatch) -> None:
        super().__init__()
        self.language = backend.model.lang_encoder
        self.config = self.language.config
        self._forward, self._batch = backend.forward, batch

    @property
    def device(self) -> torch.device:
        """Where it runs; pyvene asks."""
        return self._batch.tokens.device

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``tokens`` are those of the batch, once or several times one after the other."""
        media = self._batch.media.repeat(len(tokens) // len(self._batch), 1, 1, 1)
        return self._forward(replace(self._batch, tokens=tokens, mask=mask, media=media))


class Task:
    """A batch of prompts and a mean for every head."""

    def __init__(self, prompts: int) -> None:
        self.backend = load("tiny")
        scenes = Scenes(seed=11, count=80)
        prompts_of_task = draw_prompts(scenes, "left", "test", prompts, SHOTS)
        self.batch = self.backend.batch(prompts_of_task, scenes)
        facts = self.backend.facts
        self.layers, self.heads, self.width = facts.n_layers, facts.n_heads, facts.head_dim
        torch.manual_seed(0)
        self.mean = torch.randn(self.layers, self.heads, self.width)

    def model(self) -> Conditioned:
        """A fresh copy of the model with the batch's media."""
        return Conditioned(load("tiny"), self.batch).eval()

    def columns(self, head: int) -> slice:
        return slice(head * self.width, (head + 1) * self.width)

    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        """The probability of the answers, (prompts,)."""
        return logits.softmax(-1).gather(1, self.batch.answers[:, None])[:, 0]

    def table(self, columns: list[torch.Tensor]) -> torch.Tensor:
        """Probabilities by head, layer by layer, as (prompts, layers, heads)."""
        return torch.stack(columns, 1).unflatten(1, (self.layers, self.heads))


def probabilities(effects: Mediation) -> torch.Tensor:
    """Effects as probabilities, (prompts, layers, heads)."""
    return torch.from_numpy(effects.cie + effects.p_corrupted[:, None, None])


def with_nnsight(task: Task) -> dict[str, Way]:
    """One trace per head; and one trace per layer, with an invoke per head."""
    import nnsight

    class Joining(nnsight.NNsight):
        """An NNsight whose invokes are run as one batch."""

        def _batch_size(self, *inputs: torch.Tensor, **_: Any) -> int:
            return len(inputs[0]) if inputs else 0

        def _batch(self, invokes: list[tuple[Any, Any]], _: Any) -> tuple[Any, Any]:
            parts = zip(*(inputs for inputs, _ in invokes), strict=True)
            return tuple(map(torch.cat, parts)), {}

    tokens, mask = task.batch.tokens, task.batch.mask
    single, joining = nnsight.NNsight(task.model()), Joining(task.model())

    @torch.no_grad()
    def a_head() -> torch.Tensor:
        columns_of_heads = []
        for layer in range(task.layers):
            dense = single.language.gpt_neox.layers[layer].decoder_layer.attention.dense
            for head in range(task.heads):
                value, columns = task.mean[layer, head], task.columns(head)
                with single.trace(tokens, mask):
                    dense.input[:, -1, columns] = value
                    logits = single.output.save()
                columns_of_heads.append(task.answer(logits))
        return task.table(columns_of_heads)

    @torch.no_grad()
    def a_layer() -> torch.Tensor:
        columns_of_heads = []
        for layer in range(task.layers):
            dense = joining.language.gpt_neox.layers[layer].decoder_layer.attention.dense
            with joining.trace() as tracer:
                outputs = nnsight.save({})
                for head in range(task.heads):
                    value, columns = task.mean[layer, head], task.columns(head)
                    with tracer.invoke(tokens, mask):
                        dense.input[:, -1, columns] = value
                        outputs[head] = joining.output
            columns_of_heads += [task.answer(outputs[head]) for head in range(task.heads)]
        return task.table(columns_of_heads)

    return {"nnsight, a trace per head": a_head, "nnsight, an invoke per head": a_layer}


def with_pyvene(task: Task) -> dict[str, Way]:
    """An intervenable model per layer, called once per head."""
    import pyvene

    model = task.model()
    base = {"tokens": task.batch.tokens, "mask": task.batch.mask}
    last = task.batch.tokens.shape[1] - 1
    path = "language.gpt_neox.layers[{}].decoder_layer.attention.dense.input"
    layers = [
        pyvene.IntervenableModel(
            pyvene.IntervenableConfig(
                [
                    pyvene.RepresentationConfig(
                        component=path.format(layer),
                        intervention=pyvene.VanillaIntervention(
                            embed_dim=task.heads * task.width,
                            source_representation=task.mean[layer].flatten(),
                        ),
                    )
                ]
            ),
            model,
        )
        for layer in range(task.layers)
    ]
    subspaces = [list(range(task.heads * task.width))[task.columns(i)] for i in range(task.heads)]

    @torch.no_grad()
    def a_head() -> torch.Tensor:
        columns_of_heads = []
        for layer in layers:
            for subspace in subspaces:
                _, logits = layer(base, unit_locations={"base": last}, subspaces=subspace)
                columns_of_heads.append(task.answer(logits))
        return task.table(columns_of_heads)

    return {"pyvene, a call per head": a_head}


LIBRARIES = {"nnsight": with_nnsight, "pyvene": with_pyvene}


def ways(task: Task) -> tuple[dict[str, Way], dict[str, str]]:
    """Every way there is here, and for every library its version or why it is not measured."""

    def ours(function: Callable[..., Mediation]) -> Way:
        return lambda: probabilities(function(task.backend, [task.batch], "left", task.mean))

    all_ways = {OURS: ours(mediate), "mediate_plain": ours(mediate_plain)}
    libraries = {}
    for name, prepare in LIBRARIES.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            libraries[name] = f"not measured: {error} (pip install {' '.join(LIBRARIES)})"
            continue
        all_ways |= prepare(task)
        libraries[name] = version(name)
    return all_ways, libraries


def middle(values: list[float], digits: int = 3) -> str:
    """Median and range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}g} ({low:.{digits}g} to {high:.{digits}g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the measurements too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = Task(arguments.prompts)
    all_ways, libraries = ways(task)
    expected = all_ways["mediate_plain"]()
    differences = {
        name: float((run() - expected).abs().max()) for name, run in all_ways.items()
    }  # also warms up
    for name, difference in differences.items():
        assert difference < TOLERANCE, f"{name} differs from mediate_plain by {difference:.1e}"
    seconds: dict[str, list[float]] = {name: [] for name in all_ways}
    for _ in range(arguments.rounds):
        for name, run in all_ways.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    ratios = {
        name: [
            seconds_of_round / ours
            for seconds_of_round, ours in zip(times, seconds[OURS], strict=True)
        ]
        for name, times in seconds.items()
    }
    prompts, length = task.batch.tokens.shape
    print(f"{task.layers} x {task.heads} heads, {prompts} prompts of {length} tokens; "
          f"CPU seconds, median and range of {arguments.rounds} rounds")  # fmt: skip
    print(f"{'':30}{'seconds':26}{'ratio':24}difference")
    for name in all_ways:
        print(f"{name:30}{middle(seconds[name]):26}{middle(ratios[name]):24}"
              f"{differences[name]:.0e}")  # fmt: skip
    for name, state in {"torch": torch.__version__, **libraries}.items():
        print(f"{name} {state}")
    if arguments.json:
        results = {"prompts": prompts, "tokens": length, "seconds": seconds, "ratios": ratios,
                 "differences": differences, "libraries": libraries}  # fmt: skip
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
