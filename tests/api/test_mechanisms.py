"""The page about what a vector does inside a model, and vectors of several places."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mfv_dsl.inspection import Probe
from mfv_dsl.mechanisms import Added, Asked, attribution, curve_rows, lens_curve, paths_of
from mfv_dsl.methods.vectors import Space, Vector

PAGE = (Path(__file__).parents[2] / "docs" / "mechanisms.md").read_text()


@pytest.mark.slow
def test_the_page_runs_as_written(capsys: pytest.CaptureFixture[str]):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    names: dict = {}
    exec(compile(code, "docs/mechanisms.md", "exec"), names)
    assert names["curve"].rank.shape == (2, 4, 10)
    assert capsys.readouterr().out.startswith("X5H")


@pytest.mark.slow
def test_a_vector_of_several_places():
    """Each part is added where it was read, and reaches what is behind it."""
    import torch

    probe = Probe.open("tiny")
    facts, places = probe.backend.facts, (("lm.resid", 2), ("lm.mlp", 4))
    space = Space(facts.fingerprint, facts.d_model, places=places)
    numbers = torch.randn(2 * facts.d_model, generator=torch.Generator().manual_seed(0))
    vector, few = Added(Vector(numbers, space)), Asked(("left",), items=2)
    assert vector.at(probe.backend) == "native"
    paths = paths_of(probe, vector, few)
    assert {reader.layer for reader in paths.readers} == set(range(3, 10))
    rows = curve_rows(lens_curve(probe, vector, few), probe.backend)
    ends = [row["p"] for row in rows if row["layer"] == 9]
    p = [np.exp(each[:, 0]).mean() for each in (paths.unedited, paths.injected)]
    np.testing.assert_allclose(ends, p, atol=1e-6)
    shares = attribution(probe, vector, few)
    np.testing.assert_allclose(shares.shares.sum(-1), shares.logits, atol=1e-9)
    np.testing.assert_allclose(
        shares.logits, np.stack([paths.unedited[:, 1], paths.injected[:, 1]]), atol=2e-5
    )
