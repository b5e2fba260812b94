"""Tables of rows and columns out of the folders of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.records import table
from mfv_dsl.execute.run_result import RunResult
from tests.cli.support import mfv_command

pytestmark = pytest.mark.slow  # for the run; each test takes no time

RECIPE = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right])
defaults { trials = 2, shots = 1, items = 4, layer = 1 }
heads both = top(5, on=[left, right])
eval zero_shot { shots = 0 }
eval few_shot { shots = 2 }
eval raw { add = fv(each, heads=both), k = [1, 3], against = few_shot, controls = [random_heads] }
tune t { start = fv(each, heads=both), items = 4, epochs = 1, select_items = 4, lr = [0.1, 0.2] }
report { norm(fv(each, heads=both)) }
eval chosen { add = fv(each, heads=both), layer = 0..1, choose = [layer] }
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return mfv.Recipe(RECIPE, "r.mfv").run(tmp_path_factory.mktemp("tables") / "r")


def raises(code: str, *arguments: object, **options: object) -> str:
    with pytest.raises(MfvError) as raised:
        table(*arguments, **options)  # type: ignore[arg-type]
    assert raised.value.code == code
    return str(raised.value)


def test_every_condition_is_a_row_and_all_comes_last(result: RunResult):
    made = result.table()
    assert made.columns == ("condition", "left", "right", "all")
    names = [line[0] for line in made.lines]
    assert names == [
        "zero_shot", "few_shot", "raw, k 1", "raw, random_heads, k 1", "raw, k 3",
        "raw, random_heads, k 3", "chosen",
    ]  # fmt: skip
    rows = {(row.eval, row.relation): row for row in result.rows if row.eval == "zero_shot"}
    row = rows["zero_shot", None]
    shown = f"{100 * row.accuracy:.0f} [{100 * row.ci_low:.0f}, {100 * row.ci_high:.0f}]"
    assert made.lines[0][3] == shown


def test_every_kind_of_results_has_a_layout_of_its_own(result: RunResult):
    tunes = result.table(of="tunes")
    assert tunes.columns == ("t.lr, tune", "left", "right")
    assert [line[0] for line in tunes.lines] == ["0.1, t", "0.2, t"]
    assert result.table(of="tunes", value="epochs,n", rows="t.lr").lines[0][1:] == ("1", "4") * 2
    heads = result.table(of="heads", first=2)
    assert heads.columns == ("head", "mean", "left", "right") and len(heads.lines) == 2
    assert heads.lines[0][0] == result.table("rank", value="named").lines[0][1].split()[0]
    numbers = result.table(of="numbers")
    assert numbers.lines[0][0] == "norm(fv(each, heads=both))"
    assert result.table("relation", of="numbers").columns == ("relation", numbers.lines[0][0])
    answers = result.table(of="answers", where={"eval": "few_shot", "relation": "left,right"})
    assert answers.columns[:3] == ("relation", "left", "right") and answers.columns[-1] == "other"
    assert "condition, relation" in result.table(of="answers").columns
    assert "there are no weights" in raises("MFV6113", [result.folder], of="weights")


def test_several_values_and_labels_that_merge(result: RunResult):
    made = result.table(
        "eval,control", "k", ["accuracy_alone", "vs_few_shot"],
        where={"eval": ["raw", "zero_shot"], "relation": "all"},
        labels={"raw, none": "the vector", "control.random_heads": "r", "zero_shot, *": "0"},
    )  # fmt: skip
    assert [line[0] for line in made.lines] == ["0", "the vector", "raw, r"]
    assert made.columns[1:3] == ("none, accuracy_alone", "none, vs_few_shot")
    assert made.lines[1][1] == "–" and made.lines[0][3] == "–"
    merged = result.table(
        "eval", where={"eval": "*_shot,chosen"}, labels={"zero_shot": "x", "chosen": "y"}
    )
    assert [line[0] for line in merged.lines] == ["x", "few_shot", "y"]
    (layers,) = result.table("eval", value="layer", where={"eval": "chosen"}).lines
    assert layers[0] == "chosen" and layers[-1] == "chosen" and layers[1] in "01"


def test_an_ambiguous_table_names_what_tells_the_rows_apart(result: RunResult):
    said = raises("MFV6111", [result.folder], "eval")
    assert "`k` is 1 in one and 3 in the other" in said or "`control`" in said
    said = raises("MFV6111", [result.folder], "eval", where={"control": "none"})
    assert "--where k=1" in said and "`layer`" not in said
    said = raises(
        "MFV6111", [result.folder], "eval", where={"eval": "*_shot"}, labels={"eval.*": "x"}
    )
    assert "`eval` is zero_shot in one" in said


def test_what_is_not_there_is_said_with_what_is_near(result: RunResult):
    assert "did you mean `eval`?" in raises("MFV6110", [result.folder], "evl")
    assert "did you mean `accuracy`?" in raises("MFV6110", [result.folder], value="acuracy")
    assert "did you mean `heads`?" in raises("MFV6110", [result.folder], of="head")
    assert "did you mean `raw`?" in raises("MFV6112", [result.folder], where={"eval": "rau"})
    assert "did you mean `chosen`?" in raises("MFV6112", [result.folder], labels={"chosn": "x"})
    assert "mfv run --out" in raises("MFV6113", [result.folder / "aie"])


def test_heads_choices_and_answers(result: RunResult):
    made = table([result.folder], "head", first=2)
    assert made.columns == ("head", "mean", "left", "right") and len(made.lines) == 2
    means = [float(line[1]) for line in table([result.folder], "head").lines]
    assert len(means) == 80 and means == sorted(means, reverse=True)
    tried = table([result.folder], "layer", of="choices", value="accuracy")
    assert [line[0] for line in tried.lines] == ["0", "1"] and tried.columns[1:] == (
        "left",
        "right",
    )
    answered = table([result.folder], "answered", where={"eval": "zero_shot"})
    assert [line[0] for line in answered.lines] == ["left", "right", "above", "below", "other"]


def test_damaged_results_are_said_to_be(result: RunResult, tmp_path: Path):
    (tmp_path / "results.json").write_text("{")
    assert "cannot read" in raises("MFV6113", [tmp_path])
    (tmp_path / "results.json").write_text(json.dumps({"rows": [{}]}))
    assert "not of a form" in raises("MFV6113", [tmp_path])


def test_the_command_prints_each_form(result: RunResult, tmp_path: Path):
    words = ["table", str(result.folder), "--eval", "zero_shot", "--label", "eval.zero_shot=0 & 1"]
    done = mfv_command(*words, "--rows", "eval", "--corner", "", "--markdown")
    assert done.returncode == 0 and done.stdout.startswith("| | left | right | all |\n| --- |")
    assert r"0 \& 1 &" in mfv_command(*words, "--rows", "eval", "--latex").stdout
    assert mfv_command(*words, "--rows", "eval", "--csv").stdout.startswith("eval,left,right,all\n")
    assert mfv_command(*words, "--csv", "--latex").returncode == 2
    assert mfv_command("table", str(tmp_path)).returncode == 2
