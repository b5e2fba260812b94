"""A check from a cold process is quick and loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.lang.support import HEAD

PROGRAM = """
import sys, time
sys.modules["interegular"] = None  # a tool of the tests, which lark would load if it is there
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


def cold(text: str, cache: Path) -> list[str]:
    """What the program prints; with compiled modules, as an installed package has them."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=text, capture_output=True, text=True, check=True,
        env=environment | {"PYTHONPYCACHEPREFIX": str(cache)},
    )  # fmt: skip
    return result.stdout.split()


def test_a_cold_check_is_quick_and_light(tmp_path):
    lines = "".join(
        f"vector v{n} = fv(left) - {n} * fv(right)\neval e{n} {{ add = v{n}, layer = 0..5 }}\n"
        for n in range(30)
    )
    seconds, *heavy = min(
        (cold(HEAD + lines, tmp_path) for _ in range(4)), key=lambda out: float(out[0])
    )
    assert heavy == []
    assert float(seconds) < 0.35


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
