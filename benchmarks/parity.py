"""The same measurements with mfv-dsl and with the published code, on the bundled model.

    python benchmarks/parity.py --official Multimodal-Function-Vector --todd function_vectors

``--official`` is a checkout of github.com/fushuhao6/Multimodal-Function-Vector, the code of
arXiv:2510.02528, ``--todd`` one of github.com/ericwtodd/function_vectors, that of arXiv:2310.15213.
Either may be left out.  Their functions are imported from there and called as they are; nothing of
them is part of mfv-dsl.

Both need ``baukit``, which is on no index: ``pip install git+https://github.com/davidbau/baukit``.
Where it is not installed, :mod:`parity_modules` stands in for it, and for plotting and table
libraries that they import and that nothing here calls.

Each line has the largest difference and the CPU seconds of both, one process and one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from parity_modules import borrowed, stand_ins
from parity_ours import LAYER, RELATION, SCENES, SHOTS, K, Ours, measure_ours, timed
from PIL import Image
from transformers import PreTrainedTokenizerFast

from mfv_dsl.data.items import Prompt
from mfv_dsl.models import load
from mfv_dsl.models.openflamingo import OpenFlamingo

OFFICIAL = (
    "compute_indirect_effect.py", "utils/utils.py", "utils/extract_utils.py",
    "utils/intervention_utils.py", "utils/eval_utils.py", "utils/opt_util.py", "dataset/utils.py",
)  # fmt: skip
TODD = (
    "src/utils/extract_utils.py", "src/utils/intervention_utils.py", "src/utils/prompt_utils.py",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A quantity measured both ways: the largest difference, CPU seconds, and the largest absolute
    value of ours, to judge the difference by."""

    code: str
    quantity: str
    difference: float
    size: float
    seconds_theirs: float
    seconds_ours: float


class Asked:
    """Prompts in the form of the official datasets: pictures as files."""

    def __init__(self, prompts: Sequence[Prompt], folder: Path, question: Callable[..., str]):
        self.items = [
            {
                "relation": RELATION,
                "images": [str(picture_file(image, folder)) for image in prompt.images],
                "question": question(
                    [(item.query, item.answer) for item in prompt.demonstrations],
                    prompt.query.query, {"name_or_path": "flamingo"},
                ),
                "answer": prompt.query.answer,
            }
            for prompt in prompts
        ]  # fmt: skip

    def list_relations(self) -> list[str]:
        return [RELATION]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.items)


def picture_file(image: str, folder: Path) -> Path:
    """A scene's picture as a file, at the side that the model takes."""
    path = folder / f"{image.replace('/', '_')}.png"
    if not path.exists():
        Image.fromarray(SCENES.pictures([image], 40)[0]).save(path)
    return path


def official_names(model: OpenFlamingo) -> dict[str, Any]:
    """The bundled model in the words that the official code has for a model."""
    facts = model.facts
    layer = "lang_encoder.gpt_neox.layers.{}"
    return {
        "name_or_path": "flamingo",
        "language_model": {
            "n_heads": facts.n_heads,
            "n_layers": facts.n_layers,
            "resid_dim": facts.d_model,
            "attn_hook_names": [
                f"{layer.format(i)}.decoder_layer.attention.dense" for i in range(facts.n_layers)
            ],
            "layer_hook_names": [layer.format(i) for i in range(facts.n_layers)],
        },
    }


def largest(difference: Any) -> float:
    """The largest absolute value."""
    return float(np.abs(np.asarray(difference, dtype=np.float64)).max())


def compare_official(model: OpenFlamingo, ours: Ours, root: Path, folder: Path) -> list[Line]:
    """The official functions against ours."""
    names, code = official_names(model), "official"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model.tokenizer)
    model.model.device = model.device
    ask = (tokenizer, names, lambda picture: model.preprocess([np.array(picture)])[0], None)
    lines: list[Line] = []

    def line(quantity: str, theirs: Any, own: Any, seconds: float, own_seconds: float) -> None:
        difference = largest(np.asarray(theirs) - np.asarray(own))
        lines.append(Line(code, quantity, difference, largest(own), seconds, own_seconds))

    with borrowed(root, ["utils", "dataset", "compute_indirect_effect"]) as take:
        extract, intervene = take("utils.extract_utils"), take("utils.intervention_utils")
        opt, mediation = take("utils.opt_util"), take("compute_indirect_effect")
        question = take("dataset.utils").construct_question
        intact = Asked(ours.intact, folder, question)
        own = [model.template.text(prompt) for prompt in ours.intact]
        texts = [item["question"] for item in intact]
        lines.append(
            Line(code, "questions that differ",
                 sum(a != b for a, b in zip(texts, own, strict=True)), len(own), 0, 0)
        )  # fmt: skip
        with torch.no_grad():
            (_, means), seconds = timed(
                lambda: extract.get_task_conditioned_activation(
                    intact, model.model, *ask, "language_model"
                )
            )
        mean = means[RELATION]
        line("mean activations", mean, ours.mean, seconds, ours.seconds["mean activations"])
        effects, total = [], 0.0
        for prompt in ours.twins:
            with torch.no_grad():
                (effect, _, _), seconds = timed(
                    lambda twin=prompt: mediation.get_indirect_effect_by_task(
                        Asked([twin], folder, question), {RELATION: ours.mean}, model.model, *ask,
                        "language_model",
                    )
                )  # fmt: skip
            effects.append(effect[RELATION])
            total += seconds
        cie = torch.stack(effects)
        line("CIE", cie, ours.cie, total, ours.seconds["CIE"])
        (vector, heads), seconds = timed(
            lambda: extract.compute_function_vector(
                ours.mean, cie.mean(0), model.model, "language_model", names, n_top_heads=K
            )
        )
        different = {(int(a), int(b)) for a, b, _ in heads} ^ set(ours.heads)
        lines.append(Line(code, f"top {K} heads that differ", len(different) // 2, K, 0, 0))
        line("function vector", vector[0].detach(), ours.vector, seconds,
             ours.seconds["function vector"])  # fmt: skip
        asked = Asked(ours.questions, folder, question)

        def inject() -> torch.Tensor:
            rows = []
            for item in asked:
                act = intervene.add_function_vector(LAYER, ours.vector[None], idx=-1)
                output, _ = extract.inference_model(
                    model.model, ask[0], names, item["images"], item["question"],
                    image_processor=ask[2], edit_output=act,
                    layers=names["language_model"]["layer_hook_names"],
                )  # fmt: skip
                rows.append(output.logits[0, -1].detach().log_softmax(-1))
            return torch.stack(rows)

        with torch.no_grad():
            log_p, seconds = timed(inject)
        line("injected log-probabilities", log_p, ours.log_p, seconds,
             ours.seconds["injected answers"])  # fmt: skip
        said = int((log_p.argmax(-1) != ours.said).sum())
        lines.append(Line(code, "injected answers that differ", said, len(ours.said), 0, 0))

        def step() -> torch.Tensor:
            tuned = opt.FunctionVectorModel(model.model, LAYER, ours.vector.clone(), names)
            try:
                item = asked.items[0]
                text, labels, place = opt.construct_training_labels(
                    item["question"], item["answer"], names, ask[0], None
                )
                output, _ = opt.inference_model(
                    tuned, ask[0], names, item["images"], text, image_processor=ask[2],
                    labels=labels, idx=place,
                )  # fmt: skip
                output.loss.backward()
                return tuned.function_vector.grad[0]
            finally:
                tuned.remove_hooks()

        gradient, seconds = timed(step)
        line("tuning gradient", gradient, ours.gradient, seconds, ours.seconds["tuning gradient"])
    return lines


def on_tuples(act: Callable[..., Any]) -> Callable[[Any, str], Any]:
    """Todd et al.'s edit of a layer's output, which changes tuples only, for layers that give a
    tensor, as those of today's transformers do."""

    def edit(output: Any, layer: str) -> Any:
        return act((output,), layer)[0] if torch.is_tensor(output) else act(output, layer)

    return edit


class TextView(torch.nn.Module):
    """The bundled Flamingo with one prompt's pictures in it, as the language model that Todd et
    al.'s code expects."""

    def __init__(self, model: OpenFlamingo, prompt: Prompt) -> None:
        super().__init__()
        self.gpt_neox = torch.nn.Module()
        self.gpt_neox.layers = model.layers
        for layer in model.layers:  # where they look for it; no second name in the module's tree
            object.__setattr__(layer, "attention", layer.decoder_layer.attention)
        self.device, self.dtype = model.device, torch.float32
        self.whole = [model.model]
        pictures = SCENES.pictures(prompt.images, model.image_size)
        self.pixels = model.preprocess(pictures)[None, :, None]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.whole[0](vision_x=self.pixels, lang_x=input_ids, attention_mask=attention_mask)


def compare_todd(model: OpenFlamingo, ours: Ours, root: Path) -> list[Line]:
    """Todd et al.'s replacement of a head, sum of heads and injection against ours.

    What they do prompt by prompt with their own template (roles of tokens, drawing of word pairs)
    has no counterpart here; the loop over heads is theirs, written again around their functions.
    """
    facts, lines, code = model.facts, [], "Todd et al."
    hooks = [f"gpt_neox.layers.{i}.decoder_layer.attention.dense" for i in range(facts.n_layers)]
    names = {
        "name_or_path": "gpt-neox", "n_heads": facts.n_heads, "n_layers": facts.n_layers,
        "resid_dim": facts.d_model, "prepend_bos": False, "attn_hook_names": hooks,
        "layer_hook_names": [f"gpt_neox.layers.{i}" for i in range(facts.n_layers)],
    }  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model.tokenizer)
    means = ours.mean[:, :, None]  # their third dimension is the token, here the last alone

    def inputs(prompt: Prompt) -> dict[str, torch.Tensor]:
        encoded = tokenizer([model.template.text(prompt)], return_tensors="pt")
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    with borrowed(root / "src", ["utils"]) as take:
        extract, intervene = take("utils.extract_utils"), take("utils.intervention_utils")
        trace = extract.TraceDict

        def effects(prompt: Prompt) -> torch.Tensor:
            view, given = TextView(model, prompt), inputs(prompt)
            answer = model.first_tokens([prompt.query.answer])[0]
            before = view(**given).logits[:, -1].softmax(-1)
            cie = torch.zeros(facts.n_layers, facts.n_heads)
            last = given["input_ids"].shape[1] - 1
            for layer in range(facts.n_layers):
                for head in range(facts.n_heads):
                    act = intervene.replace_activation_w_avg(
                        [(layer, head, last)], means, view, names, {last: 0}, last_token_only=True
                    )
                    with trace(view, layers=[hooks[layer]], edit_output=act):
                        after = view(**given).logits[:, -1].softmax(-1)
                    cie[layer, head] = (after - before)[0, answer]
            return cie

        with torch.no_grad():
            cie, seconds = timed(lambda: torch.stack([effects(twin) for twin in ours.twins]))
        difference = largest(cie - torch.from_numpy(ours.cie))
        lines.append(Line(code, "CIE", difference, largest(ours.cie), seconds, ours.seconds["CIE"]))
        view = TextView(model, ours.twins[0])
        (vector, heads), seconds = timed(
            lambda: extract.compute_function_vector(means, cie, view, names, n_top_heads=K)
        )
        different = {(int(a), int(b)) for a, b, _ in heads} ^ set(ours.heads)
        lines.append(Line(code, f"top {K} heads that differ", len(different) // 2, K, 0, 0))
        lines.append(
            Line(code, "function vector", largest(vector[0].detach() - ours.vector),
                 largest(ours.vector), seconds, ours.seconds["function vector"])
        )  # fmt: skip

        def inject() -> torch.Tensor:
            rows = []
            for prompt in ours.questions:
                view = TextView(model, prompt)
                act = intervene.add_function_vector(LAYER, ours.vector[None], model.device)
                with trace(view, layers=names["layer_hook_names"], edit_output=on_tuples(act)):
                    rows.append(view(**inputs(prompt)).logits[0, -1].log_softmax(-1))
            return torch.stack(rows)

        with torch.no_grad():
            log_p, seconds = timed(inject)
        lines.append(
            Line(code, "injected log-probabilities", largest(log_p - ours.log_p),
                 largest(ours.log_p), seconds, ours.seconds["injected answers"])
        )  # fmt: skip
    return lines


def table(lines: Sequence[Line]) -> str:
    """The measurements as a table of docs/parity.md."""
    rows = [
        "| code | quantity | largest difference | largest value | theirs, s | ours, s | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line in lines:
        counted = line.quantity.endswith("differ")
        values = (
            [f"{line.difference:.0f}", f"of {line.size:.0f}", "", "", ""]
            if counted
            else [
                f"{line.difference:.1e}", f"{line.size:.2g}", f"{line.seconds_theirs:.3g}",
                f"{line.seconds_ours:.3g}",
                f"{line.seconds_theirs / max(line.seconds_ours, 1e-9):.2g}",
            ]
        )  # fmt: skip
        rows.append(f"| {' | '.join([line.code, line.quantity, *values])} |")
    return "\n".join(rows)


def checkout(path: Path | None, files: Sequence[str], option: str) -> Path | None:
    """The folder of a repository; leaves with a message where files are not in it."""
    if path is None:
        return None
    missing = [name for name in files if not (path / name).is_file()]
    if missing:
        raise SystemExit(
            f"{option} {path}: this is not a checkout of that repository; there is no "
            f"{', '.join(missing)}"
        )
    return path.resolve()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--official", type=Path, help="checkout of Multimodal-Function-Vector")
    parser.add_argument("--todd", type=Path, help="checkout of function_vectors")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    official = checkout(chosen.official, OFFICIAL, "--official")
    todd = checkout(chosen.todd, TODD, "--todd")
    if official is None and todd is None:
        parser.error("give --official, --todd or both")
    torch.set_num_threads(1)
    model = load("tiny")
    measure_ours(model, 2)  # what happens once only
    ours = measure_ours(model, chosen.prompts)
    lines: list[Line] = []
    used = SimpleNamespace(modules=())
    with tempfile.TemporaryDirectory() as name, stand_ins() as used.modules:
        quiet = StringIO()  # their progress bars
        with redirect_stdout(quiet), redirect_stderr(quiet):
            if official is not None:
                lines += compare_official(model, ours, official, Path(name))
            if todd is not None:
                lines += compare_todd(model, ours, todd)
    if chosen.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    print(f"{len(ours.intact)} prompts of {SHOTS} demonstrations, {len(ours.twins)} answered")
    print(f"stood in for: {', '.join(used.modules) or 'nothing'}\n")
    print(table(lines))


if __name__ == "__main__":
    main()
