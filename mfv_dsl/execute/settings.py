"""How a plan is run, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class RunSettings:
    """How a plan is run; nothing of it is in a step's key.

    Attributes:
        device: Where models run, in place of what the recipe says.
        fresh: Run the steps that the store holds, too.
        trace: Note what the steps that are run read and write where, for the first prompts of
            every pass.
        download: Fetch the files of a model that are not on this machine.
        given: Models and datasets that are loaded already, by the plan's names for them.
    """

    device: str | None = None
    fresh: bool = False
    trace: bool = False
    download: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


#: As the recipe says, from the store where it can be, from the files that are here.
AS_DECLARED = RunSettings()


class Listener(Protocol):
    """Who is told how far a run is."""

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        """A piece of work of ``total`` units starts; call the result with units as they finish."""


class Silence:
    """A listener that tells nobody."""

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        """A counter that counts nothing."""
        return lambda units: None
