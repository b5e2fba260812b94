"""`report`: numbers of the language as rows of a run."""

from __future__ import annotations

import json

import pytest

import mfv_dsl as mfv
from mfv_dsl.execute.records import table

TEXT = """\
mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above])
defaults for fv { trials = 4, shots = 2, heads = {L4H1, L3H7} }
vector v = fv(left) - fv(right)
report {
  on = [left, above]
  cosine(fv(left), fv(right))
  2 * norm(fv(each))
  3 + 4
}
report { norm(v) }
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return mfv.Recipe(TEXT).run(tmp_path_factory.mktemp("report"))


@pytest.mark.slow
def test_every_line_is_a_row_and_with_each_one_for_every_relation(result):
    rows = [(row.number, row.relation) for row in result.numbers]
    twice = "2 * norm(fv(each))"
    assert rows == [
        ("cosine(fv(left), fv(right))", None), (twice, "left"), (twice, "above"), ("3 + 4", None),
        ("norm(v)", None),
    ]  # fmt: skip
    assert result.rows == [] and not result.failed


def test_the_numbers_are_those_of_the_vectors(result):
    options = {"heads": [(4, 1), (3, 7)], "trials": 4, "shots": 2}
    data = {"model": "tiny()", "dataset": "scenes(relations=[left, right, above])"}
    left, right, above = (
        mfv.fv(name).vector(**data, **options).numpy() for name in ("left", "right", "above")
    )
    length = lambda v: float((v @ v) ** 0.5)  # noqa: E731
    expected = [
        float(left @ right) / length(left) / length(right), 2 * length(left), 2 * length(above),
        7.0, length(left - right),
    ]  # fmt: skip
    assert [row.value for row in result.numbers] == pytest.approx(expected, rel=1e-5)


def test_they_are_in_the_files_of_the_run(result):
    written = json.loads((result.folder / "results.json").read_text())["numbers"]
    assert [row["value"] for row in written] == [row.value for row in result.numbers]
    lines = (result.folder / "numbers.csv").read_text().splitlines()
    assert lines[0] == "number,relation,value,error" and len(lines) == 6
    shown = table([result.folder], ["number"], ["relation"], of="numbers")
    assert len(shown.markdown().splitlines()) == 2 + 4
    assert table([result.folder], ["number"], ["relation"]).markdown() == shown.markdown()


def test_a_run_that_is_there_already_gives_them_again(result):
    again = mfv.Recipe(TEXT).run(result.folder)
    assert again.numbers == result.numbers and again.cached == len(again.plan.steps)


def test_a_report_can_be_run_alone(tmp_path):
    recipe = mfv.Recipe(TEXT + "eval zero { items = 2 }\n")
    assert {row.number for row in recipe.plan(["report"]).numbers} == {
        row.number for row in recipe.plan().numbers
    }
    assert recipe.plan(["report"]).rows == () and recipe.plan(["zero"]).numbers == ()


def test_a_number_that_cannot_be_known_is_a_row_that_says_so(tmp_path):
    text = TEXT.replace("3 + 4", "1 / norm(zeros())")
    result = mfv.Recipe(text).run(tmp_path)
    (failed,) = (row for row in result.numbers if row.error)
    assert (failed.number, failed.value) == ("1 / norm(zeros())", None)
    assert result.failed and len([row for row in result.numbers if row.value is not None]) == 4
