"""A check from a cold process is quick and loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_the_check_command_imports_nothing_heavy(tmp_path):
    recipe = tmp_path / "recipe.mfv"
    recipe.write_text(HEAD + "eval raw { add = fv(each) - fv(left), layer = 0..5 }\n")
    result = subprocess.run(
        [sys.executable, "-c", COMMAND, "check", str(recipe)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == f"{recipe}: ok\n"
    imported = set(result.stderr.split())
    assert {"lark", "typer", "mfv_dsl.lang.checker"} <= imported
    heavy = {"torch", "numpy", "transformers", "PIL", "safetensors", "open_clip", "huggingface_hub"}
    assert heavy & imported == set()


def test_an_error_class_costs_no_parser():
    program = "import sys, mfv_dsl.base.diagnostics; print('lark' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
