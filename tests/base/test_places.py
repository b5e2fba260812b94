"""Where things lie: paths that lead to one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mfv_dsl.base.places import identity_of_place


@pytest.mark.parametrize(
    "other", ["a", "./a", "a/", "a/.", "a//", "b/../a", "a/b/..", "link", "link/b/..", "{}/a"]
)
def test_one_place_has_one_identity(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for exists in (False, True):
        if exists:
            (tmp_path / "a/b").mkdir(parents=True)
        elif not os.path.islink("link"):
            os.symlink("a", "link")
        path = other.format(tmp_path)
        assert identity_of_place(path) == identity_of_place("a"), (exists, path)
        assert identity_of_place(f"{path}/new/x") == identity_of_place("a/new/x")
        assert identity_of_place(path) != identity_of_place("b")


def test_letter_case_counts_where_the_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "probe").touch()
    ignores_case = (tmp_path / "PROBE").exists()
    assert (identity_of_place("new/A") == identity_of_place("NEW/a")) == ignores_case


@pytest.mark.parametrize("path", ["hf://org/name", "a\0b", "x" * 300])
def test_what_is_no_path_is_itself(path: str):
    assert identity_of_place(path) == identity_of_place(path)
    assert identity_of_place(path) != identity_of_place(f"{path}y")
