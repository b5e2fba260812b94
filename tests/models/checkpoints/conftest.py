"""Small checkpoints on disk, each made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.checkpoints.support import write_checkpoint


@pytest.fixture(scope="session")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-NeoX checkpoint whose vocabulary is larger than its tokenizer's, as RedPajama's is."""
    return write_checkpoint(tmp_path_factory.mktemp("neox"), "gpt_neox", extra_rows=40)


@pytest.fixture(scope="session")
def mpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MPT checkpoint in MPT-7B's names."""
    return write_checkpoint(tmp_path_factory.mktemp("mpt"), "mpt", extra_rows=40)


@pytest.fixture(scope="session")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MPT checkpoint in MPT-1B's names, with layer norms on queries and keys."""
    return write_checkpoint(tmp_path_factory.mktemp("mosaic"), "mosaic_gpt", extra_rows=40)
