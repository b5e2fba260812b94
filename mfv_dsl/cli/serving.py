"""The command that serves a page: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from mfv_dsl.cli.options import VectorOptions, grouped


@grouped
def serve(
    library: Annotated[
        list[str] | None,
        typer.Option(
            "--library", metavar="FOLDER",
            help="A folder of vectors to browse and to load from, or a file; may be repeated. "
            "[default: the bundled ones of the model]",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="The port. [default: the first free one from 7860]"
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; 0.0.0.0 is open to others.")
    ] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    share: Annotated[
        bool,
        typer.Option("--share", help="Ask Gradio's servers for a link that is open to anyone."),
    ] = False,
    *,
    options: VectorOptions,
) -> None:  # fmt: skip
    """Serve a page to ask the model about pictures, with and without a vector, in a browser.

    Only this machine reaches it, and nothing is kept when it ends: what is written lies in a
    temporary folder.
    """
    from mfv_dsl.cli.interruption import Interrupted
    from mfv_dsl.playground.server import Address
    from mfv_dsl.playground.server import serve as serve_page
    from mfv_dsl.playground.studio import Settings

    address = Address(host, port, share, open_)
    if address.warning:
        typer.echo(f"warning: {address.warning}", err=True)
    defaults = {
        name: str(value)
        for name, value in (
            ("heads", options.heads), ("shots", options.shots), ("trials", options.trials),
            ("seed", options.seed),
        )
        if value is not None
    }  # fmt: skip
    settings = Settings(
        options.model, options.dataset, None if library is None else tuple(library), defaults
    )
    try:
        serve_page(settings, address, typer.echo)
    except Interrupted as end:
        end.is_usual = True
        typer.echo("the playground has ended", err=True)
        raise


COMMANDS = (serve,)
