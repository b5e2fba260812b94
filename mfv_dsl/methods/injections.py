"""A vector that is added at the last token, and what in the model can read it.

A *reader* is a head of attention or of cross-attention, or an MLP, at the last token.  Each reads
the residual stream, which holds an added vector as it was added, beside what everything below the
reader made of it: the vector itself reaches the reader on the *direct path*, without anything
between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.edits import LAST, Change, Edit, Read
from mfv_dsl.methods.vectors import WRITABLE
from mfv_dsl.models.base import Backend

#: The sites of readers in the order in which a layer computes them.
SITES = ("xattn", "xattn.mlp", "lm.attn", "lm.mlp")


@dataclass(frozen=True, order=True)
class Reader:
    """What reads the stream: a head, or an MLP (``head`` is None)."""

    layer: int
    site: str
    head: int | None = None

    def __str__(self) -> str:
        return part_name(self.site, self.layer, self.head)


def part_name(site: str, layer: int, head: int | None = None) -> str:
    """A head or an MLP in short: ``L3H1``, ``X2H0`` of cross-attention, ``MLP 3``."""
    if head is not None:
        return f"{'X' if site == 'xattn' else 'L'}{layer}H{head}"
    return f"{'cross-attention MLP' if site == 'xattn.mlp' else 'MLP'} {layer}"


@dataclass(frozen=True)
class Injection:
    """Edits that add a vector at the last token, all at once or in parts."""

    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, edits: Sequence[Edit]) -> Injection:
        """Raises MfvError (MFV5582) for edits whose paths are not known: others than additions to
        the residual stream, or to what attention or an MLP adds to it, at the last token."""
        for edit in edits:
            is_plain = edit.change == Change("add") and edit.when is None
            is_added = is_plain and edit.positions == LAST
            if not is_added or edit.site not in WRITABLE:
                raise MfvError(
                    "MFV5582", f"the paths of `{edit}` are not known",
                    help="paths are those of a vector that is added at the last token",
                )  # fmt: skip
        return cls(tuple(edits))

    def arriving(self, reader_site: str, layer: int, sign: float) -> list[Edit]:
        """Edits that bring ``sign`` times the vector to the readers at a site of ``layer`` on the
        direct path, given that nothing between changes; none where it is added behind them."""
        below = [edit.value for edit in self.edits if edit.layer < layer]
        edits = []
        if below:
            edits.append(Edit("lm.resid", layer - 1, "add", sign * sum(below[1:], below[0])))
        if reader_site == "lm.mlp":
            edits += [
                Edit("lm.attn.out", layer, "add", sign * edit.value)
                for edit in self.edits
                if (edit.site, edit.layer) == ("lm.attn.out", layer)
            ]
        return edits

    def whole(self) -> torch.Tensor:
        """The sum of all that is added."""
        values = [edit.value for edit in self.edits]
        return sum(values[1:], values[0])

    def readers(self, backend: Backend) -> tuple[Reader, ...]:
        """All that the vector reaches directly, layer by layer in the order of computation."""
        return tuple(
            reader
            for layer in range(backend.facts.n_layers)
            for site in sites_in(backend, layer)
            if self.arriving(site, layer, 1.0)
            for reader in readers_at(backend, site, layer)
        )


def readers_at(backend: Backend, site: str, layer: int) -> Iterator[Reader]:
    """The heads, or the MLP, at a site of a layer."""
    heads = backend.sites[site].heads
    for head in [None] if heads is None else range(heads):
        yield Reader(layer, site, head)


def sites_in(backend: Backend, layer: int) -> list[str]:
    """The sites of readers that a layer has, in the order of computation."""
    there = backend.sites
    return [site for site in SITES if site in there and layer in there[site].layers]


def check_readers(backend: Backend) -> None:
    """Refuse (MFV5581) a model in which something reads the stream that is at no site, so that the
    direct path into what follows it in the layer cannot be held apart."""
    sites = backend.sites
    missing = next((name for name in ("lm.attn", "lm.mlp") if name not in sites), None)
    crossed = "xattn" in sites and set(sites["xattn"].layers) & set(sites["lm.attn"].layers)
    if missing is None and crossed and "xattn.mlp" not in sites:
        missing = "xattn.mlp"
    if missing is not None:
        raise MfvError(
            "MFV5581",
            f"this model has no site `{missing}`, so what reads a vector is not all known",
            help="`mfv lens` needs the residual stream alone",
            notes=[f"its sites are {', '.join(sites)}"],
        )  # fmt: skip


def reads_of(backend: Backend) -> list[Read]:
    """Reads of all readers' outputs at the last token."""
    return [
        Read(site, layer)
        for layer in range(backend.facts.n_layers)
        for site in sites_in(backend, layer)
    ]


#: What passes at (site, layer), (prompts, [heads,] width).
Readings = Mapping[tuple[str, int], torch.Tensor]


def frozen(
    backend: Backend, layer: int, readings: Readings, *, before: str = "", behind: str = ""
) -> list[Edit]:
    """Edits that hold what is computed in a layer before, or behind, a site of readers at
    ``readings``."""
    sites = sites_in(backend, layer)
    held = sites[: sites.index(before)] if before else sites[sites.index(behind) + 1 :]
    return [Edit(site, layer, "replace", readings[site, layer]) for site in held]
