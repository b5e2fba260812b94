"""The magics in this process, as IPython in a terminal has them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import mfv_dsl as mfv
from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.notebook.options import CellOptions, parser, read_options

pytestmark = pytest.mark.slow  # each starts IPython's magics anew

HEAD = "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes(relations=[left], count=20)\n"
FEW = f"{HEAD}eval few {{ shots = 1, items = 4 }}\neval none {{ items = 4 }}\n"


@pytest.fixture(scope="module")
def interpreter() -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    paths = list(sys.path)
    found = InteractiveShell.instance(config=config)
    yield found
    found.restore_sys_module_state()  # its `__main__` among it
    sys.path[:] = paths
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(
    interpreter: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """IPython with the extension, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    interpreter.reset(new_session=False)
    interpreter.extension_manager.load_extension("mfv_dsl")
    yield interpreter
    interpreter.extension_manager.unload_extension("mfv_dsl")


def run(shell: InteractiveShell, text: str) -> tuple[Any, Any]:
    """What a cell gives and what it puts out; raises what it raises."""
    with capture_output() as captured:
        outcome = shell.run_cell(text)
    outcome.raise_error()
    return outcome.result, captured


# -- the first line --------------------------------------------------------------------------------
def test_options_are_those_of_the_command_line():
    values = {"layers": [1, 2], "best": [(4, 1), (2, 6)], "word": "L4H1", "model": object()}
    line = (
        "steer --profile p --set raw.layer=$layers --set few.shots=2 --only raw --only few "
        "--set raw.heads=$best --out 'my runs' --device cpu --fresh --download --quiet --plan"
    )
    assert read_options(line, values) == CellOptions(
        "steer", "p", ("raw.layer=[1, 2]", "few.shots=2", "raw.heads={L4H1, L2H6}"),
        ("raw", "few"), "my runs", None, None, "cpu", True, True, True, "plan",
    )  # fmt: skip
    assert read_options("", {}) == CellOptions()
    assert read_options("--model $model", values).models is values["model"]
    given = read_options("--model a=$model --model 'b=tiny(name=\"llava\")'", values).models
    assert given == {"a": values["model"], "b": 'tiny(name="llava")'}
    assert read_options("--dataset 'scenes(seed=3)'", values).datasets == "scenes(seed=3)"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--chekc", "did you mean `--check`?"),
        ("my-name", "cannot be called 'my-name'"),
        ("class", "cannot be called 'class'"),
        ("a b", "unrecognized arguments: b"),
        ("--check --plan", "give one of them"),
        ("--set raw.layer=$layesr", "did you mean `$layers`?"),
        ("--model $nothing", "the notebook has no value `nothing`"),
        ("--model tiny --model tiny", "give each by its name in the recipe"),
        ("--model a=tiny --model tiny", "give each by its name in the recipe"),
        ("--out 'runs", "close the quotes"),
        ("--set", "expected one argument"),
    ],
)
def test_a_first_line_that_is_wrong_says_what(line: str, says: str):
    with pytest.raises(ArgumentError) as caught:
        read_options(line, {"layers": [1]})
    assert says in str(caught.value) and caught.value.code == "MFV5119"


def test_the_page_on_notebooks_names_every_option():
    page = (Path(__file__).parents[2] / "docs" / "notebooks.md").read_text()
    for action in parser()._actions:
        assert all(f"`{name}" in page for name in action.option_strings), action


# -- cells -----------------------------------------------------------------------------------------
def test_check_and_plan_run_nothing(shell: InteractiveShell, tmp_path: Path):
    value, put = run(shell, f"%%mfv steer --check\n{FEW}")
    assert value is None and put.stdout == "steer: ok\n"
    assert isinstance(shell.user_ns["steer"], mfv.Recipe)
    value, _ = run(shell, f"%%mfv steps --plan --only few\n{FEW}")
    assert value is shell.user_ns["steps"] and {row.eval for row in value.rows} == {"few"}
    assert list(tmp_path.iterdir()) == []


def test_check_finds_what_mfv_check_finds(shell: InteractiveShell, tmp_path: Path):
    text = f"{FEW}vector unused = zeros()\nprofile large {{ few.items = 99 }}\n"
    (tmp_path / "cell.mfv").write_text(text)
    found = mfv.Recipe.findings("cell.mfv")
    assert {one.code for one in found} == {"MFV2060", "MFV7110"}
    with pytest.raises(mfv.RecipeError) as caught:
        run(shell, f"%%mfv --check\n{text}")
    assert [one.code for one in caught.value.diagnostics] == [one.code for one in found]
    with pytest.raises(mfv.RecipeError, match="99 prompts"):
        run(shell, f"%%mfv --profile large\n{text}")
    _, put = run(shell, f"%%mfv --check\n{FEW}vector unused = zeros()\n")
    (warning,) = put.outputs
    assert "MFV2060" in warning.data["text/plain"] and "<pre" in warning.data["text/html"]


def test_a_result_is_the_cells_output(shell: InteractiveShell, tmp_path: Path):
    value, put = run(shell, f"%%mfv\n{FEW}")
    assert [row.eval for row in value.rows if row.relation] == ["few", "none"]
    assert (tmp_path / "runs" / "cell" / "results.json").exists()
    value, put = run(shell, f"%%mfv steer --out mine --only few --quiet\n{FEW}")
    assert value is None and put.stdout == put.stderr == "" and put.outputs == []
    assert shell.user_ns["steer"].folder == Path("mine")


def test_a_named_cell_is_changed_and_run_again(shell: InteractiveShell, tmp_path: Path):
    """Its folder is that of its name, and only an unnamed one warns of what it replaces."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(shell, f"%%mfv steer\n{FEW}")
        run(shell, f"%%mfv steer\n{FEW.replace('items = 4', 'items = 3')}")
    assert shell.user_ns["steer"].rows[0].n == 3
    run(shell, f"%%mfv\n{FEW}")
    with pytest.warns(UserWarning, match="another text"):
        run(shell, f"%%mfv\n{FEW.replace('items = 4', 'items = 3')}")


def test_loaded_objects_stand_in_for_the_recipes(shell: InteractiveShell):
    shell.push({"mine": mfv.load_dataset("scenes", relations=["above"], count=20)})
    value, _ = run(shell, f"%%mfv --dataset $mine --plan\n{FEW}")
    assert {row.relation for row in value.rows} == {"above"}
    assert value.given["shapes"] is shell.user_ns["mine"]
    shell.push({"object_": object()})
    with pytest.raises(mfv.MfvError, match="MFV5118"):
        run(shell, f"%%mfv --dataset $object_\n{FEW}")


def test_an_error_in_a_terminal_has_its_marks(shell: InteractiveShell):
    with capture_output() as put:
        shell.run_cell(f"%%mfv\n{HEAD}vector a = fv(lft)\n")
    assert put.outputs == []
    assert "vector a = fv(lft)\n   |               ^^^" in put.stdout
    assert "Traceback" not in put.stdout and "line " not in put.stdout


def test_debugging_shows_all_frames(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MFV_DEBUG", "1")
    with capture_output() as put:
        shell.run_cell(f"%%mfv\n{HEAD}vector a = fv(lft)\n")
    assert "checker.py" in put.stdout and "Traceback" in put.stdout


def test_words_are_looked_up(shell: InteractiveShell):
    _, put = run(shell, "%mfv reference zeros")
    assert put.outputs[0].data["text/markdown"].startswith("### `zeros()`")
    for line in ("%mfv explain MFV2001", "%mfv explain 2001"):
        _, put = run(shell, line)
        assert put.outputs[0].data["text/plain"].startswith("MFV2001: an unknown relation")
    for line in ("%mfv", "%%mfv --help\nmfv 1"):
        _, put = run(shell, line)
        assert "--profile" in put.stdout and "%mfv reference WORD" in put.stdout
    assert "--profile" in shell.find_line_magic("mfv").__doc__
    for line, says in (("%mfv reference zeroes", "did you mean `zeros`?"),
                       ("%mfv explain 2O01", "no error code `2O01`"),
                       ("%mfv refrence zeros", "did you mean `%mfv reference WORD`?"),
                       ("%mfv run quickstart", "a recipe is a cell, %%mfv")):  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            run(shell, line)
        assert says in str(caught.value)


def test_the_extension_is_loaded_twice_and_taken_away(shell: InteractiveShell):
    manager = shell.extension_manager
    count = len(shell.Completer.custom_matchers)
    manager.reload_extension("mfv_dsl")
    assert len(shell.Completer.custom_matchers) == count
    manager.unload_extension("mfv_dsl")
    assert len(shell.Completer.custom_matchers) == count - 1
    assert shell.find_cell_magic("mfv") is None is shell.find_line_magic("mfv")
    manager.load_extension("mfv_dsl")


# -- completion ------------------------------------------------------------------------------------
def offered(shell: InteractiveShell, text: str) -> list[str]:
    """What is offered where ``|`` stands."""
    before, after = text.split("|")
    completer = shell.Completer
    line = before.count("\n")
    column = len(before.rsplit("\n", 1)[-1])
    matches = completer._complete(cursor_line=line, cursor_pos=column, full_text=before + after)
    return [one.text for one in matches["mfv_dsl.complete_cell"]["completions"]]


@pytest.mark.parametrize(
    ("text", "some"),
    [
        ("%%mfv --pr|", ["--profile"]),
        (f"%%mfv steer --only |\n{FEW}", ["few", "none"]),
        (f"%%mfv --set f|\n{FEW}", ["few."]),
        (f"%%mfv --profile |\n{FEW}profile large {{ few.items = 9 }}", ["large"]),
        (f"%%mfv\n{FEW}vector v = norm|", ["normalize"]),
        (f"%%mfv\n{HEAD}eval few {{ sho| }}", ["shots ="]),
        (f"%%mfv\n{HEAD}vector v = fv(l|)", ["left"]),
        ("x = 1\n%mfv reference norma|", ["normalize"]),
        ("x = norma|", []),
        ("%%time\nx = norma|", []),
    ],
)
def test_completion(shell: InteractiveShell, text: str, some: list[str]):
    found = offered(shell, text)
    assert set(some) <= set(found) and (some or not found), found


def test_without_the_language_servers_package_options_are_completed(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "mfv_dsl.lsp.completion", None)
    assert offered(shell, f"%%mfv\n{FEW}vector v = norm|") == []
    assert offered(shell, "%%mfv --pr|") == ["--profile"]


def test_the_package_itself_imports_no_ipython():
    code = "import sys, mfv_dsl.api; print('IPython' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
