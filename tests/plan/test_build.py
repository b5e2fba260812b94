"""Plans: what a recipe will do, and which changes matter."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

import mfv_dsl as mfv
from mfv_dsl.lang.saves import vector_name
from mfv_dsl.plan.operations import step_key
from mfv_dsl.plan.steps import Plan

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, above_left], seed=0)
defaults {
  heads = top(3, on=[left, right])
  layer = 2
}
"""


def plan(body: str, head: str = HEAD) -> Plan:
    return mfv.Recipe(head + body).plan()


def keys(made: Plan, operation: str) -> list[str]:
    return [step.key for step in made.steps if step.operation == operation]


@pytest.mark.parametrize(
    ("text", "relation", "name"),
    [
        ("fv(each)", "to the left of", "to_the_left_of"),
        ("pure(each)", "left", "pure_left"),
        ("steer", "left", "steer"),
        ("2 * fv(above_left) - normalize(v)", "", "2_fv_above_left_normalize_v"),
        ("mean(" + ", ".join(["fv(left)"] * 40) + ")", "", ("mean" + "_fv_left" * 12)),
    ],
)
def test_names_of_saved_vectors(text: str, relation: str, name: str):
    expression = mfv.Expression.parse(text).syntax
    assert vector_name(expression, {"each": relation}) == name


def test_steps_of_a_small_recipe():
    made = plan("eval e { add = fv(left) - fv(right), on = [above_left] }")
    assert Counter(step.operation for step in made.steps) == {
        "activations": 2, "mediation": 2, "top": 1, "extract": 2, "linear": 1, "answers": 1,
        "evaluate": 1,
    }  # fmt: skip
    place = {step.key: i for i, step in enumerate(made.steps)}
    for step in made.steps:
        assert all(place[key] < place[step.key] for key in step.follows_from)
    assert json.loads(json.dumps(made.to_json()))["rows"][0]["relation"] == "above_left"


def test_the_unedited_model_answers_once_for_all_evals():
    """Whatever they write, and under whichever shots; no evaluation's key depends on it."""
    made = plan(
        "eval plain { on = [left] }\neval few { shots = 2, on = [left] }\n"
        "eval added { add = fv(left), layer = [0, 1], choose = [layer], on = [left] }\n"
        "eval known { add = fv(left), layer = [0, 1], choose = [layer], correct_with = 2, "
        "on = [left] }\neval said { answer = full, on = [left] }"
    )
    asked = {
        (step.parameters["shots"], step.parameters["split"], step.parameters["answer"])
        for step in made.steps if step.operation == "answers"
    }  # fmt: skip
    assert asked == {
        (0, "test", "first"), (2, "test", "first"), (2, "validation", "first"), (0, "test", "full")
    }  # fmt: skip
    assert sum(step.operation == "answers" for step in made.steps) == 4
    of = {row.eval: made[row.step] for row in made.rows}
    assert {name: set(step.references) for name, step in of.items()} == {
        "plain": {"zero_shot", "unedited"}, "few": {"zero_shot", "unedited"},
        "added": {"zero_shot"}, "known": {"zero_shot", "known", "known_select"},
        "said": {"zero_shot", "unedited"},
    }  # fmt: skip
    for step in of.values():
        assert not set(step.references.values()) & set(step.input_keys)
        assert step.key == step_key(
            "evaluate", step.parameters, step.inputs, made.models["m"].facts.identity,
            made.datasets["d"].facts.hash,
        )  # fmt: skip


def test_names_comments_and_layout_change_no_key():
    one = plan("vector a = fv(left) - fv(right)\neval e { add = a, on = [above] }")
    other = plan(
        "# said otherwise\nvector minus(r) = fv(left) - fv(r)\n\n"
        "eval renamed {\n  on = [above] # here\n  add = minus(right)\n}"
    )
    assert {step.key for step in one.steps} == {step.key for step in other.steps}


def test_a_default_written_out_changes_no_key():
    one = plan("eval e { add = fv(left), on = [above] }")
    other = plan("eval e { add = fv(left, shots=4, bias=none), on = [above], split = test }")
    assert {step.key for step in one.steps} == {step.key for step in other.steps}


@pytest.mark.parametrize(
    "changed",
    [
        "eval e { add = fv(left, shots=3), on = [above] }",
        "eval e { add = fv(left, heads=top(4, on=[left, right])), on = [above] }",
        "eval e { add = fv(left), on = [above], items = 50 }",
        "eval e { add = fv(left), on = [above], layer = 3 }",
        "eval e { add = 2 * fv(left), on = [above] }",
        "eval e { add = fv(left), on = [left] }",
        "eval e { add = fv(left), on = [above], seed = 5 }",
    ],
)
def test_what_matters_changes_the_last_key(changed: str):
    made = plan("eval e { add = fv(left), on = [above] }")
    assert keys(plan(changed), "evaluate") != keys(made, "evaluate")


def test_another_dataset_seed_changes_every_key_that_saw_it():
    body = "eval e { add = fv(left), on = [above] }"
    other = plan(body, HEAD.replace("seed=0", "seed=1"))
    assert not {step.key for step in plan(body).steps} & {step.key for step in other.steps}


def test_defaults_shots_do_not_reach_an_eval():
    """`defaults { shots }` is about extraction; an injected vector is tested zero-shot."""
    made = plan(
        "eval e { add = fv(left), on = [above] }", HEAD.replace("layer", "shots = 6\nlayer")
    )
    assert made.rows[0].shots == 0
    assert made[keys(made, "activations")[0]].parameters["shots"] == 6


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("fv(left) - fv(right) + fv(above)", {"fv(left)": 1, "fv(right)": -1, "fv(above)": 1}),
        ("2 * (fv(left) - fv(right) / 4) - fv(left)", {"fv(left)": 1, "fv(right)": -0.5}),
        ("mean(fv(left), fv(right), fv(left))", {"fv(left)": 2 / 3, "fv(right)": 1 / 3}),
        ("fv(left) - fv(left)", {}),
        ("-(-fv(above))", {"fv(above)": 1}),
        ("fv(left) - 0.999999 * fv(left)", {"fv(left)": 1e-6}),  # small, and no rounding
    ],
)
def test_linear_forms(text: str, terms: dict[str, float]):
    found = mfv.compile(text).terms()
    assert found == pytest.approx(terms, rel=1e-6, abs=0)


def test_equal_expressions_are_one_step():
    made = plan(
        "vector a = fv(left) + fv(right)\nvector b = fv(right) + fv(left)\n"
        "eval e { add = a, on = [above] }\neval f { add = b, on = [above] }"
    )
    assert len(keys(made, "linear")) == 1
    assert len(keys(made, "evaluate")) == 1
    assert [row.eval for row in made.rows] == ["e", "f"]


def test_families_and_each():
    made = plan(
        "vector pure(r) = fv(r) - mean(fv(left), fv(right))\n"
        "eval e { add = pure(each), on = [left, right] }\n"
        'save "x" { vectors = [pure(each), fv(each), pure(left)], on = [left, right] }'
    )
    assert [vector.name for vector in made.saves[0].vectors] == [
        "pure_left", "pure_right", "left", "right",
    ]  # fmt: skip
    assert len(set(keys(made, "linear"))) == 2


@pytest.mark.slow
def test_planning_imports_no_torch():
    code = (
        "import sys, mfv_dsl as mfv; "
        f"mfv.Recipe({HEAD + 'eval e { add = fv(left), on = [above] }'!r}).plan(); "
        "print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_terms_that_cancel_are_warned_of_and_not_planned():
    made = plan("eval e { add = fv(left) + fv(right) - fv(left), on = [above] }")
    assert [warning.code for warning in made.warnings] == ["MFV5005"]
    assert "fv(left) cancels out" in str(made.warnings[0])
    assert [step.label for step in made.steps if step.operation == "extract"] == ["fv(right)"]
    rounding = mfv.compile("0.1 * fv(left) + 0.2 * fv(left) - 0.3 * fv(left)").terms()
    assert rounding == {}
    assert not plan("eval e { add = fv(left) - fv(right), on = [above] }").warnings


def test_a_vector_without_parts_cannot_be_patched_in():
    for vector in ("zeros()", "random_like(fv(left))"):
        with pytest.raises(mfv.RecipeError, match="MFV3005"):
            plan(f"eval e {{ patch = {vector}, on = [above] }}")


def test_saved_vectors_say_what_they_are():
    made = plan(
        "vector teach = 0.5 * fv(left) - fv(right)\n"
        "vector pure(r) = fv(r) - fv(above)\n"
        'save "x" { vectors = [teach, pure(each), normalize(pure(each)), -fv(each)], on = [left] }'
    )
    assert {vector.name: vector.expression for vector in made.saves[0].vectors} == {
        "teach": "0.5 * fv(left) - fv(right)",
        "pure_left": "fv(left) - fv(above)",
        "normalize_pure_left": "normalize(pure(left))",
        "fv_left": "-fv(left)",
    }
    for vector in made.saves[0].vectors[:2]:
        terms = mfv.compile(vector.expression).terms()
        assert len(terms) == 2  # the text is an expression of the language


def test_two_vectors_do_not_share_a_file():
    with pytest.raises(mfv.MfvError, match="two different vectors would be saved as `left`"):
        plan('save "x" { vectors = [fv(left), fv(left, shots=2)] }')


def many_evals(count: int) -> str:
    return "".join(
        f"eval e{i} {{ add = fv(left), seed = {i}, on = [left] }}\n" for i in range(count)
    )


@pytest.mark.slow
def test_planning_takes_time_in_proportion_to_the_evals():
    """Four times as many take about four times as long; by pairs it would be sixteen times."""
    seconds = {}
    for count in (400, 1600):
        taken = []
        for _ in range(3):  # the least of three: garbage of other tests may be collected meanwhile
            recipe = mfv.Recipe(HEAD + many_evals(count))
            started = time.process_time()
            made = recipe.plan()
            taken.append(time.process_time() - started)
        seconds[count] = min(taken)
        assert len(made.rows) == count and made[made.rows[-1].step].parameters["seed"] == count - 1
    assert seconds[1600] < 9 * seconds[400] + 0.2
    assert seconds[1600] < 3


def test_a_step_is_found_by_its_key_alone():
    made = plan("eval e { add = fv(left) }")
    for step in made.steps:
        assert made[step.key] is step
    with pytest.raises(KeyError):
        made["0" * 64]
    assert mfv.Recipe(HEAD + "eval e { add = fv(left) }").plan() == made
