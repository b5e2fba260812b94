"""The Hub's cache: which snapshot is meant where it does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.hub_cache import cached_revision, choice_of, snapshots
from mfv_dsl.models.checkpoints.layout import CheckpointLayout, Repository
from mfv_dsl.models.checkpoints.locate import find, locate

NAME = "org/model"
ONE, OTHER = "1" * 40, "2" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a repository in an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path / "models--org--model"


def snapshot(cache: Path, commit: str) -> Path:
    folder = cache / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder / "config.json"


def note(cache: Path, name: str, commit: str) -> None:
    (cache / "refs").mkdir(exist_ok=True)
    (cache / "refs" / name).write_text(commit)


def test_a_single_snapshot_is_meant(cache: Path):
    assert cached_revision(NAME) is None and snapshots(NAME) == () and choice_of(NAME) is None
    path = snapshot(cache, ONE)
    assert cached_revision(NAME) == cached_revision(NAME, "main") == ONE
    assert find(Repository(NAME), "config.json") == path
    assert (
        cached_revision(NAME, "v1") == "v1" and find(Repository(NAME, "v1"), "config.json") is None
    )


def test_of_several_none_is_meant_and_all_are_told(cache: Path):
    paths = [snapshot(cache, commit) for commit in (OTHER, ONE)]
    assert cached_revision(NAME) is None and snapshots(NAME) == (ONE, OTHER)
    choice = choice_of(NAME)
    assert choice is not None and f"{ONE}, {OTHER}" in choice and str(cache) in choice
    assert choice_of(NAME, ONE) is None
    assert find(Repository(NAME), "config.json") is None
    assert find(Repository(NAME, OTHER), "config.json") == paths[0]
    parts = Repository(NAME), Repository(NAME), Repository(NAME)
    with pytest.raises(MfvError) as caught:
        locate(CheckpointLayout("mine", *parts, 1))
    assert caught.value.code == "MFV7213" and choice in caught.value.notes


def test_what_the_cache_says_counts(cache: Path):
    snapshot(cache, ONE)
    path = snapshot(cache, OTHER)
    note(cache, "main", OTHER)
    assert cached_revision(NAME) is None and choice_of(NAME) is None
    assert find(Repository(NAME), "config.json") == path
