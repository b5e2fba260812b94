"""Runs in which something came out as no numbers: what is kept, shown, written and told."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.cli.app import app
from mfv_dsl.cli.output import print_json
from mfv_dsl.execute.finite import check_finite, not_numbers
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.execute.run import perform
from mfv_dsl.execute.run_result import RunResult
from mfv_dsl.execute.store import Store
from mfv_dsl.execute.stored_content import Damaged
from mfv_dsl.methods.activations import TaskMean
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.methods.selection import Heads

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=40)
defaults { heads = {L1H0, L2H1}, trials = 4, items = 6, correct_only = false }
"""
RECIPE = f"""{HEAD}
eval zero {{ }}
eval swept {{ add = fv(each), layer = 1, scale = [1, 1e25], against = [zero] }}
eval chosen {{ add = fv(each), layer = 1, scale = [1e25, 1], choose = [scale] }}
eval beside {{ against = [lost], on = [left] }}
eval lost {{ add = fv(each), layer = 1, scale = 1e30, on = [left] }}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE, "e").run(tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_a_condition_costs_its_own_rows(ran: RunResult):
    rows = [row for row in ran.rows if row.eval == "swept"]
    assert [(row.relation, row.scale, bool(row.error)) for row in rows] == [
        (relation, scale, scale > 1) for relation in ("left", "right", None) for scale in (1, 1e25)
    ]
    for row in rows:
        if row.error:
            assert row.error["code"] == "MFV5370" and row.accuracy is None and row.n is None
            assert "smaller `scale`" in row.error["help"]
        else:
            assert row.accuracy is not None and set(row.against) == {"zero"}
    (left, *_) = (row for row in rows if row.error)
    assert left.error["message"].startswith("swept: left, 0 shots, layer 1, scale 1e+25: ")
    (beside,) = (row for row in ran.rows if row.eval == "beside")
    assert beside.accuracy is not None and not beside.against  # of the other there are no numbers
    assert ran.failed


@pytest.mark.slow
def test_what_is_none_is_never_chosen(ran: RunResult):
    rows = [row for row in ran.rows if row.eval == "chosen"]
    assert all(not row.error for row in rows) and {row.scale for row in rows[:2]} == {1}
    tried = [choice for choice in ran.choices if choice["scale"] == 1e25]
    assert len(tried) == 2
    for choice in tried:
        assert choice["accuracy"] is None and choice["error"] == "MFV5370"
        assert not choice["chosen"]


def test_files_say_it(ran: RunResult):
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    text = (ran.folder / "results.json").read_text()
    written = json.loads(text, parse_constant=refuse)
    bad = [row for row in written["rows"] if "error" in row]
    assert len(bad) == 4 and all(row["accuracy"] is None for row in bad)
    assert all(set(row["error"]) == {"code", "message", "help"} for row in bad)
    assert any("swept has no numbers in 2 conditions" in note["text"] for note in written["notes"])
    lines = list(csv.DictReader((ran.folder / "results.csv").open()))
    assert [line["error"] for line in lines].count("MFV5370") == 4
    assert {line["accuracy"] for line in lines if line["error"]} == {""}


@pytest.mark.slow
def test_what_failed_is_not_kept(ran: RunResult):
    again = mfv.Recipe(RECIPE, "e").run(ran.folder)
    kept = json.loads((ran.folder / "manifest.json").read_text())["steps"]
    new = {step["label"].split(":")[0] for step in kept.values() if not step["cached"]}
    assert new == {"swept", "chosen", "lost"} and again.failed


@pytest.mark.slow
def test_the_command_shows_it_and_ends_with_4(tmp_path: Path):
    recipe = tmp_path / "r.mfv"
    recipe.write_text(HEAD + "eval e { add = fv(left), layer = 1, scale = [1, 1e25], on = [left] }")
    result = CliRunner().invoke(app, ["run", str(recipe), "--out", str(tmp_path / "o"), "--quiet"])
    assert result.exit_code == 4
    assert "failed: MFV5370" in result.stdout and "What to do: use a smaller" in result.stdout
    assert "1 of 2 rows have none" in result.stderr


def test_a_run_of_nothing_else_is_an_error(tmp_path: Path):
    recipe = HEAD + "eval e { add = fv(left), layer = 1, scale = 1e25, on = [left] }"
    with pytest.raises(MfvError, match=r"e: left, 0 shots, layer 1, scale 1e\+25"):
        mfv.Recipe(recipe, "e").run(tmp_path / "run")


@pytest.fixture
def without_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Effects of heads on `left` are NaN, as a damaged model gives them."""
    real = PERFORM["mediation"]

    def damaged(session: Any, step: Any, inputs: Any) -> Mediation:
        value: Mediation = real(session, step, inputs)
        if step.parameters["relation"] == "left":
            value = replace(value, cie=np.full_like(value.cie, np.nan))
        return value

    monkeypatch.setitem(PERFORM, "mediation", damaged)


@pytest.mark.slow
@pytest.mark.usefixtures("without_effects")
def test_what_follows_from_a_failed_step_fails(tmp_path: Path):
    folder = tmp_path / "library"
    recipe = f"""{HEAD}
    eval zero {{ on = [left] }}
    eval cut {{ ablate = top(3, on=[left], trials=5), on = [left] }}
    save "{folder}" {{
      vectors = [fv(left, heads=top(2, on=[left], trials=5)),
                 fv(right, heads=top(2, on=[right], trials=5))]
    }}
    """
    result = mfv.Recipe(recipe, "e").run(tmp_path / "run")
    errors = {row.eval: row.error for row in result.rows}
    assert not errors["zero"] and errors["cut"]["code"] == "MFV5374"
    assert len(result.saved) == 1 and "right" in result.saved[0].stem
    assert any("left" in note and "was not made" in note for note in result.notes)
    with pytest.raises(MfvError, match="MFV5374"):
        perform(result.plan)


# -- what the store may hold ----------------------------------------------------------------------
def mean(*layers: float) -> TaskMean:
    numbers = torch.tensor(layers)[:, None, None].expand(-1, 2, 4).clone()
    return TaskMean("left", numbers, (True,), 1)


def effects(change: Callable[[np.ndarray], None]) -> Mediation:
    cie = np.zeros((3, 4, 2), dtype=np.float32)
    change(cie)
    return Mediation("left", cie, np.zeros(3))


def one_head(cie: np.ndarray) -> None:
    cie[:, 1, 0] = np.nan


def one_prompt(cie: np.ndarray) -> None:
    cie[1, 1] = np.nan


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("-inf"), torch.tensor([1.0, torch.inf]), ("a", (np.array([np.nan]),)),
        mean(1.0, torch.inf), mean(torch.nan, torch.nan), effects(one_head), effects(one_prompt),
        effects(lambda cie: cie.fill(np.nan)), Heads((), torch.tensor([[0.0, torch.nan]])),
    ],
)  # fmt: skip
def test_the_store_refuses_what_is_no_number(value: Any, tmp_path: Path):
    with pytest.raises(MfvError, match="a label: ") as caught:
        Store(tmp_path).put("a" * 64, value, "a label", "norm")
    assert caught.value.code == "MFV5374" and "a" * 64 not in Store(tmp_path)


def no_heads(cie: np.ndarray) -> None:
    cie[:, 2] = np.nan


@pytest.mark.parametrize(
    "value",
    [1.0, mean(1.0, torch.nan), effects(no_heads), Heads((), torch.tensor([[1.0], [torch.nan]]))],
)
def test_layers_without_heads_are_kept(value: Any, tmp_path: Path):
    assert not list(not_numbers(value))
    Store(tmp_path).put("a" * 64, value, "a label", "norm")
    assert "a" * 64 in Store(tmp_path)


def test_what_an_earlier_version_kept_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr("mfv_dsl.execute.store.check_finite", lambda value, label: None)
        Store(tmp_path).put("a" * 64, torch.tensor([torch.nan]), "a label", "norm")
    with pytest.raises(Damaged, match="NaN"):
        Store(tmp_path).get("a" * 64)
    check_finite(1, "a number")


def test_json_is_strict():
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"number": float("nan")})
