"""Sweeps: a name, or a list where one value is taken, is a reading of a block for each value; every
form has the steps of what one would write by hand."""

from __future__ import annotations

import pytest

from mfv_dsl.base.source import Source
from mfv_dsl.execute.rows import ALWAYS, CONDITION, ResultRow, TuningRow
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.checker import check_source
from mfv_dsl.lang.sweeps import COLUMNS, MAX_READINGS
from mfv_dsl.plan.build import build_plan
from mfv_dsl.plan.steps import Plan
from tests.lang.support import HEAD, checked, codes, facts

OTHERS = 'model other = tiny("llava")\ndataset more = scenes(seed=3)\n'
GIVEN = "defaults { model = flamingo, dataset = shapes }\n"


def recipe(text: str, *options: str, head: str = HEAD) -> Checked:
    result = check_source(Source(head + text, "r.mfv"), facts, options)
    assert result.checked is not None, "\n".join(map(str, result.diagnostics))
    return result.checked


def plan(text: str, *options: str, head: str = HEAD) -> Plan:
    return build_plan(recipe(text, *options, head=head))


def step_keys(text: str, head: str = HEAD) -> list[str]:
    return sorted(step.key for step in plan(text, head=head).steps)


#: a recipe with sweeps, and the same by hand
SAME = {
    "a name in a call": (
        "sweep draw = 1..3\neval a { add = fv(each, seed=draw), layer = 1 }",
        "\n".join(f"eval a{n} {{ add = fv(each, seed={n}), layer = 1 }}" for n in (1, 2, 3)),
    ),
    "through heads and a dataset": (
        "sweep draw = [1, 5]\ndataset pool = scenes(seed=draw)\nheads best = top(5, dataset=pool)\n"
        "eval a { dataset = shapes, add = fv(each, dataset=pool, heads=best), layer = 1 }",
        "dataset pool1 = scenes(seed=1)\nheads best1 = top(5, dataset=pool1)\n"
        "dataset pool5 = scenes(seed=5)\nheads best5 = top(5, dataset=pool5)\n"
        "eval a { dataset = shapes, add = fv(each, dataset=pool1, heads=best1), layer = 1 }\n"
        "eval b { dataset = shapes, add = fv(each, dataset=pool5, heads=best5), layer = 1 }",
    ),
    "through a family, a vector and a sum": (
        "sweep size = [0, 2]\nvector f(r) = fv(r, shots=size)\nvector v = f(left) - f(right)\n"
        "eval a { add = v + f(each), layer = 1 }",
        "\n".join(
            f"vector f{n}(r) = fv(r, shots={n})\nvector v{n} = f{n}(left) - f{n}(right)\n"
            f"eval a{n} {{ add = v{n} + f{n}(each), layer = 1 }}"
            for n in (0, 2)
        ),
    ),
    "a parameter hides nothing else": (
        "sweep size = [0, 2]\nvector f(r) = match r { left: fv(right, shots=size), else: fv(r) }\n"
        "eval a { add = f(each), layer = 1, on = [left, above] }",
        "\n".join(
            f"vector f{n}(r) = match r {{ left: fv(right, shots={n}), else: fv(r) }}\n"
            f"eval a{n} {{ add = f{n}(each), layer = 1, on = [left, above] }}"
            for n in (0, 2)
        ),
    ),
    "lists of an eval": (
        f"{OTHERS}{GIVEN}eval a {{ add = fv(each), layer = 1, seed = [1, 2], "
        "model = [flamingo, other], dataset = [shapes, more] }",
        f"{OTHERS}{GIVEN}"
        + "\n".join(
            f"eval a{s}{m}{d} {{ add = fv(each), layer = 1, seed = {s}, model = {m}, "
            f"dataset = {d} }}"
            for s in (1, 2) for m in ("flamingo", "other") for d in ("shapes", "more")
        ),
    ),
    "heads of an eval": (
        "heads few = top(3)\nvector f(r) = fv(r) - fv(left, heads={L1H1})\nvector v = f(left)\n"
        "eval a { add = [fv(each) + v, f(each)], heads = [few, {L2H2}], layer = 1 }\n"
        "eval b { add = f(each), heads = few, layer = 1 }\neval c { add = f(each), layer = 1 }",
        "heads few = top(3)\n"
        "eval a { add = [fv(each, heads=few) + fv(left, heads=few) - fv(left, heads={L1H1}), "
        "fv(each, heads=few) - fv(left, heads={L1H1})], layer = 1 }\n"
        "eval b { add = [fv(each, heads={L2H2}) + fv(left, heads={L2H2}) - fv(left, heads={L1H1}),"
        " fv(each, heads={L2H2}) - fv(left, heads={L1H1})], layer = 1 }\n"
        "eval c { add = fv(each, heads=few) - fv(left, heads={L1H1}), layer = 1 }\n"
        "eval d { add = fv(each) - fv(left, heads={L1H1}), layer = 1 }",
    ),
    "heads of an eval before those of defaults": (
        "defaults { heads = top(4) }\neval a { add = fv(each), heads = {L1H1}, layer = 1 }",
        "defaults { heads = top(4) }\neval a { add = fv(each, heads={L1H1}), layer = 1 }",
    ),
    "a tune": (
        "tune t { start = random, layer = [1, 2], lr = [0.1, 0.2], seed = 1..2, on = [left] }\n"
        "eval a { add = t(each), on = [left] }",
        "\n".join(
            f"tune t{i} {{ start = random, layer = {layer}, lr = {lr}, seed = {seed}, "
            f"on = [left] }}\neval a{i} {{ add = t{i}(each), on = [left], layer = {layer} }}"
            for i, (layer, lr, seed) in enumerate(
                (layer, lr, seed) for layer in (1, 2) for lr in (0.1, 0.2) for seed in (1, 2)
            )
        ),
    ),
    "items, epochs and batch of a tune": (
        "tune t { start = random, layer = 1, items = [20, 40], epochs = 1..2, batch = [8, 16], "
        "on = [left] }",
        "\n".join(
            f"tune t{i}{e}{b} {{ start = random, layer = 1, items = {i}, epochs = {e}, "
            f"batch = {b}, on = [left] }}"
            for i in (20, 40) for e in (1, 2) for b in (8, 16)
        ),
    ),
    "defaults that depend on a sweep": (
        "sweep draw = [3, 4]\nheads best = top(5, seed=draw)\n"
        "defaults { heads = best, seed = draw, trials = 20 }\n"
        "eval a { add = fv(each), layer = 1 }\n"
        "eval b { ablate = {L1H1}, ablate_with = mean }\ntune t { start = fv(each), layer = 1 }\n"
        "eval c { add = t(each) }",
        None,
    ),
    "defaults for a function": (
        "sweep size = [1, 2]\ndefaults for fv { shots = size }\n"
        "eval a { add = fv(each), layer = 1 }",
        "eval a { add = fv(each, shots=1), layer = 1 }\n"
        "eval b { add = fv(each, shots=2), layer = 1 }",
    ),
    "defaults for a kind of block": (
        "defaults for tune { lr = [0.1, 0.2], layer = 1 }\ntune t { start = random, on = [left] }",
        "tune t { start = random, layer = 1, lr = 0.1, on = [left] }\n"
        "tune u { start = random, layer = 1, lr = 0.2, on = [left] }",
    ),
    "the only dataset": (
        "sweep draw = 1..2\nmodel m = tiny()\ndataset d = scenes(seed=draw)\n"
        "eval a { add = fv(each), layer = 1 }\nsave \"x\" { vectors = [fv(left)] }",
        None,
    ),
    "several sweeps": (
        "sweep a = 1..2\nsweep b = [0, 1]\neval e { add = fv(each, seed=a, shots=b), layer = 1 }",
        "\n".join(
            f"eval e{a}{b} {{ add = fv(each, seed={a}, shots={b}), layer = 1 }}"
            for a in (1, 2) for b in (0, 1)
        ),
    ),
    "relations, words and lists": (
        "sweep what = [left, above]\nsweep way = [mix, shuffle]\nsweep kinds = [[left], [right]]\n"
        "eval a { add = fv(what, corrupt=way), layer = 1, on = kinds }",
        "\n".join(
            f"eval a{x}{w}{k} {{ add = fv({x}, corrupt={w}), layer = 1, on = [{k}] }}"
            for x in ("left", "above") for w in ("mix", "shuffle") for k in ("left", "right")
        ),
    ),
    "a report and what is saved": (
        "sweep size = [1, 2]\nreport { cosine(fv(left, shots=size), fv(right)) }\n"
        'save "x" { vectors = [fv(left, shots=size), fv(right)] }',
        "report { cosine(fv(left, shots=1), fv(right)), cosine(fv(left, shots=2), fv(right)) }\n"
        'save "x" { vectors = [fv(right)] }',
    ),
}  # fmt: skip
HEADS = {"the only dataset": "mfv 1\n"}
BY_HAND = {
    "defaults that depend on a sweep": [
        f"defaults {{ seed = {n}, heads = top(5, seed={n}), trials = 20 }}\n"
        "eval a { add = fv(each), layer = 1 }\neval b { ablate = {L1H1}, ablate_with = mean }\n"
        "tune t { start = fv(each), layer = 1 }\neval c { add = t(each) }"
        for n in (3, 4)
    ],
    "the only dataset": [
        f"model m = tiny()\ndataset d = scenes(seed={n})\n"
        'eval a { add = fv(each), layer = 1 }\nsave "x" { vectors = [fv(left)] }'
        for n in (1, 2)
    ],
}


@pytest.mark.parametrize("form", SAME)
def test_steps_are_those_of_what_one_would_write_by_hand(form: str):
    swept, by_hand = SAME[form]
    head = HEADS.get(form, HEAD)
    parts = [by_hand] if by_hand is not None else BY_HAND[form]
    keys = sorted({key for part in parts for key in step_keys(part, head)})
    assert step_keys(swept, head) == keys


def test_rows_say_the_values_and_the_recipes_own_names():
    rows = plan(
        "sweep draw = 1..2\ntune t { start = random, layer = [1, 2], on = [left] }\n"
        "eval a { add = [t(each), fv(each, seed=draw)], layer = 1, on = [left] }"
    ).rows
    assert {row.eval for row in rows} == {"a"}
    assert [[(axis.name, axis.value) for axis in row.axes] for row in rows] == [
        [("draw", draw), ("t.layer", layer)] for draw in (1, 2) for layer in (1, 2)
    ]
    assert {row.vectors for row in rows} == {("t(each)", "fv(each, seed=draw)")}


def test_labels_tell_readings_apart():
    made = plan(
        "tune t { start = random, layer = 1, lr = [0.1, 0.2], on = [left] }\n"
        "eval a { add = t(each), on = [left] }"
    )
    labels = [step.label for step in made.steps if step.operation in ("tune", "evaluate")]
    assert labels == [
        "t[lr=0.1](left)", "t[lr=0.2](left)", "a[t.lr=0.1]: left, 0 shots",
        "a[t.lr=0.2]: left, 0 shots",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("sweep s = 1..2\neval a { add = fv(each, seed=s), layer = 1 }", True),
        ("sweep s = 1..2\ndataset d = scenes(seed=s)\neval a { dataset = d }", True),
        ("eval a { seed = 1..2 }", True),
        ("sweep s = 1..2\neval a { add = fv(each, seed=s, shots=s), layer = 1 }", False),
        ("sweep s = 1..2\neval a { add = fv(each, shots=s), layer = 1 }", False),
        ("sweep s = 1..2\ntune a { start = random, layer = s, seed = 3 }", False),
    ],
)
def test_what_is_used_as_a_seed_alone_is_one(text: str, seeds: bool):
    (axes,) = {block.axes[:1] for block in recipe(text).blocks[:1]}
    assert [axis.is_seed for axis in axes] == [seeds]


def test_an_eval_is_compared_with_the_reading_of_its_own_values():
    made = plan(
        "sweep size = [0, 2]\n"
        "eval plain { shots = 3 }\neval b { add = fv(each, shots=size), layer = 1 }\n"
        "eval a { add = fv(each, shots=size), layer = 2, seed = 1234, against = [b, plain] }"
    )
    of_b = {(row.axes, row.relation): row.step for row in made.rows if row.eval == "b"}
    plain = {row.relation: row.step for row in made.rows if row.eval == "plain"}
    of_a = [row for row in made.rows if row.eval == "a"]
    assert len(of_a) == 16
    for row in of_a:
        assert dict(row.against) == {
            "b": of_b[row.axes, row.relation], "plain": plain[row.relation],
        }  # fmt: skip


def test_profiles_and_options_change_the_values():
    text = "sweep size = [0, 2]\neval a { add = fv(each, shots=size), layer = 1, on = [left] }\n"
    for options, values in (
        ((), [0, 2]),
        (("size=[5]",), [5]),
        (("size=5",), [5]),
        (("size=1..3",), [1, 2, 3]),
    ):
        assert [row.axes[0].value for row in plan(text, *options).rows] == values
    with_profile = check_source(
        Source(f"{HEAD}{text}profile p {{ size = 7 }}\n"), facts, profile="p"
    )
    assert with_profile.checked is not None
    assert [b.axes[0].value for b in with_profile.checked.blocks] == [7]


def test_what_is_wrong_in_every_reading_is_said_once():
    text = (
        HEAD + "sweep size = 1..5\neval a { add = fv(lft, seed=size), layer = 1, shots = nine }\n"
    )
    assert codes(text) == ["MFV2001", "MFV2002"]


def test_what_is_wrong_in_one_reading_names_the_value():
    (found,) = checked(
        HEAD + "sweep size = [1, 12]\neval a { add = fv(left), layer = size }\n"
    ).diagnostics
    assert found.code == "MFV4001"
    assert [label.text for label in found.secondary] == ["in the sweep `size`"]


def test_no_message_says_a_name_that_nobody_typed():
    text = (
        f"{HEAD}sweep size = 1..3\ndataset pool = scenes(seed=size)\n"
        "heads best = top(3, seed=size)\n"
        "vector v = fv(left, seed=size)\n"
        "tune t { start = fv(each, seed=size), layer = 1, on = [left] }\n"
        "eval a { dataset = poool, add = v + bst + t(right), layer = 1 }\n"
        "eval b { add = v(left) }\n"
        "eval c { dataset = pool, add = best, layer = 99 }\n"
    )
    said = "\n".join(map(str, checked(text).diagnostics))
    assert "MFV2002" in said and "MFV4001" in said
    assert "[size=" not in said


def test_columns_of_results_are_no_names_of_sweeps():
    fields = {*ALWAYS, *CONDITION, *ResultRow.__dataclass_fields__}
    assert fields | set(TuningRow.__dataclass_fields__) <= COLUMNS | {"layer"}


def test_no_more_readings_than_are_allowed():
    text = f"{HEAD}sweep a = 1..2\nsweep b = 1..{MAX_READINGS // 2 + 1}\n"
    assert codes(text + "eval e { add = fv(each, seed=a, shots=b), layer = 1 }\n") == ["MFV3042"]


def test_a_recipe_without_sweeps_is_left_as_it_is():
    text = "heads h = top(3)\nvector v = fv(left, heads=h)\neval a { add = v, layer = 0..3 }\n"
    blocks = recipe(text).blocks
    assert [(block.axes, block.span.copy) for block in blocks] == [((), 0)]


def test_only_takes_all_readings_of_a_name():
    made = recipe("sweep size = 1..2\neval a { add = fv(each, seed=size), layer = 1 }\neval b {}")
    assert {row.eval for row in build_plan(made, ["a"]).rows} == {"a"}
    assert len(build_plan(made, ["a"]).rows) == 16


def test_files_are_named_by_the_values():
    saves = plan(
        "sweep size = [1, 2]\nvector v = fv(left, shots=size)\n"
        'save "x" { vectors = [v, fv(right)] }'
    ).saves
    assert sorted(vector.name for save in saves for vector in save.vectors) == [
        "right", "v_size_1", "v_size_2",
    ]  # fmt: skip


@pytest.mark.parametrize("values", ["0..1e308:1e-308", "0..1000", "0.5..1e300"])
def test_too_many_values_are_refused(values: str):
    text = f"mfv 1\nmodel m = tiny()\nsweep x = {values}\n"
    assert [d.code for d in check_source(Source(text)).diagnostics] == ["MFV3012"]
