"""``mfv vectors``: stored vectors and libraries of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.options import JsonFlag

if TYPE_CHECKING:
    from mfv_dsl.library.folder import Library

app = typer.Typer(help="Stored vectors and libraries of them.", no_args_is_help=True)

Folder = Annotated[str, typer.Argument(help="A library folder.", metavar="FOLDER")]
Folders = Annotated[
    list[str] | None,
    typer.Argument(help="Library folders, or folders of such.  [default: vectors]"),
]
Vector = Annotated[
    str,
    typer.Argument(
        help="folder/name, a .safetensors file, or hf://org/repo/name.", metavar="VECTOR"
    ),
]
Address = Annotated[
    str, typer.Argument(help="hf://org/repo, with @revision if not main.", metavar="HF")
]


@app.command("list")
def list_(folders: Folders = None, as_json: JsonFlag = False) -> None:
    """List the vectors of libraries."""
    from mfv_dsl.cli.output import print_table

    rows = {}
    for library in _libraries(folders):
        rows[str(library.root)] = [_row(name, entry) for name, entry in library.entries()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from mfv_dsl.report.vectors import library_table

    for root, found in rows.items():
        typer.echo(root, err=True)
        print_table(library_table(found))


@app.command()
def show(vector: Vector, as_json: JsonFlag = False) -> None:
    """Show what a vector is, what it was made of, and how well it did."""
    from mfv_dsl.library.header import read_file
    from mfv_dsl.library.sources import file_of, split

    said = dict(read_file(file_of(*split(vector)))[0].said)
    if as_json:
        typer.echo(json.dumps(said, indent=2))
        return
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.report.vectors import provenance_tree

    print_table(provenance_tree(said))


@app.command()
def diff(one: Vector, other: Vector, as_json: JsonFlag = False) -> None:
    """Compare two vectors: their numbers and what their files say.  Exit 1 if they differ."""
    from mfv_dsl.library.compare import compare
    from mfv_dsl.library.sources import file_of, split
    from mfv_dsl.library.stored import read

    found = compare(*(read(file_of(*split(vector))) for vector in (one, other)))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        from mfv_dsl.cli.output import print_table
        from mfv_dsl.report.vectors import difference_table

        print_table(difference_table(found, (one, other)))
        numbers = "cosine {cosine:.6f}, " if found["cosine"] is not None else ""
        if found["max_difference"] is None:
            typer.echo("they are of different sizes")
        elif found["equal"]:
            typer.echo("the same numbers")
        else:
            typer.echo((numbers + "largest difference {max_difference:.3g}").format(**found))
    raise typer.Exit(0 if found["equal"] and not found["metadata"] else 1)


@app.command()
def verify(folders: Folders = None, as_json: JsonFlag = False) -> None:
    """Read every file of libraries whole and check all of it; exit 1 if one is bad."""
    from mfv_dsl.library.verify import verify_library

    rows = [row for library in _libraries(folders) for row in verify_library(library)]
    bad = sum(row["error"] is not None for row in rows)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        from mfv_dsl.cli.output import print_table
        from mfv_dsl.report.vectors import verify_table

        print_table(verify_table(rows))
        typer.echo(f"{len(rows) - bad} files are sound, {bad} bad", err=True)
    raise typer.Exit(1 if bad else 0)


@app.command()
def rename(
    vector: Vector, name: Annotated[str, typer.Argument(help="Its new name.", metavar="NAME")]
) -> None:
    """Give a vector of a library another name, in its file too."""
    library, old = _in_library(vector)
    with library.writing():
        typer.echo(f"renamed to {library.rename(old, name)}", err=True)


@app.command()
def remove(vectors: Annotated[list[str], typer.Argument(metavar="VECTOR...")]) -> None:
    """Remove vectors from their libraries."""
    for library, name in [_in_library(vector) for vector in vectors]:
        with library.writing():
            library.remove(name)
        typer.echo(f"removed {name} from {library.root}", err=True)


@app.command()
def index(folder: Folder) -> None:
    """Make index.json and the card of a library anew, from its files."""
    library = _library(folder)
    with library.writing():
        pass
    typer.echo(f"{library.root}: {len(library.names())} vectors", err=True)


@app.command()
def card(
    folder: Folder,
    license: Annotated[
        str | None, typer.Option(help="The licence, where the vectors' files name none.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also replace a README.md that mfv did not write.")
    ] = False,
) -> None:
    """Make a library's card, README.md; what its author wrote below its last line is kept."""
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.card import KEPT
    from mfv_dsl.library.folder import CARD

    library = _library(folder)
    path = library.root / CARD
    if path.exists() and KEPT not in path.read_text(errors="replace") and not force:
        raise MfvError(
            "MFV6009", f"{path} was not written by mfv", help="`--force` replaces it all the same"
        )
    with library.writing():
        library.write_card(license, force)
    typer.echo(str(path), err=True)


@app.command()
def push(
    folder: Folder,
    address: Address,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be uploaded and upload nothing.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the repository if it is not there.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="With --create: a private one.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Upload a library to the Hugging Face Hub, in one commit.  Nothing there is removed."""
    from mfv_dsl.cli.output import print_table
    from mfv_dsl.library import hub
    from mfv_dsl.report.vectors import uploads_table

    where, files = _address(address), hub.uploads(_library(folder))
    total = f"{len(files)} files, {sum(len(file.data) for file in files):,} bytes"
    rows = [{"file": f.name, "bytes": len(f.data), "sha256": f.sha256} for f in files]
    url = None if dry_run else hub.push(where, files, create, private)
    if as_json:
        typer.echo(json.dumps({"to": str(where), "commit": url, "files": rows}, indent=2))
        return
    print_table(uploads_table(rows))
    said = f"would be uploaded to {where}" if dry_run else f"uploaded: {url}"
    typer.echo(f"{total} {said}", err=True)


@app.command()
def pull(address: Address, folder: Folder) -> None:
    """Fetch a library from the Hugging Face Hub into a folder; every file is checked first."""
    from mfv_dsl.library import hub
    from mfv_dsl.library.folder import Library

    names = hub.pull(_address(address), Library(folder))
    typer.echo(f"{len(names)} vectors in {folder}: {', '.join(names)}", err=True)


@app.command()
def export(
    vector: Vector,
    file: Annotated[
        Path, typer.Argument(help="The file: .gguf, .npy or .pt (lm-evaluation-harness).")
    ],
    layer: Annotated[
        int | None, typer.Option(help="Where it is to be added, if its file does not say.")
    ] = None,
    hookpoint: Annotated[
        str, typer.Option(help="For .pt: the module's path, with {layer}.")
    ] = "layers.{layer}",
) -> None:
    """Write a vector for another tool."""
    from mfv_dsl.library.convert import export as write
    from mfv_dsl.library.sources import file_of, split
    from mfv_dsl.library.stored import read

    arrays, said = read(file_of(*split(vector)))
    known = said.get("layer") if layer is None else layer
    at = known if isinstance(known, int) else None
    write(file, arrays["residual"], at, said["model"].get("id", ""), hookpoint)
    typer.echo(f"exported to {file}", err=True)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="A .gguf, .npy or .pt file, or a .ckpt or .pkl of the official code."),
    ],
    folder: Folder,
    model: Annotated[str | None, typer.Option(help="The model it is of, e.g. tiny.")] = None,
    layer: Annotated[int | None, typer.Option(help="The layer it is to be added at.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name.  [default: the file's]")] = None,
    relation: Annotated[str | None, typer.Option(help="The relation it stands for.")] = None,
    bias: Annotated[
        str, typer.Option(help="none, or per_head, as the official code's vectors are.")
    ] = "none",
    effects: Annotated[
        Path | None,
        typer.Option(help="For pickled activations: the pickled effects to choose heads by."),
    ] = None,
    heads: Annotated[int, typer.Option(min=1, help="With --effects: how many heads.")] = 10,
    license: Annotated[str | None, typer.Option(help="The licence it is given under.")] = None,
) -> None:
    """Read a vector of another tool into a library.  Nothing in the file is run."""
    from mfv_dsl.library.folder import Library
    from mfv_dsl.library.imports import Telling, import_file

    told = Telling(model, layer, name, relation, bias, effects, heads, license)
    for path in import_file(file, Library(folder), told):
        typer.echo(f"imported {path}", err=True)


def _libraries(folders: list[str] | None) -> Iterator[Library]:
    """The libraries named, and those one level below."""
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.folder import Library

    for folder in folders or ["vectors"]:
        top = _library(folder)
        below = [Library(path) for path in sorted(top.root.iterdir()) if path.is_dir()]
        found = [library for library in (top, *below) if library.names()]
        if not found:
            raise MfvError("MFV6001", f"there is no vector file in {folder}")
        yield from found


def _library(folder: str) -> Library:
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.sources import library

    found = library(folder)
    if not found.root.is_dir():
        raise MfvError("MFV6001", f"there is no library folder {folder}")
    return found


def _in_library(vector: str) -> tuple[Library, str]:
    """The library that a vector is in, and its name there."""
    from mfv_dsl.base.names import SUFFIX
    from mfv_dsl.library.sources import split

    folder, name = split(vector.removesuffix(SUFFIX))
    assert name is not None
    return _library(folder), name


def _address(text: str) -> Any:
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.sources import hub_address

    found = hub_address(text)
    if found is None:
        raise MfvError(
            "MFV6015", f"`{text}` is no address on the Hub", help="write `hf://org/repo`"
        )
    return found


def _row(name: str, entry: Any) -> dict[str, Any]:
    """One line of ``mfv vectors list``."""
    from mfv_dsl.base.errors import MfvError

    if isinstance(entry, MfvError):
        return {"vector": name, "error": entry.message}
    said = entry.said
    return {
        "vector": name,
        **{key: said.get(key) for key in ("kind", "relation", "expression", "layer", "created")},
        "model": said["model"].get("id"),
        "fingerprint": said["model"]["fingerprint"],
        "d_model": said["model"]["d_model"],
        "heads": entry.parts["heads.index"].shape[0] if entry.has_parts else None,
        "content_sha256": said["content_sha256"],
    }
