"""Trains the bundled model: ``python -m tools.tiny.train --out DIR``.

Stages, each left when its running accuracy is reached:

0. *reading*: the vision transformer names what stands in each cell, and the perceiver's latents
   carry it on (latent *i* tells cell *i*'s kind and its place, by directions shared by all);
1. *grounding*: statements about one image, first only where an object is, then also what stands
   in a cell and what stands in a named relation to an object;
2. *in context*: sequences of five images under one unnamed relation, mixed with statements and
   with bridges that name the relation early on;
3. *settling*: the same mixture, mostly plain sequences, the learning rate falling to zero.

Everything is drawn from one seed.  Only layouts of the ``pretrain`` split are seen; two relations
and four kinds of object never occur in an in-context sequence.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

from mfv_dsl.data.render import render, sample_looks
from mfv_dsl.data.world import EMPTY, GRID, KINDS, SPLIT_BUCKETS, bucket
from mfv_dsl.models.flamingo_classes import is_duplicate
from mfv_dsl.models.tiny.build import CONFIG, build_flamingo
from mfv_dsl.models.tiny.load import MEAN, STD
from mfv_dsl.models.tiny.tokenizer import END_OF_CHUNK, IMAGE, build_tokenizer
from tools.tiny.sequences import GROUNDING, INVERSE, Batch, in_context, statements

GROUNDING_LAYERS = 6  # enough for statements; the rest grow on top before stage 2
STATEMENT_BATCH, CONTEXT_BATCH, READING_BATCH = 32, 32, 64


class Running:
    """Running accuracies by name (exponential, over about 1/(1-decay) batches)."""

    def __init__(self, decay: float = 0.96) -> None:
        self.decay = decay
        self.values: dict[str, float] = {}

    def add(self, name: str, value: float) -> None:
        old = self.values.get(name, value * 0.5)
        self.values[name] = self.decay * old + (1 - self.decay) * value

    def least(self, *names: str) -> float:
        return min(self.values.get(name, 0.0) for name in names)


class Trainer:
    """Model, optimiser, log and the step shared by all stages."""

    def __init__(self, out: Path, seed: int) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.out = out
        self.seed = seed
        self.tokenizer = build_tokenizer()
        self.ids = self.tokenizer.get_vocab()
        self.model = self.build(GROUNDING_LAYERS)
        width = CONFIG["vision"]["width"]
        self.cell_head = nn.Linear(width, len(KINDS) + 1)
        # Fixed orthonormal directions for the latents: with nothing to scale them up, the latents
        # themselves must hold kind and place with large amplitude, which later attention needs.
        directions = nn.init.orthogonal_(torch.empty(width, width))
        self.kind_directions = directions[: len(KINDS) + 1]
        self.place_directions = directions[len(KINDS) + 1 :][: GRID * GRID]
        self.vision_learns = True
        self.step = 0
        self.started = time.process_time()
        self.log_path = out / "training_log.jsonl"
        self.log_path.write_text("")
        self.pool = ThreadPoolExecutor(1)

    def build(self, layers: int) -> nn.Module:
        """A fresh model with ``layers`` decoder layers."""
        self.config = copy.deepcopy(CONFIG)
        self.config["language"]["num_hidden_layers"] = layers
        model = build_flamingo(self.config, len(self.ids), self.ids[IMAGE], self.ids[END_OF_CHUNK])
        model.lang_encoder.set_attn_implementation("eager")  # the fastest at these sizes on a CPU
        return model

    def grow(self) -> None:
        """Add decoder layers on top until the model has its full depth.

        The new layers start as near identities: attention and MLP write nothing, and their
        cross-attention gates are nearly shut.
        """
        old, small = self.model, self.config["language"]["num_hidden_layers"]
        self.model = self.build(CONFIG["language"]["num_hidden_layers"])
        self.model.load_state_dict(old.state_dict(), strict=False)
        language = self.model.lang_encoder
        for block, gate in zip(
            language.old_decoder_blocks[small:],
            language.gated_cross_attn_layers[small:],
            strict=True,
        ):
            for projection in (block.attention.dense, block.mlp.dense_4h_to_h):
                nn.init.zeros_(projection.weight)
                nn.init.zeros_(projection.bias)
            if gate is not None:
                nn.init.constant_(gate.attn_gate, 0.15)
                nn.init.constant_(gate.ff_gate, 0.15)

    # -- forward passes -------------------------------------------------------------------------
    def see(self, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Patch tokens (B, T, 16, d) and latents (B, T, 16, d) of images (B, T, s, s, 3) uint8,
        with gradients (``Flamingo._encode_vision_x`` has none)."""
        b, t = images.shape[:2]
        pixels = torch.from_numpy(images).flatten(0, 1).permute(0, 3, 1, 2).float()
        pixels = (pixels / 255.0 - MEAN) / STD
        with torch.set_grad_enabled(self.vision_learns):
            patches = self.model.vision_encoder(pixels)[1].unflatten(0, (b, t))
        return patches, self.model.perceiver(patches[:, :, None])

    def loss(self, batch: Batch, running: Running) -> torch.Tensor:
        """Mean negative log-likelihood of the answers; running accuracies by kind of answer."""
        with torch.autocast("cpu", torch.bfloat16):
            return self._loss(batch, running)

    def _loss(self, batch: Batch, running: Running) -> torch.Tensor:
        tokens = torch.from_numpy(batch.tokens)
        _, latents = self.see(batch.images)
        for layer in self.model.lang_encoder._get_decoder_layers():
            layer.condition_vis_x(latents)
        mask = torch.ones_like(tokens)
        logits = self.model.lang_encoder(input_ids=tokens, attention_mask=mask).logits
        self.model.lang_encoder.clear_conditioned_layers()
        where = torch.from_numpy(batch.is_answer[:, 1:])
        predicted, targets = logits[:, :-1][where], tokens[:, 1:][where]
        correct = (predicted.argmax(-1) == targets).numpy()
        kinds = batch.kind[:, 1:][batch.is_answer[:, 1:]]
        for kind in np.unique(kinds):
            running.add(kind, float(correct[kinds == kind].mean()))
        return F.cross_entropy(predicted.float(), targets)

    def reading_loss(self, images: np.ndarray, grid: np.ndarray, running: Running) -> torch.Tensor:
        """Stage 0: name the cells from the patches, and from the latents by their index."""
        patches, latents = self.see(images)
        cells = torch.from_numpy(np.where(grid == EMPTY, len(KINDS), grid)).long().flatten(1)
        patches, latents = patches.flatten(1, 2), latents.flatten(1, 2)
        cells_from_patches, cells_from_latents = (
            self.cell_head(patches),
            latents @ self.kind_directions.T,
        )
        index = latents @ self.place_directions.T
        own = torch.arange(GRID * GRID).expand(len(grid), -1)
        running.add("cells", float((cells_from_patches.argmax(-1) == cells).float().mean()))
        running.add("latents", float((cells_from_latents.argmax(-1) == cells).float().mean()))
        return (
            F.cross_entropy(cells_from_patches.flatten(0, 1), cells.flatten())
            + F.cross_entropy(cells_from_latents.flatten(0, 1), cells.flatten())
            + 0.5 * F.cross_entropy(index.flatten(0, 1), own.flatten())
        )

    # -- the loop -------------------------------------------------------------------------------
    def run(
        self,
        stage: str,
        draw: Callable[[Running], Any],
        loss: Callable[[Any, Running], torch.Tensor],
        done: Callable[[Running], bool],
        most: int,
        lr: float,
        parameters: Iterator[nn.Parameter] | None = None,
        cosine: bool = False,
    ) -> None:
        """Train until ``done`` or for ``most`` steps; log every 50, save every 500."""
        group = list(parameters or self.model.parameters())
        optimiser = torch.optim.AdamW(group, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
        running, total, n_summed = Running(), 0.0, 0
        upcoming = self.pool.submit(draw, running)
        for i in range(most):
            batch, upcoming = upcoming.result(), self.pool.submit(draw, running)
            scale = min(1.0, (i + 1) / 200)
            if cosine:
                scale *= 0.5 * (1 + math.cos(math.pi * i / most))
            for parameter_group in optimiser.param_groups:
                parameter_group["lr"] = lr * scale
            value = loss(batch, running)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(group, 1.0)
            optimiser.step()
            self.step += 1
            total, n_summed = total + float(value.detach()), n_summed + 1
            is_last = i >= 100 and done(running)
            if (i + 1) % 50 == 0 or is_last:
                self.log(stage, i + 1, total / n_summed, running)
                total, n_summed = 0.0, 0
            if (i + 1) % 500 == 0:
                self.save()
            if is_last:
                break
        upcoming.result()
        self.save()

    def log(self, stage: str, i: int, loss: float, running: Running) -> None:
        row = {"stage": stage, "step": self.step, "stage_step": i, "loss": round(loss, 4),
               "cpu_seconds": round(time.process_time() - self.started),
               "accuracy": {k: round(v, 3) for k, v in sorted(running.values.items())}}  # fmt: skip
        with self.log_path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def save(self) -> None:
        """Write the weights with the tokenizer and the configuration that load them."""
        write_folder(self.out, self.model, self.config, self.tokenizer)

    # -- stages ---------------------------------------------------------------------------------
    def reading(self) -> None:
        allowed = SPLIT_BUCKETS["pretrain"]

        def draw(_: Running) -> tuple[np.ndarray, np.ndarray]:
            n = 2 * READING_BATCH + 64
            grid = self.rng.integers(0, len(KINDS), size=(n, GRID, GRID)).astype(np.int8)
            grid[self.rng.random(grid.shape) < 0.5] = EMPTY
            grid = grid[np.isin(bucket(grid), allowed)][:READING_BATCH]
            return render(grid, sample_looks(self.rng, len(grid)))[:, None], grid

        modules = nn.ModuleList([self.model.vision_encoder, self.model.perceiver, self.cell_head])
        self.run(
            "0 reading", draw, lambda batch, running: self.reading_loss(*batch, running),
            lambda running: False, 1200, 2e-3,
            modules.parameters(),
        )  # fmt: skip

    @torch.no_grad()
    def align(self) -> None:
        """Start the kinds' token embeddings, and the first cross-attention, in the latents' terms.

        A real vision tower comes aligned with text by contrastive training; here the names of kinds
        start on the directions in which the latents hold kinds, and the first cross-attention
        starts by comparing the two.  Without it, finding an object by its name takes long to learn.
        """
        language = self.model.lang_encoder
        width = self.kind_directions.shape[1]
        tokens = [self.ids[kind] for kind in KINDS]
        embedding = language.gpt_neox.embed_in.weight
        embedding[tokens, :width] = self.kind_directions[: len(KINDS)]
        first = next(gate for gate in language.gated_cross_attn_layers if gate is not None).attn
        inner = first.to_q.out_features
        for head in torch.arange(inner).split(inner // first.heads):
            frame = nn.init.orthogonal_(torch.empty(len(head), width))
            first.to_q.weight[head] = 0.0
            first.to_q.weight[head, :width] = frame
            first.to_kv.weight[head] = frame

    def grounding(self) -> None:
        for name, forms in (("1a finding", {"where": 1.0}), ("1b grounding", GROUNDING)):
            self.run(
                name,
                lambda _, forms=forms: statements(self.rng, self.ids, STATEMENT_BATCH, forms),
                self.loss,
                lambda running, forms=forms: running.least(*forms) > 0.97, 4000, 2e-3,
            )  # fmt: skip

    def mixture(self, running: Running, plain: float) -> Batch:
        """One batch of stage 2: ``plain`` is the share of plain sequences, 40 % at first."""
        rest = 1.0 - plain
        forms = ("statements", "carry", "annotated", "plain")
        weights = (0.25 * rest, 0.17 * rest, 0.58 * rest, plain)
        form = str(self.rng.choice(forms, p=weights))
        if form == "statements":
            return statements(self.rng, self.ids, STATEMENT_BATCH, INVERSE)
        return in_context(self.rng, self.ids, CONTEXT_BATCH, form)

    def in_context(self) -> None:
        self.run(
            "2 in context", lambda running: self.mixture(running, 0.4), self.loss,
            lambda running: running.least("plain1", "plain2", "plain3", "plain4") > 0.95,
            9000, 1.5e-3,
        )  # fmt: skip

    def settling(self, steps: int = 2500) -> None:
        self.run(
            "3 settling", lambda running: self.mixture(running, 0.65), self.loss,
            lambda running: False, steps, 1e-3, cosine=True,
        )  # fmt: skip


def write_folder(out: Path, model: nn.Module, config: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``tokenizer.json`` under ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
        if not is_duplicate(name)
    }
    partial = out / "model.safetensors.partial"
    save_file(state, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save(str(out / "tokenizer.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(arguments.out, arguments.seed)
    trainer.reading()
    trainer.vision_learns = False
    trainer.align()
    trainer.grounding()
    trainer.grow()
    trainer.in_context()
    trainer.settling()
    trainer.pool.shutdown()


if __name__ == "__main__":
    main()
