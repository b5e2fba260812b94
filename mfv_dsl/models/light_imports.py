"""Modules of large packages, imported without what the packages import by themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    """A package whose own code runs when something is asked of it that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        # of other names with underscores the import system asks by itself
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        inner = f"{self.__name__}.{name}"
        if find_spec(inner) is not None:  # one of its modules, which is imported alone
            return import_module(inner)
        _run(self)
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        _run(self)
        return list(super().__dir__())


_before: dict[str, Callable[[], None]] = {}


def lazy_package(name: str, before: Callable[[], None] = lambda: None) -> None:
    """Let modules of the package ``name`` be imported without running its ``__init__``.

    That runs, after ``before``, as soon as anybody wants something of the package itself, so that
    ``import open_clip`` anywhere else gives what it always does.  A package within another comes
    after that.  Nothing is done where the package is imported already.  Raises
    ModuleNotFoundError where it is not installed.
    """
    if name in sys.modules:
        return
    package = module_from_spec(_spec(name))
    package.__class__ = _LazyPackage
    _before[name] = before
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


def _run(package: ModuleType) -> None:
    """Run the package's own code in it."""
    package.__class__ = ModuleType
    _before.pop(package.__name__)()
    spec = package.__spec__
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(package)


def _spec(name: str) -> ModuleSpec:
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return spec
