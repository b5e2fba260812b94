"""transformers, tqdm and peft, told to be quiet."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_tqdm() -> None:
    """Import tqdm as the libraries do that load models, without its warning of a notebook that has
    no widgets: there it writes text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401


def quiet_peft() -> None:
    """Import peft without what bitsandbytes says of kernels that this machine does not have: it
    imports that by itself."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        import peft  # noqa: F401
    finally:
        logger.setLevel(level)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers without its progress bar and its table of weights that do not fit: a loader says
    in an error what does not fit."""
    from transformers.utils import logging as messages

    progress_bar, level = messages.is_progress_bar_enabled(), messages.get_verbosity()
    messages.disable_progress_bar()
    messages.set_verbosity_error()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if progress_bar:
            messages.enable_progress_bar()
