"""The cross-check against the published code, ``benchmarks/parity.py``.

It is run whole where ``MFV_OFFICIAL`` and ``MFV_TODD`` name checkouts of the two repositories.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from benchmarks import parity
from benchmarks.parity_modules import TraceDict, borrowed, stand_ins

OFFICIAL, TODD = os.environ.get("MFV_OFFICIAL"), os.environ.get("MFV_TODD")


def test_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"--official .*no compute_indirect_effect\.py"):
        parity.main(["--official", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match=r"--todd .*no src/utils/extract_utils\.py"):
        parity.main(["--todd", str(tmp_path)])
    with pytest.raises(SystemExit):
        parity.main([])
    assert "give --official, --todd or both" in capsys.readouterr().err


def test_modules_are_given_back(tmp_path: Path) -> None:
    """Two repositories with packages of one name do not see each other's."""
    for name in ("one", "other"):
        (tmp_path / name / "utils").mkdir(parents=True)
        (tmp_path / name / "utils" / "__init__.py").write_text("")
        (tmp_path / name / "utils" / "who.py").write_text(f"import seaborn\nNAME = {name!r}\n")
    with stand_ins():
        for name in ("one", "other"):
            with borrowed(tmp_path / name, ["utils"]) as take:
                assert name == take("utils.who").NAME


def test_the_stand_in_for_baukit() -> None:
    """Inputs are kept, outputs changed, and both only within the block."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    x = torch.ones(1, 2)
    plain = model(x)
    with TraceDict(model, ["1"], retain_input=True, edit_output=lambda out, name: out + 1) as kept:
        assert torch.equal(model(x), plain + 1)
    assert torch.equal(kept["1"].input, model[0](x))
    assert torch.equal(model(x), plain)
    with TraceDict(model, ["1"], edit_output=lambda out, name, inputs: inputs[0]):
        assert torch.equal(model(x), model[0](x))


@pytest.mark.slow
@pytest.mark.skipif(not (OFFICIAL and TODD), reason="MFV_OFFICIAL and MFV_TODD are not set")
def test_both_give_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    parity.main(["--official", str(OFFICIAL), "--todd", str(TODD), "--prompts", "1", "--json"])
    lines = json.loads(capsys.readouterr().out)
    assert {line["code"] for line in lines} == {"official", "Todd et al."}
    assert len(lines) == 12
    for line in lines:
        counted = line["quantity"].endswith("differ")
        assert line["difference"] <= (0 if counted else 1e-5 * max(1, line["size"])), line
