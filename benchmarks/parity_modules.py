"""Other people's modules for ``parity.py``: imported from where they lie, and what stands in for
libraries that they import and that are not installed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import torch

#: What they import and nothing of what is called uses.
_UNUSED = (
    "pandas", "matplotlib", "matplotlib.pyplot", "matplotlib.patches", "seaborn", "bitsandbytes",
    "sklearn", "sklearn.model_selection",
)  # fmt: skip


@contextmanager
def borrowed(root: Path, names: Sequence[str]) -> Iterator[Callable[[str], ModuleType]]:
    """Within the block modules can be imported from ``root``; afterwards the packages ``names``
    are forgotten, so that another repository may have ones of the same names."""

    def forget() -> None:
        for name in [n for n in sys.modules if n.partition(".")[0] in names]:
            del sys.modules[name]

    forget()
    sys.path.insert(0, str(root))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(root))
        forget()


@contextmanager
def stand_ins() -> Iterator[list[str]]:
    """Within the block there is a module for each library that is missing; gives their names."""
    missing = [name for name in ("baukit", *_UNUSED) if not _is_installed(name)]
    for name in missing:
        module: ModuleType = _baukit() if name == "baukit" else _Empty(name)
        module.__path__ = []
        sys.modules[name] = module
    try:
        yield [name for name in missing if "." not in name]
    finally:
        for name in missing:
            del sys.modules[name]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class _Empty(ModuleType):
    """A module that has every name, and nothing behind any of them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def _baukit() -> ModuleType:
    """The two names of baukit that are used."""
    module = ModuleType("baukit")
    module.TraceDict = TraceDict  # type: ignore[attr-defined]
    module.get_module = torch.nn.Module.get_submodule  # type: ignore[attr-defined]
    return module


class _Kept:
    """What a layer was given and what it gave."""

    input: Any = None
    output: Any = None


class TraceDict(dict[str, _Kept]):
    """Hooks on the modules named by ``layers``: inputs and outputs are kept where asked for, and
    ``edit_output(output, layer, inputs)`` or ``edit_output(output, layer)`` gives another output.
    """

    def __init__(
        self, module: torch.nn.Module, layers: Sequence[str] = (), retain_output: bool = True,
        retain_input: bool = False, retain_grad: bool = False,
        edit_output: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__({name: _Kept() for name in layers})
        self.retain_output, self.retain_input = retain_output, retain_input
        self.edit_output = edit_output
        self.takes = len(inspect.signature(edit_output).parameters) if edit_output else 0
        modules = dict(module.named_modules())
        self._handles = [modules[name].register_forward_hook(self._hook(name)) for name in layers]

    def _hook(self, name: str) -> Callable[..., Any]:
        def hook(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            if self.retain_input:
                self[name].input = inputs[0] if len(inputs) == 1 else inputs
            if self.edit_output is not None:
                output = self.edit_output(*(output, name, inputs)[: min(self.takes, 3)])
            if self.retain_output:
                self[name].output = output
            return output

        return hook

    def __enter__(self) -> TraceDict:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for handle in self._handles:
            handle.remove()
