"""Every case of ``compliance/*.json``, on the NumPy reference and on the real path.

A file is a list of groups: ``vectors`` (what ``fv(relation)`` stands for), ``declarations`` (lines
of a recipe), and ``cases``.  A case has an ``expression`` and its ``result`` (a vector or a number)
or the code of its ``error``; ``terms`` is the linear form that it is planned as.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.source import Source
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.execute.run import inputs_of
from mfv_dsl.lang.checker import load_recipe
from mfv_dsl.lang.registry import Entry
from mfv_dsl.lang.syntax import Binary
from mfv_dsl.methods.vectors import Space, Vector
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.expressions import Planner
from tests.plan.compliance.numpy_reference import Reference, Refused

FOLDER = Path(__file__).parent / "compliance"
HERE = Context("m", "d")
HEADS = {"left": [(0, 0), (1, 1)], "right": [(0, 0), (2, 1)], "above": [(1, 1), (3, 0)]}


@dataclass(frozen=True)
class Case:
    """One expression and what is to come of it."""

    vectors: Mapping[str, list[float]]
    declarations: str
    expression: str
    result: float | list[float] | None = None
    error: str | None = None
    terms: Mapping[str, float] | None = None
    comment: str = ""

    @property
    def is_number(self) -> bool:
        return isinstance(self.result, int | float)

    @property
    def width(self) -> int:
        return len(next(iter(self.vectors.values())))


def cases() -> Iterator[Any]:
    for path in sorted(FOLDER.glob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            declarations = "".join(f"{line}\n" for line in group.get("declarations", []))
            for case in group["cases"]:
                yield pytest.param(
                    Case(group["vectors"], declarations, **case),
                    id=f"{path.stem}: {case['expression']}",
                )


CASES = list(cases())


@pytest.mark.parametrize("case", CASES)
def test_on_the_numpy_reference(case: Case):
    if case.error is not None:
        with pytest.raises((Refused, MfvError)) as caught:
            Reference(case.vectors, case.declarations).vector(case.expression)
        assert codes_of(caught.value) == {case.error}
        return
    reference = Reference(case.vectors, case.declarations)
    value = (reference.number if case.is_number else reference.vector)(case.expression)
    assert value == pytest.approx(case.result, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_on_the_real_path(case: Case):
    if case.error is not None:
        with pytest.raises(MfvError) as caught:
            Real(case)
        assert codes_of(caught.value) == {case.error}
        return
    value = Real(case).value
    if isinstance(value, Vector):
        assert value.residual.dtype == torch.float32
        assert_parts_fit(value)
        value = value.residual.tolist()
    assert value == pytest.approx(case.result, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case.values[0].terms is not None])
def test_the_linear_form(case: Case):
    assert Real(case).terms() == pytest.approx(case.terms)


def test_a_case_has_one_outcome_and_no_twin():
    assert len(CASES) > 150
    for param in CASES:
        case = param.values[0]
        assert (case.result is None) != (case.error is None)
    assert len({param.id for param in CASES}) == len(CASES)


def test_names_that_are_used_often_are_planned_once():
    """Thirty doublings take thirty sums, not a thousand million."""
    doublings = "".join(f"vector v{n} = v{n - 1} + v{n - 1}\n" for n in range(1, 31))
    families = "".join(f"vector f{n}(r) = f{n - 1}(r) + f{n - 1}(r)\n" for n in range(1, 31))
    declarations = f"vector v0 = fv(left)\nvector f0(r) = fv(r)\n{doublings}{families}"
    made = Real(Case({"left": [1, -2]}, declarations, "v30 + f30(left)"))
    assert made.terms() == {"fv(left)": 2.0**31}
    assert made.value.residual.tolist() == [2.0**31, -(2.0**32)]


@pytest.mark.slow
def test_names_through_too_many_levels_are_refused():
    chain = "".join(f"vector v{n} = v{n - 1} + fv(left)\n" for n in range(1, 600))
    text = f"mfv 1\nmodel m = tiny()\ndataset d = scenes()\nvector v0 = fv(left)\n{chain}"
    checked = load_recipe(Source(f"{text}eval e {{ add = v599, layer = 2 }}\n"))
    with pytest.raises(MfvError) as caught:
        build_plan(checked)
    assert codes_of(caught.value) == {"MFV5004"}


def codes_of(error: BaseException) -> set[str]:
    if isinstance(error, Refused):
        return {error.code}
    assert isinstance(error, MfvError)
    return {diagnostic.code for diagnostic in error.diagnostics}


# -- the real path: checker, planner, operations; the given vectors stand in for extracted ones ----
class Real:
    """``case`` checked, planned and computed; ``value`` is a Vector or a number."""

    def __init__(self, case: Case) -> None:
        self.case = case
        # a number stands in a recipe as a coefficient
        expression = f"({case.expression}) * fv(left)" if case.is_number else case.expression
        text = f"mfv 1\nmodel m = tiny()\ndataset d = scenes()\n{case.declarations}"
        checked = load_recipe(Source(f"{text}vector result = {expression}\n"), self.facts)
        self.syntax = checked.vectors["result"].value
        self.planner = Planner(checked)
        self.value = self.performed()

    def facts(self, entry: Entry, arguments: Mapping[str, Any]) -> ModelFacts | DatasetFacts:
        if entry.name == "tiny":
            return ModelFacts(4, 2, self.case.width, self.case.width, "given")
        splits = ("extract", "train", "validation", "test")
        return DatasetFacts(tuple(self.case.vectors), splits, "given")

    def performed(self) -> Any:
        if self.case.is_number:
            assert isinstance(self.syntax, Binary)
            wanted = self.planner.number(self.syntax.left, HERE)
            if isinstance(wanted, float):
                return wanted
        else:
            wanted = self.planner.vector(self.syntax, HERE)
        backend = SimpleNamespace(facts=self.planner.model_facts(HERE))
        session: Any = SimpleNamespace(backend=lambda step: backend)
        values: dict[str, Any] = {}
        for step in self.planner.steps.values():
            if step.operation == "extract":
                relation = step.parameters["relation"]
                values[step.key] = given(relation, self.case.vectors[relation])
            elif step.operation not in ("activations", "mediation", "top"):
                inputs = inputs_of(step, values)
                values[step.key] = PERFORM[step.operation](session, step, inputs)
        return values[wanted]

    def terms(self) -> dict[str, float]:
        form = self.planner.linear(self.syntax, HERE)
        return {self.planner.steps[key].label: value for key, value in form.items()}


def given(relation: str, numbers: list[float]) -> Vector:
    """A function vector of two heads whose parts add up to ``numbers``."""
    heads = HEADS.get(relation, [(0, 1), (3, 0)])
    total = torch.tensor(numbers, dtype=torch.float32)
    parts = torch.stack([0.25 * total + 1, 0.75 * total - 1])
    means = torch.stack([
        part @ torch.linalg.inv(projection(head, len(numbers)))
        for head, part in zip(heads, parts, strict=True)
    ])  # fmt: skip
    space = Space("given", len(numbers))
    return Vector(total, space, f"fv({relation})", tuple(heads), means, parts)


def projection(head: tuple[int, int], width: int) -> torch.Tensor:
    """A head's output projection (width, width), the same whenever it is asked for."""
    drawn = torch.randn(width, width, generator=torch.Generator().manual_seed(10 + 2 * head[0]))
    return drawn * 0.1 + torch.eye(width) * (1 + head[1])


def assert_parts_fit(vector: Vector) -> None:
    """Per-head parts, where there are any, went through the same operations as their sum."""
    if vector.heads is None:
        return
    assert vector.head_means is not None and vector.head_projected is not None
    assert torch.allclose(vector.head_projected.sum(0), vector.residual, atol=1e-5)
    rows = zip(vector.heads, vector.head_means, vector.head_projected, strict=True)
    for head, mean, part in rows:
        assert torch.allclose(mean @ projection(head, len(mean)), part, rtol=1e-4, atol=1e-4)
