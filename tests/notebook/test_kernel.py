"""``%%mfv`` in a real kernel: results, errors with their marks, progress, an interruption."""

from __future__ import annotations

import csv
import re

import pytest

from tests.notebook.support import Notebook

HEAD = "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes(relations=[left, right])\n"
LONG = (
    "defaults { heads = top(3, by=aie, trials=100, seed=11), trials = 30, layer = 2 }\n"
    "eval few { shots = 4, items = 60 }\neval raw { add = fv(each), items = 60 }\n"
)
CELLS = (
    "%load_ext mfv_dsl",
    f"%%mfv steer\n{HEAD}vector unused = fv(left)\n"
    "eval raw { add = fv(each, heads={L2H6}, trials=4), layer = 1..2, items = 8 }",
    "print(steer.rows[0].eval, _ is steer)",
    f"%%mfv\n{HEAD}vector a = fv(lft)\neval raw {{ add = a, layre = 1 }}",
    "import mfv_dsl as mfv\ndef mine():\n    return mfv.fv('left') + 3\nmine()",
    f"%%mfv long\n{HEAD}{LONG}",
    "print('long' in globals())",
    f"%%mfv long\n{HEAD}{LONG}",
    "layers = [1, 3]\nmodel = mfv.load_model('tiny')\nmodel",
    f"%%mfv --model $model --set raw.layer=$layers --only raw --quiet steer\n{HEAD}"
    "eval raw { add = zeros(), layer = 1, items = 8 }\neval few { shots = 1, items = 8 }",
    "print([(row.eval, row.layer) for row in steer.rows if row.relation == 'left'])",
)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFV_HOME", str(folder / "store"))
        patch.delenv("NO_COLOR", raising=False)
        patch.delenv("MFV_DEBUG", raising=False)
        return Notebook.run(CELLS, folder, stop=5)


pytestmark = pytest.mark.slow


def test_a_cell_shows_its_result_and_keeps_it(notebook: Notebook):
    assert notebook.nb.cells[0].outputs == []
    assert notebook.outputs(1, "stream") == []  # no warning of missing widgets
    warning, *_ = notebook.outputs(1, "display_data")
    assert "MFV2060" in warning.data["text/html"] and "^^^^^^" in warning.data["text/html"]
    (shown,) = notebook.outputs(1, "execute_result")
    assert shown.data["text/plain"].startswith("Result(6 rows of raw")
    with (notebook.folder / "runs" / "steer" / "results.csv").open() as file:
        for row in csv.DictReader(file):
            low, high = (f"{100 * float(row[name]):.0f}" for name in ("ci_low", "ci_high"))
            assert f"{100 * float(row['accuracy']):.0f} [{low}, {high}]" in shown.data["text/html"]
    assert notebook.outputs(2, "stream")[0].text == "raw True\n"


def test_an_error_is_shown_with_its_marks(notebook: Notebook):
    (shown,) = notebook.outputs(3, "display_data")
    text = shown.data["text/plain"]
    assert "  --> cell:4:15" in text and "vector a = fv(lft)\n   |               ^^^" in text
    assert shown.data["text/html"].count("<pre") >= 2 and "did you mean `left`?" in text
    (error,) = notebook.outputs(3, "error")
    assert error.ename == "RecipeError" and text in error.evalue
    assert error.traceback == ["RecipeError: MFV2001: unknown relation `lft` (and 1 more)"]


def test_an_error_of_python_names_the_users_lines_alone(notebook: Notebook):
    (error,) = notebook.outputs(4, "error")
    lines = [re.sub("\033\\[[0-9;]*m", "", line) for line in error.traceback]
    assert lines[:4] == [
        "Cell In[5], line 4: mine()", "Cell In[5], line 3: return mfv.fv('left') + 3", "",
        "error[MFV3002]: `+` does not join a Vector and a Number",
    ]  # fmt: skip


def test_an_interruption_keeps_what_is_finished(notebook: Notebook):
    (error,) = notebook.outputs(5, "error")
    assert error.ename == "Interrupted" and len(error.traceback) == 2
    found = re.fullmatch(
        r"interrupted: (\d+) of (\d+) steps are finished and kept in \S+store", error.traceback[0]
    )
    assert found and 0 <= int(found[1]) < int(found[2])
    assert error.traceback[1] == "  to go on: run it again"
    assert notebook.outputs(5, "display_data")[-1].data["text/plain"].startswith("stopped after ")
    assert notebook.outputs(6, "stream")[0].text == "False\n"
    (again,) = notebook.outputs(7, "execute_result")
    kept = re.search(r"(\d+) steps from the store", again.data["text/html"])
    assert int(kept[1] if kept else 0) == int(found[1])


def test_progress_is_shown_and_settles(notebook: Notebook):
    assert len(notebook.bars) > 3
    assert any(re.search(r"<progress value='[1-9]\d*' max='\d+'>", html) for html in notebook.bars)
    (bars,) = notebook.outputs(7, "display_data")
    assert re.fullmatch(r"done in \S+ (s|min)", bars.data["text/plain"])
    assert notebook.outputs(7, "stream") == []


def test_values_of_the_notebook_are_used(notebook: Notebook):
    (model,) = notebook.outputs(8, "execute_result")
    assert "2,798,154" in model.data["text/html"]
    assert notebook.nb.cells[9].outputs == []  # quiet
    assert notebook.outputs(10, "stream")[0].text == "[('raw', 1), ('raw', 3)]\n"


def test_the_folder_holds_the_runs(notebook: Notebook):
    names = sorted(path.name for path in (notebook.folder / "runs").iterdir())
    assert names[:2] == ["long", "steer"] and re.fullmatch(r"steer-set-\w{6}", names[2])
    assert len(names) == 3
