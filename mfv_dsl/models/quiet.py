"""transformers and tqdm, told to be quiet."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_tqdm() -> None:
    """Import tqdm as the libraries do that load models, without its warning of a notebook that has
    no widgets: there it writes text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers without its progress bar and its table of weights that do not fit: a loader says
    in an error what does not fit."""
    from transformers.utils import logging

    progress_bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if progress_bar:
            logging.enable_progress_bar()
