"""A check from a cold process is quick and loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mfv_dsl.cli.app import app, app_for
from mfv_dsl.findings import findings
from mfv_dsl.lang.parser import parse
from tests.lang.support import HEAD

#: what a checker on Lark costs before its own first line
BARE = """
import sys, time
sys.modules["interegular"] = None  # a tool of the tests, which lark would load if it is there
import lark
print(time.process_time())
"""
PROGRAM = """
import sys, time
sys.modules["interegular"] = None
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source

def facts(entry, arguments):
    if entry.name == "tiny":
        return ModelFacts(10, 8, 16, 128, "tiny")
    return DatasetFacts(arguments["relations"], ("extract", "test", "validation"), "scenes")

result = check_source(Source(sys.stdin.read()), facts)
assert result.checked is not None, result.diagnostics
heavy = {"torch", "numpy", "transformers", "pydantic", "rich", "typer", "PIL"}
print(time.process_time(), *sorted(heavy & set(sys.modules)))
"""


def cold(program: str, text: str, cache: Path) -> list[str]:
    """What ``program`` prints; with compiled modules, as an installed package has them."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(
        [sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True,
        env=environment | {"PYTHONPYCACHEPREFIX": str(cache)},
    )  # fmt: skip
    return result.stdout.split()


@pytest.mark.slow
def test_a_cold_check_is_quick_and_light(tmp_path):
    """It takes 1.7 times the processor time of a process that does nothing but import Lark."""
    lines = "".join(
        f"vector v{n} = fv(left) - {n} * fv(right)\neval e{n} {{ add = v{n}, layer = 0..5 }}\n"
        for n in range(30)
    )
    bare, checks = [], []
    for _ in range(4):  # in turns, so that both meet the same load
        bare.append(float(cold(BARE, "", tmp_path)[0]))
        seconds, *heavy = cold(PROGRAM, HEAD + lines, tmp_path)
        assert heavy == []
        checks.append(float(seconds))
    assert min(checks) < 3 * min(bare), (checks, bare)


COMMAND = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
from mfv_dsl.cli import main
main()
"""


#: Libraries that take long to import, and what they would bring.
HEAVY = {
    "torch", "numpy", "scipy", "transformers", "PIL", "safetensors", "open_clip", "httpx",
    "huggingface_hub.hf_api",
}  # fmt: skip


def imported_by(arguments: list[str], folder: Path) -> tuple[str, set[str]]:
    """What ``mfv`` prints, and the modules that its process has loaded at the end."""
    result = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True,
        env=os.environ | {"HF_HOME": str(folder), "MFV_HOME": str(folder / "store")},
    )  # fmt: skip
    return result.stdout, set(result.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "plan", "models", "recipes", "reference"])
def test_a_command_that_runs_no_model_imports_nothing_heavy(command, tmp_path):
    recipe = tmp_path / "recipe.mfv"
    recipe.write_text(
        HEAD + "eval raw { add = fv(each) - fv(left), layer = 0..5 }\n"
        'profile llava { flamingo = tiny("llava"), raw.layer = 0..1 }\n'
    )
    files = [str(recipe)] if command in ("check", "plan") else []
    printed, modules = imported_by([command, *files], tmp_path)
    if command == "check":
        assert printed == f"{recipe}: ok\n"
        assert {"lark", "mfv_dsl.lang.checker", "mfv_dsl.plan.build"} <= modules
        assert {"mfv_dsl.api", "mfv_dsl.expression"} & modules == set()
        own = {m.removeprefix("mfv_dsl.cli.") for m in modules if m.startswith("mfv_dsl.cli.")}
        assert own == {"app", "interruption", "language", "options", "output"}
    assert printed and "typer" in modules
    assert modules & HEAVY == set()


def test_a_command_is_built_alone_and_is_the_same():
    for arguments in (["check", "-h"], ["vectors", "push", "-h"], ["eval", "-h"]):
        alone, whole = (
            CliRunner().invoke(made, arguments, prog_name="mfv")
            for made in (app_for(arguments), app)
        )
        assert alone.exit_code == 0
        assert alone.output == whole.output
    assert len(app_for(["check"]).registered_commands) == 1
    for others in ([], ["-h"], ["help", "check"], ["chekc"]):
        assert app_for(others) is app


def test_a_recipe_is_read_once_for_all_its_profiles(tmp_path):
    path = tmp_path / "recipe.mfv"
    path.write_text(
        HEAD + "eval raw { add = fv(each), layer = 0 }\n"
        "profile one { raw.layer = 1 }\nprofile two { raw.layer = 99 }\n"
    )
    parse.cache_clear()
    (found,) = findings(path)
    assert "99" in found.message
    assert parse.cache_info().misses == 1


def test_an_error_class_costs_no_parser():
    program = "import sys, mfv_dsl.base.diagnostics; print('lark' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
