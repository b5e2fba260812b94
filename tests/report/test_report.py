"""Reports: what is in them, and what is said of folders and files that are amiss."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.recorded_run import read_runs
from mfv_dsl.execute.records import table
from mfv_dsl.execute.run_comparison import compare_runs
from mfv_dsl.execute.stored_items import stored_items
from mfv_dsl.methods.intervals import difference_interval
from mfv_dsl.methods.statistics import sign_test
from mfv_dsl.report.page.comparison import comparison_figures, comparison_tables
from mfv_dsl.report.page.figures import run_figures
from mfv_dsl.report.page.item_sample import all_items, counts, sampled
from mfv_dsl.run_report import report

RECIPE = """mfv 1
## What the vector of each relation does.
model m = tiny()
dataset d = scenes(relations=[left, right], count=30)
defaults { heads = top(2, on=[left, right]), trials = 6, items = 12, layer = 1 }
eval bare { shots = 0 }
## Added where the question stands alone.
eval raw { add = fv(each), metrics = [accuracy, p_answer, confusion] }
eval swept { add = fv(each), layer = 0..2, controls = [random_vector] }
report { cosine(fv(left), fv(right)) }
"""
DECLARED = "mfv 1\nmodel m = tiny()\ndataset d = scenes(count=30)\n"
SMALL = f"{DECLARED}eval lone {{ shots = 1, items = 4, on = [left] }}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mfv.compile(RECIPE).run(tmp_path_factory.mktemp("runs") / "first").folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "first"))


def page_of(*folders: Path, items: int | None = 400) -> str:
    return report(folders, folders[0].parent / "page.html", items).read_text(encoding="utf-8")


def data_of(page: str, name: str) -> object:
    found = re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MfvError) as error:
        call()
    assert error.value.help
    return error.value.code


def change(path: Path, edit: Callable[[dict], object]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


# -- what is in it --------------------------------------------------------------------------------
@pytest.mark.slow
def test_it_is_one_file_that_asks_for_nothing(folder: Path):
    page = page_of(folder)
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "default-src 'none'" in unescape(page)
    outside = page.replace('id="plotly">', "").split("</style>")[1]
    assert "https://" not in outside and "http://" not in outside


@pytest.mark.slow
def test_the_tables_are_those_of_the_command_line(folder: Path):
    page = page_of(folder)
    cells = {unescape(cell) for cell in re.findall(r"<bdi>(.*?)</bdi>", page)}
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert rows
    for row in rows:
        shares = [100 * float(row[name]) for name in ("accuracy", "ci_low", "ci_high")]
        assert "{:.0f} [{:.0f}, {:.0f}]".format(*shares) in cells
        assert f"{float(row['mean_p_answer']):.2f}" in cells


@pytest.mark.slow
def test_it_says_what_was_asked_and_how_it_was_made(folder: Path):
    page = page_of(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "Added where the question stands alone." in page
    assert '<span class="kd">eval</span>' in page
    for told in (manifest["finished"][:10], manifest["models"]["m"]["fingerprint"],
                 manifest["packages"]["torch"], "1234"):  # fmt: skip
        assert told in page
    assert f"mfv run {folder / 'recipe.mfv'} --out {folder}" in page


@pytest.mark.slow
def test_the_same_run_gives_the_same_page(folder: Path):
    assert page_of(folder) == page_of(folder)


@pytest.mark.slow
def test_making_it_loads_no_model(folder: Path):
    code = (
        "import sys\nfrom mfv_dsl.run_report import report\n"
        f"report([{str(folder)!r}])\nprint(*sorted({{'torch', 'matplotlib'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_the_command_line_is_as_light_as_it_was():
    code = (
        "import sys\nimport mfv_dsl.cli.reports, mfv_dsl.cli.app, mfv_dsl.interactive\n"
        "heavy = {'torch', 'numpy', 'plotly', 'jinja2', 'pandas', 'matplotlib', 'PIL'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# -- items ----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_counts_are_of_all_items_and_the_pictures_of_a_sample(folder: Path):
    data = data_of(page_of(folder, items=20), "item-data")
    assert isinstance(data, dict)
    lines = list(csv.DictReader((folder / "items.csv").open()))
    assert sum(sum(row[4]) for row in data["counts"]) == len(lines)
    assert len(data["columns"]["outcome"]) == 20
    up = sum(line["correct"] > line["correct_unedited"] for line in lines)
    assert sum(row[4][0] for row in data["counts"]) == up


@pytest.mark.slow
def test_a_picture_is_there_once(folder: Path):
    page = page_of(folder, items=None)
    pictures, data = data_of(page, "pictures"), data_of(page, "item-data")
    assert isinstance(pictures, dict) and isinstance(data, dict)
    images = {line["image"] for line in csv.DictReader((folder / "items.csv").open())}
    assert len(pictures["files"]) == len(set(pictures["files"])) == len(images)
    assert set(data["columns"]["picture"]) == set(range(len(images)))


def test_a_sample_has_as_many_of_every_kind_as_there_can_be(folder: Path):
    items = all_items(read_runs([folder]))
    kinds = counts(items)
    sample = sampled(items, 24)
    pools: dict[tuple[str, str, int], int] = {}
    for item in items:
        key = item.line.eval, item.line.relation, item.outcome
        pools[key] = pools.get(key, 0) + 1
    shown = dict.fromkeys(pools, 0)
    for item in sample:
        shown[item.line.eval, item.line.relation, item.outcome] += 1
    cut_short = [n for key, n in shown.items() if n < pools[key]]
    assert len(sample) == 24 and len(kinds) > 4
    assert max(shown.values()) - min(cut_short) <= 1
    assert sampled(items, None) == items and sampled(items, 24) == sample


@pytest.mark.slow
def test_no_items_are_shown_where_none_are_wanted(folder: Path):
    data = data_of(page_of(folder, items=0), "item-data")
    assert isinstance(data, dict) and data["columns"]["outcome"] == [] and data["counts"]


# -- several runs ---------------------------------------------------------------------------------
@pytest.mark.slow
def test_runs_on_the_same_items_are_compared_item_by_item(folder: Path, tmp_path: Path):
    other = mfv.compile(RECIPE.replace("top(2,", "top(1,")).run(tmp_path / "other").folder
    first, second = read_runs([folder, other])
    differences = compare_runs(first, second)
    found = {(d.condition.eval, d.condition.layer, d.condition.control, d.relation): d
             for d in differences}  # fmt: skip
    assert len(found) == len(differences) == 3 * (1 + 1 + 6)
    lines = {
        run.name: {line.item: line for line in run.items or () if line.eval == "raw"}
        for run in (first, second)
    }
    gains = np.array([
        float(lines["other"][item].correct) - float(line.correct)
        for item, line in lines["first"].items()
    ])  # fmt: skip
    images = [line.image for line in lines["first"].values()]
    strata = [line.relation for line in lines["first"].values()]
    pooled = found["raw", "1", "", None]
    assert pooled.n == len(gains) == 24 and pooled.difference == gains.mean()
    assert (pooled.low, pooled.high) == difference_interval(gains, images, strata)
    assert pooled.p == sign_test(gains, images)
    page = page_of(folder, other)
    assert "other less first: paired difference" in page and "Side by side" in page


def test_an_item_that_is_asked_twice_is_compared_with_itself(folder: Path):
    (run,) = read_runs([folder])
    line = next(line for line in run.items or () if line.eval == "raw")
    twice = [line._replace(place="1", correct=True), line._replace(place="2", correct=False)]
    other = replace(run, items=[twice[0], twice[1]._replace(correct=True)])
    (one,) = compare_runs(replace(run, items=twice), other)
    assert one.n == 2 and one.difference == 0.5


def test_conditions_that_differ_between_runs_are_not_in_one_row(folder: Path):
    (first,) = read_runs([folder])
    rows = [replace(row, layer=2) if row.eval == "raw" else row for row in first.results.rows]
    other = replace(first, name="other", results=replace(first.results, rows=rows))
    accuracies, *_ = comparison_tables([first, other], [])
    for group in accuracies.groups:
        for row in group.rows:
            assert sum(map(bool, row[-2:])) == (1 if group.title == "raw" else 2)
    figure, *_ = comparison_figures([first, other], [])
    shown = {name: cells for name, *cells in figure.table.groups[0].rows}
    assert all(shown.pop("bare (all)")) and len(shown) == 2
    for name, cells in shown.items():
        assert name == f"raw, layer {1 if cells[0] else 2} (all)" and not all(cells)


# -- heads ----------------------------------------------------------------------------------------
def scored(relation: str, score: float, layer: int = 3, **more: object) -> dict[str, object]:
    """A line of heads.csv."""
    return {"step": "s", "relation": relation, "by": "aie", "layer": layer, "head": 1,
            "score": score, "low": None, "high": None, "p": None, "n": 4, **more}  # fmt: skip


def test_heads_of_two_models_have_maps_of_their_own(folder: Path):
    (run,) = read_runs([folder])
    heads = [scored("left", 0.5, model="a"), scored("left", -0.25, model="b"),
             scored("right", 0.1, model="a"), scored("right", -0.25, model="b")]  # fmt: skip
    maps = [one for one in run_figures(replace(run, heads=heads)) if one.kind == "heads"]
    assert [one.title for one in maps] == ["Effects of heads (a)", "Effects of heads (b)"]
    assert [one.table.groups[0].rows[0][:2] for one in maps] == [("L3H1", "0.300"),
                                                                 ("L3H1", "-0.250")]  # fmt: skip
    assert maps[0].data["mean"][3][1] == pytest.approx(0.3)  # the layer's number is its place


@pytest.mark.slow
def test_twins_of_all_other_relations_are_one_way_of_ranking(folder: Path, tmp_path: Path):
    recipe = DECLARED + "defaults { trials = 4 }\nreport { norm(fv(left, heads=top(2, " \
        "on=[left, right], pool=others))) }"  # fmt: skip
    result = mfv.compile(recipe).run(tmp_path / "others")
    assert result.effects.relations == ("left", "right")
    assert "Effects of heads: the" in page_of(result.folder)
    records = table([result.folder], "head", "relation", of="heads")
    assert "mean" in str(records)


@pytest.mark.slow
def test_runs_on_other_items_are_not(folder: Path, tmp_path: Path):
    other = mfv.compile(RECIPE.replace("count=30", "count=30, seed=5")).run(tmp_path / "other")
    differences = compare_runs(*read_runs([folder, other.folder]))
    assert differences and {d.reason for d in differences} == {"of other datasets"}
    assert all(d.difference is None for d in differences)
    fewer = mfv.compile(RECIPE.replace("items = 12", "items = 8")).run(tmp_path / "fewer")
    reasons = {d.reason for d in compare_runs(*read_runs([folder, fewer.folder]))}
    assert reasons == {"other items: 12 and 8, 8 of them in both"}
    page = unescape(page_of(folder, other.folder, fewer.folder))
    assert "of other datasets" in page and "8 of them in both" in page


@pytest.mark.slow
def test_runs_without_a_common_eval_are_said_to_be_so(folder: Path, tmp_path: Path):
    other = mfv.compile(SMALL).run(tmp_path / "other")
    page = page_of(folder, other.folder)
    assert "no condition of an eval of one name in common" in page


def test_runs_of_one_name_are_told_apart(folder: Path, tmp_path: Path):
    twin = Path(shutil.copytree(folder, tmp_path / "deeper" / "first"))
    names = [run.name for run in read_runs([folder, twin])]
    assert names == [folder.as_posix(), twin.as_posix()]
    with pytest.raises(MfvError, match="named twice"):
        report([folder, folder / "." / "vectors" / ".."])


# -- where it lies --------------------------------------------------------------------------------
@pytest.mark.slow
def test_another_run_takes_it_away(tmp_path: Path):
    recipe = mfv.compile(SMALL)
    recipe.run(tmp_path)
    file = report([tmp_path])
    assert file == tmp_path / "report.html" and file.exists()
    recipe.run(tmp_path)  # the same: the report is as it was
    assert file.exists()
    recipe.run(tmp_path, fresh=True)
    assert not file.exists()


@pytest.mark.slow
def test_a_copy_of_a_run_has_no_copy_of_its_report(tmp_path: Path):
    recipe = mfv.compile(RECIPE)
    first = recipe.run(tmp_path / "one")
    first.report()
    second = recipe.run(tmp_path / "two")
    assert (tmp_path / "one" / "report.html").exists()
    assert not (second.folder / "report.html").exists()


@pytest.mark.slow
def test_a_report_takes_the_place_of_a_report_and_of_nothing_else(folder: Path, tmp_path: Path):
    file = tmp_path / "mine.html"
    assert report([folder], file) == report([folder], file)
    file.write_text("<html>mine</html>")
    assert refusal(lambda: report([folder], file)) == "MFV6115"
    assert file.read_text() == "<html>mine</html>"
    (folder / "report.html").mkdir()
    assert refusal(lambda: report([folder])) == "MFV6115"


def test_a_result_makes_its_report(tmp_path: Path):
    result = mfv.compile(SMALL).run(tmp_path / "r")
    assert result.report() == tmp_path / "r" / "report.html"
    assert result.report(tmp_path / "there.html", items=2) == tmp_path / "there.html"


# -- the command ----------------------------------------------------------------------------------
def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mfv_dsl", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


@pytest.mark.slow
def test_the_commands(tmp_path: Path):
    recipe = tmp_path / "r.mfv"
    recipe.write_text(SMALL)
    run = tmp_path / "run"
    ran = command("run", recipe, "--out", run, "--report", "--json", "-q")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["report"] == str(run / "report.html")
    again = command("report", run, "--items", "all", "--out", tmp_path / "it.html")
    assert (again.returncode, again.stdout) == (0, f"{tmp_path / 'it.html'}\n")
    (run / "report.html").write_text("mine")
    refused = command("run", recipe, "--out", run, "--report", "--fresh", "-q")
    assert refused.returncode == 2 and "MFV6115" in refused.stderr
    wrong = command("report", run, "--items", "many")
    assert wrong.returncode == 2 and "`many` is neither a number of items nor `all`" in wrong.stderr
    nothing = command("report", tmp_path)
    assert nothing.returncode == 2 and "MFV6113" in nothing.stderr


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path):
    for name in ("plotly.offline", "jinja2"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(MfvError) as error:
                report([folder])
            assert error.value.code == "MFV5391"
            assert error.value.help == "pip install 'mfv-dsl[report]'"


# -- bad input ------------------------------------------------------------------------------------
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    assert refusal(lambda: report([tmp_path])) == "MFV6113"
    assert refusal(lambda: report([tmp_path / "nowhere"])) == "MFV6113"


def test_a_run_of_a_newer_version_is_refused(folder: Path):
    change(folder / "results.json", lambda data: data.update(format=99))
    assert refusal(lambda: report([folder])) == "MFV6114"


@pytest.mark.slow
def test_no_file_outside_of_the_folder_is_shown(folder: Path, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("a secret of theirs")
    used = dict.fromkeys(("../secret.txt", str(tmp_path / "secret.txt")), "")
    change(folder / "manifest.json", lambda data: data.update(used=used))
    assert "a secret of theirs" not in page_of(folder)


def test_an_unfinished_run_is_refused(folder: Path):
    change(folder / "manifest.json", lambda data: data.update(unfinished=True))
    assert refusal(lambda: report([folder])) == "MFV6113"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["results.json", "plan.json", "manifest.json", "items.csv"])
@pytest.mark.parametrize("text", ["", "[]", "{", '{"rows": 3}', '{"rows": [{}]}'])
def test_damaged_files_are_refused(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    if (name, text[:1]) == ("manifest.json", "{") and text != "{":
        assert page_of(folder)  # it says little, and nothing that is wrong
    else:
        assert refusal(lambda: page_of(folder)) == "MFV6113"


@pytest.mark.slow
def test_rows_that_failed_are_said_to_have(tmp_path: Path):
    recipe = RECIPE.replace("layer = 0..2,", "layer = 1, scale = [1, 1e25],")
    page = page_of(mfv.compile(recipe).run(tmp_path / "run").folder)
    assert "rows failed and have no numbers" in page and "MFV537" in page


@pytest.mark.slow
def test_a_run_of_an_older_version_has_the_items_that_the_store_has(folder: Path):
    (run,) = read_runs([folder])
    (folder / "items.csv").unlink()
    assert stored_items(run.plan) == run.items
    data = data_of(page_of(folder), "item-data")
    assert isinstance(data, dict) and sum(sum(row[4]) for row in data["counts"]) == len(run.items)


@pytest.mark.slow
def test_where_the_store_is_another_it_opens_without(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "items.csv").unlink()
    monkeypatch.setenv("MFV_HOME", str(tmp_path / "store"))
    page = page_of(folder)
    assert "has no items.csv" in page and "Accuracy in per cent" in page
    assert not (tmp_path / "store").exists()


def test_a_run_without_evals_opens(tmp_path: Path):
    recipe = DECLARED + "defaults { heads = {L1H2}, trials = 4 }\nreport { norm(fv(left)) }"
    page = page_of(mfv.compile(recipe).run(tmp_path / "run").folder)
    assert "Numbers of reports" in page and "has no items.csv" in page


@pytest.mark.slow
def test_numbers_that_are_none_break_nothing(folder: Path):
    def spoil(data: dict) -> None:
        for row in data["rows"]:
            row["accuracy"] = row["ci_low"] = row["mean_p_answer"] = float("nan")
            row["difference_high"] = float("inf")

    change(folder / "results.json", spoil)
    text = (folder / "items.csv").read_text()
    (folder / "items.csv").write_text(re.sub(r",0\.\d+,", ",nan,", text))
    page = page_of(folder)
    assert "nan" in page
    for name in ("figures", "item-data", "pictures"):
        assert data_of(page, name) is not None


@pytest.mark.slow
def test_pictures_that_are_missing_have_a_place_and_a_note(tmp_path: Path):
    run = of_pictures(tmp_path)
    first = next(csv.DictReader((run.folder / "items.csv").open()))["image"]
    (tmp_path / first).unlink()
    page = page_of(run.folder)
    data = data_of(page, "item-data")
    assert isinstance(data, dict)
    shown = {data["texts"][image]: place for image, place in
             zip(data["columns"]["image"], data["columns"]["picture"], strict=True)}  # fmt: skip
    assert [image for image, place in shown.items() if place < 0] == [first]
    assert f"there is no image {first}" in page and "files have changed since the run" in page


@pytest.mark.slow
def test_pictures_of_files_that_have_changed_are_said_to_be(tmp_path: Path):
    run = of_pictures(tmp_path)
    data = data_of(page_of(run.folder), "pictures")
    assert isinstance(data, dict) and data["files"]
    Image.new("RGB", (40, 40), "red").save(tmp_path / "0.png")
    lines = (tmp_path / "pairs.jsonl").read_text().replace("thing 0", "another thing")
    (tmp_path / "pairs.jsonl").write_text(lines)
    page = page_of(run.folder)
    assert "files have changed since the run" in page
    (tmp_path / "pairs.jsonl").unlink()
    page = page_of(run.folder)
    data = data_of(page, "pictures")
    assert isinstance(data, dict) and data["files"] == []
    assert "Pictures of d (run): they are not here" in page


@pytest.mark.slow
def test_a_scene_that_is_drawn_otherwise_now_is_not_shown(folder: Path):
    def other(plan: dict) -> None:
        plan["datasets"]["d"]["facts"]["hash"] = "0" * 64

    change(folder / "plan.json", other)
    page = page_of(folder)
    data = data_of(page, "pictures")
    assert isinstance(data, dict) and data["files"] == []
    assert "the dataset is not what it was" in page


def of_pictures(folder: Path) -> mfv.RunResult:
    """The run of a recipe on pictures of the user's own."""
    lines = []
    for number in range(24):
        Image.new("RGB", (60, 40), (10 * number, 90, 200)).save(folder / f"{number}.png")
        for relation in ("left", "right"):
            lines.append(json.dumps({"image": f"{number}.png", "query": f"thing {number}",
                                     "answer": "red circle", "relation": relation}))  # fmt: skip
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    recipe = (
        f'mfv 1\nmodel m = tiny()\ndataset d = pairs("{folder / "pairs.jsonl"}")\n'
        "eval e { shots = 1, items = 3, on = [left, right] }\n"
    )
    return mfv.compile(recipe).run(folder / "run")
