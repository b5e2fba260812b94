"""``mfv vectors``: stored vectors and libraries of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mfv_dsl.cli.options import JsonFlag

if TYPE_CHECKING:
    import numpy as np

    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.address import HubAddress
    from mfv_dsl.library.folder import Library
    from mfv_dsl.library.header import Header

app = typer.Typer(
    help="Stored vectors and libraries of them.", no_args_is_help=True, rich_markup_mode=None
)

FolderArgument = Annotated[str, typer.Argument(help="A library folder.", metavar="FOLDER")]
FoldersArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Library folders, or folders of such.  [default: vectors]"),
]
VectorArgument = Annotated[
    str,
    typer.Argument(
        help="folder/name, a .safetensors file, or hf://org/repo/name.", metavar="VECTOR"
    ),
]
HubArgument = Annotated[
    str, typer.Argument(help="hf://org/repo, with @revision if not main.", metavar="HF")
]


@app.command("list")
def list_(folders: FoldersArgument = None, as_json: JsonFlag = False) -> None:
    """List the vectors of libraries."""
    from mfv_dsl.cli.output import print_json, print_table
    from mfv_dsl.report.vectors import library_table

    rows = {
        str(library.root): [_row(name, entry) for name, entry in library.entries()]
        for library in _libraries(folders)
    }
    if as_json:
        print_json(rows)
        return
    for root, vectors in rows.items():
        typer.echo(root, err=True)
        print_table(library_table(vectors))


@app.command()
def show(vector: VectorArgument, as_json: JsonFlag = False) -> None:
    """Show what a vector is, what it was made of, and how well it did."""
    from mfv_dsl.cli.output import print_result
    from mfv_dsl.library.address import split_address
    from mfv_dsl.library.header import read_file
    from mfv_dsl.library.sources import file_of
    from mfv_dsl.report.vectors import provenance_tree

    metadata = read_file(file_of(*split_address(vector)))[0].metadata
    print_result(metadata, provenance_tree(metadata), as_json)


@app.command()
def diff(one: VectorArgument, other: VectorArgument, as_json: JsonFlag = False) -> None:
    """Compare two vectors: their numbers and what their files say.  Exit 1 if they differ."""
    from mfv_dsl.cli.output import print_result
    from mfv_dsl.library.compare import compare
    from mfv_dsl.report.vectors import difference_table

    difference = compare(_read(one), _read(other))
    cosine = "cosine {cosine:.6f}, " if difference["cosine"] is not None else ""
    if difference["max_difference"] is None:
        remark = "they are of different sizes"
    elif difference["equal"]:
        remark = "the same numbers"
    else:
        remark = (cosine + "largest difference {max_difference:.3g}").format(**difference)
    print_result(difference, difference_table(difference, (one, other)), as_json, [remark])
    raise typer.Exit(0 if difference["equal"] and not difference["metadata"] else 1)


@app.command()
def verify(folders: FoldersArgument = None, as_json: JsonFlag = False) -> None:
    """Read every file of libraries whole and check all of it; exit 1 if one is bad."""
    from mfv_dsl.cli.output import print_result
    from mfv_dsl.library.verify import verify_library
    from mfv_dsl.report.vectors import verify_table

    rows = [row for library in _libraries(folders) for row in verify_library(library)]
    bad = sum(row["error"] is not None for row in rows)
    print_result(rows, verify_table(rows), as_json)
    if not as_json:
        typer.echo(f"{len(rows) - bad} files are sound, {bad} bad", err=True)
    raise typer.Exit(1 if bad else 0)


@app.command()
def rename(
    vector: VectorArgument,
    name: Annotated[str, typer.Argument(help="Its new name.", metavar="NAME")],
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
def index(folder: FolderArgument) -> None:
    """Make index.json and the card of a library anew, from its files."""
    from mfv_dsl.base.errors import MfvError

    library = _library(folder)
    with library.writing():
        pass
    left_out = [entry for _, entry in library.entries() if isinstance(entry, MfvError)]
    count = len(library.names()) - len(left_out)
    typer.echo(f"{library.root}: {count} vectors", err=True)
    for error in left_out:
        typer.echo(f"left out: {error.message}", err=True)


@app.command()
def card(
    folder: FolderArgument,
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
    if path.is_file() and KEPT.encode() not in path.read_bytes() and not force:
        raise MfvError(
            "MFV6009", f"{path} was not written by mfv", help="`--force` replaces it all the same"
        )
    with library.writing():
        library.write_card(license, force)
    typer.echo(str(path), err=True)


@app.command()
def push(
    folder: FolderArgument,
    address: HubArgument,
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
    from mfv_dsl.cli.interruption import kept
    from mfv_dsl.cli.output import print_result
    from mfv_dsl.library import hub
    from mfv_dsl.report.vectors import uploads_table

    where, files = _hub_address(address), hub.uploads(_library(folder))
    total = f"{len(files)} files, {sum(len(file.data) for file in files):,} bytes"
    rows = [{"file": f.name, "bytes": len(f.data), "sha256": f.sha256} for f in files]
    whole = f"{where} takes a push whole or not at all; {folder} is as it was"
    with kept(lambda: whole):
        url = None if dry_run else hub.push(where, files, create, private)
    data = {"to": str(where), "commit": url, "files": rows}
    print_result(data, uploads_table(rows), as_json)
    if not as_json:
        outcome = f"would be uploaded to {where}" if dry_run else f"uploaded: {url}"
        typer.echo(f"{total} {outcome}", err=True)


@app.command()
def pull(address: HubArgument, folder: FolderArgument) -> None:
    """Fetch a library from the Hugging Face Hub into a folder; every file is checked first."""
    from mfv_dsl.cli.interruption import kept
    from mfv_dsl.library import hub
    from mfv_dsl.library.folder import Library

    whole = f"what was fetched is kept, and every vector that is in {folder} is whole"
    with kept(lambda: whole):
        names = hub.pull(_hub_address(address), Library(folder))
    typer.echo(f"{len(names)} vectors in {folder}: {', '.join(names)}", err=True)


@app.command()
def export(
    vector: VectorArgument,
    file: Annotated[
        Path, typer.Argument(help="The file: .gguf, .npy or .pt (lm-evaluation-harness).")
    ],
    layer: Annotated[
        int | None, typer.Option(help="Where it is to be added, if its file does not say.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="For .pt: its model, where its file's is not at hand.")
    ] = None,
    hookpoint: Annotated[
        str | None,
        typer.Option(
            help="For .pt: a decoder layer's path below the base model, with {layer}.  "
            "[default: where the model's family has it]"
        ),
    ] = None,
) -> None:
    """Write a vector for another tool."""
    from mfv_dsl.foreign import export_vector

    arrays, metadata = _read(vector)
    export_vector(file, arrays["residual"], metadata, layer, model, hookpoint)
    typer.echo(f"exported to {file}", err=True)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="GGUF, numpy, safetensors, a torch file or a pickle: a vector, vectors by layer, "
            "or mean head outputs."
        ),
    ],
    folder: FolderArgument,
    model: Annotated[str | None, typer.Option(help="The model it is of, e.g. tiny.")] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER", help="The layer it is to be added at; all: a vector for each it has."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name.  [default: the file's]")] = None,
    relation: Annotated[str | None, typer.Option(help="The relation it stands for.")] = None,
    entry: Annotated[
        str | None, typer.Option(help="The part of the file to take, e.g. state/vector.")
    ] = None,
    bias: Annotated[
        str, typer.Option(help="none, or per_head, as the official code's vectors are.")
    ] = "none",
    effects: Annotated[
        Path | None,
        typer.Option(help="For mean head outputs: the effects to choose heads by."),
    ] = None,
    heads: Annotated[
        str,
        typer.Option(
            metavar="HEADS",
            help="For mean head outputs: how many, by --effects, or which: '{L4H1, L3H7}'.",
        ),
    ] = "10",
    license: Annotated[str | None, typer.Option(help="The licence it is given under.")] = None,
) -> None:
    """Read vectors of another tool into a library.  Nothing in the file is run."""
    import warnings

    from mfv_dsl.foreign import ImportOptions, import_file, parse_heads
    from mfv_dsl.library.folder import Library

    options = ImportOptions(
        model, _layer(layer), name, relation, bias, effects, parse_heads(heads), license, entry
    )
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", UserWarning)
        paths = import_file(file, Library(folder), options)
    for remark in remarks:
        typer.echo(f"warning: {remark.message}", err=True)
    for path in paths:
        typer.echo(f"imported {path}", err=True)


def _layer(text: str | None) -> int | Literal["all"] | None:
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    if not re.fullmatch("-?[0-9]{1,9}", text):
        raise typer.BadParameter(f"{text!r} is neither a number nor all", param_hint="--layer")
    return int(text)


def _libraries(folders: list[str] | None) -> Iterator[Library]:
    """The libraries named, and those one level below."""
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.folder import Library

    for folder in folders or ["vectors"]:
        top = _library(folder)
        below = [Library(path) for path in sorted(top.root.iterdir()) if path.is_dir()]
        libraries = [library for library in (top, *below) if library.names()]
        if not libraries:
            raise MfvError("MFV6001", f"there is no vector file in {folder}")
        yield from libraries


def _library(folder: str) -> Library:
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.sources import library_at

    library = library_at(folder)
    if not library.root.is_dir():
        raise MfvError("MFV6001", f"there is no library folder {folder}")
    return library


def _in_library(vector: str) -> tuple[Library, str]:
    """The library that a vector is in, and its name there."""
    from mfv_dsl.base.names import SUFFIX
    from mfv_dsl.library.address import split_address

    folder, name = split_address(vector.removesuffix(SUFFIX))
    assert name is not None
    return _library(folder), name


def _read(vector: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of a vector."""
    from mfv_dsl.library.address import split_address
    from mfv_dsl.library.sources import file_of
    from mfv_dsl.library.stored import read

    return read(file_of(*split_address(vector)))


def _hub_address(text: str) -> HubAddress:
    from mfv_dsl.base.errors import MfvError
    from mfv_dsl.library.address import hub_address

    address = hub_address(text)
    if address is None:
        raise MfvError(
            "MFV6015", f"`{text}` is no address on the Hub", help="write `hf://org/repo`"
        )
    return address


def _row(name: str, entry: Header | MfvError) -> dict[str, Any]:
    """One line of ``mfv vectors list``."""
    from mfv_dsl.base.errors import MfvError

    if isinstance(entry, MfvError):
        return {"vector": name, "error": entry.message}
    metadata = entry.metadata
    names = ("kind", "relation", "expression", "layer", "created")
    return {
        "vector": name,
        **{key: metadata.get(key) for key in names},
        **({"layer": f"{len(metadata['places'])} places"} if "places" in metadata else {}),
        "model": metadata["model"].get("id"),
        "fingerprint": metadata["model"]["fingerprint"],
        "d_model": metadata["model"]["d_model"],
        "heads": entry.parts["heads.index"].shape[0] if entry.has_parts else None,
        "content_sha256": metadata["content_sha256"],
    }
