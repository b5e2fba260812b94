"""The store that workers share, by the name that every machine has for it."""

from __future__ import annotations

from mfv_dsl.base.places import store_home, store_root


def shared_home() -> str:
    """Where the store is: an absolute folder, or a URL."""
    home = store_home()
    return home if "://" in home else str(store_root().absolute())
