"""The version, in one place, and those of the packages that numbers depend on."""

from __future__ import annotations

__version__ = "0.1.0"

_PACKAGES = ("torch", "transformers", "open_flamingo", "open_clip_torch", "numpy", "safetensors")


def package_versions() -> dict[str, str | None]:
    """The versions of the packages that a run's numbers depend on, None for one that is missing;
    none is imported."""
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions
