"""`top(..., per=relation)`: the heads of the relation that the vector around is of."""

from __future__ import annotations

import pytest

import mfv_dsl as mfv

HEAD = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right, above])\n"


def keys(text: str, operation: str = "evaluate") -> list[str]:
    """The keys of the steps that are shown, in the order of the recipe."""
    plan = mfv.Recipe(HEAD + text).plan()
    return [row.step for row in plan.rows] if operation == "evaluate" else [
        step.key for step in plan.steps if step.operation == operation
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "written"),
    [
        ("add = fv(each, heads=top(5, per=relation)), layer = 3",
         "add = fv(each, heads=top(5, on=[each])), layer = 3"),
        ("add = fv(left, heads=top(5, per=relation)), layer = 3",
         "add = fv(left, heads=top(5, on=[left])), layer = 3"),
        ("ablate = top(5, per=relation)", "ablate = top(5, on=[each])"),
        ("ablate = top(5, per=relation, by=norm) - {L1H1}",
         "ablate = top(5, on=[each], by=norm) - {L1H1}"),
        ("add = fv(each, heads=top(5, per=relation)), layer = 3, controls = [random_heads]",
         "add = fv(each, heads=top(5, on=[each])), layer = 3, controls = [random_heads]"),
        ("add = fv(each, heads=top(5, per=pooled)), layer = 3",
         "add = fv(each, heads=top(5, on=[left, right, above])), layer = 3"),
    ],
)  # fmt: skip
def test_its_steps_are_those_of_heads_that_name_the_relation(own, written):
    assert keys(f"eval e {{ {own} }}\n") == keys(f"eval e {{ {written} }}\n")


def test_a_declared_set_is_another_for_every_vector():
    shared = keys(
        "heads own = top(5, per=relation) | {L1H1}\n"
        "vector sum = fv(left, heads=own) + fv(right, heads=own)\n"
        "eval e { add = sum, layer = 3, on = [above] }\neval a { ablate = own, on = [above] }\n"
    )
    each = keys(
        "vector sum = fv(left, heads=top(5, on=[left]) | {L1H1})"
        " + fv(right, heads=top(5, on=[right]) | {L1H1})\n"
        "eval e { add = sum, layer = 3, on = [above] }\n"
        "eval a { ablate = top(5, on=[above]) | {L1H1}, on = [above] }\n"
    )
    assert shared == each


def test_without_heads_a_vector_has_the_ten_of_its_relation():
    alone = keys("eval e { add = fv(each), layer = 3 }\n")
    assert alone == keys("eval e { add = fv(each, heads=top(10, per=relation)), layer = 3 }\n")
    given = "defaults for top { per = relation }\ndefaults { heads = top(10) }\n"
    assert alone == keys(given + "eval e { add = fv(each), layer = 3 }\n")


def test_the_plan_says_whose_heads_they_are():
    from mfv_dsl.plan.explain import explain_plan

    text = (
        "heads own = top(5, per=relation)\nheads all_of_them = top(5)\n"
        "eval e { add = fv(left, heads=own) + fv(left, heads=all_of_them), layer = 3 }\n"
    )
    plan = mfv.Recipe(HEAD + text).plan()
    notes = zip(plan.steps, explain_plan(plan, ()), strict=True)
    read = {step.label: note.reads for step, note in notes if step.operation == "top"}
    assert read == {
        "top(5, per=relation) of left": "the set of left",
        "top(5)": "one set for left, right, above (pooled)",
    }
