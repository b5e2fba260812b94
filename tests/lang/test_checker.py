"""What checking yields: values, options, defaults, facts."""

from __future__ import annotations

import pytest

from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.source import Source
from mfv_dsl.lang.checker import check_source, load_recipe
from mfv_dsl.lang.syntax import Call, Name
from tests.lang.support import CORPUS, HEAD, checked, codes, facts


def recipe(text: str):
    return load_recipe(Source(HEAD + text), facts)


def block(text: str, kind: str = "eval"):
    return next(b for b in recipe(text).blocks if b.kind == kind)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("layer = 4", 4),
        ("layer = 2 * 3 - 4 / 2", 4),
        ("layer = 0..3", (0, 1, 2, 3)),
        ("layer = 0..8:3", (0, 3, 6)),
        ("layer = [1, 7]", (1, 7)),
        ("layer = native", "native"),
        ("layer = 3..3", (3,)),
    ],
)
def test_layers(written, value):
    assert block(f"eval a {{ add = fv(left), {written} }}")["layer"] == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("scale = -1", -1),
        ("scale = 1/4", 0.25),
        ("scale = 0.5..2:0.5", (0.5, 1.0, 1.5, 2.0)),
        ("scale = 0..1:0.1", tuple(n / 10 for n in range(11))),
        ("scale = -1..1", (-1, 0, 1)),
    ],
)
def test_scales(written, value):
    assert block(f"eval a {{ add = fv(left), layer = 1, {written} }}")["scale"] == value


def test_whole_numbers_are_ints():
    value = block("eval a { items = 10 / 2 }")["items"]
    assert value == 5
    assert isinstance(value, int)


def test_block_values_and_where_they_come_from():
    a = block(
        "defaults { items = 7, layer = 2, shots = 3 }\n"
        "eval a { add = fv(each), on = [left, above], scale = 2, metrics = [accuracy] }"
    )
    assert (a.name, a.model, a.dataset) == ("a", "flamingo", "shapes")
    assert a["on"] == ("left", "above")
    assert a["metrics"] == ("accuracy",)
    assert (a["items"], a.settings["items"].origin) == (7, "defaults")
    assert (a["layer"], a.settings["layer"].origin) == (2, "defaults")
    assert (a["split"], a.settings["split"].origin) == ("test", "registry")
    assert (a["scale"], a.settings["scale"].origin) == (2, "written")
    assert a["add"] == Call(Name("fv"), (Name("each"),))
    assert a["patch"] is None


def test_shots_of_an_eval_do_not_come_from_defaults():
    checked_recipe = recipe("defaults { shots = 3 }\nvector v = fv(left)\neval a {}")
    assert checked_recipe.blocks[0]["shots"] == 0
    (options,) = [o for o in checked_recipe.options.values() if "relation" in o]
    assert (options["shots"].value, options["shots"].origin) == (3, "defaults")


def test_options_of_calls():
    checked_recipe = recipe(
        "heads spatial = top(3)\ndefaults { heads = spatial, trials = 20 }\n"
        "vector v = fv(left, shots=2, correct_only=false)\n"
    )
    call = checked_recipe.vectors["v"].value
    options = checked_recipe.options[call.span]
    values = {name: setting.value for name, setting in options.items()}
    assert values == {
        "relation": "left", "heads": Name("spatial"), "shots": 2, "trials": 20, "corrupt": "mix",
        "split": "extract", "correct_only": False, "bias": "none", "model": "flamingo",
        "dataset": "shapes", "seed": 1234, "pool": None,
    }  # fmt: skip
    assert options["heads"].origin == "defaults"
    assert checked_recipe.types[call.span] == "Vector"


def test_heads_of_fv_are_open_unless_given():
    checked_recipe = recipe("vector v = fv(left)")
    assert checked_recipe.options[checked_recipe.vectors["v"].value.span]["heads"].value is None


def test_relations_default_to_all_of_the_dataset():
    text = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[above, left])\neval a {}\n"
    result = checked(text).checked
    assert result is not None
    assert result.blocks[0]["on"] == ("above", "left")


def test_patch_goes_where_the_parts_come_from():
    assert block("eval a { patch = fv(each) }")["layer"] == "native"


def test_models_and_datasets_are_constructed():
    checked_recipe = recipe("")
    model, dataset = checked_recipe.models["flamingo"], checked_recipe.datasets["shapes"]
    assert isinstance(model.facts, ModelFacts)
    assert isinstance(dataset.facts, DatasetFacts)
    assert dataset.constructor == "scenes"
    assert dataset.arguments["count"] == 240
    assert dataset.arguments["objects"] == "familiar"


def test_a_block_may_name_one_of_several_models():
    text = "model other = tiny()\neval a { model = other }\neval b { model = flamingo }"
    blocks = recipe(text).blocks
    assert [b.model for b in blocks] == ["other", "flamingo"]


def test_save_and_tune():
    text = 'tune t { start = random, layer = 3 }\nsave "out" { vectors = [t(each), fv(left)] }\n'
    tune = block(text, "tune")
    save = block(text, "save")
    assert (tune["start"], tune["epochs"], tune["lr"]) == ("random", 10, 0.1)
    assert save.name == "out"
    assert save["vectors"][0] == Call(Name("t"), (Name("each"),))


def test_facts_that_cannot_be_had_are_reported_where_they_are_asked_for():
    def none(entry, arguments):
        raise MfvError("MFV7009", "nothing here", help="look elsewhere")

    with pytest.raises(RecipeError) as caught:
        load_recipe(Source(HEAD + "vector a = fv(anything)\n"), none)
    assert [d.code for d in caught.value.diagnostics] == ["MFV7009", "MFV7009"]
    assert caught.value.diagnostics[0].help == "look elsewhere"
    assert "model flamingo = tiny()" in str(caught.value)


def test_a_dataset_whose_relations_are_unknown_accepts_any():
    head = 'mfv 1\nmodel m = hf("x")\ndataset d = pairs("p")\n'
    assert codes(head + "eval a { on = [q], add = fv(q), layer = 99 }\n") == []


def test_warnings_do_not_stop_a_recipe():
    result = checked(HEAD + "eval a { scale = 2 }\n")
    assert result.checked is not None
    assert [d.code for d in result.checked.warnings] == ["MFV2022"]
    assert [d.severity for d in result.diagnostics] == ["warning"]


def test_errors_of_syntax_and_meaning_come_together_in_order():
    found = checked(HEAD + "vector a = fv(lef)\nvector b = (\nvector c = fv(lef)\n").diagnostics
    assert [d.code for d in found] == ["MFV2001", "MFV1002", "MFV2001"]


def test_the_sample_recipe():
    text = (CORPUS / "valid" / "language.mfv").read_text()
    result = checked(text).checked
    assert result is not None
    assert [b.name for b in result.blocks] == [
        "tuned", "zero_shot", "few_shot", "raw", "trained", "composed", "vectors/flamingo-tiny",
    ]  # fmt: skip
    assert set(result.vectors) == {"steer", "pure"}
    assert result.defaults["shots"].value == 4


def test_an_adapter_has_its_article():
    (found,) = checked(HEAD + "eval e { adapter = fv(left) }\n").diagnostics
    assert found.message == "`adapter` needs an Adapter, and this is a Vector"


def test_heads_of_a_model_that_another_was_trained_from_are_a_warning():
    """The two have the same layers and heads; with the same weights nothing is said."""

    def found(fingerprint):
        def facts(entry, arguments):
            if entry.name != "tiny":
                return DatasetFacts(("left",), ("test",), "d")
            name = fingerprint if arguments["name"] == "llava" else "flamingo"
            return ModelFacts(4, 2, 8, 16, name)

        text = (
            'mfv 1\nmodel base = tiny()\nmodel tuned = tiny("llava")\n'
            "dataset d = scenes(relations=[left])\nheads few = top(2, model=base)\n"
            "eval cut { model = tuned, ablate = few }\n"
        )
        diagnostics = check_source(Source(text), facts).diagnostics
        return [(d.code, d.severity) for d in diagnostics]

    assert found("another") == [("MFV3100", "warning")]
    assert found("flamingo") == []
