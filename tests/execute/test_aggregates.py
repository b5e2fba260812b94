"""Relations called as the tables call what they put together: neither takes the other's place."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.columns import with_names
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.records import table
from mfv_dsl.execute.rows import Difference, ResultRow
from mfv_dsl.execute.run_result import RunResult
from mfv_dsl.execute.tables import result_lines
from mfv_dsl.report.columns import confusion_columns, result_columns
from mfv_dsl.report.tables import heads_table
from tests.cli.support import mfv_command
from tests.data.support import write_lines, write_pairs

pytestmark = pytest.mark.slow  # for the run

NAMES = {"left": "all", "right": "other", "above": "mean", "below": "head"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("named")
    items = write_pairs(folder, 40)
    write_lines(
        folder / "pairs.jsonl", [{**item, "relation": NAMES[item["relation"]]} for item in items]
    )
    recipe = f"""mfv 1
model m = tiny()
dataset d = pairs("{folder / "pairs.jsonl"}")
defaults {{ trials = 4, shots = 1, items = 6 }}
heads best = top(3, on=[all, other, mean, head])
eval few {{ shots = 2, metrics = [accuracy, confusion] }}
eval raw {{ add = fv(each, heads=best), layer = 1, against = few, on = [all, other] }}
"""
    return mfv.Recipe(recipe, "named.mfv").run(folder / "run")


def test_rows_over_all_relations_have_none(ran: RunResult):
    assert [row.relation for row in ran.rows if row.eval == "few"] == [*NAMES.values(), None]
    for row in ran.rows:
        pooled = {"few": 24, "raw": 12}[row.eval] if row.relation is None else 6
        assert row.n == pooled
        if row.relation is not None:
            assert set(row.answers) == set(NAMES.values()) and row.answers_other is not None
            assert sum(row.answers.values()) + row.answers_other == pytest.approx(1)
            assert row.answers[row.relation] == pytest.approx(row.accuracy)


def test_files_keep_them_apart(ran: RunResult):
    said = json.loads((ran.folder / "results.json").read_text())
    assert said["rows"] == [row.to_json() for row in ran.rows]
    with open(ran.folder / "results.csv") as file:
        lines = list(csv.DictReader(file))
    assert [(line["relation"] or None, int(line["n"])) for line in lines] == [
        (row.relation, row.n) for row in ran.rows
    ]
    with open(ran.folder / "confusion.csv") as file:
        answered = [line for line in csv.DictReader(file) if line["eval"] == "few"]
    assert len(answered) == 4 * 5
    assert [line["answered"] for line in answered[:5]] == [*NAMES.values(), ""]
    assert sum(float(line["share"]) for line in answered) == pytest.approx(4)


def test_tables_call_what_is_put_together_otherwise(ran: RunResult):
    columns = result_columns(ran.rows, ran.plan.metrics)
    assert columns["relation"][:5] == [*NAMES.values(), "(all)"]
    confusion = confusion_columns(ran.rows, ran.plan.metrics)
    assert confusion is not None
    assert [name for name in confusion if name.startswith("→")] == [
        "→ all", "→ other", "→ mean", "→ head", "→ (other)",
    ]  # fmt: skip
    made = ran.table(where={"eval": "few"})
    assert made.columns == ("condition", "all", "other", "mean", "head", "(all)")
    of = {row.relation: f"{100 * row.accuracy:.0f}" for row in ran.rows if row.eval == "few"}
    assert [cell.split()[0] for cell in made.lines[0][1:]] == [*(of[n] for n in NAMES.values()),
                                                              of[None]]  # fmt: skip
    (line,) = ran.table("eval", value="n", where={"eval": "few", "relation": "all"}).lines
    assert line == ("few", "6")
    (line,) = ran.table("eval", value="n", where={"eval": "few", "relation": "(all)"}).lines
    assert line == ("few", "24")
    answered = ran.table("answered", where={"eval": "few"})
    assert [line[0] for line in answered.lines] == [*NAMES.values(), "(other)"]
    heads = table([ran.folder], "head", first=1)
    assert sorted(heads.columns) == sorted(["head", "(mean)", *NAMES.values()])


def test_the_commands_table_has_them_all(ran: RunResult):
    done = mfv_command("table", str(ran.folder), "--where", "eval=few", "--csv")
    assert done.stdout.splitlines()[0] == "condition,all,other,mean,head,(all)"


def test_heads_have_a_column_for_each_relation():
    from mfv_dsl.execute.heads import HeadEffect

    effect = HeadEffect(1, 2, 0.5, {"mean": (0.25, None), "head": (0.75, None)}, ())
    made = heads_table([effect])
    assert [str(column.header) for column in made.columns] == ["", "head", "(mean)", "mean", "head"]
    assert [str(next(iter(column.cells))) for column in made.columns] == [
        "1", "L1H2", "0.500", "0.250", "0.750",
    ]  # fmt: skip


OLD = {
    "eval": "few", "shots": 2, "layer": None, "scale": None, "n": 4, "accuracy": 0.5, "ci_low": 0.1,
    "ci_high": 0.9, "mean_p_answer": 0.5, "difference": 0.0, "difference_low": 0.0,
    "difference_high": 0.0,
}  # fmt: skip


def old_results(folder: Path, *rows: dict[str, object], **more: object) -> Path:
    folder.mkdir()
    data = {**more, "rows": [{**OLD, **row} for row in rows], "choices": []}
    (folder / "results.json").write_text(json.dumps(data))
    return folder


def test_older_files_are_read(tmp_path: Path, ran: RunResult):
    answers = {"left": 0.5, "right": 0.25, "other": 0.25}
    old = old_results(
        tmp_path / "old",
        {"relation": "left", "answers": answers},
        {"relation": "all", "n": 8, "accuracy": 0.25},
    )
    assert table([old]).columns == ("condition", "left", "all")
    assert table([old], "answered").lines == (
        ("left", "50"), ("right", "25"), ("other", "25"),
    )  # fmt: skip
    # beside a run of today whose relations are called so, one name is used for all
    both = table([old, ran.folder], "run", value="n", where={"eval": "few"})
    assert both.columns == ("run", "left", "all", "other", "mean", "head", "(all)")
    assert both.lines[0] == ("old", "4", "–", "–", "–", "–", "8")


def test_a_failed_condition_is_shown_and_keeps_no_table_from_being_made(tmp_path: Path):
    nothing = {name: None for name in OLD if name not in ("eval", "shots")}
    folder = old_results(
        tmp_path / "failed", {"relation": "left"},
        {**nothing, "relation": "right", "error": {"code": "MFV5370", "message": "", "help": ""}},
        format=2,
    )  # fmt: skip
    (line,) = table([folder]).lines
    assert line == ("few", "50 [10, 90]", "failed: MFV5370")
    (folder / "results.json").write_text('{"rows": {"a": 3}, "format": 2}')
    with pytest.raises(MfvError, match="not of a form"):
        table([folder])


def test_bounds_of_differences_take_no_other_evals_column():
    rows = [
        ResultRow(**OLD, relation="left", against={
            name: Difference(i, i - 0.5, i + 0.5)
            for i, name in enumerate(names)
        })
        for names in (["few", "few_low", "few_high"], ["few"])
    ]  # fmt: skip
    both, one = ({"rows": [row.to_json()]} for row in rows)
    (line,) = result_lines(both)
    assert (line["vs_few"], line["vs_few.low"], line["vs_few_low"]) == (0, -0.5, 1)
    (line,) = result_lines(one)
    assert (line["vs_few"], line["vs_few_low"], line["vs_few_high"]) == (0, -0.5, 0.5)


def test_names_are_those_of_no_relation():
    rows = [{"relation": None}, {"relation": "all", "answers": {"left": 1.0}, "answers_other": 0.0}]
    assert [row["relation"] for row in with_names(rows)] == ["(all)", "all"]
    assert with_names(rows)[1]["answers"] == {"left": 1.0, "other": 0.0}
    assert with_names(rows, ["other"])[1]["answers"] == {"left": 1.0, "(other)": 0.0}
