"""The Typer application: its commands come from one module per group."""

from __future__ import annotations

import typer

from mfv_dsl.cli import analyses, data, direct, installation, language, runs, store, tables, vectors

app = typer.Typer(
    name="mfv",
    help="A language for experiments with multimodal function vectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (runs, tables, language, direct, analyses, installation):
    for command in module.COMMANDS:
        app.command()(command)
app.command("eval")(direct.eval_)
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="cache")
app.add_typer(vectors.app, name="vectors")
