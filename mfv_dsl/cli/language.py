"""Commands about the language: check, fmt, explain, reference."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mfv_dsl.cli.options import JsonFlag, ProfileOption, SetOptions


def check(
    recipes: Annotated[
        list[str],
        typer.Argument(
            help="Recipe files, folders of them, names of bundled ones; - for standard input.",
            metavar="RECIPE...",
        ),
    ],
    profile: ProfileOption = None,
    sets: SetOptions = None,
    as_json: JsonFlag = False,
) -> None:
    """Check recipes without loading a model; all mistakes of all files at once.

    Every profile of a recipe is checked too, or with --profile that one alone.
    """
    from mfv_dsl.base.diagnostics import Diagnostic, to_json
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.cli.output import print_json, show_diagnostics
    from mfv_dsl.findings import findings

    diagnostics: list[Diagnostic] = []
    for recipe in _files(recipes):
        try:
            own = findings(recipe, tuple(sets or ()), profile)
        except MfvError as error:
            own = error.diagnostics
        diagnostics += own
        if not as_json and all(diagnostic.severity == "warning" for diagnostic in own):
            typer.echo(f"{'<stdin>' if recipe == '-' else recipe}: ok")
    if as_json:
        print_json([to_json(diagnostic) for diagnostic in diagnostics])
    elif diagnostics:
        show_diagnostics(tuple(diagnostics))
    raise typer.Exit(1 if any(d.severity == "error" for d in diagnostics) else 0)


def fmt(
    recipes: Annotated[
        list[str],
        typer.Argument(
            help="Recipe files, or folders of them; - for stdin to stdout.",
            metavar="RECIPE...",
        ),
    ],
    only_check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = (
        False
    ),
) -> None:
    """Format recipes in place: spaces, indents and blank lines; never comments or line breaks."""
    import difflib

    from mfv_dsl.base.disk import disk_trouble
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.base.files import write_atomically
    from mfv_dsl.cli.output import show_error
    from mfv_dsl.lang.format import format_source
    from mfv_dsl.lang.parser import read_source, source_from_bytes

    failed = changed = False
    for recipe in _files(recipes):
        try:
            if recipe == "-":
                source = source_from_bytes(sys.stdin.buffer.read(), "<stdin>")
            else:
                source = read_source(recipe)
            formatted = format_source(source)
        except OSError as error:
            show_error(MfvError("MFV6101", f"cannot read {recipe}: {error.strerror}"))
            raise typer.Exit(2) from None
        except MfvError as error:
            show_error(error)
            failed = True
            continue
        differs = formatted != source.text
        changed = changed or differs
        if diff:
            lines = difflib.unified_diff(
                source.text.splitlines(), formatted.splitlines(), recipe, f"{recipe} (formatted)",
                lineterm="",
            )  # fmt: skip
            typer.echo("\n".join(lines)) if differs else None
        elif only_check:
            typer.echo(f"{recipe}: would be formatted", err=True) if differs else None
        elif recipe == "-":
            sys.stdout.write(formatted)
        elif differs:
            with disk_trouble(recipe):
                # a link stays one
                write_atomically(Path(recipe).resolve(), formatted.encode())
            typer.echo(f"{recipe}: formatted", err=True)
    raise typer.Exit(1 if failed or (only_check and changed) else 0)


def explain(
    code: Annotated[str, typer.Argument(help="An error code, such as MFV2001.")],
) -> None:
    """Explain an error code, with a wrong and a right example."""
    from mfv_dsl.lang.codes import explain as page

    try:
        typer.echo(page(f"MFV{code}" if code.isdecimal() else code.upper()), nl=False)
    except KeyError as error:
        raise _nothing_found(f"there is no error code {code}", error.args[0]) from None


def reference(
    name: Annotated[
        str | None, typer.Argument(help="A word of the language; all of them if left out.")
    ] = None,
) -> None:
    """Show what a word of the language takes and does."""
    from mfv_dsl.lang.reference import reference as entry

    try:
        typer.echo(entry(name), nl=False)
    except KeyError as error:
        raise _nothing_found(f"the language has no word {name}", error.args[0]) from None


def lsp(
    stdio: Annotated[
        bool, typer.Option("--stdio", help="On standard input and output, as it is anyway.")
    ] = True,
) -> None:
    """Answer an editor about recipes: the language server, on standard input and output.

    Editors start it themselves; how they are told to is in docs/editors.md.
    """
    from mfv_dsl.base.errors import MfvError

    try:
        from mfv_dsl.lsp.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise MfvError(
            "MFV5390", "the language server needs the package pygls",
            help="pip install 'mfv-dsl[lsp]'",
        ) from None  # fmt: skip
    serve()


def _files(recipes: list[str]) -> Iterator[str]:
    """The files that are meant: of a folder all its recipes."""
    for recipe in recipes:
        folder = Path(recipe)
        inside = sorted(folder.rglob("*.mfv")) if folder.is_dir() else []
        yield from map(str, inside) if inside else (recipe,)


def _nothing_found(message: str, near: str | None) -> typer.Exit:
    """Say what there is not, with the nearest that there is; the exit to raise."""
    typer.echo(message + (f"; did you mean {near}?" if near else ""), err=True)
    return typer.Exit(2)


COMMANDS = (check, fmt, explain, reference, lsp)
