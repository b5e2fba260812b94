"""Trains the bundled LLaVA: ``python -m tools.llava.train --out DIR``.

Stages, each left when its running accuracies are reached:

0. *reading*: vision tower and projector alone: picture token *i* names what stands in cell *i* and
   which cell it is, in the terms of the text's own embeddings; then both are frozen;
1. *grounding*: statements about one picture, first where an object is and what stands in a cell,
   then also what stands in a named relation to an object;
2. *in context*: sequences of pictures under one unnamed relation, mixed with statements and with
   bridges that name the relation early on;
3. *settling*: the same mixture, mostly plain sequences, the learning rate falling to zero.

Everything is drawn from one seed.  Only layouts of the ``pretrain`` split are seen; two relations
and four kinds of object never occur in an in-context sequence.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mfv_dsl.data.render import render, sample_looks
from mfv_dsl.data.world import EMPTY, GRID, KINDS, SPLIT_BUCKETS, bucket
from tools.llava.model import PICTURE_TOKENS, build_model, pixels, write_folder
from tools.llava.sequences import ENDING, Sequences
from tools.llava.text import IMAGE
from tools.tiny.sequences import Batch
from tools.tiny.train import Running

BATCH, READING_BATCH = 32, 64
#: Shares of the forms of statement, in the two grounding stages and beside in-context sequences.
FINDING = {"where": 0.5, "what": 0.5}
GROUNDING = {"where": 0.2, "what": 0.2, "relation": 0.6}
BESIDE = {"where": 0.15, "what": 0.2, "relation": 0.5, "which": 0.15}
#: How much of the loss, per token, is that of tokens which end an answer.
ENDING_WEIGHT = 0.1
#: What products of unit embeddings are multiplied by, to be told apart by a softmax.
SHARPNESS = 10.0
PLAIN = ("plain1", "plain2", "plain3", "plain4")


@dataclass(frozen=True)
class Stage:
    """``most`` steps at learning rate ``lr``, or until all of ``reach`` have that accuracy."""

    name: str
    most: int
    lr: float
    reach: dict[str, float]
    cosine: bool = False

    def reached(self, running: Running) -> bool:
        return bool(self.reach) and all(
            running.least(name) >= least for name, least in self.reach.items()
        )


class Trainer:
    """Model, sequences, log and the step shared by all stages."""

    def __init__(self, out: Path, seed: int) -> None:
        self.out, self.seed = out, seed
        self.model = build_model(seed)
        self.model.set_attn_implementation("eager")  # the fastest at these sizes on a CPU
        self.text = self.model.model.language_model
        self.vision = nn.ModuleList(
            [self.model.model.vision_tower, self.model.model.multi_modal_projector]
        )
        self.rng = np.random.default_rng(seed)
        self.sequences = Sequences(self.rng)
        self.image_token = self.sequences.ids[IMAGE]
        self.stages: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.running = Running()
        self.step = 0
        self.started = time.process_time()
        self.pool = ThreadPoolExecutor(1)
        self._align()

    @torch.no_grad()
    def _align(self) -> None:
        """Start from embeddings at right angles, and from heads that find and copy.

        A real model's language part is trained long before it sees a picture, and its heads can
        already look for a token like the one at hand and copy what they find.  Here the heads of
        the first two layers start so: queries equal keys, in the dimensions that rotate slowly
        with the distance, and what is read is written as it is.  Without it, finding an object by
        its name, or a cell by its number, takes long to learn.
        """
        nn.init.orthogonal_(self.text.embed_tokens.weight)
        for layer in self.text.layers[:2]:
            attention = layer.self_attn
            size, width = attention.head_dim, self.text.config.hidden_size
            slow = [*range(size // 4, size // 2), *range(3 * size // 4, size)]
            for first in range(0, width, size):
                compared = 2.0 * nn.init.orthogonal_(torch.empty(len(slow), width))
                attention.q_proj.weight[[first + i for i in slow]] = compared
                attention.k_proj.weight[[first + i for i in slow]] = compared
                copied = nn.init.orthogonal_(torch.empty(size, width))
                attention.v_proj.weight[first : first + size] = copied
                attention.o_proj.weight[:, first : first + size] = 0.5 * copied.T

    # -- losses ---------------------------------------------------------------------------------
    def features(self, images: np.ndarray) -> torch.Tensor:
        """Picture tokens (n, 16, d) of pictures (..., 40, 40, 3) uint8."""
        config = self.model.config
        found = self.model.get_image_features(
            pixel_values=pixels(images),
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            return_dict=True,
        )
        return torch.stack(list(found.pooler_output))

    def reading_loss(self, batch: tuple[np.ndarray, np.ndarray], running: Running) -> torch.Tensor:
        """Of ``images`` (n, 40, 40, 3) and ``grid`` (n, 4, 4): how far each picture token is from
        the sum of its cell's embeddings, that of the kind that stands there and that of the place,
        and how well it tells them from others.  Without the first, picture tokens grow so long that
        the language model's layers can add nothing to them."""
        images, grid = batch
        words, embeddings = self.sequences.words, self.text.embed_tokens.weight.detach()
        blank = self.text.config.pad_token_id  # what an empty cell is called
        kinds = embeddings[[*(words[kind] for kind in KINDS), blank]]
        places = embeddings[[words[f"p{i}"] for i in range(PICTURE_TOKENS)]]
        cells = torch.from_numpy(np.where(grid == EMPTY, len(KINDS), grid)).long().flatten(1)
        own = torch.arange(PICTURE_TOKENS).expand(len(grid), -1)
        features = self.features(images)
        named, placed = SHARPNESS * features @ kinds.T, SHARPNESS * features @ places.T
        running.add("cells", float((named.argmax(-1) == cells).float().mean()))
        running.add("places", float((placed.argmax(-1) == own).float().mean()))
        distance = (features - kinds[cells] - places[own]).square().sum(-1).mean()
        return (
            distance
            + F.cross_entropy(named.flatten(0, 1), cells.flatten())
            + 0.5 * F.cross_entropy(placed.flatten(0, 1), own.flatten())
        )

    def answer_loss(self, batch: Batch, running: Running) -> torch.Tensor:
        """Negative log-likelihood per answer token; running accuracies by kind of answer."""
        tokens = torch.from_numpy(batch.tokens)
        where = torch.from_numpy(batch.is_answer[:, 1:])
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                features = self.features(batch.images)
            embedded = self.text.embed_tokens(tokens)
            pictures = (tokens == self.image_token)[..., None]
            embedded = embedded.masked_scatter(pictures, features.to(embedded.dtype))
            hidden = self.text(inputs_embeds=embedded, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1][where])
        wanted, kinds = tokens[:, 1:][where], batch.kind[:, 1:][batch.is_answer[:, 1:]]
        right = (logits.argmax(-1) == wanted).numpy()
        for kind in np.unique(kinds.astype(str)):
            running.add(str(kind), float(right[kinds == kind].mean()))
        weight = torch.from_numpy(np.where(kinds == ENDING, ENDING_WEIGHT, 1.0)).float()
        losses = F.cross_entropy(logits.float(), wanted, reduction="none")
        return (losses * weight).sum() / weight.sum()

    # -- the loop -------------------------------------------------------------------------------
    def run(
        self,
        stage: Stage,
        draw: Callable[[], Any],
        loss: Callable[[Any, Running], torch.Tensor],
        parameters: Iterable[nn.Parameter],
    ) -> None:
        """Train one stage; log every 50 steps, and write the folder at its end."""
        group = list(parameters)
        optimiser = torch.optim.AdamW(group, lr=stage.lr, betas=(0.9, 0.98), weight_decay=0.01)
        running, losses = self.running, []
        upcoming = self.pool.submit(draw)
        for i in range(stage.most):
            batch, upcoming = upcoming.result(), self.pool.submit(draw)
            scale = min(1.0, (i + 1) / 100)
            if stage.cosine:
                scale *= 0.5 * (1 + math.cos(math.pi * i / stage.most))
            for parameter_group in optimiser.param_groups:
                parameter_group["lr"] = stage.lr * scale
            value = loss(batch, running)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(group, 1.0)
            optimiser.step()
            self.step += 1
            losses.append(float(value.detach()))
            finished = i >= 100 and stage.reached(running)
            if (i + 1) % 50 == 0 or finished:
                self.log(stage, i + 1, sum(losses) / len(losses), running)
                losses = []
            if finished:
                break
        upcoming.result()
        self.stages.append(self.rows[-1])
        self.save()

    def log(self, stage: Stage, steps: int, loss: float, running: Running) -> None:
        accuracy = {name: round(value, 3) for name, value in sorted(running.values.items())}
        row = {"stage": stage.name, "step": self.step, "stage_steps": steps, "loss": round(loss, 4),
               "cpu_seconds": round(time.process_time() - self.started),
               "accuracy": accuracy}  # fmt: skip
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def save(self) -> None:
        """Write the model's folder, with what its training was."""
        write_folder(self.out, self.model)
        training = {
            "command": f"python -m tools.llava.train --out DIR --seed {self.seed}",
            "seed": self.seed,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "steps": self.step,
            "cpu_seconds": round(time.process_time() - self.started),
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
            "stages": self.stages,
            "log": self.rows,
        }
        (self.out / "training.json").write_text(json.dumps(training, indent=1) + "\n")

    # -- stages ---------------------------------------------------------------------------------
    def reading(self) -> None:
        self.run(
            Stage("0 reading", 500, 2e-3, {"cells": 0.9998, "places": 0.9998}, cosine=True),
            self._grids, self.reading_loss, self.vision.parameters(),
        )  # fmt: skip
        self.vision.requires_grad_(False)

    def _grids(self) -> tuple[np.ndarray, np.ndarray]:
        """Pictures of any objects in any cells, (n, 40, 40, 3), and what stands where."""
        n = 2 * READING_BATCH + 64
        grid = self.rng.integers(0, len(KINDS), size=(n, GRID, GRID)).astype(np.int8)
        grid[self.rng.random(grid.shape) < 0.5] = EMPTY
        grid = grid[np.isin(bucket(grid), SPLIT_BUCKETS["pretrain"])][:READING_BATCH]
        return render(grid, sample_looks(self.rng, len(grid))), grid

    def grounding(self) -> None:
        found, known = {"where": 0.95, "what": 0.95}, {"relation": 0.93}
        for stage, forms in (
            (Stage("1a finding", 1500, 2e-3, found), FINDING),
            (Stage("1b grounding", 3000, 2e-3, found | known), GROUNDING),
        ):
            self.run(
                stage,
                lambda forms=forms: self.sequences.statements(BATCH, forms),
                self.answer_loss,
                self.learning(),
            )

    def mixture(self, plain: float) -> Batch:
        """One batch of stage 2: ``plain`` is the share of plain sequences."""
        rest = 1.0 - plain
        forms = ("statements", "carry", "annotated", "plain", "long")
        weights = (0.4 * rest, 0.15 * rest, 0.45 * rest, 0.85 * plain, 0.15 * plain)
        form = str(self.rng.choice(forms, p=weights))
        if form == "statements":
            return self.sequences.statements(BATCH, BESIDE)
        if form == "long":
            return self.sequences.in_context(BATCH // 2, "plain", 9)
        return self.sequences.in_context(BATCH, form)

    def in_context(self) -> None:
        reach = {**dict.fromkeys(PLAIN, 0.97), "what": 0.95, "relation": 0.95, "named": 0.95}
        self.run(
            Stage("2 in context", 2000, 2e-3, reach),
            lambda: self.mixture(0.4), self.answer_loss, self.learning(),
        )  # fmt: skip

    def settling(self) -> None:
        self.run(
            Stage("3 settling", 800, 1.5e-3, {}, cosine=True),
            lambda: self.mixture(0.5), self.answer_loss, self.learning(),
        )  # fmt: skip

    def learning(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and its log")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(arguments.out, arguments.seed)
    trainer.reading()
    trainer.grounding()
    trainer.in_context()
    trainer.settling()
    trainer.pool.shutdown()


if __name__ == "__main__":
    main()
