"""Commands that look at vectors: decode, identify, similarity, norms, cost, ask."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import (
    DatasetOption,
    HeadsOption,
    JsonFlag,
    ModelOption,
    PlotOption,
    QuietFlag,
    ShotsOption,
    TrialsOption,
    VectorArgument,
    parse_layer,
    save_picture,
)

if TYPE_CHECKING:
    from PIL import Image

    from mfv_dsl.probing import Question, Reply

_LAYER = typer.Option(
    "--layer", metavar="LAYER",
    help="The layer it is added at: a number, or native for each head's own.",
)  # fmt: skip
_SCALE = typer.Option("--scale", help="The factor before the vector.")
_ITEMS = typer.Option("--items", min=1, help="Prompts of each relation.")


def decode(
    vector: VectorArgument,
    norm: Annotated[
        str,
        typer.Option(
            help="final: the final norm, then the output head; none: the head alone; after_stream: "
            "what adding it to the mean residual stream changes, by layer."
        ),
    ] = "final",
    top: Annotated[int, typer.Option(min=1, help="How many tokens.")] = 10,
    layers: Annotated[
        list[int] | None,
        typer.Option("--layer", help="With after_stream: this layer only; may be repeated."),
    ] = None,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    items: Annotated[int, _ITEMS] = 25,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Show which words of the model's vocabulary a vector speaks for (logit lens)."""
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.methods import decoding
    from mfv_dsl.methods.vectors import require_model
    from mfv_dsl.probing import Probe, find_vector
    from mfv_dsl.report.probing import decoded_table

    if norm not in decoding.NORMS:
        raise typer.BadParameter(f"`{norm}` is none of {', '.join(decoding.NORMS)}")
    with progress_bars(quiet) as listener:
        found = find_vector(
            vector, model, dataset, listener, heads=heads, shots=shots, trials=trials
        )
        probe = Probe.open(model, dataset)
        known = require_model(probe.backend, found.vector)
        stream = probe.stream(items, listener=listener) if norm == "after_stream" else None
    said = decoding.decode(probe.backend, known, layers, top, norm, stream)
    _show([asdict(one) for one in said], decoded_table(said), as_json)


def identify(
    vector: VectorArgument,
    library: Annotated[
        list[str], typer.Option("--library", help="A folder of vectors, or a file; repeatable.")
    ],
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Explain a vector as a sum of those of a library, by least squares.

    If VECTOR is a file of the library, it is not explained by itself.
    """
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.methods import geometry
    from mfv_dsl.probing import find_vector, read_library
    from mfv_dsl.report.probing import identified_table

    members = read_library(library, but=vector)
    with progress_bars(quiet) as listener:
        wanted = find_vector(
            vector, model, dataset, listener, heads=heads, shots=shots, trials=trials
        )
    found = geometry.identify(wanted.vector, members)
    condition = found.condition if math.isfinite(found.condition) else None
    said = {**asdict(found), "condition": condition, "collinear": found.collinear}
    _show(said, identified_table(found), as_json)
    if as_json:
        return
    typer.echo(
        f"not explained: {100 * found.residual_share:.1f} % of its squared length "
        f"(a random vector: about {100 * (1 - found.chance):.1f} %)"
    )
    if found.collinear:
        typer.echo(
            f"the members are nearly collinear (condition number {found.condition:.3g}): other "
            "coefficients do about as well",
            err=True,
        )


def similarity(
    vectors: Annotated[
        list[str], typer.Argument(help="Vector files, or folders of them.", metavar="VECTORS...")
    ],
    plot: PlotOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the cosine of every two vectors."""
    from mfv_dsl.methods import geometry
    from mfv_dsl.probing import read_library
    from mfv_dsl.report.heatmap import heat_map
    from mfv_dsl.report.probing import similarity_table

    members = read_library(vectors)
    names, cosines = list(members), geometry.similarity(list(members.values()))
    said = {"names": names, "cosines": cosines.tolist()}
    _show(said, similarity_table(names, cosines), as_json)
    if plot is not None:
        save_picture(heat_map(cosines, names, names, "cosine similarity"), plot)


def norms(
    vector: VectorArgument,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    items: Annotated[int, _ITEMS] = 25,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare a vector's length with that of the residual stream at the last token of zero-shot
    prompts, layer by layer."""
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.methods.geometry import against_stream
    from mfv_dsl.methods.vectors import require_model
    from mfv_dsl.probing import Probe, find_vector
    from mfv_dsl.report.probing import norms_table

    with progress_bars(quiet) as listener:
        found = find_vector(
            vector, model, dataset, listener, heads=heads, shots=shots, trials=trials
        )
        probe = Probe.open(model, dataset)
        known = require_model(probe.backend, found.vector)
        stream = probe.stream(items, listener=listener)
    ratios = against_stream(known, stream)
    said = {"norm": known.norm(), "prompts": stream.n, "layers": [asdict(one) for one in ratios]}
    _show(said, norms_table(ratios), as_json)
    if not as_json:
        typer.echo(f"the vector's length is {known.norm():.1f}; {stream.n} prompts")


def cost(
    vector: VectorArgument,
    layer: Annotated[str, _LAYER],
    scale: Annotated[float, _SCALE] = 1.0,
    relations: Annotated[
        list[str] | None,
        typer.Option(
            "--for", metavar="RELATION",
            help="A relation that the vector is for; may be repeated. [default: those that its "
            "expression names]",
        ),
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1, help="Prompts of each kind.")] = 100,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Measure what adding a vector costs on prompts that it is not for: how far the answers move
    (KL divergence of the next token), and how many are still right."""
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.data.prompts import DEFAULT_SEED
    from mfv_dsl.probing import Probe, find_vector, relations_of
    from mfv_dsl.report.probing import cost_table

    at = parse_layer(layer)
    with progress_bars(quiet) as listener:
        found = find_vector(
            vector, model, dataset, listener, heads=heads, shots=shots, trials=trials
        )
        probe = Probe.open(model, dataset)
        own = relations or list(relations_of(found.vector, probe.dataset))
        costs = probe.costs(found.vector, at, scale, own, items, listener=listener)
    said = {
        kind: {
            "n": len(one), "kl": one.kl_mean, "kl_interval": one.kl_interval(DEFAULT_SEED),
            "accuracy_before": one.accuracy_before, "accuracy_after": one.accuracy_after,
            "change": one.change, "change_interval": one.change_interval(DEFAULT_SEED),
        }
        for kind, one in costs.items()
    }  # fmt: skip
    _show({"for": own, "layer": at, "scale": scale, "kinds": said}, cost_table(costs), as_json)
    if not as_json:
        typer.echo(f"taken as a vector for: {', '.join(own) or 'no relation of the dataset'}")


def ask(
    added: Annotated[
        str | None,
        typer.Option("--with", metavar="VECTOR", help="A vector file or expression to add."),
    ] = None,
    image: Annotated[Path | None, typer.Option(help="A picture; without, a rendered scene.")] = (
        None
    ),
    query: Annotated[
        str | None,
        typer.Option(help="The object asked about. [default: the one in the scene's middle]"),
    ] = None,
    scene: Annotated[int, typer.Option(metavar="SEED", help="The scene's seed.")] = 0,
    diagonal: Annotated[
        bool, typer.Option("--diagonal", help="A scene with diagonal neighbours.")
    ] = False,
    layer: Annotated[str | None, _LAYER] = None,
    scale: Annotated[float, _SCALE] = 1.0,
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 5,
    plot: PlotOption = None,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask one question about one picture, without and with a vector.

    Without --layer it is added where its file says, else head by head at each head's own layer; a
    vector without per-head parts a third of the way up.
    """
    from mfv_dsl import probing
    from mfv_dsl.cli.output import progress_bars
    from mfv_dsl.report.probing import answers_table

    if image is not None and query is None:
        raise typer.BadParameter("a picture needs a --query, the object that is asked about")
    at = None if layer is None else parse_layer(layer)
    question = (
        probing.about_scene(scene, diagonal, query)
        if image is None
        else probing.about_picture(image, query or "")
    )
    found = None
    if added is not None:
        with progress_bars(quiet) as listener:
            found = probing.find_vector(
                added, model, dataset, listener, heads=heads, shots=shots, trials=trials
            )
    reply = probing.ask(probing.open_model(model), question, found, at, scale, top)
    said = {"question": question.text, "neighbours": dict(question.neighbours), "vector": added,
            "layer": reply.layer, "scale": scale, "before": _answers(reply.before),
            "after": None if reply.after is None else _answers(reply.after)}  # fmt: skip
    _show(said, answers_table(reply), as_json)
    if not as_json:
        for line in _remarks(question, reply, added, scale):
            typer.echo(line)
    if plot is not None:
        save_picture(_drawn(question, reply, added, scale), plot)


def _answers(answers: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"answer": name, "p": probability} for name, probability in answers]


def _remarks(question: Question, reply: Reply, added: str | None, scale: float) -> list[str]:
    lines = [question.text]
    if added is not None:
        lines[0] += f"   with {_injection(reply, added, scale)}"
    if question.neighbours:
        lines.append(", ".join(f"{name}: {what}" for name, what in question.neighbours.items()))
    return lines


def _injection(reply: Reply, added: str, scale: float) -> str:
    factor = "" if scale == 1 else f"{scale:g} × "
    where = "each head's own layer" if reply.layer == "native" else f"layer {reply.layer}"
    return f"{factor}{added} at {where}"


def _drawn(question: Question, reply: Reply, added: str | None, scale: float) -> Image.Image:
    from mfv_dsl.report.picture import Panel, answers_picture

    panels: list[Panel] = [("no vector", reply.before, None)]
    if reply.after is not None and added is not None:
        panels.append((f"+ {_injection(reply, added, scale)}", reply.after, None))
    return answers_picture(question.picture(320), question.text, panels)


def _show(said: Any, table: Any, as_json: bool) -> None:
    from mfv_dsl.cli.output import print_table

    if as_json:
        typer.echo(json.dumps(said, indent=2))
    else:
        print_table(table)
