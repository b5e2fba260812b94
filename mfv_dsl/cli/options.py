"""Options that several commands take, each declared once; those that go together are a group.

A command names a group as one parameter, and :func:`grouped` shows Typer its options in its place::

    @grouped
    def norms(vector: VectorArgument, options: VectorOptions, output: OutputOptions) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from mfv_dsl.execute.settings import Listener
    from mfv_dsl.inputs import VectorInput
    from mfv_dsl.inspection import Probe
    from mfv_dsl.launch.settings import LaunchSettings
    from mfv_dsl.methods.lens import TunedLens
    from mfv_dsl.methods.vectors import Vector

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SetOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME[.ATTRIBUTE]=VALUE",
        help="Give an attribute or a declaration another value, as if written in the recipe; may "
        "be repeated: --set defaults.shots=8 --set raw.layer=0..3 --set 'flamingo=tiny()'",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Use the values of one of the recipe's profiles; --set comes after it.",
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        help="Run only this tune or eval, the save of this folder, or `report`; repeatable.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where to run: cpu, cuda, cuda:1, mps, balanced (all GPUs). "
        "[default: what the recipe says, for tiny the cpu]",
    ),
]
DownloadFlag = Annotated[
    bool, typer.Option("--download", help="Fetch files of models that are missing.")
]
FreshFlag = Annotated[
    bool, typer.Option("--fresh", help="Run every step, also those in the store.")
]
RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="A recipe file, the name of a bundled one, or - for standard input.", metavar="RECIPE"
    ),
]
VectorArgument = Annotated[
    str,
    typer.Argument(
        help="folder/name, a .safetensors file, or an expression such as 'fv(left) - fv(right)'.",
        metavar="VECTOR",
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="The model, as in a recipe: tiny, 'openflamingo(\"REPO\", dtype=bf16)'.",
    ),
]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset", metavar="DATASET", help="The dataset, as in a recipe: 'scenes(seed=3)'."
    ),
]
HeadsOption = Annotated[
    str | None,
    typer.Option(
        "--heads",
        metavar="HEADS",
        help="The heads that fv() sums over: 'top(10)', '{L4H1, L3H7}'. "
        "[default: the ten best of each relation]",
    ),
]
TrialsOption = Annotated[
    int | None, typer.Option("--trials", help="Prompts per relation to find heads and average.")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of everything drawn. [default: 1234]")
]
ShotsOption = Annotated[
    int | None, typer.Option("--shots", help="Demonstrations in the prompts fv() averages over.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Also draw it, as .pdf, .svg or .png.")
]
_LAYER = typer.Option(
    "--layer", metavar="LAYER",
    help="The layer it is added at: a number, or native for each head's own.",
)  # fmt: skip
LayerOption = Annotated[str, _LAYER]
DefaultLayerOption = Annotated[str | None, _LAYER]
ScaleOption = Annotated[float, typer.Option("--scale", help="The factor before the vector.")]
WithOption = Annotated[
    str | None,
    typer.Option("--with", metavar="VECTOR", help="A vector file or expression to add."),
]
LensOption = Annotated[
    str,
    typer.Option(
        "--lens", metavar="LENS",
        help="logit: the final norm and the output head; or the file of a tuned lens, as "
        "`mfv train-lens` writes it.",
    ),
]  # fmt: skip
ItemsOption = Annotated[int, typer.Option("--items", min=1, help="Prompts of each relation.")]
LauncherOption = Annotated[
    str | None,
    typer.Option(
        "--launcher", metavar="LAUNCHER",
        help="Run it on workers: local (processes here), slurm (jobs, by submitit) or ray (tasks "
        "of Ray). What is not said here is read from [launcher] of mfv.toml beside the recipe.",
    ),
]  # fmt: skip
WorkersOption = Annotated[
    str | None,
    typer.Option(
        "--workers", metavar="NUMBER",
        help="How many workers; auto: one for each visible GPU, or for each few cores.",
    ),
]  # fmt: skip
GpusOption = Annotated[
    int | None,
    typer.Option("--gpus-per-worker", metavar="NUMBER", help="GPUs of each worker."),
]
LauncherOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--launcher-option", metavar="NAME=VALUE",
        help="An option of the launcher; may be repeated: --launcher-option partition=gpu "
        "--launcher-option time=120 for slurm, "
        "--launcher-option address=HOST:PORT for ray; docs/scale.md has all.",
    ),
]  # fmt: skip
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


# -- groups ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OptionGroup:
    """Options that go together: fields that are annotated as parameters are."""


@dataclass(frozen=True)
class ModelOptions(OptionGroup):
    """A model and a dataset as they are typed."""

    model: ModelOption = "tiny"
    dataset: DatasetOption = "scenes"


@dataclass(frozen=True)
class VectorOptions(ModelOptions):
    """What the vector of an expression is computed under."""

    heads: HeadsOption = None
    shots: ShotsOption = None
    trials: TrialsOption = None
    seed: SeedOption = None

    def read_vector(self, text: str, listener: Listener) -> VectorInput:
        """The vector of a file or of an expression."""
        from mfv_dsl.cli.interruption import kept
        from mfv_dsl.inputs import read_vector
        from mfv_dsl.interruption import kept_steps

        with kept(kept_steps):
            return read_vector(
                text, self.model, self.dataset, listener,
                heads=self.heads, shots=self.shots, trials=self.trials, seed=self.seed,
            )  # fmt: skip

    def read_all(self, texts: Sequence[str], listener: Listener) -> dict[str, Vector]:
        """The vectors of files, of folders of files and of expressions, by name: files of one name
        by their paths."""
        from mfv_dsl.inputs import read_vectors, vector_files

        files = [text for text in texts if vector_files(text) is not None]
        vectors = read_vectors(files) if files else {}
        computed = [text for text in texts if text not in files]
        return vectors | {text: self.read_vector(text, listener).vector for text in computed}

    def open_probe(self) -> Probe:
        """The model, loaded, with the dataset to look at it on."""
        from mfv_dsl.inspection import Probe

        return Probe.open(self.model, self.dataset)


@dataclass(frozen=True)
class LaunchOptions(OptionGroup):
    """On which workers a recipe is run; what is left out is as ``mfv.toml`` beside it says."""

    launcher: LauncherOption = None
    workers: WorkersOption = None
    gpus_per_worker: GpusOption = None
    launcher_option: LauncherOptions = None

    def as_arguments(self) -> dict[str, Any]:
        """As arguments of :meth:`mfv_dsl.api.Recipe.run`."""
        return {
            "launcher": self.launcher,
            "workers": self.workers,
            "gpus_per_worker": self.gpus_per_worker,
            "launcher_options": self.launcher_option or (),
        }

    def settings(self, recipe: Path | None) -> LaunchSettings | None:
        """How the recipe of a file is put on workers; None where nothing asks for any."""
        from mfv_dsl.launch.settings import launch_settings, settings_folder

        return launch_settings(settings_folder(recipe), **self.as_arguments())


@dataclass(frozen=True)
class OutputOptions(OptionGroup):
    """How a command speaks."""

    quiet: QuietFlag = False
    as_json: JsonFlag = False

    def progress(self) -> AbstractContextManager[Listener]:
        """Progress bars on stderr, unless the command is to be quiet."""
        from mfv_dsl.cli.output import progress_bars

        return progress_bars(self.quiet)

    def show(self, data: Any, table: Table, lines: Sequence[str] = ()) -> None:
        """A result on stdout: ``data`` as JSON, or a table with ``lines`` under it."""
        from mfv_dsl.cli.output import print_result

        print_result(data, table, self.as_json, lines)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as Typer is to see it: in place of every parameter that is a group, in the same
    order, the group's options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[inspect.Parameter] = []

    def add(parameter: inspect.Parameter, annotation: Any) -> None:
        kind = inspect.Parameter.KEYWORD_ONLY  # so that one without default may come last
        parameters.append(parameter.replace(annotation=annotation, kind=kind))

    for name, parameter in inspect.signature(command).parameters.items():
        group = hints[name]
        if isinstance(group, type) and issubclass(group, OptionGroup):
            groups[name] = group
            annotations = get_type_hints(group, include_extras=True)
            for option, field in inspect.signature(group).parameters.items():
                add(field, annotations[option])
        else:
            add(parameter, hints[name])

    @wraps(command)
    def with_groups(**values: Any) -> None:
        for name, group in groups.items():
            options = {field.name: values.pop(field.name) for field in fields(group)}
            values[name] = group(**options)
        command(**values)

    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_groups


# -- values ---------------------------------------------------------------------------------------
def parse_layer(text: str) -> int | str:
    """A layer's number, or ``native``."""
    if text == "native":
        return text
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"`{text}` is neither a layer's number nor `native`") from None


def injection(vector: str, layer: int | str, scale: float) -> str:
    """What is added where, as tables and figures say it.

    >>> injection("fv(left)", "native", 0.5)
    "0.5 × fv(left) at each head's own layer"
    """
    factor = "" if scale == 1 else f"{scale:g} × "
    where = "each head's own layer" if layer == "native" else f"layer {layer}"
    return f"{factor}{vector} at {where}"


def parse_items(text: str) -> int | None:
    """How many items, None for ``all``."""
    if text == "all":
        return None
    if text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"`{text}` is neither a number of items nor `all`")


def read_lens(text: str) -> TunedLens | None:
    """The lens that ``text`` names; None for the logit lens."""
    from mfv_dsl.library.lens_file import load_lens

    return None if text == "logit" else load_lens(Path(text))


def check_picture(path: Path | None) -> None:
    """Refuse (MFV5355), before any work, a picture that could not be written after it."""
    if path is not None:
        from mfv_dsl.report.figures.saving import check_file

        check_file(path)


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its file's ending says."""
    from mfv_dsl.report.figures.saving import save_figure

    save_figure(figure, path)
    typer.echo(f"drew {path}", err=True)
