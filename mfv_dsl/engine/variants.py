"""Edits of many variants on one pass in which each variant is a row.

In a continuation (:class:`mfv_dsl.models.base.Continuation`) copies of a prompt's last token
stand side by side.  A variant's edits touch its own row only.  All edits of one site and layer are
made together: one indexed operation for each kind of operation, not one for each variant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.transfer import sent
from mfv_dsl.engine.applying import apply_change, split_heads
from mfv_dsl.engine.edits import LAST, Change, Edit, Gate, Read
from mfv_dsl.engine.hooks import Hook, PlacedHooks, check_edit, find_module, find_site
from mfv_dsl.models.sites import Site, SiteTable

SiteLayer = tuple[str, int]  # site, layer


def check_variants(
    sites: SiteTable,
    variants: Iterable[Sequence[Edit]],
    reads: Iterable[Read],
    prompts: int,
    anywhere: bool = False,
) -> None:
    """Refuse what does not fit the model, and unless it may be ``anywhere``, what cannot be done at
    the last token."""
    edits = [edit for variant in variants for edit in variant]
    works: list[Edit | Read] = [*edits, *reads]
    for work in works:
        site = find_site(sites, work.site, work.layer)
        if site.of_pictures:
            raise MfvError(
                "MFV7289",
                f"{work} is where pictures are encoded, before any token",
                help="a full pass edits and reads there; `edit_pictures` of "
                "mfv_dsl.engine.pictures makes a batch whose pictures are edited",
            )
        if not anywhere and not (isinstance(work.positions, tuple) and work.positions == LAST):
            raise MfvError(
                "MFV5106",
                f"{work} is not at the last token alone: its positions are {work.positions}",
                help="the full pass edits and reads at any position",
            )
        if isinstance(work, Edit):
            check_edit(work, site)
            lead = _value(work, site).shape[:-2]
            if lead not in ((), (1,), (prompts,)):
                raise MfvError(
                    "MFV5105",
                    f"{work}: the value has shape {tuple(work.value.shape)}, "
                    f"and there are {prompts} prompts",
                )
            if isinstance(work.when, torch.Tensor) and work.when.shape != (prompts,):
                raise MfvError(
                    "MFV5105",
                    f"{work}: its mask of prompts has shape {tuple(work.when.shape)}, "
                    f"and there are {prompts} prompts",
                )


@dataclass
class _Group:
    """Edits of one change: at ``columns`` of (variants × heads), each with its value and, where
    one is not made in all prompts, its ``mask`` (prompts,)."""

    columns: list[int] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)
    masks: list[torch.Tensor | None] = field(default_factory=list)

    def mask(self, prompts: int, device: torch.device) -> torch.Tensor | None:
        """In which prompts each is made, (prompts, columns, 1); None for all in all."""
        if all(mask is None for mask in self.masks):
            return None
        everywhere = torch.ones(prompts, dtype=torch.bool, device="cpu")
        masks = [everywhere if mask is None else mask.cpu() for mask in self.masks]
        return sent(torch.stack(masks, dim=1)[..., None], device)


class VariantHooks(PlacedHooks):
    """A context in which the edits of row i are ``rows[i]`` and activations of all rows are read.

    Rows may join late: a hook that fires when only the first n rows run touches those, and appends
    those that are edited there, as copies of the first.  Leaving the block normally with an edit or
    read that never fired is an error that names its site.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: SiteTable,
        rows: Sequence[Sequence[Edit]],
        reads: Sequence[Read] = (),
    ) -> None:
        super().__init__()
        self._model, self._sites = model, sites
        self._edits: dict[SiteLayer, list[tuple[int, Edit]]] = defaultdict(list)
        for row, edits in enumerate(rows):
            for edit in edits:
                self._edits[edit.site, edit.layer].append((row, edit))
        self._reads: dict[SiteLayer, torch.Tensor | None] = {(r.site, r.layer): None for r in reads}
        self._fired: Counter[SiteLayer] = Counter()

    def read(self, read: Read) -> torch.Tensor:
        """What was read, (prompts, rows that ran, [heads,] width)."""
        reading = self._reads[read.site, read.layer]
        assert reading is not None
        return reading

    def _hooks(self) -> Iterator[tuple[nn.Module, Site, Hook]]:
        for name, layer in {**dict.fromkeys(self._edits), **self._reads}:
            site = find_site(self._sites, name, layer)
            module = find_module(self._model, site, layer)
            yield module, site, self._function((name, layer), site)

    def _unfired(self) -> Iterator[str]:
        for name, layer in (*self._edits, *self._reads):
            if not self._fired[name, layer]:
                edits = self._edits.get((name, layer))
                what = str(edits[0][1]) if edits else "a read"
                yield f"nothing passed through {name}[{layer}]: {what} never fired"

    def _function(self, place: SiteLayer, site: Site) -> Hook:
        edits = self._edits.get(place, [])
        needed = 1 + max((row for row, _ in edits), default=0)

        def run(tensor: torch.Tensor) -> torch.Tensor:
            if (new := needed - tensor.shape[1]) > 0:
                tensor = torch.cat([tensor, tensor[:, :1].expand(-1, new, -1)], dim=1)
            if edits:
                tensor = apply_rows(edits, site, tensor)
            if place in self._reads:
                self._reads[place] = split_heads(site, tensor).detach().clone()
            self._fired[place] += 1
            return tensor

        return run


def apply_rows(edits: Sequence[tuple[int, Edit]], site: Site, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` (prompts, rows, site width) with each (row, edit) made; the input is untouched.

    Edits of one row are made in the order given.
    """
    heads = site.heads or 1
    turns: Counter[int] = Counter()
    groups: dict[tuple[int, Change], _Group] = defaultdict(_Group)
    for row, edit in edits:
        assert not isinstance(edit.when, Gate)  # gates were looked at, and are masks now
        group = groups[turns[row], edit.change]
        turns[row] += 1
        numbers = range(heads) if edit.heads is None else edit.heads
        group.columns += [row * heads + head for head in numbers]
        group.values.append(_value(edit, site))
        group.masks += [edit.when] * len(numbers)
    flat = tensor.reshape(tensor.shape[0], -1, site.width)
    for turn, change in sorted(groups, key=lambda key: key[0]):
        group = groups[turn, change]
        columns = sent(torch.tensor(group.columns, device="cpu"), tensor.device)
        before = flat.index_select(1, columns)
        after = apply_change(change, before, _stacked(group.values, tensor))
        mask = group.mask(len(flat), flat.device)
        after = after if mask is None else torch.where(mask, after, before)
        flat = flat.index_copy(1, columns, after)
    return flat.reshape(tensor.shape)


def _value(edit: Edit, site: Site) -> torch.Tensor:
    """The value as ([prompts,] heads, width), with one head where the site has none."""
    value = edit.value
    if value.ndim == 0:
        value = value[None]
    if site.heads is None:
        value = value.unsqueeze(-2)
        heads = 1
    else:
        heads = site.heads if edit.heads is None else len(edit.heads)
        if value.ndim == 1:
            value = value[None]
    return value.expand(*value.shape[:-2], heads, site.width)


def _stacked(values: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """Values ([prompts,] heads, width) as one, with the prompts only where one has them."""
    if len({value.device for value in values}) > 1:
        values = [value.to(like.device) for value in values]
    if any(value.ndim == 3 for value in values):
        prompts = len(like)
        values = [value.expand(prompts, *value.shape[-2:]) for value in values]
    return sent(torch.cat(list(values), dim=-2), like.device)
