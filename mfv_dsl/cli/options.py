"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from PIL import Image

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SetOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME[.ATTRIBUTE]=VALUE",
        help="Give an attribute or a declaration another value, as if written in the recipe; may "
        "be repeated: --set defaults.shots=8 --set raw.layer=0..3 --set 'model=tiny()'",
    ),
]
RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a bundled one.", metavar="RECIPE")
]
VectorArgument = Annotated[
    str,
    typer.Argument(
        help="A .safetensors file, or an expression such as 'fv(left) - fv(right)'.",
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
ShotsOption = Annotated[
    int | None, typer.Option("--shots", help="Demonstrations in the prompts fv() averages over.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Also draw it as a picture.")
]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def parse_layer(text: str) -> int | str:
    """A layer's number, or ``native``."""
    if text == "native":
        return text
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"`{text}` is neither a layer's number nor `native`") from None


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that its name's ending says."""
    from mfv_dsl.base.errors import MfvError

    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise MfvError(
            "MFV5355", f"cannot write the picture {path}: {error}", help="name a .png file"
        ) from None
    typer.echo(f"drew {path}", err=True)
