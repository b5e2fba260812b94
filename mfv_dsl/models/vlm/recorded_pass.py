"""The pass of a last token through a model's blocks, recorded so that copies can be run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from mfv_dsl.models.parallel_attention import LookedBack, Past


@dataclass(frozen=True)
class BlockCall:
    """A block of the model as the last token called it, in the ``stage`` of its decoder layer."""

    stage: int
    block: nn.Module
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        output = self.block(hidden, *self.arguments, **self.options)
        return output[0] if isinstance(output, tuple) else output


@dataclass(frozen=True)
class RecordedPrefix:
    """A batch's prefix: the last tokens as they enter the first block (prompts, 1, d_model), what
    attention looks back on, and every block's call.  ``standing`` has by the module's identity what
    modules gave that give every copy the same."""

    start: torch.Tensor
    past: LookedBack
    calls: tuple[BlockCall, ...]
    standing: Mapping[int, torch.Tensor] = field(default_factory=dict)


def join_prefixes(prefixes: Sequence[RecordedPrefix], first: int) -> RecordedPrefix | None:
    """Several batches' prefixes as one, the prompts of all in turn, with the calls of the stages
    from ``first`` on; None where something in them is not one row a prompt, such as a cache."""
    join = _Join([len(prefix.start) for prefix in prefixes])
    calls = [[call for call in prefix.calls if call.stage >= first] for prefix in prefixes]
    try:
        joined_calls = tuple(
            BlockCall(
                alike[0].stage, alike[0].block, join([call.arguments for call in alike]),
                join([call.options for call in alike]),
            )
            for alike in zip(*calls, strict=True)
        )  # fmt: skip
        standing = join([prefix.standing for prefix in prefixes])
    except _NotJoined:
        return None
    running = {id(getattr(call.block, "self_attn", None)) for call in joined_calls}
    past = {
        module: Past.joined([prefix.past.past[module] for prefix in prefixes])
        for module in prefixes[0].past.past
        if module in running
    }
    start = torch.cat([prefix.start for prefix in prefixes])
    return RecordedPrefix(start, LookedBack(past), joined_calls, standing)


class _NotJoined(Exception):
    """Something is not one row a prompt."""


class _Join:
    """Puts values together that are alike but for their ``sizes`` in prompts."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._tensors: dict[tuple[int, ...], torch.Tensor] = {}  # layers share some

    def __call__(self, values: Sequence[Any]) -> Any:
        first = values[0]
        if any(type(value) is not type(first) for value in values):
            raise _NotJoined
        if isinstance(first, torch.Tensor):
            return self._tensor(values)
        if isinstance(first, Mapping):
            return {name: self([value[name] for value in values]) for name in first}
        if isinstance(first, tuple | list):
            return type(first)(map(self, zip(*values, strict=True)))
        is_plain = first is None or isinstance(first, bool | int | float | str)
        if not is_plain or any(value != first for value in values):
            raise _NotJoined
        return first

    def _tensor(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        key = tuple(map(id, values))
        if key not in self._tensors:
            rest = values[0].shape[1:]
            if any(
                value.shape != (size, *rest)
                for value, size in zip(values, self._sizes, strict=True)
            ):
                raise _NotJoined
            self._tensors[key] = torch.cat(list(values))
        return self._tensors[key]


def run_calls(calls: Sequence[BlockCall], hidden: torch.Tensor) -> torch.Tensor:
    for call in calls:
        hidden = call(hidden)
    return hidden


@contextmanager
def recorded_calls(blocks: Iterator[tuple[int, nn.Module]]) -> Iterator[list[BlockCall]]:
    """What every block is called with while the block of code runs."""
    calls: list[BlockCall] = []
    handles = []
    for stage, block in blocks:

        def note(
            module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any],
            stage: int = stage,
        ) -> None:  # fmt: skip
            calls.append(BlockCall(stage, module, arguments, options))

        handles.append(block.register_forward_pre_hook(note, with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded_outputs(modules: Sequence[nn.Module]) -> Iterator[dict[int, torch.Tensor]]:
    """What each of ``modules`` gives while the block of code runs, by the module's identity."""
    outputs: dict[int, torch.Tensor] = {}

    def note(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        outputs[id(module)] = output

    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def standing_outputs(
    modules: Sequence[nn.Module], outputs: Mapping[int, torch.Tensor]
) -> Iterator[None]:
    """Within the block of code each of ``modules`` gives what was recorded of it, and does nothing
    else."""
    known = [module for module in modules if id(module) in outputs]
    before = {id(module): vars(module).get("forward") for module in known}
    for module in known:
        vars(module)["forward"] = partial(_given, outputs[id(module)])
    try:
        yield
    finally:
        for module in known:
            if before[id(module)] is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = before[id(module)]


def _given(output: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return output


def replayable(calls: Sequence[BlockCall]) -> tuple[torch.Tensor, tuple[BlockCall, ...]]:
    """The token that entered the first block, and the calls without the token and without a cache:
    copies look back on what was recorded."""
    first = calls[0]
    start = first.arguments[0] if first.arguments else first.options["hidden_states"]
    ready = []
    for call in calls:
        options = {name: value for name, value in call.options.items() if name != "hidden_states"}
        if hasattr(call.block, "self_attn"):
            options |= {"past_key_values": None, "use_cache": False, "attention_mask": None}
        ready.append(BlockCall(call.stage, call.block, call.arguments[1:], options))
    return start, tuple(ready)
