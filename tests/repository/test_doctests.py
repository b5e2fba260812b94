"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import os
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

#: packages whose modules' examples are run
PACKAGES = (
    "mfv_dsl.base",
    "mfv_dsl.data",
    "mfv_dsl.lang",
    "mfv_dsl.plan",
)
MODULES = [
    "mfv_dsl.api",
    "mfv_dsl.given",
    "mfv_dsl.loading",
    "mfv_dsl.models.loaded",
    "mfv_dsl.report.effects",
    "mfv_dsl.report.figures.lettering",
    "mfv_dsl.report.figures.style",
    "mfv_dsl.execute.store",
    "mfv_dsl.expression",
    "mfv_dsl.functions",
    *PACKAGES,
    *(
        module.name
        for package in PACKAGES
        for module in walk_packages(import_module(package).__path__, f"{package}.")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("python.md", 30), ("figures.md", 14)])
def test_a_page_of_examples_is_true(
    name: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = Path(__file__).parents[2] / "docs" / name
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(os.fspath(page), module_relative=False)
    assert result.failed == 0 and result.attempted > least


@pytest.mark.parametrize(
    "name",
    [
        "api.Recipe",
        "api.compile",
        "base.diagnostics.render",
        "execute.store.Store",
        "expression.Expression",
        "given.options_of",
        "loading.load_dataset",
        "loading.load_model",
        "lang.checker.check",
        "lang.checker.check_source",
        "lang.checker.load_recipe",
        "lang.codes.explain",
        "lang.format.format_source",
        "lang.parser.parse",
        "lang.parser.parse_expression",
        "lang.reference.reference",
        "lang.unparse.unparse",
        "plan.build.build_plan",
        "plan.explain.explain_plan",
        "plan.explain.plan_text",
        "plan.operations.step_key",
    ],
)
def test_an_entry_point_has_an_example(name):
    module, _, function = f"mfv_dsl.{name}".rpartition(".")
    assert ">>> " in getattr(import_module(module), function).__doc__
