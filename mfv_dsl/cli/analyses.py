"""Commands that analyse vectors: ask, decode, identify, similarity, norms, cost, compare-models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import (
    DefaultLayerOption,
    ItemsOption,
    LayerOption,
    LensOption,
    OutputOptions,
    PlotOption,
    ScaleOption,
    VectorArgument,
    VectorOptions,
    WithOption,
    check_picture,
    grouped,
    injection,
    parse_layer,
    read_lens,
    save_picture,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mfv_dsl.inspection import Question, Reply
    from mfv_dsl.methods.off_task import CostRow


@grouped
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
    lens: LensOption = "logit",
    *,
    options: VectorOptions,
    items: ItemsOption = 25,
    output: OutputOptions,
) -> None:
    """Show which words of the model's vocabulary a vector speaks for (logit lens)."""
    from mfv_dsl.methods import decoding
    from mfv_dsl.methods.vectors import require_model
    from mfv_dsl.report.analysis_tables import decoded_table

    if norm not in decoding.NORMS:
        raise typer.BadParameter(f"`{norm}` is none of {', '.join(decoding.NORMS)}")
    if lens != "logit" and norm != "after_stream":
        raise typer.BadParameter("a tuned lens is of states: it goes with --norm after_stream")
    tuned = read_lens(lens)
    with output.progress() as listener:
        wanted = options.read_vector(vector, listener)
        probe = options.open_probe()
        direction = require_model(probe.backend, wanted.vector)
        stream = probe.stream(items, listener=listener) if norm == "after_stream" else None
    decodings = decoding.decode(probe.backend, direction, layers, top, norm, stream, tuned)
    output.show([asdict(decoding) for decoding in decodings], decoded_table(decodings))


@grouped
def identify(
    vector: VectorArgument,
    library: Annotated[
        list[str], typer.Option("--library", help="A folder of vectors, or a file; repeatable.")
    ],
    options: VectorOptions,
    output: OutputOptions,
) -> None:
    """Explain a vector as a sum of those of a library, by least squares.

    If VECTOR is a file of the library, it is not explained by itself.
    """
    from mfv_dsl.inputs import read_vectors
    from mfv_dsl.methods import geometry
    from mfv_dsl.report.analysis_tables import identified_table

    members = read_vectors(library, but=vector)
    with output.progress() as listener:
        wanted = options.read_vector(vector, listener)
    decomposition = geometry.identify(wanted.vector, members)
    condition = decomposition.condition if math.isfinite(decomposition.condition) else None
    output.show(
        {**asdict(decomposition), "condition": condition, "collinear": decomposition.collinear},
        identified_table(decomposition),
        [f"not explained: {100 * decomposition.residual_share:.1f} % of its squared length "
         f"(a random vector: about {100 * (1 - decomposition.chance):.1f} %)"],
    )  # fmt: skip
    if decomposition.collinear and not output.as_json:
        typer.echo(
            f"the members are nearly collinear (condition number {decomposition.condition:.3g}): "
            "other coefficients do about as well",
            err=True,
        )


@grouped
def similarity(
    vectors: Annotated[
        list[str],
        typer.Argument(help="Vector files, folders of them, or expressions.", metavar="VECTORS..."),
    ],
    plot: PlotOption = None,
    *,
    options: VectorOptions,
    output: OutputOptions,
) -> None:
    """Show the cosine of every two vectors.

    A vector that is zero has no direction, and so no cosine with any.
    """
    from mfv_dsl.methods import geometry
    from mfv_dsl.report.analysis_tables import similarity_table

    check_picture(plot)
    with output.progress() as listener:
        members = options.read_all(vectors, listener)
    names = list(members)
    cosines = geometry.similarity(list(members.values()), zero_is_nan=True)
    data = {
        "names": names,
        "cosines": [[None if math.isnan(c) else c for c in row] for row in cosines.tolist()],
    }
    output.show(data, similarity_table(names, cosines))
    zero = [name for name, own in zip(names, cosines.diagonal(), strict=True) if math.isnan(own)]
    if zero:
        typer.echo(f"without direction, as they are zero: {', '.join(zero)}", err=True)
    if plot is not None:
        from mfv_dsl.report.figures.matrices import similarity_figure

        save_picture(similarity_figure(names, cosines)[0], plot)


@grouped
def norms(
    vector: VectorArgument,
    options: VectorOptions,
    items: ItemsOption = 25,
    plot: PlotOption = None,
    *,
    output: OutputOptions,
) -> None:
    """Compare a vector's length with that of the residual stream at the last token of zero-shot
    prompts, layer by layer."""
    from mfv_dsl.methods.geometry import against_stream
    from mfv_dsl.methods.vectors import require_model
    from mfv_dsl.report.analysis_tables import norms_table

    check_picture(plot)
    with output.progress() as listener:
        wanted = options.read_vector(vector, listener)
        probe = options.open_probe()
        direction = require_model(probe.backend, wanted.vector)
        stream = probe.stream(items, listener=listener)
    ratios = against_stream(direction, stream)
    output.show(
        {
            "norm": direction.norm(),
            "prompts": stream.n,
            "layers": [asdict(ratio) for ratio in ratios],
        },
        norms_table(ratios),
        [f"the vector's length is {direction.norm():.1f}; {stream.n} prompts"],
    )
    if plot is not None:
        from mfv_dsl.report.figures.training import stream_figure

        layers = [ratio.layer for ratio in ratios]
        stream_of = [ratio.stream for ratio in ratios]
        deviations = [ratio.deviation for ratio in ratios]
        figure, _ = stream_figure(layers, stream_of, deviations, direction.norm(), vector)
        save_picture(figure, plot)


@grouped
def cost(
    vectors: Annotated[
        list[str],
        typer.Argument(help="Vector files, folders of them, or expressions.", metavar="VECTORS..."),
    ],
    layer: LayerOption,
    scale: ScaleOption = 1.0,
    relations: Annotated[
        list[str] | None,
        typer.Option(
            "--for", metavar="RELATION",
            help="A relation that the vectors are for; may be repeated. [default: for each those "
            "that its expression names]",
        ),
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1, help="Prompts of each kind.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write cost.json there, for `mfv table`."),
    ] = None,
    *,
    options: VectorOptions,
    output: OutputOptions,
) -> None:  # fmt: skip
    """Measure what adding each vector costs on prompts that it is not for: how far the answers move
    (KL divergence of the next token), and how many are still right."""
    from mfv_dsl.base.disk import check_path
    from mfv_dsl.inputs import relations_of
    from mfv_dsl.methods.off_task import cost_rows
    from mfv_dsl.report.analysis_tables import cost_table

    at, measured = parse_layer(layer), []
    if out is not None:
        check_path(out)
    with output.progress() as listener:
        wanted = options.read_all(vectors, listener)
        probe = options.open_probe()
        for name, vector in wanted.items():
            own = relations or list(relations_of(vector, probe.dataset))
            costs = probe.costs(vector, at, scale, own, items, listener=listener)
            measured.append((name, own, cost_rows(costs)))
    if out is not None:
        _write_costs(out, measured, at, scale)
    data = [
        {"for": own, "layer": at, "scale": scale,
         "kinds": {row.kind: row.to_json() for row in rows}}
        for _, own, rows in measured
    ]  # fmt: skip
    if len(data) == 1:
        ((_, own, rows),) = measured
        said = f"taken as a vector for: {', '.join(own) or 'no relation of the dataset'}"
        output.show(data[0], cost_table(rows), [said])
        return
    if output.as_json:
        output.show([{"vector": name, **each} for name, each in zip(wanted, data, strict=True)],
                    cost_table(()))  # fmt: skip
        return
    for name, own, rows in measured:
        typer.echo(f"{name}, taken as a vector for: {', '.join(own) or 'no relation'}")
        output.show({}, cost_table(rows))


def _write_costs(
    folder: Path, measured: list[tuple[str, list[str], list[CostRow]]], at: int | str, scale: float
) -> None:
    """Write what was measured, one row a vector and kind of prompt, into ``cost.json``."""
    import json

    from mfv_dsl.base.disk import disk_trouble
    from mfv_dsl.base.files import write_atomically

    rows = [
        {"vector": name, "for": own, "layer": at, "scale": scale, **asdict(row), **row.to_json()}
        for name, own, rows in measured
        for row in rows
    ]
    with disk_trouble(folder, what="cannot write into the folder", code="MFV6102"):
        write_atomically(
            folder / "cost.json", (json.dumps({"rows": rows}, indent=2) + "\n").encode()
        )
    typer.echo(f"results in {folder}", err=True)


@grouped
def ask(
    added: WithOption = None,
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
    layer: DefaultLayerOption = None,
    scale: ScaleOption = 1.0,
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 5,
    plot: PlotOption = None,
    *,
    options: VectorOptions,
    output: OutputOptions,
) -> None:
    """Ask one question about one picture, without and with a vector.

    Without --layer it is added where its file says, else head by head at each head's own layer; a
    vector without per-head parts a third of the way up.
    """
    from mfv_dsl import inspection
    from mfv_dsl.inputs import open_model
    from mfv_dsl.report.analysis_tables import answers_table

    check_picture(plot)
    if image is not None and query is None:
        raise typer.BadParameter("a picture needs a --query, the object that is asked about")
    at = None if layer is None else parse_layer(layer)
    question = (
        inspection.about_scene(scene, diagonal, query)
        if image is None
        else inspection.about_picture(image, query or "")
    )
    vector = None
    if added is not None:
        with output.progress() as listener:
            vector = options.read_vector(added, listener)
    reply = inspection.ask(open_model(options.model), question, vector, at, scale, top)
    output.show(
        {"question": question.text, "neighbours": dict(question.neighbours), "vector": added,
         "layer": reply.layer, "scale": scale, "before": _answers(reply.before),
         "after": None if reply.after is None else _answers(reply.after)},
        answers_table(reply.before, reply.after),
        list(_remarks(question, reply, added, scale)),
    )  # fmt: skip
    if plot is not None:
        save_picture(_picture(question, reply, added, scale), plot)


def _answers(answers: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"answer": name, "p": probability} for name, probability in answers]


def _remarks(question: Question, reply: Reply, added: str | None, scale: float) -> Iterator[str]:
    """What was asked, what was added where, and what stands around the object."""
    with_it = ""
    if added is not None and reply.layer is not None:
        with_it = f"   with {injection(added, reply.layer, scale)}"
    yield f"{question.text}{with_it}"
    if question.neighbours:
        yield ", ".join(f"{relation}: {name}" for relation, name in question.neighbours.items())


def _picture(question: Question, reply: Reply, added: str | None, scale: float) -> Figure:
    from mfv_dsl.report.figures.prompts import Panel, answers_figure

    panels = [Panel("no vector", reply.before)]
    if reply.after is not None and added is not None and reply.layer is not None:
        panels.append(Panel(f"+ {injection(added, reply.layer, scale)}", reply.after))
    return answers_figure(question.picture(320), question.text, panels)[0]


@grouped
def compare_models(
    folders: Annotated[
        list[str],
        typer.Argument(help="Libraries of vectors, or folders of runs.", metavar="FOLDERS..."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="PATTERN", help="The vectors that are taken, such as "
                     "tuned_*; may be repeated. [default: all that every folder has]"),
    ] = None,
    distance: Annotated[
        str, typer.Option(help="How unlike two vectors are: cosine, or correlation.")
    ] = "cosine",
    draws: Annotated[
        int, typer.Option(min=99, help="Orders that are drawn for more than eight vectors.")
    ] = 9999,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the draws.")] = 0,
    plot: PlotOption = None,
    *,
    output: OutputOptions,
) -> None:  # fmt: skip
    """Compare models by how their vectors for the same relations lie to one another
    (representational similarity analysis, and CKA).

    Several folders of one model, such as those of several seeds, are taken together, and tell how
    well a model agrees with itself; where all are of one model each stands for itself.
    """
    from mfv_dsl.methods.model_comparison import DISTANCES
    from mfv_dsl.model_sets import compare_models as compared
    from mfv_dsl.report.analysis_tables import ceilings_lines, models_compared_table

    check_picture(plot)
    if distance not in DISTANCES:
        raise typer.BadParameter(f"`{distance}` is none of {', '.join(DISTANCES)}")
    found = compared(folders, names or (), distance, draws, seed)
    output.show(found.to_json(), models_compared_table(found.pairs),
                list(ceilings_lines(found.pairs, found.ceilings)))  # fmt: skip
    if plot is not None:
        from mfv_dsl.report.figures.model_comparison import arrangement_figure

        first = next(iter(found.arrangements.values()))
        matrices = {name: one.dissimilarities for name, one in found.arrangements.items()}
        save_picture(arrangement_figure(first.relations, matrices)[0], plot)


COMMANDS = (ask, decode, identify, similarity, norms, cost, compare_models)
