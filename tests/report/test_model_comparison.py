"""The table and the figure of models compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mfv_dsl.cli.app import app
from mfv_dsl.report.figures.model_comparison import arrangement_figure
from tests.methods.test_model_comparison import drawn, library

RUNNER = CliRunner()


@pytest.mark.slow
def test_the_command_shows_a_table_data_and_a_picture(tmp_path: Path):
    folders = [
        str(library(tmp_path / name, drawn(4, 8, n), str(n % 2) * 64))
        for n, name in enumerate("abc")
    ]
    ran = RUNNER.invoke(app, ["compare-models", *folders, "--plot", str(tmp_path / "p.png")])
    assert ran.exit_code == 0, ran.output
    assert "24 orders of them (all), so that none is below 0.042" in ran.output
    assert "noise ceiling" in ran.output
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    ran = RUNNER.invoke(app, ["compare-models", *folders, "--json", "--distance", "correlation"])
    said = json.loads(ran.stdout)
    assert len(said["pairs"]) == 1 and said["pairs"][0]["least_p"] == 1 / 24
    assert RUNNER.invoke(app, ["compare-models", *folders, "--distance", "x"]).exit_code == 2


@pytest.mark.slow
def test_figures_of_two_and_of_more_models():
    names = ["left", "right", "above", "a relation with a long name"]
    matrices = {str(n): np.abs(drawn(4, 4, n)) for n in range(3)}
    _, axes = arrangement_figure(names, matrices)
    assert len(axes) == 3
    _, axes = arrangement_figure(names, dict(list(matrices.items())[:2]))
    assert len(axes) == 3 and axes[2].get_xlabel() == "0"
