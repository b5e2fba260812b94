"""``mfv cache``: the store of finished steps."""

from __future__ import annotations

import typer

from mfv_dsl.cli.options import JsonFlag
from mfv_dsl.cli.output import print_json

app = typer.Typer(help="The store of finished steps.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List finished steps, and say which are unfinished."""
    from mfv_dsl.base.places import store_name
    from mfv_dsl.execute.store import StoredStep, default_store

    store = default_store()
    entries = [entry for entry in store.entries() if isinstance(entry, StoredStep)]
    if as_json:
        print_json([{**vars(entry), "path": str(entry.path)} for entry in entries])
        return
    for key, label, parts in store.unfinished():
        typer.echo(f"unfinished: {key[:12]}  {label}, {parts} parts", err=True)
    for entry in entries:
        typer.echo(f"{entry.key[:12]}  {entry.bytes:>10,}  {entry.operation:<12}  {entry.label}")
    total = sum(entry.bytes for entry in entries)
    typer.echo(f"{len(entries)} steps, {total:,} bytes in {store_name()}", err=True)


@app.command()
def clear() -> None:
    """Remove every finished step, and parts of unfinished ones; the next run does all of its work
    anew. Refused while a run on workers is under way in this store."""
    from mfv_dsl.base.places import store_name
    from mfv_dsl.execute.store import default_store
    from mfv_dsl.launch.leftovers import empty

    typer.echo(f"removed {empty(default_store())} steps from {store_name()}", err=True)


@app.command()
def verify() -> None:
    """Read every finished step and compare it with its hash; exit 3 if one is damaged."""
    from mfv_dsl.execute.store import StoredStep, default_store

    entries = list(default_store().entries())
    damaged = [entry for entry in entries if not isinstance(entry, StoredStep)]
    for path in damaged:
        typer.echo(f"damaged: {path}")
    typer.echo(f"{len(entries) - len(damaged)} steps are sound, {len(damaged)} damaged", err=True)
    raise typer.Exit(3 if damaged else 0)
