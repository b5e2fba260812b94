"""The command `attention`: where in the picture heads look."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfv_dsl.cli.mechanism_options import AddedOptions, FileOptions, PromptOptions
from mfv_dsl.cli.options import OutputOptions, VectorOptions, grouped, save_picture

if TYPE_CHECKING:
    from mfv_dsl.mechanisms import Looks
    from mfv_dsl.methods.attention_maps import AttentionHead


@grouped
def attention(
    where: Annotated[
        str,
        typer.Argument(
            metavar="HEADS",
            help="Heads: 'L2H6, L3H1' of self-attention, where pictures are tokens; 'X5H2' of an "
            "OpenFlamingo's cross-attention.",
        ),
    ],
    item: Annotated[int, typer.Option(min=0, help="The item's number, from 0.")] = 0,
    relation: Annotated[
        str | None,
        typer.Option(help="What is asked. [default: the first relation of the dataset]"),
    ] = None,
    demonstrations: Annotated[
        int, typer.Option("--demonstrations", min=0, help="Demonstrations in the prompt.")
    ] = 0,
    split: Annotated[str, typer.Option("--split", help="The split that it comes from.")] = "test",
    *,
    added: AddedOptions,
    files: FileOptions,
    options: VectorOptions,
    output: OutputOptions,
) -> None:  # fmt: skip
    """Show where in the picture heads look from the prompt's last token, without and with a vector.

    Weights of cross-attention are on the perceiver's latents; each latent stands for the patches
    that it looks at in the perceiver's last layer.
    """
    from mfv_dsl import mechanisms
    from mfv_dsl.report.mechanism_tables import looks_table

    files.check()
    chosen = parse_attention_heads(where)
    with output.progress() as listener:
        vector = added.read(options, listener)
        probe = options.open_probe()
    prompt = PromptOptions(None if relation is None else [relation], 1, demonstrations, split)
    found = mechanisms.looks(probe, chosen, item, vector, prompt.asked(options.seed))
    rows = mechanisms.look_rows(found)
    lines = [f"{found.query}: {found.answer}", added.said(vector.at(probe.backend))]
    files.show(output, rows, looks_table(rows), lines)
    if files.plot is not None:
        from mfv_dsl.report.figures.attention import attention_figure

        save_picture(attention_figure(_panels(found), note=_note(found))[0], files.plot)


def _panels(found: Looks) -> list[list[Any]]:
    from mfv_dsl.report.figures.attention import Look

    rows = []
    for one in found.maps:
        first = len(found.views) - len(one.pictures)  # cross-attention sees the last picture alone
        panels = []
        for condition in range(len(one.pictures[0])):
            for number, own in enumerate(one.pictures, first):
                title = f"{one.head}{', + vector' if condition else ''}"
                title += f", picture {number}" if len(one.pictures) > 1 else ""
                panels.append(Look(title, found.views[number], own[condition]))
        rows.append(panels)
    return rows


def _note(found: Looks) -> str:
    latents = any(one.latents is not None for one in found.maps)
    through = (
        " Of cross-attention: through the latents of the perceiver, by the attention of its last "
        "layer."
        if latents
        else ""
    )
    return f"Weights from the last token of: {found.query}; the answer is {found.answer}.{through}"


def parse_attention_heads(text: str) -> list[AttentionHead]:
    """Heads as they are typed: ``L2H6, X5H1``."""
    from mfv_dsl.methods.attention_maps import AttentionHead

    heads = []
    for part in text.strip(" {}").split(","):
        match = re.fullmatch(r"\s*([LX])([0-9]{1,6})H([0-9]{1,6})\s*", part)
        if match is None:
            raise typer.BadParameter(f"`{part.strip()}` is no head such as L2H6 or X5H1")
        site = "lm.attn" if match[1] == "L" else "xattn"
        heads.append(AttentionHead(site, int(match[2]), int(match[3])))
    return list(dict.fromkeys(heads))


COMMANDS = (attention,)
