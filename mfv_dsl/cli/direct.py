"""Commands without a recipe file: extract, heads, eval, tune.

Each writes a recipe's text and runs that; ``--print-recipe`` shows it instead, ready to be kept and
changed.  Everything that a command is given stands in the recipe as it was typed, so it is the
checker that says what is wrong with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfv_dsl.cli.options import (
    HeadsOption,
    JsonFlag,
    ModelOptions,
    OptionGroup,
    PlotOption,
    QuietFlag,
    SeedOption,
    ShotsOption,
    TrialsOption,
    VectorOptions,
    check_picture,
    grouped,
    save_picture,
)
from mfv_dsl.lang.functions import RANKINGS

if TYPE_CHECKING:
    from mfv_dsl.interactive import InteractiveResult

*_RANKINGS, _LAST = (ranking.name for ranking in RANKINGS)
_RANKED_BY = f"{', '.join(_RANKINGS)} or {_LAST}"
Relations = Annotated[
    list[str] | None,
    typer.Argument(help="Relations; all of the dataset if left out.", metavar="[RELATIONS...]"),
]
LibraryOption = Annotated[
    str, typer.Option("--out", metavar="FOLDER", help="Where the vectors go.")
]
ResultsOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the results. [default: runs/<command>]")
]


@dataclass(frozen=True)
class RunOptions(OptionGroup):
    """Whether and how a command runs the recipe that it writes."""

    print_recipe: Annotated[
        bool,
        typer.Option("--print-recipe", help="Print the recipe that would run, and run nothing."),
    ] = False
    quiet: QuietFlag = False
    as_json: JsonFlag = False

    def run(self, name: str, text: str, out: Path | None = None) -> None:
        """Run the recipe and show its result, or print the recipe."""
        from mfv_dsl.cli.runs import show_result

        if result := self.result(name, text, out):
            show_result(result, self.as_json)

    def result(self, name: str, text: str, out: Path | None = None) -> InteractiveResult | None:
        """The result of running the recipe; None where it is printed instead."""
        from mfv_dsl.api import Recipe
        from mfv_dsl.cli.interruption import kept
        from mfv_dsl.cli.output import progress_bars, show_diagnostics
        from mfv_dsl.interruption import kept_steps

        recipe = Recipe(text, name)
        if self.print_recipe:
            typer.echo(text, nl=False)
            return None
        plan = recipe.plan()
        show_diagnostics((*recipe.check(), *plan.warnings))
        with (
            kept(lambda: kept_steps([step.key for step in plan.steps])),
            progress_bars(self.quiet) as listener,
        ):
            return recipe.run(out, listener)


@grouped
def extract(
    relations: Relations = None,
    *,
    options: VectorOptions,
    out: LibraryOption = "vectors/mine",
    running: RunOptions,
) -> None:
    """Extract the function vector of each relation into a library folder."""
    text = _recipe(
        options,
        _block(
            "defaults", shots=options.shots, trials=options.trials, heads=options.heads,
            seed=options.seed,
        ),
        _block(f"save {_quoted(out)}", vectors="[fv(each)]", on=_relations(relations)),
    )  # fmt: skip
    running.run("extract", text)


@grouped
def heads(
    relations: Relations = None,
    k: Annotated[int, typer.Option("-k", help="How many heads.")] = 10,
    by: Annotated[str, typer.Option(help=f"What they are ranked by: {_RANKED_BY}.")] = "aie",
    plot: PlotOption = None,
    *,
    options: ModelOptions,
    shots: ShotsOption = None,
    trials: TrialsOption = None,
    seed: SeedOption = None,
    out: ResultsOption = None,
    running: RunOptions,
) -> None:
    """Rank attention heads by their effect on relations, and measure few-shot answers with and
    without the best ones."""
    check_picture(plot)
    on, k_shot = _relations(relations), 4 if shots is None else shots
    pooled = "" if on is None else f", on={on}"
    text = _recipe(
        options,
        _block("defaults", shots=shots, trials=trials, seed=seed),
        f"heads best = top({k}, by={by}{pooled})",
        _block("eval intact", shots=k_shot, on=on),
        _block("eval without_them", shots=k_shot, ablate="best", on=on),
    )  # fmt: skip
    result = running.result("heads", text, out)
    if result is None:
        return
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.cli.runs import show_result
    from mfv_dsl.execute.heads import ranked_heads
    from mfv_dsl.report.tables import heads_table

    if result.failures:  # there is no ranking
        show_result(result, running.as_json)
    best, scores = ranked_heads(result.plan, result.values)
    if not running.as_json:
        print_table(heads_table(best))
    if plot is not None and scores.size:
        save_picture(result.plot.aie()[0], plot)
    show_result(result, running.as_json, heads=[asdict(head) for head in best])


@grouped
def eval_(
    add: Annotated[str | None, typer.Option(help="A vector to add: 'fv(each)'.")] = None,
    patch: Annotated[str | None, typer.Option(help="A vector to patch heads with.")] = None,
    ablate: Annotated[str | None, typer.Option(help="Heads to take away: '{L4H1}'.")] = None,
    on: Annotated[
        list[str] | None, typer.Option(metavar="RELATION", help="A relation; may be repeated.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="A layer, a sweep 0..9, or native.")] = None,
    scale: Annotated[str | None, typer.Option(help="A factor, or a sweep: '[0.5, 1]'.")] = None,
    position: Annotated[
        str | None,
        typer.Option(help="The tokens written to: last, all, images, or a text: '\"Q:\"'."),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="What it is added to: residual, attention or mlp.")
    ] = None,
    choose: Annotated[
        list[str] | None,
        typer.Option(help="Settle this sweep on the validation split; may be repeated."),
    ] = None,
    shots: Annotated[
        str | None, typer.Option(help="Demonstrations in the test prompts, or a sweep.")
    ] = None,
    items: Annotated[int | None, typer.Option(help="Test items per relation.")] = None,
    split: Annotated[str | None, typer.Option(help="The split that is tested.")] = None,
    *,
    options: ModelOptions,
    heads: HeadsOption = None,
    trials: TrialsOption = None,
    seed: SeedOption = None,
    out: ResultsOption = None,
    running: RunOptions,
) -> None:
    """Measure how often the model answers correctly under one condition or a sweep."""
    text = _recipe(
        options,
        _block("defaults", trials=trials, heads=heads, seed=seed),
        _block(
            "eval measured", shots=shots, add=add, patch=patch, ablate=ablate, layer=layer,
            scale=scale, position=position, site=site, choose=_listed(choose), on=_relations(on),
            items=items, split=split,
        ),
    )  # fmt: skip
    running.run("eval", text, out)


@grouped
def tune(
    relations: Relations = None,
    start: Annotated[str, typer.Option(help="The vector to begin with.")] = "fv(each)",
    layer: Annotated[int, typer.Option(help="The layer it is added at.")] = 4,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Prompts per step.")] = None,
    *,
    options: VectorOptions,
    out: LibraryOption = "vectors/tuned",
    running: RunOptions,
) -> None:
    """Train a vector for each relation, measure it, and save it into a library folder."""
    on = _relations(relations)
    text = _recipe(
        options,
        _block(
            "defaults", shots=options.shots, trials=options.trials, heads=options.heads,
            seed=options.seed,
        ),
        _block("tune tuned", start=start, layer=layer, on=on, epochs=epochs, lr=lr, batch=batch),
        _block("eval trained", add="tuned(each)", layer=layer, on=on),
        _block(f"save {_quoted(out)}", vectors="[tuned(each)]", layer=layer, on=on),
    )  # fmt: skip
    running.run("tune", text)


# -- text -----------------------------------------------------------------------------------------
def _recipe(options: ModelOptions, *items: str) -> str:
    """The recipe of one model, one dataset and ``items``, laid out as `mfv fmt` does."""
    from mfv_dsl.base.source import Source
    from mfv_dsl.lang.constructed import as_call
    from mfv_dsl.lang.format import format_source

    model, dataset = as_call(options.model), as_call(options.dataset)
    head = f"mfv 1\n\nmodel vlm = {model}\ndataset data = {dataset}"
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


def _relations(names: list[str] | None) -> str | None:
    """Relations as a recipe writes them; what is typed in quotes has them already."""
    from mfv_dsl.base.names import quoted_relation

    return _listed([one if one[:1] == '"' else quoted_relation(one) for one in names or ()])


def _quoted(text: str) -> str:
    from mfv_dsl.lang.syntax import Text
    from mfv_dsl.lang.unparse import unparse

    return unparse(Text(text))


COMMANDS = (extract, heads, tune, eval_)
