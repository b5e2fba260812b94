"""A sweep, run: a folder for each variant, one table of all, and means over seeds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.places import step_file, store_root
from mfv_dsl.plan.stored_sizes import stored_bytes
from tests.cli.support import mfv_command

TEXT = """mfv 1
model   m = tiny()
dataset d = scenes(relations=[left, right], count=20)
defaults { heads = {L4H1}, trials = 4, items = 6, layer = 2 }
eval few { shots = 1 }
eval raw { add = fv(left) * 2, on = [left], against = [few] }
eval all { add = fv(each), choose = [layer], layer = 1..2 }
report   { norm(fv(left)) }
save "mine" { vectors = [fv(left)] }
"""
SEEDS = "defaults.seed=0..1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "small.mfv").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def swept(place: Path) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = mfv.sweep("small.mfv", {"defaults.seed": range(2)})
        return {"result": result, "folder": place / result.folder}


def test_each_variant_is_the_run_of_the_recipe_with_its_values_set(place, swept, monkeypatch):
    monkeypatch.chdir(place)
    for seed in range(2):
        alone = mfv.run("small.mfv", "alone", overrides={"defaults.seed": seed}, fresh=True)
        own = json.loads((swept["folder"] / f"seed-{seed}" / "results.json").read_text())
        assert own == json.loads((place / "alone" / "results.json").read_text())
        assert f"seed = {seed}" in (swept["folder"] / f"seed-{seed}" / "recipe.mfv").read_text()
        saved = place / f"mine-seed-{seed}" / "left.safetensors"
        assert saved.exists() and alone.folder == Path("alone")


def test_means_over_seeds_are_those_of_an_eval_that_is_read_for_several(place, swept, monkeypatch):
    monkeypatch.chdir(place)
    text = TEXT.replace("layer = 2 }", "layer = 2, seed = draw }").replace(
        "eval few", "sweep draw = 0..1\neval few"
    )
    read = mfv.Recipe(text, "draws.mfv").run("draws", only=["few", "raw", "all"])
    own = [{**row.to_json(), "axes": {}} for row in read.rows if row.draws]
    theirs = [{**row.to_json(), "axes": {}} for row in swept["result"].shown]
    assert own == theirs and len(own) >= 5 and {row["draws"] for row in own} == {2}


def test_the_table_has_a_column_for_what_varied(place, swept, monkeypatch):
    monkeypatch.chdir(place)
    lines = list(csv.DictReader((swept["folder"] / "results.csv").open()))
    assert {line["defaults.seed"] for line in lines} == {"0", "1", "mean"}
    means = list(csv.DictReader((swept["folder"] / "sweep.csv").open()))
    assert means == [line for line in lines if line["defaults.seed"] == "mean"]
    assert (
        (swept["folder"] / "sweep.md").read_text().startswith("| eval | relation | defaults.seed")
    )
    assert swept["result"].to_csv() == (swept["folder"] / "results.csv").read_text()
    numbers = list(csv.DictReader((swept["folder"] / "numbers.csv").open()))
    assert [line["defaults.seed"] for line in numbers] == ["0", "1"]
    said = json.loads((swept["folder"] / "sweep.json").read_text())
    assert said["over"] == [{"name": "defaults.seed", "values": ["0", "1"]}]
    assert [variant["folder"] for variant in said["variants"]] == ["seed-0", "seed-1"]


def test_tables_and_frames_are_made_of_a_sweep_as_of_a_run(place, swept, monkeypatch):
    monkeypatch.chdir(place)
    kept = {"relation": "left", "eval": "few"}
    table = swept["result"].table("eval", "defaults.seed", where=kept)
    assert table.columns[1:] == ("0", "1", "mean")
    frame = swept["result"].to_pandas()
    assert set(frame["defaults.seed"]) == {0, 1, "mean"}
    opened = mfv.open_run(swept["folder"])
    assert len(opened.rows) == len(swept["result"].rows)
    assert "defaults.seed" in opened._repr_html_() and "mean" in swept["result"]._repr_html_()


def test_a_report_of_a_sweep_has_all_variants(place, swept, monkeypatch):
    pytest.importorskip("plotly")
    monkeypatch.chdir(place)
    done = mfv_command("report", str(swept["folder"]), cwd=place)
    assert done.returncode == 0, done.stderr
    page = (swept["folder"] / "report.html").read_text()
    assert "seed-0" in page and "seed-1" in page


def test_a_sweep_goes_on_where_it_was_and_shows_the_same(place, swept):
    again = mfv_command("sweep", "small.mfv", "--over", SEEDS, "-q", "--json", cwd=place)
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert "13 of them finished" in again.stderr or "are those of" in again.stderr
    assert said["rows"] == json.loads((swept["folder"] / "results.json").read_text())["rows"]
    shown = mfv_command("sweep", "small.mfv", "--over", SEEDS, "-q", cwd=place)
    assert "mean" in shown.stdout and "sd over seeds" in shown.stdout


def test_a_variant_that_fails_is_rows_that_say_so_and_costs_no_other(place):
    done = mfv_command(
        "sweep", "small.mfv", "--over", "raw.add=fv(left),normalize(0*fv(left))",
        "--only", "few", "--only", "raw", "--out", "failing", "-q", "--json", cwd=place,
    )  # fmt: skip
    assert done.returncode == 4 and "1 of 2 variants: add-normalize" in done.stderr
    rows = json.loads(done.stdout)["rows"]
    failed = [row for row in rows if row.get("error")]
    assert {row["axes"]["raw.add"] for row in failed} == {"normalize(0 * fv(left))"}
    assert {row["eval"] for row in failed} == {"raw"} and len(rows) > len(failed)


def test_a_variant_of_which_nothing_comes_has_rows_too(place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "lost").mkdir()
    (place / "lost" / "seed-1").write_text("in the way")
    result = mfv.sweep("small.mfv", {"defaults.seed": range(2)}, "lost", only=["few"])
    assert [outcome.error and outcome.error.code for outcome in result.variants] == [
        None, "MFV6102",
    ]  # fmt: skip
    errors = [row.error["code"] for row in result.rows if row.axes["defaults.seed"] == 1]
    assert errors == ["MFV6102"] * 3
    assert all(row.error for row in result.shown)  # a mean of fewer seeds would be another


def test_where_nothing_comes_of_any_variant_the_first_says_why(place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "all").mkdir()
    for name in ("seed-0", "seed-1"):
        (place / "all" / name).write_text("in the way")
    with pytest.raises(MfvError) as caught:
        mfv.sweep("small.mfv", {"defaults.seed": range(2)}, "all", only=["few"])
    assert caught.value.code == "MFV6102"


def test_a_folder_of_something_else_is_left_alone(place, swept):
    for folder in (swept["folder"] / "seed-0", place / "strange"):
        folder.mkdir(exist_ok=True)
        (folder / "results.csv").touch()
        before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        done = mfv_command("sweep", "small.mfv", "--over", SEEDS, "--out", str(folder), cwd=place)
        assert done.returncode == 2 and "MFV5692" in done.stderr
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (place / "other.mfv").write_text(TEXT)
    done = mfv_command(
        "sweep", "other.mfv", "--over", SEEDS, "--out", str(swept["folder"]), cwd=place
    )
    assert done.returncode == 2 and "a sweep of another recipe, small.mfv" in done.stderr


def test_a_dry_run_shows_variants_and_runs_nothing(place):
    done = mfv_command("sweep", "small.mfv", "--over", "defaults.seed=7..8", "--dry-run", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "seed-7: defaults.seed=7; " in done.stdout and "saves into mine-seed-8" in done.stdout
    assert "2 variants, 31 different steps" in done.stdout
    as_json = mfv_command(
        "sweep", "small.mfv", "--over", "defaults.seed=7..8", "--dry-run", "--json", cwd=place
    )
    assert [v["values"] for v in json.loads(as_json.stdout)["variants"]] == [
        {"defaults.seed": 7}, {"defaults.seed": 8},
    ]  # fmt: skip


def test_steps_take_about_as_many_bytes_as_a_plan_says(swept):
    (first, *_) = swept["result"].variants
    told = sum(stored_bytes(first.variant.plan, step) for step in first.variant.plan.steps)
    files = [step_file(store_root(), step.key) for step in first.variant.plan.steps]
    assert 0.6 < told / sum(file.stat().st_size for file in files) < 1.6


def test_workers_give_the_same_to_the_last_bit(place, swept):
    done = mfv_command(
        "sweep", "small.mfv", "--over", SEEDS, "--out", "by-workers", "--workers", "2", "--fresh",
        "-q", "--json", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("results.json", "seed-0/results.json", "seed-1/results.json"):
        ours = (place / "by-workers" / name).read_text()
        assert ours == (swept["folder"] / name).read_text()
