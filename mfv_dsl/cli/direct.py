"""Commands without a recipe file: extract, heads, eval, tune.

Each writes a recipe's text and runs that; ``--print-recipe`` shows it instead, ready to be kept and
changed.  Everything that a command is given stands in the recipe as it was typed, so it is the
checker that says what is wrong with it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    save_picture,
)

if TYPE_CHECKING:
    from mfv_dsl.execute.run import RunResult

Relations = Annotated[
    list[str] | None,
    typer.Argument(help="Relations; all of the dataset if left out.", metavar="[RELATIONS...]"),
]
PrintRecipe = Annotated[
    bool, typer.Option("--print-recipe", help="Print the recipe that would run, and run nothing.")
]
Library = Annotated[str, typer.Option("--out", metavar="FOLDER", help="Where the vectors go.")]
Results = Annotated[
    Path | None, typer.Option("--out", help="Folder for the results. [default: runs/<command>]")
]


def extract(
    relations: Relations = None,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    out: Library = "vectors/mine",
    print_recipe: PrintRecipe = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Extract the function vector of each relation into a library folder."""
    text = _recipe(
        model, dataset,
        _block("defaults", shots=shots, trials=trials, heads=heads),
        _block(f"save {_quoted(out)}", vectors="[fv(each)]", on=_listed(relations)),
    )  # fmt: skip
    if result := _run("extract", text, None, print_recipe, quiet):
        _show(result, as_json)


def heads(
    relations: Relations = None,
    k: Annotated[int, typer.Option("-k", help="How many heads.")] = 10,
    by: Annotated[
        str, typer.Option(help="What they are ranked by: aie, gradient, norm or random.")
    ] = "aie",
    plot: PlotOption = None,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    out: Results = None,
    print_recipe: PrintRecipe = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Rank attention heads by their effect on relations, and measure few-shot answers with and
    without the best ones."""
    on, k_shot = _listed(relations), 4 if shots is None else shots
    pooled = "" if on is None else f", on={on}"
    text = _recipe(
        model, dataset,
        _block("defaults", shots=shots, trials=trials),
        f"heads best = top({k}, by={by}{pooled})",
        _block("eval intact", shots=k_shot, on=on),
        _block("eval without_them", shots=k_shot, ablate="best", on=on),
    )  # fmt: skip
    result = _run("heads", text, out, print_recipe, quiet)
    if result is None:
        return
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.execute.heads import ranked_heads
    from mfv_dsl.report.heatmap import heat_map
    from mfv_dsl.report.probing import heads_table

    chosen, scores = ranked_heads(result.plan, result.values)
    if not as_json:
        print_table(heads_table(chosen))
    _show(result, as_json, heads=[asdict(head) for head in chosen])
    if plot is not None and scores.size:
        layers, numbers = (range(size) for size in scores.shape)
        title = f"{by} by layer and head, mean over {', '.join(relations or ['all relations'])}"
        save_picture(
            heat_map(scores, [f"L{i}" for i in layers], [f"H{i}" for i in numbers], title), plot
        )


def eval_(
    add: Annotated[str | None, typer.Option(help="A vector to add: 'fv(each)'.")] = None,
    patch: Annotated[str | None, typer.Option(help="A vector to patch heads with.")] = None,
    ablate: Annotated[str | None, typer.Option(help="Heads to take away: '{L4H1}'.")] = None,
    on: Annotated[
        list[str] | None, typer.Option(metavar="RELATION", help="A relation; may be repeated.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="A layer, a sweep 0..9, or native.")] = None,
    scale: Annotated[str | None, typer.Option(help="A factor, or a sweep: '[0.5, 1]'.")] = None,
    choose: Annotated[
        list[str] | None,
        typer.Option(help="Settle this sweep on the validation split; may be repeated."),
    ] = None,
    shots: Annotated[
        str | None, typer.Option(help="Demonstrations in the test prompts, or a sweep.")
    ] = None,
    items: Annotated[int | None, typer.Option(help="Test items per relation.")] = None,
    split: Annotated[str | None, typer.Option(help="The split that is tested.")] = None,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    trials: TrialsOption = None,
    out: Results = None,
    print_recipe: PrintRecipe = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure how often the model answers correctly under one condition or a sweep."""
    text = _recipe(
        model, dataset,
        _block("defaults", trials=trials, heads=heads),
        _block(
            "eval measured", shots=shots, add=add, patch=patch, ablate=ablate, layer=layer,
            scale=scale, choose=_listed(choose), on=_listed(on), items=items, split=split,
        ),
    )  # fmt: skip
    if result := _run("eval", text, out, print_recipe, quiet):
        _show(result, as_json)


def tune(
    relations: Relations = None,
    start: Annotated[str, typer.Option(help="The vector to begin with.")] = "fv(each)",
    layer: Annotated[int, typer.Option(help="The layer it is added at.")] = 4,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Prompts per step.")] = None,
    model: ModelOption = "tiny",
    dataset: DatasetOption = "scenes",
    heads: HeadsOption = None,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    out: Library = "vectors/tuned",
    print_recipe: PrintRecipe = False,
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Train a vector for each relation, measure it, and save it into a library folder."""
    on = _listed(relations)
    text = _recipe(
        model, dataset,
        _block("defaults", shots=shots, trials=trials, heads=heads),
        _block("tune tuned", start=start, layer=layer, on=on, epochs=epochs, lr=lr, batch=batch),
        _block("eval trained", add="tuned(each)", layer=layer, on=on),
        _block(f"save {_quoted(out)}", vectors="[tuned(each)]", layer=layer, on=on),
    )  # fmt: skip
    if result := _run("tune", text, None, print_recipe, quiet):
        _show(result, as_json)


# -- text -----------------------------------------------------------------------------------------
def _recipe(model: str, dataset: str, *items: str) -> str:
    """The recipe of one model, one dataset and ``items``, laid out as `mfv fmt` does."""
    from mfv_dsl.base.source import Source
    from mfv_dsl.lang.format import format_source
    from mfv_dsl.probing import call

    head = f"mfv 1\n\nmodel vlm = {call(model)}\ndataset data = {call(dataset)}"
    text = "\n\n".join([head, *filter(None, items)])
    return format_source(Source(f"{text}\n", "<command line>"))


def _block(head: str, **attributes: object) -> str:
    """A block with the attributes that are not None; defaults without any are nothing."""
    lines = [f"  {name} = {value}\n" for name, value in attributes.items() if value is not None]
    if head == "defaults" and not lines:
        return ""
    return f"{head} {{\n{''.join(lines)}}}" if lines else f"{head} {{ }}"


def _listed(names: list[str] | None) -> str | None:
    return f"[{', '.join(names)}]" if names else None


def _quoted(text: str) -> str:
    from mfv_dsl.lang.syntax import Text
    from mfv_dsl.lang.unparse import unparse

    return unparse(Text(text))


# -- running --------------------------------------------------------------------------------------
def _run(
    name: str, text: str, out: Path | None, print_recipe: bool, quiet: bool
) -> RunResult | None:
    """Run the recipe, or print it and give None."""
    from mfv_dsl.api import Recipe
    from mfv_dsl.cli.output import progress_bars, show_diagnostics

    recipe = Recipe(text, name)
    if print_recipe:
        typer.echo(text, nl=False)
        return None
    show_diagnostics((*recipe.check(), *recipe.plan().warnings))
    with progress_bars(quiet) as listener:
        return recipe.run(out, listener)


def _show(result: RunResult, as_json: bool, **more: object) -> None:
    from mfv_dsl.cli.runs import show_result

    if as_json:
        typer.echo(json.dumps({**result.to_json(), **more}, indent=2))
    else:
        show_result(result)
