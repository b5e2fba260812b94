"""Commands that look inside: lens, train-lens, attribute, paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mfv_dsl.cli.mechanism_options import AddedOptions, FileOptions, PromptOptions, check_place
from mfv_dsl.cli.options import (
    DefaultLayerOption,
    LensOption,
    ModelOptions,
    OutputOptions,
    ScaleOption,
    VectorArgument,
    VectorOptions,
    grouped,
    read_lens,
    save_picture,
)

TopOption = Annotated[int, typer.Option("--top", min=1, help="How many of them to show.")]


@grouped
def lens(
    added: AddedOptions,
    lens: LensOption = "logit",
    *,
    files: FileOptions,
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

    files.check()
    tuned = read_lens(lens)
    with output.progress() as listener:
        vector = added.read(options, listener)
        probe = options.open_probe()
        asked = prompts.asked(options.seed)
        curve = mechanisms.lens_curve(probe, vector, asked, tuned, listener)
    rows = mechanisms.curve_rows(curve, probe.backend)
    files.show(output, rows, lens_table(rows), [added.said(vector.at(probe.backend))])
    if files.plot is not None:
        from mfv_dsl.report.figures.curves import Curve, curves_figure

        curves = []
        for name in dict.fromkeys(row["vector"] for row in rows):
            own = [row for row in rows if row["vector"] == name]
            layers, p, low, high = (
                [row[key] for row in own] for key in ("layer", "p", "p_low", "p_high")
            )
            title = "no vector" if name == "without" else f"+ {added.vector}"
            curves.append(Curve(title, layers, p, low, high))
        title = "p(answer) by the logit lens" if tuned is None else "p(answer) by the tuned lens"
        save_picture(curves_figure({"": curves}, "layer", title, limits=(0, None))[0], files.plot)


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
    from mfv_dsl.inspection import Probe
    from mfv_dsl.library.lens_file import save_lens
    from mfv_dsl.report.grid import grid

    if file.suffix != ".safetensors":
        raise typer.BadParameter(f"`{file}` has to be a .safetensors file")
    check_place(file)
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
    added: AddedOptions,
    against: Annotated[
        str,
        typer.Option(
            help="others: the answer's logit less the mean of the other objects'; nothing: the "
            "logit itself."
        ),
    ] = "others",
    top: TopOption = 15,
    *,
    files: FileOptions,
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

    files.check()
    if against not in ("others", "nothing"):
        raise typer.BadParameter(f"`{against}` is none of others, nothing")
    with output.progress() as listener:
        vector = added.read(options, listener)
        probe = options.open_probe()
        asked = prompts.asked(options.seed)
        found = mechanisms.attribution(probe, vector, asked, against == "others", listener)
    rows = mechanisms.attribution_rows(found)
    lines = [added.said(vector.at(probe.backend))]
    files.show(output, rows, attribution_table(rows, top), lines)
    if files.plot is not None:
        names = ["without", "change"] if "change" in rows[0] else ["without"]
        _draw_heads(files.plot, rows, names, "share in the answer's logit", ("head", "cross head"))


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
    *,
    files: FileOptions,
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

    files.check()
    typed = AddedOptions(vector, layer, scale)
    if effect not in mechanisms.UNITS:
        raise typer.BadParameter(f"`{effect}` is none of {', '.join(mechanisms.UNITS)}")
    with output.progress() as listener:
        added = typed.read(options, listener)
        probe = options.open_probe()
        found = mechanisms.paths_of(probe, added, prompts.asked(options.seed), listener)
    rows = mechanisms.path_rows(found)
    lines = [typed.said(added.at(probe.backend))]
    files.show(output, rows, paths_table(rows, top, effect), lines)
    if files.plot is not None:
        names = {"sent to it": f"sent_{effect}", "taken from it": f"removed_{effect}"}
        unit = {"log_p": "log p(answer)", "p": "p(answer)"}.get(effect, "the answer's logit")
        renamed = [
            {"kind": row["site"], **row, **{new: row.get(old) for new, old in names.items()}}
            for row in rows[2:]
        ]
        _draw_heads(files.plot, renamed, list(names), f"effect on {unit}", ("lm.attn", "xattn"))


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


COMMANDS = (lens, train_lens, attribute, paths)
