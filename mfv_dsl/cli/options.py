"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

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
