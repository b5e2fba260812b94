"""Who may import whom.  Imports inside functions and for type checking count as well."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mfv_dsl

ROOT = Path(mfv_dsl.__file__).parent
#: What each package may import of mfv-dsl, besides itself and ``base``.
ALLOWED = {
    "base": set(),
    "lang": set(),
    "plan": {"lang"},
    "data": {"lang"},
    "models": {"lang", "data"},
    "engine": {"models"},
    "methods": {"engine", "models", "data"},
    "library": {"methods"},
    "execute": {"lang", "plan", "data", "models", "engine", "methods", "library", "version"},
    "launch": {"lang", "plan", "execute", "models", "version"},
    "lsp": {"lang", "plan", "library", "findings", "version", "execute.storage"},
    "playground": {
        "lang",
        "plan",
        "data",
        "models",
        "methods",
        "library",
        "report",
        "execute",
        "expression",
        "given",
        "inputs",
        "inspection",
    },
    "report": {"lang", "plan", "data", "models", "methods", "library", "execute", "pygments_lexer"},
}
#: Libraries that take long to import, which checking and planning do without.
HEAVY = {
    "torch",
    "numpy",
    "scipy",
    "transformers",
    "PIL",
    "safetensors",
    "open_clip",
    "open_flamingo",
    "matplotlib",
    "gradio",
    "pandas",
    "fsspec",
    "ray",
    "submitit",
}
#: Of other packages' insides, the engine knows the protocol of models and their sites alone, and
#: whoever shows results their form alone.
ONLY = {
    ("engine", "models"): {"mfv_dsl.models.base", "mfv_dsl.models.branches",
                           "mfv_dsl.models.sites",
                           "mfv_dsl.models.families"},
    ("report", "execute"): {"mfv_dsl.execute.results", "mfv_dsl.execute.tuning_rows",
                            "mfv_dsl.execute.heads", "mfv_dsl.execute.environment",
                            "mfv_dsl.execute.run_result", "mfv_dsl.execute.recorded_run",
                            "mfv_dsl.execute.run_comparison", "mfv_dsl.execute.item_lines",
                            "mfv_dsl.execute.rankings", "mfv_dsl.execute.rows"},
    ("library", "methods"): {"mfv_dsl.methods.vectors", "mfv_dsl.methods.lens"},
    ("report", "library"): {"mfv_dsl.library.vector_file"},
}  # fmt: skip
#: The true recursion of the language: a call has expressions in it, an expression calls, and the
#: value of an option is an expression.
RECURSION = {"mfv_dsl.lang.calls", "mfv_dsl.lang.expressions", "mfv_dsl.lang.values"}


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else node.module), node.lineno


@cache
def graph() -> dict[str, dict[str, int]]:
    """Of each module, what it imports, with the line."""
    return {name: dict(imports(path)) for name, path in MODULES.items()}


def package(module: str) -> str:
    """``lang`` for ``mfv_dsl.lang.calls``, empty for modules at the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else ""


@pytest.mark.slow
@pytest.mark.parametrize("floor", ALLOWED)
def test_a_package_imports_only_what_is_below_it(floor: str):
    wrong = []
    for module, imported in graph().items():
        for target, line in imported.items() if package(module) == floor else ():
            if not target.startswith("mfv_dsl") or package(target) in (floor, "base"):
                continue
            below = target.removeprefix("mfv_dsl.")
            if not any(below == name or below.startswith(f"{name}.") for name in ALLOWED[floor]):
                wrong.append(f"{module}:{line} imports {target}")
            only = ONLY.get((floor, package(target)))
            if only is not None and target not in only:
                wrong.append(f"{module}:{line} imports {target}")
    assert wrong == []


def test_only_the_command_line_imports_the_command_line():
    users = {m for m, targets in graph().items() if any(package(t) == "cli" for t in targets)}
    assert {package(user) for user in users} <= {"cli", ""}
    assert {user for user in users if package(user) == ""} <= {"mfv_dsl.__main__"}


def test_only_the_package_for_notebooks_imports_ipython():
    shells = {"IPython", "traitlets"}
    users = {
        module
        for module, imported in graph().items()
        if any(target.split(".")[0] in shells for target in imported)
    }
    assert users and {package(user) for user in users} == {"notebook"}
    doors = {module for module, targets in graph().items()
             if any(package(target) == "notebook" for target in targets)}  # fmt: skip
    assert {door for door in doors if package(door) != "notebook"} == {
        "mfv_dsl", "mfv_dsl.progress",
    }  # fmt: skip


@pytest.mark.parametrize("floor", ["base", "lang", "plan", "lsp"])
def test_checking_and_planning_import_nothing_heavy(floor: str):
    wrong = [
        f"{module}:{line} imports {target}"
        for module, imported in graph().items()
        for target, line in imported.items()
        if package(module) == floor and target.split(".")[0] in HEAVY
    ]
    of_devices = ("mfv_dsl.base.memory", "mfv_dsl.base.transfer")
    assert [entry for entry in wrong if not entry.startswith(of_devices)] == []


def test_no_import_circles():
    assert [circle for circle in circles() if set(circle) != RECURSION] == []


def circles() -> list[list[str]]:
    """The strongly connected parts of the import graph that have several modules (Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    parts: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for target in graph()[module]:
            if target not in MODULES:
                continue
            if target not in number:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], number[target])
        if lowest[module] == number[module]:
            at = stack.index(module)
            part, stack[at:] = stack[at:], []
            if len(part) > 1:
                parts.append(part)

    for module in MODULES:
        if module not in number:
            visit(module)
    return parts


def test_only_the_command_imports_the_playground():
    users = {
        m for m, targets in graph().items() if any(package(t) == "playground" for t in targets)
    }
    assert {user for user in users if package(user) != "playground"} == {"mfv_dsl.cli.serving"}
    gradio = {
        m for m, targets in graph().items() if any(t.split(".")[0] == "gradio" for t in targets)
    }
    assert {package(module) for module in gradio} == {"playground"}


@pytest.mark.slow
def test_planning_a_recipe_loads_nothing_heavy():
    code = (
        "import sys, mfv_dsl as mfv\n"
        "mfv.Recipe.from_file('quickstart').plan().forecast(8, rate='10GFLOPs')\n"
        "from mfv_dsl.cli import main\n"
        "sys.argv = ['mfv', 'sweep', 'quickstart', '--over', 'defaults.seed=0..1', '--dry-run']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "", done.stdout
