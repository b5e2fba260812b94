"""Checkpoints of every architecture, each saved once and loaded as a user's would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mfv_dsl.models.vlm.backend import VisionLanguageModel
from mfv_dsl.models.vlm.load import load_folder
from tests.models.vlm.zoo import save_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an architecture's checkpoint."""
    folders: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in folders:
            folders[name] = save_checkpoint(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return of


@pytest.fixture(scope="session")
def loaded(checkpoint: Callable[[str], Path]) -> Callable[[str], VisionLanguageModel]:
    """The model of an architecture, in float32 on the CPU."""
    models: dict[str, VisionLanguageModel] = {}

    def of(name: str) -> VisionLanguageModel:
        if name not in models:
            models[name] = load_folder(checkpoint(name), name, dtype="fp32", device="cpu")
        return models[name]

    return of
