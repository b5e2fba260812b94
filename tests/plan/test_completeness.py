"""Every word of the language can be planned and performed, and what it is told is in its key."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

import mfv_dsl as mfv
from mfv_dsl.base.places import bundled
from mfv_dsl.execute.operations import PERFORM
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.entries import CONTROLS, FUNCTION, ITEM, PLACED, UNITS, WRITES
from mfv_dsl.lang.functions import FUNCTIONS, RANKINGS
from mfv_dsl.lang.registry import Entry, Parameter
from mfv_dsl.plan.controls import SUBSTITUTES
from mfv_dsl.plan.expressions import Planner
from mfv_dsl.plan.operations import OPERATIONS

HEAD = """mfv 1
model m = tiny()
dataset d = scenes(relations=[left, right, above, below], count=40)
"""
LIBRARY = bundled("vectors") / "flamingo-tiny"
#: The shortest call of functions whose example says more, so that each option has an effect.
CALLS: dict[str | tuple[str, str], str] = {
    "fv": "fv(left)", "top": "top(3)", "random": "random(3)", "load": f'load("{LIBRARY}", "left")',
    "random_like": "random_like(fv(left))", "states": "states(left, layer=3)",
    ("states", "pool"): "states(left, layer=3, corrupt=mix)",
    "lora": "lora(left, items=8, select_items=8, epochs=1)",
    "soft_prompt": "soft_prompt(left, items=8, select_items=8, epochs=1)",
    "learned_numbers": "learned_numbers(lora(left, items=8, select_items=8, epochs=1))",
}  # fmt: skip


# -- every word has its parts ---------------------------------------------------------------------
def test_every_operation_is_performed_and_nothing_else():
    assert set(PERFORM) == set(OPERATIONS)


def test_every_function_is_an_operation_or_expanded():
    planner = Planner(mfv.Recipe(HEAD).checked)
    of_heads = {entry.name for entry in FUNCTIONS if entry.result == "Heads" and entry.expanded}
    assert of_heads == {"top", "layers", "all", "random"}
    for entry in FUNCTIONS:
        assert entry.expanded == (entry.name in {*planner.expansions, *of_heads}), entry.name
        assert entry.expanded or entry.name in OPERATIONS


def test_every_control_is_planned_and_every_ranking_performed():
    assert set(SUBSTITUTES) == {"", *(control.name for control in CONTROLS)}
    for ranking in RANKINGS:
        assert ranking.operation is None or ranking.operation in PERFORM
    for control in CONTROLS:
        assert set(control.of) <= set(WRITES)


@pytest.mark.parametrize("kind", CONSTRUCTOR)
def test_every_constructor_is_whole(kind: str):
    for entry in CONSTRUCTOR[kind].values():
        assert entry.module is not None, entry.name
        module = import_module(entry.module)
        makes = {"model": ("facts", "load", "sources"), "dataset": ("facts", "dataset")}[kind]
        assert all(callable(getattr(module, name)) for name in makes), entry.name
        reader = getattr(module, "read", None) or module.dataset if kind == "dataset" else None
        if reader is not None:
            takes = inspect.signature(reader).parameters
            named = {p.name for p in entry.parameters}
            assert named >= {n for n, p in takes.items() if p.kind is not p.VAR_KEYWORD}


@pytest.mark.parametrize("entry", FUNCTIONS, ids=lambda entry: entry.name)
def test_the_example_of_every_function_can_be_planned(entry: Entry, tmp_path: Path):
    assert mfv.Recipe(HEAD + use_of(entry, CALLS.get(entry.name, entry.example))).plan().steps


@pytest.mark.slow
def test_every_function_ranking_and_control_runs(tmp_path: Path):
    """One eval a word, all in one recipe with small numbers."""
    lines = [HEAD, "defaults { trials = 8, items = 8, heads = top(4, on=[left], trials=8) }"]
    for number, entry in enumerate(FUNCTIONS):
        call = CALLS.get(entry.name, entry.example)
        lines.append(use_of(entry, call, f"word_{number}"))
    for ranking in RANKINGS:
        heads = f"top(3, by={ranking.name}, on=[left], trials=16)"
        lines.append(f"eval by_{ranking.name} {{ ablate = {heads}, on = [left] }}")
    for control in CONTROLS:
        for mode in control.of:
            of_heads = mode in ("ablate", "classify")
            value = "top(3, on=[left])" if of_heads else "fv(each)"
            layer = ", layer = 1" if mode in PLACED else ""
            layer += ", examples = 8" if mode == "classify" else ""
            if (mode, control.name) != ("patch", "random_vector"):  # it has no per-head parts
                name = f"{control.name}_{mode}"
                lines.append(
                    f"eval {name} {{ {mode} = {value}{layer}, controls = [{control.name}] }}"
                )
    result = mfv.Recipe("\n".join(lines)).run(tmp_path / "run")
    performed = {step.operation for step in result.plan.steps}
    assert performed >= {entry.name for entry in FUNCTIONS if not entry.expanded}
    assert {row.control for row in result.rows} == {"", *(control.name for control in CONTROLS)}


def use_of(entry: Entry, call: str, name: str = "e") -> str:
    """An eval that depends on a call's value."""
    if entry.result == "Heads":
        return f"eval {name} {{ ablate = {call}, on = [left] }}"
    if entry.result == "Adapter":
        return f"eval {name} {{ adapter = {call}, on = [left] }}"
    vector = f"({call}) * fv(left)" if entry.result == "Number" else call
    if entry.result == "States":
        vector = f"mean({call})"
        if "layer=all" in call:  # of several places, each part where it was read
            return f"eval {name} {{ add = {vector}, on = [left] }}"
    return f"eval {name} {{ add = {vector}, layer = 1, on = [left] }}"


# -- every option is in the key -------------------------------------------------------------------
def other_value(parameter: Parameter) -> str | None:
    """A value that a parameter does not have by itself, as it is written; None where there is no
    other."""
    if parameter.choices and "Choice" in parameter.types:
        others = [choice for choice in parameter.choices if choice != parameter.default]
        return others[0] if others else None
    if parameter.types == ("List[Choice]",):
        return f"[{next(c for c in parameter.choices if (c,) != parameter.default)}]"
    if "Boolean" in parameter.types:
        return "false" if parameter.default else "true"
    if "Split" in parameter.types:
        chooses = parameter.name == "select_on"  # never the split that is trained on
        return "train" if parameter.default != "train" and not chooses else "extract"
    if "Number" in parameter.types:
        unit = UNITS[parameter.unit or "factor"]
        base = parameter.default if isinstance(parameter.default, int | float) else 2
        return str(base + 1 if unit.whole else base + 0.25)
    if "List[Relation]" in parameter.types:
        return "[left, right]"
    if "Adapter" in parameter.types:
        return "lora(left)"
    return "fv(above)" if "Vector" in parameter.types else "top(2)"


def keys(text: str) -> set[str]:
    return {step.key for step in mfv.Recipe(HEAD + text).plan().steps}


OPTIONS = [
    (entry, parameter)
    for entry in FUNCTIONS
    for parameter in entry.parameters
    if not parameter.positional and parameter.name not in ("model", "dataset")
]


@pytest.mark.parametrize(
    ("entry", "option"), OPTIONS, ids=lambda part: getattr(part, "name", str(part))
)
def test_every_option_of_a_function_changes_a_key(entry: Entry, option: Parameter):
    value = other_value(option)
    if value is None:
        assert option.choices == (option.default,)
        return
    shortest = CALLS.get(entry.name, entry.example)
    call = mfv.Expression.parse(CALLS.get((entry.name, option.name), shortest))
    changed = str(call)[:-1] + f", {option.name}={value})"
    if f"{option.name}=" in str(call):
        before, _, _ = str(call).partition(f"{option.name}=")
        changed = f"{before}{option.name}={value})"
    assert (keys(use_of(entry, str(call))) != keys(use_of(entry, changed))) == (
        option.key != "never"
    ), changed


#: What else a block says, so that an attribute has an effect.
_ADDS = "add = fv(each), layer = [1, 2], choose = [layer]"
BLOCKS = {
    ("eval", "ablate_with"): "ablate = top(3)",
    ("eval", "patch"): "",
    ("eval", "ablate"): "",
    ("eval", "classify"): "",
    ("eval", "examples"): "classify = top(3)",
    ("eval", "adapter"): "",
    ("eval", "add"): "layer = [1, 2], choose = [layer]",
    ("eval", "replace"): "layer = 1",
    ("eval", "project_out"): "layer = 1",
    ("eval", "when"): "add = fv(each), layer = 1, when_layer = 1, above = 0",
    ("eval", "when_layer"): "add = fv(each), layer = 1, when = fv(left), above = 0",
    ("eval", "above"): "add = fv(each), layer = 1, when = fv(left), when_layer = 1",
    ("eval", "layer"): "add = fv(each)",
    ("eval", "choose"): "add = fv(each), layer = [1, 2]",
    ("tune", "start"): "layer = 1",
    ("tune", "sparsity"): "start = fv(each), layer = 1, variable = head_mask",
}
VALUES = {
    ("eval", "choose"): "[layer]", ("eval", "layer"): "2", ("eval", "against"): "z",
    ("tune", "select_on"): "extract", ("tune", "layer"): "2", ("eval", "above"): "0.5",
    ("eval", "margin"): "0.5",
}  # fmt: skip
ATTRIBUTES = [
    (kind, parameter)
    for kind in ("eval", "tune")
    for parameter in ITEM[kind].parameters
    if parameter.name not in ("model", "dataset", "on", "allow")
]


@pytest.mark.parametrize(
    ("kind", "attribute"), ATTRIBUTES, ids=lambda part: getattr(part, "name", str(part))
)
def test_every_attribute_of_a_block_changes_a_key(kind: str, attribute: Parameter):
    usual = _ADDS if kind == "eval" else "start = fv(each), layer = 1"
    rest = BLOCKS.get((kind, attribute.name), usual)
    value = VALUES.get((kind, attribute.name)) or other_value(attribute)
    if value is None:
        assert attribute.choices == (attribute.default,)
        return
    if f"{attribute.name} = " in rest:
        rest = ", ".join(p for p in rest.split(", ") if not p.startswith(f"{attribute.name} = "))

    def block(more: str) -> str:
        inside = ", ".join(filter(None, [rest, more]))
        compared = "eval z { shots = 2 }\n" if attribute.name == "against" else ""
        used = "\neval u { add = b(each), layer = 1 }" if kind == "tune" else ""
        return f"{compared}{kind} b {{ {inside} }}{used}"

    written = block(f"{attribute.name} = {value}")
    if attribute.required or attribute.name in ("layer", "when_layer", "above"):
        another = {"start": "fv(left)", "layer": "5", "when_layer": "5", "above": "0"}[
            attribute.name
        ]
        plain = block(f"{attribute.name} = {another}")
    else:
        plain = block("")
    changes = keys(written) != keys(plain)
    assert changes == (attribute.key != "never"), written


def test_an_operation_refuses_what_it_does_not_declare():
    planner = Planner(mfv.Recipe(HEAD).checked)
    with pytest.raises(AssertionError, match="declares no"):
        planner.add("normalize", "", {"stretch": 2})


SCENES = CONSTRUCTOR["dataset"]["scenes"].parameters


@pytest.mark.parametrize("option", SCENES, ids=lambda p: p.name)
def test_every_option_of_scenes_is_in_its_hash(option: Parameter):
    from mfv_dsl.data.scenes import facts

    plain = {p.name: p.default for p in SCENES}
    others = {
        "relations": ("left", "right"), "seed": 1, "count": 50, "objects": "novel", "size": 64,
        "kinds": "things",
    }  # fmt: skip
    assert facts(**plain).hash != facts(**{**plain, option.name: others[option.name]}).hash


def test_a_models_precision_is_in_its_identity_and_its_device_is_not():
    path = '"openflamingo/OpenFlamingo-4B-vitl-rpj3b"'

    def identity(options: str) -> str:
        recipe = mfv.Recipe(f"mfv 1\nmodel m = openflamingo({path}{options})\n")
        facts = recipe.checked.models["m"].facts
        return facts.identity  # type: ignore[union-attr]

    assert identity("") != identity(", dtype=fp32")
    assert identity("") == identity(", device=cpu")
    assert FUNCTION["fv"].parameter("model").key == "never"  # in the key by its identity
