"""Commands that look inside: lens, train-lens, attribute, paths, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import (
    DefaultLayerOption,
    LensOption,
    ModelOptions,
    OptionGroup,
    OutputOptions,
    PlotOption,
    ScaleOption,
    VectorArgument,
    VectorOptions,
    check_picture,
    grouped,
    parse_layer,
    read_lens,
    save_picture,
)

if TYPE_CHECKING:
    from mfv_dsl.execute.settings import Listener
    from mfv_dsl.mechanisms import Added, Asked, Looks
    from mfv_dsl.methods.attention_maps import AttentionHead

WithOption = Annotated[
    str | None,
    typer.Option("--with", metavar="VECTOR", help="A vector file or expression to add."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Also write every number, as a .csv file."),
]
TopOption = Annotated[int, typer.Option("--top", min=1, help="How many of them to show.")]


@dataclass(frozen=True)
class PromptOptions(OptionGroup):
    """Which prompts are asked."""

    relations: Annotated[
        list[str] | None,
        typer.Option(
            "--relation", metavar="NAME",
            help="What is asked; may be repeated. [default: all of the dataset]",
        ),
    ] = None  # fmt: skip
    items: Annotated[int, typer.Option("--items", min=1, help="Prompts of each relation.")] = 25
    demonstrations: Annotated[
        int, typer.Option("--demonstrations", min=0, help="Demonstrations in each prompt.")
    ] = 0
    split: Annotated[str, typer.Option("--split", help="The split that prompts come from.")] = (
        "test"
    )

    def asked(self, seed: int | None) -> Asked:
        """The prompts; ``seed`` is that of everything drawn."""
        from mfv_dsl.mechanisms import USUAL, Asked

        return Asked(
            tuple(self.relations or ()), self.items, self.demonstrations, self.split,
            USUAL.seed if seed is None else seed,
        )  # fmt: skip


@grouped
def lens(
    added: WithOption = None,
    lens: LensOption = "logit",
    layer: DefaultLayerOption = None,
    scale: ScaleOption = 1.0,
    plot: PlotOption = None,
    out: OutOption = None,
    *,
    prompts: PromptOptions,
    options: VectorOptions,
    output: OutputOptions,
) -> None:
    """Read the answer behind every layer, without and with a vector (logit lens, tuned lens).

    The last token's state goes through the final norm and the output head. Behind the last layer
    that is what the model answers.
    """
    from mfv_dsl import mechanisms
    from mfv_dsl.report.mechanism_tables import lens_table

    check_picture(plot)
    check_numbers(out)
    tuned = read_lens(lens)
    with output.progress() as listener:
        vector = _added(options, added, layer, scale, listener)
        probe = options.open_probe()
        asked = prompts.asked(options.seed)
        curve = mechanisms.lens_curve(probe, vector, asked, tuned, listener)
    rows = mechanisms.curve_rows(curve, probe.backend)
    _show(output, out, rows, lens_table(rows), [_where(vector, probe.backend, added)])
    if plot is not None:
        from mfv_dsl.report.figures.curves import Curve, curves_figure

        curves = []
        for name in dict.fromkeys(row["vector"] for row in rows):
            own = [row for row in rows if row["vector"] == name]
            layers, p, low, high = (
                [row[key] for row in own] for key in ("layer", "p", "p_low", "p_high")
            )
            title = "no vector" if name == "without" else f"+ {added}"
            curves.append(Curve(title, layers, p, low, high))
        title = "p(answer) by the logit lens" if tuned is None else "p(answer) by the tuned lens"
        save_picture(curves_figure({"": curves}, "layer", title, limits=(0, None))[0], plot)


@grouped
def train_lens(
    file: Annotated[Path, typer.Argument(help="Where it goes, a .safetensors file.")],
    items: Annotated[
        int, typer.Option("--items", min=1, help="Prompts of each relation, and as many with four "
                          "demonstrations.")
    ] = 200,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over them.")] = 40,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything drawn. "
                                             "[default: 1234]")] = None,
    *,
    options: ModelOptions,
    output: OutputOptions,
) -> None:  # fmt: skip
    """Train a tuned lens: for every layer an affine map that brings its states to where the last
    layer's are (arXiv:2303.08112).

    What is shown is how far what the lens says is from what the model says, in nats, on prompts
    that it was not trained on.
    """
    from mfv_dsl import mechanisms
    from mfv_dsl.base.disk import check_path
    from mfv_dsl.inspection import Probe
    from mfv_dsl.library.lens_file import save_lens
    from mfv_dsl.report.grid import grid

    if file.suffix != ".safetensors":
        raise typer.BadParameter(f"`{file}` has to be a .safetensors file")
    _check_place(file)
    check_path(file.parent)
    with output.progress() as listener:
        probe = Probe.open(options.model, options.dataset)
        given = {} if seed is None else {"seed": seed}
        lens = mechanisms.trained_lens(probe, items, epochs, listener=listener, **given)
    save_lens(lens, file)
    table = grid(dict.fromkeys(("layer", "KL of the logit lens", "KL of this lens"), "right"))
    rows = [
        {"layer": layer, "logit": logit, "tuned": tuned}
        for layer, (logit, tuned) in enumerate(lens.divergences.tolist())
    ]
    for row in rows:
        table.add_row(str(row["layer"]), f"{row['logit']:.3f}", f"{row['tuned']:.3f}")
    output.show(rows, table)
    typer.echo(f"wrote {file}", err=True)


@grouped
def attribute(
    added: WithOption = None,
    against: Annotated[
        str,
        typer.Option(
            help="others: the answer's logit less the mean of the other objects'; nothing: the "
            "logit itself."
        ),
    ] = "others",
    layer: DefaultLayerOption = None,
    scale: ScaleOption = 1.0,
    top: TopOption = 15,
    plot: PlotOption = None,
    out: OutOption = None,
    *,
    prompts: PromptOptions,
    options: VectorOptions,
    output: OutputOptions,
) -> None:
    """Take the answer's logit apart: what each head and MLP adds to it, without and with a vector
    (direct logit attribution).

    The final norm is taken at the scale that it has, so that the shares add up to the logit.
    """
    from mfv_dsl import mechanisms
    from mfv_dsl.report.mechanism_tables import attribution_table

    check_picture(plot)
    check_numbers(out)
    if against not in ("others", "nothing"):
        raise typer.BadParameter(f"`{against}` is none of others, nothing")
    with output.progress() as listener:
        vector = _added(options, added, layer, scale, listener)
        probe = options.open_probe()
        asked = prompts.asked(options.seed)
        found = mechanisms.attribution(probe, vector, asked, against == "others", listener)
    rows = mechanisms.attribution_rows(found)
    _show(output, out, rows, attribution_table(rows, top), [_where(vector, probe.backend, added)])
    if plot is not None:
        names = ["without", "change"] if "change" in rows[0] else ["without"]
        _draw_heads(plot, rows, names, "share in the answer's logit", ("head", "cross head"))


@grouped
def paths(
    vector: VectorArgument,
    layer: DefaultLayerOption = None,
    scale: ScaleOption = 1.0,
    effect: Annotated[
        str,
        typer.Option(
            help="On what: logit, the answer's less the mean of the other objects'; log_p, its "
            "log-probability in nats; p, its probability."
        ),
    ] = "logit",
    top: TopOption = 15,
    plot: PlotOption = None,
    out: OutOption = None,
    *,
    prompts: PromptOptions,
    options: VectorOptions,
    output: OutputOptions,
) -> None:
    """Find which later heads and MLPs read a vector, and what that does to the answer (path
    patching).

    Sent to it: one reader alone sees the vector. Taken from it: all see it but this one. Exact, by
    the prompt's last token alone.
    """
    from mfv_dsl import mechanisms
    from mfv_dsl.report.mechanism_tables import paths_table

    check_picture(plot)
    check_numbers(out)
    if effect not in mechanisms.UNITS:
        raise typer.BadParameter(f"`{effect}` is none of {', '.join(mechanisms.UNITS)}")
    with output.progress() as listener:
        added = _added(options, vector, layer, scale, listener)
        probe = options.open_probe()
        found = mechanisms.paths_of(probe, added, prompts.asked(options.seed), listener)
    rows = mechanisms.path_rows(found)
    lines = [_where(added, probe.backend, vector)]
    _show(output, out, rows, paths_table(rows, top, effect), lines)
    if plot is not None:
        names = {"sent to it": f"sent_{effect}", "taken from it": f"removed_{effect}"}
        unit = {"log_p": "log p(answer)", "p": "p(answer)"}.get(effect, "the answer's logit")
        renamed = [
            {"kind": row["site"], **row, **{new: row.get(old) for new, old in names.items()}}
            for row in rows[2:]
        ]
        _draw_heads(plot, renamed, list(names), f"effect on {unit}", ("lm.attn", "xattn"))


@grouped
def attention(
    where: Annotated[
        str,
        typer.Argument(
            metavar="HEADS",
            help="Heads: 'L2H6, L3H1' of self-attention, where pictures are tokens; 'X5H2' of an "
            "OpenFlamingo's cross-attention.",
        ),
    ],
    item: Annotated[int, typer.Option(min=0, help="The item's number, from 0.")] = 0,
    relation: Annotated[
        str | None,
        typer.Option(help="What is asked. [default: the first relation of the dataset]"),
    ] = None,
    demonstrations: Annotated[
        int, typer.Option("--demonstrations", min=0, help="Demonstrations in the prompt.")
    ] = 0,
    split: Annotated[str, typer.Option("--split", help="The split that it comes from.")] = "test",
    added: WithOption = None,
    layer: DefaultLayerOption = None,
    scale: ScaleOption = 1.0,
    plot: PlotOption = None,
    out: OutOption = None,
    *,
    options: VectorOptions,
    output: OutputOptions,
) -> None:  # fmt: skip
    """Show where in the picture heads look from the prompt's last token, without and with a vector.

    Weights of cross-attention are on the perceiver's latents; each latent stands for the patches
    that it looks at in the perceiver's last layer.
    """
    from mfv_dsl import mechanisms
    from mfv_dsl.report.mechanism_tables import looks_table

    check_picture(plot)
    check_numbers(out)
    chosen = parse_attention_heads(where)
    with output.progress() as listener:
        vector = _added(options, added, layer, scale, listener)
        probe = options.open_probe()
    asked = mechanisms.Asked(
        () if relation is None else (relation,), 1, demonstrations, split,
        mechanisms.USUAL.seed if options.seed is None else options.seed,
    )  # fmt: skip
    found = mechanisms.looks(probe, chosen, item, vector, asked)
    rows = mechanisms.look_rows(found)
    lines = [f"{found.query}: {found.answer}", _where(vector, probe.backend, added)]
    _show(output, out, rows, looks_table(rows), lines)
    if plot is not None:
        from mfv_dsl.report.figures.attention import attention_figure

        save_picture(attention_figure(_panels(found), note=_note(found))[0], plot)


def _panels(found: Looks) -> list[list[Any]]:
    from mfv_dsl.report.figures.attention import Look

    rows = []
    for one in found.maps:
        first = len(found.views) - len(one.pictures)  # cross-attention sees the last picture alone
        panels = []
        for condition in range(len(one.pictures[0])):
            for number, own in enumerate(one.pictures, first):
                title = f"{one.head}{', + vector' if condition else ''}"
                title += f", picture {number}" if len(one.pictures) > 1 else ""
                panels.append(Look(title, found.views[number], own[condition]))
        rows.append(panels)
    return rows


def _note(found: Looks) -> str:
    latents = any(one.latents is not None for one in found.maps)
    through = (
        " Of cross-attention: through the latents of the perceiver, by the attention of its last "
        "layer."
        if latents
        else ""
    )
    return f"Weights from the last token of: {found.query}; the answer is {found.answer}.{through}"


def parse_attention_heads(text: str) -> list[AttentionHead]:
    """Heads as they are typed: ``L2H6, X5H1``."""
    import re

    from mfv_dsl.methods.attention_maps import AttentionHead

    heads = []
    for part in text.strip(" {}").split(","):
        match = re.fullmatch(r"\s*([LX])([0-9]{1,6})H([0-9]{1,6})\s*", part)
        if match is None:
            raise typer.BadParameter(f"`{part.strip()}` is no head such as L2H6 or X5H1")
        site = "lm.attn" if match[1] == "L" else "xattn"
        heads.append(AttentionHead(site, int(match[2]), int(match[3])))
    return list(dict.fromkeys(heads))


def check_numbers(path: Path | None) -> None:
    """Refuse, before any work, a file that could not be written after it."""
    if path is None:
        return
    if path.suffix != ".csv":
        raise typer.BadParameter(f"`{path}` has to be a .csv file")
    _check_place(path)


def _check_place(path: Path) -> None:
    from mfv_dsl.base.disk import check_path

    if path.is_dir() or not path.parent.is_dir():
        reason = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise typer.BadParameter(f"cannot write {path}: {reason}")
    check_path(path if not path.exists() else path.parent)


def _added(
    options: VectorOptions, text: str | None, layer: str | None, scale: float, listener: Listener
) -> Added:
    """The vector that is typed, and where it is added."""
    from mfv_dsl.mechanisms import NOTHING, Added

    at = None if layer is None else parse_layer(layer)
    if text is None:
        if at is not None:
            raise typer.BadParameter("`--layer` says where a vector is added: name one by --with")
        return NOTHING
    return Added(options.read_vector(text, listener), at, scale)


def _where(added: Added, backend: Any, text: str | None) -> str:
    """What was added where."""
    layer = added.at(backend)
    if layer is None:
        return "no vector"
    factor = "" if added.scale == 1 else f"{added.scale:g} × "
    where = "each head's own layer" if layer == "native" else f"layer {layer}"
    return f"with {factor}{text} at {where}"


def _show(
    output: OutputOptions, out: Path | None, rows: Sequence[dict[str, Any]], table: Any,
    lines: Sequence[str],
) -> None:  # fmt: skip
    """Rows as a table or as JSON, and as a CSV file where one is wanted."""
    from math import isnan

    finite = [
        {key: None if isinstance(value, float) and isnan(value) else value
         for key, value in row.items()}
        for row in rows
    ]  # fmt: skip
    output.show(finite, table, lines)
    if out is not None:
        from mfv_dsl.base.csv_text import csv_text
        from mfv_dsl.base.disk import disk_trouble
        from mfv_dsl.base.files import write_atomically

        with disk_trouble(out, what="cannot write", code="MFV6102"):
            write_atomically(out, csv_text(finite, ()).encode())
        typer.echo(f"wrote {out}", err=True)


def _draw_heads(
    plot: Path, rows: Sequence[dict[str, Any]], names: Sequence[str], unit: str,
    kinds: Sequence[str],
) -> None:  # fmt: skip
    """Heat maps of the heads among ``rows``, a panel each of ``names`` and kind."""
    import numpy as np

    from mfv_dsl.report.figures.heads import heads_figure

    panels, cells = {}, [row for row in rows if row["kind"] in kinds and row["head"] is not None]
    shape = 1 + max(row["layer"] for row in cells), 1 + max(row["head"] for row in cells)
    for kind in kinds:
        own = [row for row in cells if row["kind"] == kind]
        for name in names if own else ():
            values = np.full(shape, np.nan)
            for row in own:
                values[row["layer"], row["head"]] = row[name]
            panels[f"{name}, cross-attention" if kind == kinds[1] else name] = values
    save_picture(heads_figure(panels, by=unit)[0], plot)


COMMANDS = (lens, train_lens, attribute, paths, attention)
