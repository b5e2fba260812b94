"""The tables of a run's folder, their figures and data frames: the same numbers everywhere."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.run_tables import TABLES, RunTables
from mfv_dsl.execute.tables import OF_RESULTS
from mfv_dsl.interactive import InteractiveResult
from mfv_dsl.methods.mediation import Mediation
from mfv_dsl.report.figures.extents import texts_outside
from mfv_dsl.report.figures.kinds import KINDS
from tests.cli.support import mfv_command

pytestmark = [
    pytest.mark.slow,  # for the run
    pytest.mark.filterwarnings("error:constrained_layout"),
]

RECIPE = """\
mfv 1
model flamingo = tiny()
dataset shapes = scenes(relations=[left, right])
defaults { trials = 3, shots = 1, items = 6, layer = 1 }
heads both = top(5, on=[left, right])
tune tuned { start = fv(each), layer = 1, epochs = 2, items = 6, on = [left] }
eval zero_shot { shots = 0 }
eval few_shot { shots = 2 }
eval raw { add = fv(each, heads=both), layer = 0..3, against = few_shot, controls = [random_heads] }
eval chosen { add = fv(each, heads=both), layer = 0..1, choose = [layer] }
eval trained { add = tuned(each), on = [left] }
report { cosine(fv(left), fv(right)) }
"""
FILES = {
    "rows": "results.csv", "confusion": "confusion.csv", "choices": "choices.csv",
    "numbers": "numbers.csv", "tunes": "tunes.csv", "items": "items.csv", "heads": "heads.csv",
    "epochs": "epochs.csv", "norms": "norms.csv", "similarity": "similarity.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> InteractiveResult:
    return mfv.Recipe(RECIPE, "r.mfv").run(tmp_path_factory.mktemp("tables") / "r")


@pytest.fixture
def folder(result: InteractiveResult, tmp_path: Path) -> Path:
    """A copy of the run's folder, without the store."""
    return Path(shutil.copytree(result.folder, tmp_path / "copy"))


def test_every_table_is_its_file(result: InteractiveResult):
    assert {table.file for table in OF_RESULTS.values()} - {"weights.csv"} <= set(FILES.values())
    for name, file in FILES.items():
        with open(result.folder / file, newline="") as opened:
            reader = csv.DictReader(opened)
            written = list(reader)
        frame = result.to_pandas(name)
        assert list(frame.columns) == reader.fieldnames, name
        assert len(frame) == len(written) > 0, name
        for column in frame.columns:
            texts = [
                "" if pandas.isna(value) else str(int(value) if name == "items"
                and isinstance(value, bool | np.bool_) else value)
                for value in frame[column]
            ]  # fmt: skip
            expected = [line[column] for line in written]
            for one, other in zip(texts, expected, strict=True):
                assert one == other or float(one) == float(other), (name, column)
    assert len(result.to_pandas("weights")) == 0
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert set(FILES.values()) - {"items.csv"} <= set(manifest["files"])


def test_types_are_those_of_the_values(result: InteractiveResult):
    frame = result.to_pandas()
    assert str(frame.dtypes["accuracy"]) == "Float64" and str(frame.dtypes["n"]) == "Int64"
    assert str(frame.dtypes["eval"]) == "string" and frame["relation"].isna().any()
    assert str(result.to_pandas("choices").dtypes["chosen"]) == "boolean"
    best = frame[frame["eval"] == "raw"].groupby("layer")["accuracy"].mean()
    assert best.between(0, 1).all()


def test_heads_are_the_effects_of_the_steps(result: InteractiveResult):
    measured = {v.relation: v for v in result.values.values() if isinstance(v, Mediation)}
    effects = result.effects
    assert effects.relations == ("left", "right") and effects.by == "aie"
    for relation, mediation in measured.items():
        np.testing.assert_array_equal(effects[relation], mediation.aie)
    np.testing.assert_allclose(
        effects.to_pandas().unstack("relation")["left"].to_numpy().reshape(10, 8), effects["left"]
    )


def test_norms_add_up_and_cosines_are_those_of_the_vectors(result: InteractiveResult):
    norms = result.to_pandas("norms")
    whole = norms[norms["layer"].isna()].set_index("vector")["norm"]
    vectors = {key[:8]: value for key, value in result.values.items()}
    for line in norms[norms["layer"].isna()].itertuples():
        assert line.norm == pytest.approx(vectors[line.step].norm())
    assert len(norms) > len(whole) >= 3
    similar = result.to_pandas("similarity").pivot(index="vector", columns="other", values="cosine")
    assert (np.diag(similar) == pytest.approx(1, abs=1e-6)) and similar.equals(similar.T)
    one, other = similar.index[0], similar.columns[-1]
    steps = {line.vector: line.step for line in norms.itertuples()}
    a, b = (vectors[steps[name]].numpy().astype(float) for name in (one, other))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert similar.loc[one, other] == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_of_the_folder(kind: str, result: InteractiveResult, tmp_path: Path):
    assert result.plot.kinds == list(KINDS)
    figure, axes = getattr(result.plot, kind)()
    done = mfv_command("plot", str(result.folder), "--kind", kind, "--out", str(tmp_path / "a.pdf"))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"drew {tmp_path / 'a.pdf'}\n"
    result.plot.save(figure, tmp_path / "b.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    figure.draw_without_rendering()  # at its own resolution again
    assert axes.size and texts_outside(figure) == []


def test_the_accuracy_of_the_figure_is_that_of_the_rows(result: InteractiveResult):
    _, (panel,) = mfv.open_run(result.folder).plot.accuracy(
        eval="raw", relation="all", where={"control": "none"}
    )
    rows = [r for r in result.rows if r.eval == "raw" and r.relation is None and not r.control]
    np.testing.assert_allclose(panel.lines[0].get_ydata(), [100 * row.accuracy for row in rows])


def test_what_is_drawn_without_a_kind_is_said(result: InteractiveResult, folder: Path):
    done = mfv_command("plot", str(folder), "--width", "84mm")
    assert done.returncode == 0 and (folder / "figures" / "accuracy.pdf").exists()
    assert "drawn: accuracy; there are also (--kind): evals, aie, tuning, choices" in done.stderr
    done = mfv_command("plot", str(folder), "--kind", "all", "--format", "svg")
    assert done.returncode == 0
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"accuracy.pdf", *(f"{name}.svg" for name in KINDS)}
    # what a person put there stays when the recipe is run again, and is in no one's way
    mfv.Recipe(RECIPE, "r.mfv").run(folder)
    assert (folder / "figures" / "accuracy.pdf").exists()


def test_runs_stand_side_by_side(result: InteractiveResult, folder: Path, tmp_path: Path):
    done = mfv_command(
        "plot", str(result.folder), str(folder), "--kind", "evals", "--eval", "few_shot",
        "--out", str(tmp_path / "two.png"),
    )  # fmt: skip
    assert done.returncode == 0
    plots = mfv.plots.Plots([RunTables(result.folder), RunTables(folder)])
    _, (bars, _) = plots.evals(eval="few_shot")
    names = [label.get_text().replace("\n", " ") for label in bars.get_yticklabels()]
    assert names == ["r, few_shot", "copy, few_shot"]
    with pytest.raises(MfvError, match="`mfv similarity` does"):
        plots.similarity()


# -- folders of other makes -----------------------------------------------------------------------
def test_a_run_of_an_older_version_has_what_its_files_tell(result: InteractiveResult, folder: Path):
    for name in ("heads", "epochs", "norms", "similarity", "tunes", "items"):
        (folder / f"{name}.csv").unlink()
    old = mfv.open_run(folder)
    assert old.plot.kinds == [k for k in KINDS if k not in ("similarity", "norms")]
    np.testing.assert_allclose(old.effects.values, result.effects.values)
    columns = ["epoch", "chosen", "accuracy", "nll", "norm"]
    pandas.testing.assert_frame_equal(
        old.to_pandas("epochs")[columns], result.to_pandas("epochs")[columns]
    )
    with pytest.raises(MfvError, match="an older version ran it"):
        old.plot.norms()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: shutil.rmtree(f), "cannot read"),
        (lambda f: (f / "results.json").unlink(), "cannot read"),
        (lambda f: (f / "results.json").write_text("[1"), "cannot read"),
        (lambda f: (f / "results.json").write_text("[]"), "not of a form"),
        (lambda f: _changed(f / "results.json", format=99), "newer version"),
        (lambda f: _changed(f / "results.json", format="2"), "newer version"),
        (lambda f: _changed(f / "manifest.json", unfinished=True), "was stopped while it did"),
    ],
)
def test_a_folder_that_is_no_finished_run(folder: Path, change: Any, said: str):
    change(folder)
    with pytest.raises(MfvError, match=said) as raised:
        mfv.open_run(folder)
    code = "MFV6114" if "newer" in said else "MFV6113"
    assert raised.value.code == code
    done = mfv_command("plot", str(folder))
    assert done.returncode == 2 and f"error[{code}]" in done.stderr


@pytest.mark.parametrize("text", ["", "layer,layer\n1,2\n", "step,relation\na\n", "x\n1\n", '"'])
def test_a_table_of_another_form(folder: Path, text: str):
    (folder / "heads.csv").write_text(text)
    with pytest.raises(MfvError) as raised:
        mfv.open_run(folder).plot.aie()
    assert raised.value.code == "MFV6113"
    done = mfv_command("plot", str(folder), "--kind", "aie")
    assert done.returncode == 2


def _changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_nothing_evaluated_and_numbers_that_are_none(folder: Path):
    data = json.loads((folder / "results.json").read_text())
    for row in data["rows"]:
        row["accuracy"] = float("nan")
    (folder / "results.json").write_text(json.dumps(data))
    with pytest.raises(MfvError, match="all failed") as raised:
        mfv.open_run(folder).plot.evals()
    assert raised.value.code == "MFV6130" and "aie" in raised.value.help
    assert mfv.open_run(folder).to_pandas()["accuracy"].isna().all()
    _changed(folder / "results.json", rows=[], choices=[])
    with pytest.raises(MfvError, match="nothing was evaluated"):
        mfv.open_run(folder).plot.evals()
    assert list(mfv.open_run(folder).to_pandas().columns)[:2] == ["eval", "relation"]


def test_a_result_does_not_show_another_runs_numbers(tmp_path: Path):
    recipe = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left])\neval e { items = 2 }\n"
    first = mfv.Recipe(recipe).run(tmp_path / "r")
    assert len(first.to_pandas()) == 1
    with pytest.warns(UserWarning, match="results are replaced"):
        mfv.Recipe(recipe, overrides=("e.items=3",)).run(tmp_path / "r")
    with pytest.raises(MfvError, match="another run by now") as raised:
        first.to_pandas()
    assert raised.value.code == "MFV6113"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--kind", "acuracy"], "MFV6130"),
        (["--width", "wide"], "MFV5356"),
        (["--out", "a.xyz"], "MFV5355"),
        (["--out", "no/such/a.pdf"], "MFV5355"),
        (["--kind", "aie", "--eval", "raw"], "MFV6131"),
        (["--kind", "aie", "--relation", "lift"], "MFV6131"),
        (["--relation", "lift"], "MFV6131"),
        (["--x", "leyer"], "MFV6131"),
        (["--value", "p_answer"], "MFV6131"),
        (["--where", "layer=77"], "MFV6131"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], code: str, result: InteractiveResult, tmp_path: Path
):
    done = mfv_command("plot", str(result.folder), *options, cwd=tmp_path)
    assert done.returncode == 2 and f"error[{code}]" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unknown_tables_and_a_machine_without_pandas(
    result: InteractiveResult, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(MfvError, match="did you mean `heads`") as raised:
        result.to_pandas("head")
    assert raised.value.code == "MFV6133"
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MfvError, match=r"pip install 'mfv-dsl\[pandas\]'") as raised:
        result.to_pandas()
    assert raised.value.code == "MFV6134"
    assert set(TABLES) >= set(FILES)


def test_figures_need_no_torch_and_other_commands_no_matplotlib(folder: Path):
    draw = (
        f"import sys, mfv_dsl as mfv\nmfv.open_run({str(folder)!r}).plot.draw()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", draw]).returncode == 0
    look = (
        f"import sys, mfv_dsl as mfv\nrun = mfv.open_run({str(folder)!r})\nrun.table()\n"
        "mfv.Recipe.from_file('quickstart').plan()\nfrom mfv_dsl.cli.app import app\n"
        "sys.exit(bool({'matplotlib', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", look]).returncode == 0
