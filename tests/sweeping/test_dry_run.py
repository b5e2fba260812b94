"""What a sweep would do on workers, told without any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import mfv_command
from tests.sweeping.test_variants import TEXT

OVER = ("--over", "defaults.seed=0..1", "--dry-run")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "small.mfv").write_text(TEXT)
    return tmp_path


def test_with_workers_it_says_what_they_would_take(place):
    done = mfv_command("sweep", "lab/small.mfv", *OVER, "--workers", "3", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "2 variants, " in done.stdout and "3 workers: " in done.stdout
    as_json = mfv_command("sweep", "lab/small.mfv", *OVER, "--workers", "3", "--json", cwd=place)
    said = json.loads(as_json.stdout)
    keys = {key for variant in said["variants"] for key in variant["steps"]}
    assert said["forecast"]["workers"] == 3 and 0 < said["forecast"]["units"] <= len(keys)


def test_without_workers_it_says_nothing_of_them(place):
    done = mfv_command("sweep", "lab/small.mfv", *OVER, cwd=place)
    assert done.returncode == 0 and "workers" not in done.stdout


def test_settings_beside_the_recipe_hold(place):
    (place / "lab" / "mfv.toml").write_text('[launcher]\nlauncher = "local"\nworkers = 5\n')
    done = mfv_command("sweep", "lab/small.mfv", *OVER, cwd=place)
    assert done.returncode == 0 and "5 workers: " in done.stdout, done.stderr
    wrong = mfv_command("sweep", "lab/small.mfv", *OVER, "--launcher", "slrum", cwd=place)
    assert wrong.returncode != 0 and "MFV5640" in wrong.stderr
