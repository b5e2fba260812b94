"""The file of items: what each was answered, with and without what an eval does."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute import items as writing
from mfv_dsl.execute.item_lines import ItemLine, read_items
from mfv_dsl.execute.items import items_file
from mfv_dsl.execute.operations.evaluation import Wordings

RECIPE = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right], count=30)
sweep draw = [1, 2]
defaults { heads = top(2, on=[left]), trials = 6, items = 10, layer = 2 }
eval bare { shots = 0 }
eval swept { add = fv(each), layer = [1, 4], controls = [random_vector] }
eval chosen { add = fv(each), layer = [1, 4], choose = [layer] }
eval known { add = fv(each), correct_with = 4, answer = generate }
eval seeds { add = fv(each), seed = draw, answer = full }
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> mfv.RunResult:
    return mfv.compile(RECIPE).run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def lines(result: mfv.RunResult) -> list[ItemLine]:
    read = read_items(result.folder)
    assert read is not None
    return read


@pytest.mark.slow
def test_they_give_the_rows_again(result: mfv.RunResult, lines: list[ItemLine]):
    """Accuracy, difference and mean probability of every row of one relation and one seed."""
    compared = 0
    for row in result.rows:
        if row.relation is None or "mean" in row.axes.values():
            continue
        own = [
            line for line in lines
            if (line.eval, line.relation, line.control) == (row.eval, row.relation, row.control)
            and line.layer == ("" if row.layer is None else str(row.layer))
            and dict(line.axes) == {name: str(value) for name, value in row.axes.items()}
        ]  # fmt: skip
        assert len(own) == row.n
        assert np.mean([line.correct for line in own]) == pytest.approx(row.accuracy)
        assert np.mean([line.p_answer for line in own]) == pytest.approx(
            row.mean_p_answer, rel=1e-5
        )
        change = np.mean([line.correct - line.correct_unedited for line in own])
        assert change == pytest.approx(row.difference)
        compared += 1
    assert compared == 2 * (1 + 4 + 1 + 1 + 2)


@pytest.mark.slow
def test_a_right_answer_is_said_and_a_wrong_one_is_another(lines: list[ItemLine]):
    for line in lines:
        assert (line.said == line.answer) == line.correct
        assert (line.said_unedited == line.answer) == line.correct_unedited
        assert line.said and line.said_unedited and line.query
        assert line.split == "test" and line.image.startswith(f"{line.relation}/test/")


@pytest.mark.slow
def test_a_run_in_which_all_is_stored_has_the_same(result: mfv.RunResult, tmp_path: Path):
    again = mfv.compile(RECIPE).run(tmp_path / "again")
    name = next(path.name for path in result.folder.glob("items.csv*"))
    assert (again.folder / name).read_bytes() == (result.folder / name).read_bytes()


@pytest.mark.slow
def test_what_an_earlier_version_kept_has_its_items_too(
    result: mfv.RunResult, lines: list[ItemLine], tmp_path: Path
):
    """Queries and answers are drawn again; of what was said, what is known of the relations."""
    values = dict(result.values)
    for row in result.plan.rows:
        old = values[row.step]
        conditions = tuple(replace(one, said=None) for one in old.conditions)
        values[row.step] = replace(
            old, conditions=conditions, items=((), (), ()), texts=(), zero_shot_said=None
        )
    file = items_file(result.plan, values)
    assert file is not None
    (tmp_path / file[0]).write_bytes(file[1])
    drawn = read_items(tmp_path) or []
    assert [line.query for line in drawn] == [line.query for line in lines]
    assert [line.p_answer for line in drawn] == [line.p_answer for line in lines]
    for line, now in zip(drawn, lines, strict=True):
        assert line.said in ("", now.said)
        assert line.said == line.answer or not line.correct
    assert any(line.said for line in drawn if not line.correct)


@pytest.mark.slow
def test_many_lines_keep_the_best_condition_of_an_eval(
    result: mfv.RunResult, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing, "MOST_LINES", 100)
    monkeypatch.setattr(writing, "PLAIN_BYTES", 1000)
    name, data = items_file(result.plan, result.values) or ("", b"")
    assert name == "items.csv.gz"
    rows = list(csv.DictReader(gzip.decompress(data).decode().splitlines()))
    swept = {(row["layer"], row["control"]) for row in rows if row["eval"] == "swept"}
    table = {row.layer: row.accuracy for row in result.rows
             if row.eval == "swept" and row.relation is None and not row.control}  # fmt: skip
    best = str(max(table, key=lambda layer: table[layer] or 0))
    assert swept == {(best, ""), (best, "random_vector")}
    assert {row["eval"] for row in rows} == {"bare", "swept", "chosen", "known", "seeds"}
    assert (name, data) == items_file(result.plan, result.values)


def test_a_name_that_reads_like_a_table_or_a_mark_comes_back(tmp_path: Path):
    odd = 'a "quoted", <b>name</b>\nof two lines مرحبا'
    text = (
        "eval,relation,shots,layer,scale,vector,k,control,query,split,image,place,query,answer,"
        "said,p_answer,correct,said_unedited,p_unedited,correct_unedited\n"
    )
    quoted = '"' + odd.replace('"', '""') + '"'
    text += f"e,left,0,,,,,,7,test,i,,{quoted},b,c,nan,1,d,0.5,0\n"
    (tmp_path / "items.csv").write_text(text, encoding="utf-8")
    (line,) = read_items(tmp_path) or []
    assert line.query == odd and line.axes == (("query", "7"),) and np.isnan(line.p_answer)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0", "e" * 200_000])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str):
    (tmp_path / "items.csv").write_text(text)
    with pytest.raises(MfvError) as error:
        read_items(tmp_path)
    assert error.value.code == "MFV6113"


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"a" * 100, mtime=0)[:20]], ids=len)
def test_a_packed_file_that_is_damaged_is_refused(tmp_path: Path, data: bytes):
    (tmp_path / "items.csv.gz").write_bytes(data)
    with pytest.raises(MfvError) as error:
        read_items(tmp_path)
    assert error.value.code == "MFV6113"


def test_a_folder_without_the_file_has_none(tmp_path: Path):
    assert read_items(tmp_path) is None


def test_somebody_elses_file_of_that_name_stays(tmp_path: Path):
    (tmp_path / "items.csv").write_text("mine")
    with pytest.raises(MfvError) as error:
        mfv.compile(RECIPE).run(tmp_path)
    assert error.value.code == "MFV6072"
    assert (tmp_path / "items.csv").read_text() == "mine"


@pytest.mark.slow
def test_nor_is_it_lost_where_an_older_run_had_none(tmp_path: Path):
    recipe = mfv.compile(RECIPE)
    recipe.run(tmp_path, only=["bare"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"].remove("items.csv")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "items.csv").write_text("mine")
    with pytest.raises(MfvError) as error:
        recipe.run(tmp_path, only=["bare"], fresh=True)
    assert error.value.code == "MFV6072"


def test_a_token_that_is_no_name_is_told_by_its_text():
    wordings = Wordings(lambda tokens: {3: " a", 4: "\n"}[tokens[0]])
    places = wordings.places(["cup", None, None, "cup"], np.array([1, 3, 4, 1]))
    assert places.tolist() == [0, 1, 2, 0]
    assert wordings.texts == ["cup", "a", r"'\n'"]
