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
- the same with a cached prefix: the earlier tokens are run once with transformers' KV cache, and
  a layer's invokes are a batch of last tokens behind it;
- a KV cache and hooks by hand, without a library (:mod:`benchmarks.kv_cache`);
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

from benchmarks.kv_cache import CachedPrefix, cached_probabilities
from benchmarks.measuring import agree, machine, middle, ratios
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


class Behind(nn.Module):
    """The language encoder behind a batch's cached prefix: last tokens to their logits."""

    def __init__(self, backend: OpenFlamingo) -> None:
        super().__init__()
        self.language = backend.model.lang_encoder
        self.config = self.language.config
        self.prefix: CachedPrefix | None = None

    def forward(self, last: torch.Tensor) -> torch.Tensor:
        """``last`` (rows, 1) are the last tokens of the batch, once or several times one after the
        other."""
        assert self.prefix is not None
        return self.prefix.logits(last)


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
    """One trace per head; one per layer, with an invoke per head; and that on a cached prefix."""
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
    behind = Behind(load("tiny")).eval()
    joining_behind = Joining(behind)

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

    @torch.no_grad()
    def cached() -> torch.Tensor:
        columns_of_heads = []
        with CachedPrefix(behind.language, task.batch) as behind.prefix:
            for layer in range(task.layers):
                block = joining_behind.language.gpt_neox.layers[layer].decoder_layer
                with joining_behind.trace() as tracer:
                    outputs = nnsight.save({})
                    for head in range(task.heads):
                        value, columns = task.mean[layer, head], task.columns(head)
                        with tracer.invoke(tokens[:, -1:]):
                            block.attention.dense.input[:, -1, columns] = value
                            outputs[head] = joining_behind.output
                columns_of_heads += [task.answer(outputs[head]) for head in range(task.heads)]
        return task.table(columns_of_heads)

    return {
        "nnsight, a trace per head": a_head,
        "nnsight, an invoke per head": a_layer,
        "nnsight, invokes on a KV cache": cached,
    }


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

    def by_hand() -> torch.Tensor:
        return cached_probabilities(task.backend.model, task.batch, task.mean)[1]

    all_ways = {
        OURS: ours(mediate),
        "mediate_plain": ours(mediate_plain),
        "a KV cache and hooks by hand": by_hand,
    }
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of two prompts")
    parser.add_argument("--json", action="store_true", help="print the measurements too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.prompts, arguments.rounds = 2, 1
    torch.set_num_threads(1)
    task = Task(arguments.prompts)
    all_ways, libraries = ways(task)
    expected = all_ways["mediate_plain"]()
    differences = {
        name: float((run() - expected).abs().max()) for name, run in all_ways.items()
    }  # also warms up
    agree(differences, TOLERANCE)
    seconds: dict[str, list[float]] = {name: [] for name in all_ways}
    for _ in range(arguments.rounds):
        for name, run in all_ways.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    compared = ratios(seconds, OURS)
    prompts, length = task.batch.tokens.shape
    print(f"{task.layers} x {task.heads} heads, {prompts} prompts of {length} tokens; "
          f"CPU seconds, median and range of {arguments.rounds} rounds")  # fmt: skip
    print(f"{'':32}{'seconds':26}{'ratio':24}difference")
    for name in all_ways:
        print(f"{name:32}{middle(seconds[name], 3):26}{middle(compared[name], 3):24}"
              f"{differences[name]:.0e}")  # fmt: skip
    for name, state in libraries.items():
        print(f"{name} {state}")
    print(machine())
    if arguments.json:
        results = {"prompts": prompts, "tokens": length, "seconds": seconds, "ratios": compared,
                 "differences": differences, "libraries": libraries}  # fmt: skip
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
