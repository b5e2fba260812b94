"""Edits and reads on a running model: PyTorch hooks, bound to modules by the site table.

    with Hooks(backend.model, backend.sites, edits, reads) as hooks:
        logits = backend.forward(batch)
    activations = hooks.read(reads[0])

The hooks are gone when the block is left, whatever happens inside it.  Leaving it normally with an
edit or a read that never fired is an error that names its site.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.applying import apply, split_heads, taken
from mfv_dsl.engine.calls import Calls
from mfv_dsl.engine.edits import IMAGES, Edit, Gate, Read, Span
from mfv_dsl.engine.positions import is_picture
from mfv_dsl.models.sites import Site, SiteTable

#: What a hook makes of a module's input or output.
Hook = Callable[[torch.Tensor], torch.Tensor]
AnyHooks = TypeVar("AnyHooks", bound="PlacedHooks")
#: The modules to which users have edits attached now, with how many.
EDITED: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


class PlacedHooks(ABC):
    """A context with hooks on a model: gone when it is left, whatever happens inside, and an error
    when it is left normally though one of them never fired."""

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []

    @abstractmethod
    def _hooks(self) -> Iterator[tuple[nn.Module, Site, Hook]]:
        """What to place where."""

    @abstractmethod
    def _unfired(self) -> Iterator[str]:
        """What did not happen."""

    def __enter__(self: AnyHooks) -> AnyHooks:
        try:
            for module, site, change in self._hooks():
                self._handles.append(place_hook(module, site, change))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()
        if kind is not None:
            return
        for what in self._unfired():
            raise MfvError(
                "MFV5101", what,
                help="the model did not run inside the block, or it skips this module",
            )  # fmt: skip

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()


class Hooks(PlacedHooks):
    """A context in which edits are made and activations read.

    After the context ``firings`` tells how often each edit and read fired, ``read(r)`` gives what
    was read.  ``by_mask``: in calls with an ``attention_mask`` positions count from each row's last
    real token; otherwise from the end of the rows, which are padded on the left.  Edits at pictures
    (:data:`~mfv_dsl.engine.edits.IMAGES`) are then made where a call has one of ``image_tokens``.
    Raises MfvError: MFV5102 to MFV5105 where an edit or a read does not fit the model, MFV5123 for
    positions that a call does not tell (before any hook is placed), MFV5101 on leaving where one
    never fired; as the model runs MFV5115 to MFV5117 for states, masks and positions with which an
    edit cannot be made.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: SiteTable,
        edits: Sequence[Edit] = (),
        reads: Sequence[Read] = (),
        *,
        by_mask: bool = False,
        image_tokens: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__()
        self.edits, self.reads = tuple(edits), tuple(reads)
        self._image_tokens = image_tokens
        for edit in self.edits:
            _check_gate(edit)
            _check_positions(edit, by_mask, image_tokens)
        self._calls = Calls(model, sites) if by_mask else None
        self._marked: list[nn.Module] = []
        self._last_call: dict[tuple[str, int], int] = {}
        self.firings: Counter[int] = Counter()
        self._readings: dict[int, list[torch.Tensor]] = {}
        self._work: dict[tuple[str, int], list[Edit | Read]] = defaultdict(list)
        self._all: list[Edit | Read] = [*self.edits, *self.reads]
        for work in self._all:
            self._work[work.site, work.layer].append(work)
        # everything is looked up and checked before the first hook is placed
        self._bound = [
            (
                find_module(model, find_site(sites, name, layer), layer),
                find_site(sites, name, layer),
                work,
            )
            for (name, layer), work in self._work.items()
        ]
        for edit in self.edits:
            check_edit(edit, find_site(sites, edit.site, edit.layer))

    def read(self, read: Read) -> torch.Tensor:
        """What ``read`` took: (prompts, positions, [heads,] width); where pictures are encoded
        (pictures or their tiles, positions, width), each in its turn.

        Raises MfvError (MFV7290) for pictures that have different numbers of places.
        """
        parts = self._readings[id(read)]
        if len({part.shape[1:] for part in parts}) > 1:
            raise MfvError(
                "MFV7290",
                f"the pictures have different numbers of places at {read.site}[{read.layer}]: "
                f"{', '.join(str(part.shape[1]) for part in parts)}",
                help="read one of their positions, or give pictures of one size",
            )
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def __enter__(self) -> Hooks:
        super().__enter__()
        if self._calls is not None:
            self._calls.__enter__()
            for module, _, _ in self._bound:
                EDITED[module] = EDITED.get(module, 0) + 1
                self._marked.append(module)
        return self

    def _remove(self) -> None:
        super()._remove()
        if self._calls is not None:
            self._calls.__exit__()
        while self._marked:
            module = self._marked.pop()
            EDITED[module] -= 1
            if not EDITED[module]:
                del EDITED[module]

    def _hooks(self) -> Iterator[tuple[nn.Module, Site, Hook]]:
        for module, site, work in self._bound:
            yield module, site, self._function(site, work)

    def _ends(self, site: Site, place: Edit | Read, tensor: torch.Tensor) -> torch.Tensor | None:
        """Each row's last real token, (rows,), where that is not the last place of every row."""
        if self._calls is None or site.of_pictures:
            return None
        width = site.width * (site.heads or 1)
        if tensor.ndim != 3 or tensor.shape[-1] != width:
            raise MfvError(
                "MFV5115",
                f"what passes through {place.site}[{place.layer}] has shape {tuple(tensor.shape)}, "
                f"and an edit is made in (rows, tokens, {width})",
                help="make the edit by a hook of your own, or at another site",
            )
        if self._calls.running:
            if self._last_call.get((place.site, place.layer)) == self._calls.number:
                raise MfvError(
                    "MFV5115",
                    f"the model passes through {place.site}[{place.layer}] more than once in a "
                    "call, so what an edit there means is not known",
                    help="make the edit by a hook of your own, or at another site",
                )
            self._last_call[place.site, place.layer] = self._calls.number
        return self._calls.ends(tensor)

    def _at_pictures(self, edit: Edit, tensor: torch.Tensor) -> Edit | None:
        """An edit at pictures with the places of the call's in ``tensor`` (rows, tokens, width);
        None where it has none, as a new token of a generation.  Any other edit as it is."""
        if not isinstance(edit.positions, str):
            return edit
        tokens = None if self._calls is None else self._calls.tokens
        if tokens is None or tokens.shape != tensor.shape[:2]:
            raise MfvError(
                "MFV5123", "which tokens of this call stand for pictures is not known",
                help="call the model with the ids of its tokens, with as many of them for a "
                "picture as it has features",
            )  # fmt: skip
        mask = is_picture(tokens, self._image_tokens).to(tensor.device)
        return replace(edit, positions=mask) if bool(mask.any()) else None

    def _unfired(self) -> Iterator[str]:
        for work in self._all:
            if not self.firings[id(work)]:
                place = f"nothing passed through {work.site}[{work.layer}]"
                if isinstance(work.positions, str):
                    place = "no call had a token of a picture"
                yield f"{place}: {work} never fired"

    def _function(self, site: Site, works: Sequence[Edit | Read]) -> Hook:
        def run(tensor: torch.Tensor) -> torch.Tensor:
            shape = tensor.shape
            if site.of_pictures:
                tensor = tensor.reshape(-1, *shape[-2:])
            ends = self._ends(site, works[0], tensor)
            for work in works:
                if isinstance(work, Edit):
                    edit = self._at_pictures(work, tensor)
                    if edit is None:
                        continue
                    tensor = apply(edit, site, tensor, ends)
                else:
                    reading = split_heads(site, taken(tensor, work.positions, ends))
                    reading = reading.detach().clone()
                    earlier = self._readings.get(id(work), []) if site.of_pictures else []
                    self._readings[id(work)] = [*earlier, reading]
                self.firings[id(work)] += 1
            return tensor.reshape(shape)

        return run


def _check_positions(edit: Edit, by_mask: bool, image_tokens: frozenset[int]) -> None:
    """Refuse (MFV5123) positions that are not known where the model is called."""
    told = edit.positions
    if isinstance(told, Span):
        raise MfvError(
            "MFV5123", f"{edit} is made at the tokens of {told}, which a call's tokens do not tell",
            help="only prompts have texts: run them by an eval, `full_pass` or `generate`; in "
            "calls of your own write to the last token, to all, or to those of pictures",
        )  # fmt: skip
    if isinstance(told, str) and not (by_mask and image_tokens):
        assert told == IMAGES
        raise MfvError(
            "MFV5123", f"{edit} is made at the tokens of pictures, which are not known here",
            help="the configuration of this model does not name them; write to the last token or "
            "to all",
        )  # fmt: skip


def _check_gate(edit: Edit) -> None:
    """Refuse (MFV5520) a gate where calls come as they are, already edited."""
    if isinstance(edit.when, Gate):
        raise MfvError(
            "MFV5520", f"{edit}: whether a prompt opens the gate is read in the unedited model, "
            "which an edited call does not tell",
            help="run prompts by an eval, `full_pass` or `generate`; in calls of your own read the "
            "states first, and give `when` the mask of the rows that are edited",
        )  # fmt: skip


def find_site(sites: SiteTable, name: str, layer: int) -> Site:
    """The site ``name``, which must have ``layer``."""
    if name not in sites:
        raise MfvError(
            "MFV5102", f"this model has no site `{name}`", help=f"its sites are {', '.join(sites)}"
        )
    if layer not in sites[name].layers:
        raise MfvError(
            "MFV5103",
            f"the site `{name}` has no layer {layer}",
            help=f"its layers are {', '.join(map(str, sites[name].layers))}",
        )
    return sites[name]


def find_module(model: nn.Module, site: Site, layer: int) -> nn.Module:
    """The module that ``site`` is at in ``layer``."""
    return model.get_submodule(site.module_path(layer))


def check_edit(edit: Edit, site: Site) -> None:
    """Refuse an edit whose heads or value do not fit its site."""
    if site.heads is None and edit.heads is not None:
        raise MfvError("MFV5104", f"{edit}: this site has no heads")
    heads = range(site.heads or 0) if edit.heads is None else edit.heads
    for head in heads:
        if not 0 <= head < (site.heads or 0):
            raise MfvError(
                "MFV5104",
                f"{edit}: there is no head {head}",
                help=f"the site has heads 0 to {(site.heads or 0) - 1}",
            )
    if site.of_pictures and edit.value.numel() > site.width:
        raise MfvError(
            "MFV7291",
            f"{edit}: the value has shape {tuple(edit.value.shape)}, and pictures, which prompts "
            "share, have one value for all",
            help="encode the pictures of each prompt in a batch of its own",
        )
    if site.of_pictures and edit.when is not None:
        raise MfvError(
            "MFV7291",
            f"{edit}: pictures, which prompts share, are edited for all prompts or for none",
            help="leave `when` out there",
        )
    if edit.operation == "scale" and edit.value.ndim == 0:
        return
    shape_of_site = (site.width,) if site.heads is None else (len(heads), site.width)
    shape = tuple(edit.value.shape)
    if shape[-len(shape_of_site) :] != shape_of_site and not (
        edit.operation == "scale" and shape[-1:] == (1,)
    ):
        raise MfvError(
            "MFV5105", f"{edit}: the value has shape {shape}, the site takes (..., {shape_of_site})"
        )


def place_hook(
    module: nn.Module, site: Site, run: Callable[[torch.Tensor], torch.Tensor]
) -> RemovableHandle:
    """Let ``run`` replace what passes through ``module`` at the site's point.

    Where pictures are encoded it comes before hooks that are there already: by some of them
    transformers keeps the states that a model's features are made of.
    """
    if site.point == "input":

        def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (run(inputs[0]), *inputs[1:])

        return module.register_forward_pre_hook(before)

    def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple | list):
            return type(output)([run(output[0]), *output[1:]])
        return run(output)

    return module.register_forward_hook(after, prepend=site.of_pictures)
