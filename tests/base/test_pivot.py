"""Records as rows and columns, and tables as text."""

from __future__ import annotations

import pytest

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.pivot import Label, Record, pivot
from mfv_dsl.base.table_text import TextTable


def record(accuracy: str, **fields: str) -> Record:
    return Record(fields, {"accuracy": accuracy})


RECORDS = (
    record("1", eval="hard", relation="above_right", k="1"),
    record("2", eval="hard", relation="all", k="1"),
    record("3", eval="raw", relation="left", k="1"),
    record("4", eval="raw", relation="all", k="1"),
)


def test_all_is_last_and_what_was_not_measured_is_a_dash():
    made = pivot(RECORDS, ["eval"], ["relation"], ["accuracy"])
    assert made.columns == ("eval", "above_right", "left", "all")
    assert made.lines == (("hard", "1", "–", "2"), ("raw", "–", "3", "4"))
    turned = pivot(RECORDS, ["relation"], ["eval"], ["accuracy"], first=2, corner="")
    assert turned.lines == (("above_right", "1", "–"), ("left", "–", "3"))
    assert turned.columns[0] == ""


def test_two_records_for_one_cell_are_told_apart_or_refused():
    twice = (*RECORDS, record("5", eval="raw", relation="left", k="2"))
    with pytest.raises(MfvError, match="--where k=1") as raised:
        pivot(twice, ["eval"], ["relation"], ["accuracy"])
    assert raised.value.code == "MFV6111"
    made = pivot(twice, ["eval", "k"], ["relation"], ["accuracy"])
    assert [line[0] for line in made.lines] == ["hard, 1", "raw, 1", "raw, 2"]
    kept = pivot(twice, ["eval"], ["relation"], ["accuracy"], {"k": ["2"]})
    assert kept.lines == (("raw", "5"),)
    with pytest.raises(MfvError, match="no field tells them apart"):
        pivot((*RECORDS, RECORDS[0]), ["eval"], ["relation"], ["accuracy"])


def test_values_of_one_record_stand_side_by_side_or_below_each_other():
    records = [Record({"eval": "raw", "layer": "1"}, {"accuracy": "9", "n": "5"})]
    made = pivot(records, ["eval"], [], ["accuracy", "layer"])
    assert made.columns == ("eval", "accuracy", "layer") and made.lines == (("raw", "9", "1"),)
    below = pivot(records, ["value"], ["eval"], ["accuracy", "n"], labels=[Label("n", "items")])
    assert below.lines == (("accuracy", "9"), ("items", "5"))


def test_the_first_label_that_fits_counts_and_one_that_fits_nothing_is_refused():
    labels = [Label("h*", "one"), Label("*", "rest", "eval")]
    made = pivot(RECORDS, ["eval"], ["relation"], ["accuracy"], labels=labels)
    assert [line[0] for line in made.lines] == ["one", "rest"]
    with pytest.raises(MfvError, match="nothing here is called `hrad`") as raised:
        pivot(RECORDS, ["eval"], ["relation"], ["accuracy"], labels=[Label("hrad", "x")])
    assert raised.value.code == "MFV6112" and "did you mean `hard`?" in str(raised.value)


def test_texts_are_escaped():
    made = TextTable(("a_b", "x|y"), (("L1-H2 -3 [-5, -0.1]", "5 % \\"),))
    assert made.markdown().splitlines()[2] == "| L1-H2 −3 [−5, −0.1] | 5 % \\ |"
    assert r"| x\|y |" in made.markdown()
    lines = made.latex().splitlines()
    assert lines[2] == r"a\_b & x|y \\"
    assert lines[4] == r"L1-H2 $-$3 [$-$5, $-$0.1] & 5 \% \textbackslash{} \\"
