"""Evals whose answers are options of questions: figures, files, and what is refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.execute.choice_figures import balanced_accuracy, choice_fields
from mfv_dsl.execute.recorded_run import read_runs
from mfv_dsl.interactive import InteractiveResult
from mfv_dsl.methods.outcomes import Choices, Outcomes
from mfv_dsl.report.columns import result_columns
from mfv_dsl.report.page.item_sample import all_items
from mfv_dsl.report.page.page_data import items_data

HEAD = "mfv 1\nmodel m = tiny()\ndataset d = scenes(relations=[left, right])\n"
RECIPE = f"""{HEAD}
defaults {{ items = 12, answer = choice_text }}
eval zero {{
  metrics = [accuracy, p_answer, chance, balanced_accuracy, text_sum_accuracy, confusion]
}}
eval few  {{ shots = 4, correct_with = 4 }}
eval all_few {{ shots = 4, against = zero }}
eval gated {{
  add = mean(states(left, layer=3, trials=8)), layer = [3, 4], choose = [layer]
  when = mean(states(left, layer=2, trials=8)), when_layer = 2, above = -1, against = zero
  metrics = [accuracy, off_task_kl], off_task_items = 4
}}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> InteractiveResult:
    return mfv.Recipe(RECIPE, "r.mfv").run(tmp_path_factory.mktemp("choices") / "r")


def rows(result: InteractiveResult, name: str) -> dict[str | None, Any]:
    return {row.relation: row for row in result.rows if row.eval == name}


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_every_option_of_every_item_is_kept(result: InteractiveResult):
    lines = [line for line in table(result.folder, "options.csv") if line["eval"] == "zero"]
    assert len(lines) == 2 * 12 * 4
    items = {(i.image, i.query): i for r in ("left", "right") for i in Scenes().items(r, "test")}
    for start in range(0, len(lines), 4):
        own = lines[start : start + 4]
        item = items[own[0]["image"], own[0]["question"]]
        assert item.choice is not None
        assert tuple(line["text"] for line in own) == item.choice.options
        assert [line["right"] for line in own].index("1") == item.choice.right
        p = [float(line["p"]) for line in own]
        assert sum(p) == pytest.approx(1) and own[int(np.argmax(p))]["chosen"] == "1"
        assert Counter(line["chosen"] for line in own) == {"0": 3, "1": 1}
    shown = result.to_pandas("options")
    assert list(shown.columns)[:3] == ["eval", "relation", "shots"] and shown["p"].max() <= 1


@pytest.mark.slow
def test_a_report_shows_the_options_of_every_item(result: InteractiveResult):
    (run,) = read_runs([result.folder])
    assert run.items
    for line in run.items:
        shown = [part.rpartition(" (") for part in run.options_of(line).split(" · ")]
        assert len(shown) == 4 and line.answer in [text for text, _, _ in shown]
        assert max(shown, key=lambda part: float(part[2][:-1]))[0] == line.said
    data = items_data(all_items([run]), {}, {})
    texts, places = data["texts"], data["columns"]["options"]
    assert [texts[place] for place in places] == [run.options_of(line) for line in run.items]


@pytest.mark.slow
def test_figures_are_those_of_the_options(result: InteractiveResult):
    lines = [line for line in table(result.folder, "options.csv") if line["eval"] == "zero"]
    zero = rows(result, "zero")
    for relation in ("left", "right", None):
        own = [line for line in lines if relation in (None, line["relation"])]
        right = [line for line in own if line["right"] == "1"]
        row = zero[relation]
        assert row.accuracy == pytest.approx(np.mean([line["chosen"] == "1" for line in right]))
        assert row.mean_p_answer == pytest.approx(np.mean([float(line["p"]) for line in right]))
        assert row.chance == 0.25 and row.text_accuracy == row.text_sum_accuracy == row.accuracy
        most = max(Counter(line["text"] for line in right).values())
        assert row.most_frequent == pytest.approx(most / len(right))
        shares = [
            np.mean([line["chosen"] == "1" for line in right if line["text"] == text])
            for text in {line["text"] for line in right}
        ]
        assert row.balanced_accuracy == pytest.approx(np.mean(shares))
        assert row.letter_accuracy is None and row.p_said is None
    confused = zero["left"].answers
    assert confused["left"] == pytest.approx(zero["left"].accuracy)
    assert sum(confused.values()) + zero["left"].answers_other == pytest.approx(1)


@pytest.mark.slow
def test_demonstrations_vectors_and_gates_go_with_options(result: InteractiveResult):
    few, gated = rows(result, "few"), rows(result, "gated")
    assert few[None].accuracy == 1 and few[None].n <= 24
    assert few["left"].n == round(12 * rows(result, "all_few")["left"].accuracy)
    assert gated["left"].opened == 1 and gated["left"].off_task.n == 4
    assert gated["left"].against["zero"].difference == pytest.approx(
        gated["left"].accuracy - rows(result, "zero")["left"].accuracy
    )
    tried = [c for c in table(result.folder, "choices.csv") if c["eval"] == "gated"]
    assert {line["layer"] for line in tried} == {"3", "4"}


@pytest.mark.slow
def test_columns_are_those_that_are_asked_for(result: InteractiveResult):
    columns = result_columns(result.rows, result.plan.metrics)
    assert "letter in order %" not in columns and "text %" not in columns
    asked = {
        "chance %": "25", "most frequent %": "", "balanced %": "", "whole text %": "",
    }  # fmt: skip
    for title in asked:
        cells = dict(zip(columns["eval"], columns[title], strict=True))
        assert cells["few"] == "" and cells["zero"]
    from mfv_dsl.execute.records import table as records

    text = records([result.folder], rows=["eval"], value=["chance"], where={"eval": "zero"})
    assert "25" in str(text)


@pytest.mark.slow
def test_what_is_kept_gives_the_same_again(result: InteractiveResult, tmp_path: Path):
    again = mfv.Recipe(RECIPE, "r.mfv").run(tmp_path / "r")
    assert [row.to_json() for row in again.rows] == [row.to_json() for row in result.rows]
    steps = json.loads((again.folder / "manifest.json").read_text())["steps"].values()
    assert all(step["cached"] for step in steps)


def test_a_plan_counts_every_turn():
    def cost(answer: str) -> tuple[int, str]:
        recipe = mfv.Recipe(f"{HEAD}eval a {{ answer = {answer}, items = 10, on = [left] }}")
        return recipe.plan(), ""

    def passes(answer: str) -> Any:
        plan, _ = cost(answer)
        (step,) = [s for s in plan.steps if s.operation == "answers"]
        from mfv_dsl.plan.work import work_by_step

        return work_by_step(plan, [step])[step.key].prompts

    assert passes("choice") == pytest.approx(5 * passes("first"))
    assert passes("choice_text") == pytest.approx(passes("first"))


# -- what is refused ------------------------------------------------------------------------------
def refused(text: str) -> list[str]:
    with pytest.raises(MfvError) as error:
        mfv.Recipe(text)
    return [d.code for d in error.value.diagnostics]


def test_a_set_without_options_is_refused_at_check(tmp_path: Path):
    lines = [
        {"image": f"{n}.png", "query": "cup", "answer": "lamp", "relation": "left"}
        for n in range(4)
    ]
    for n in range(4):
        (tmp_path / f"{n}.png").write_bytes(bytes([n]))
    file = tmp_path / "pairs.jsonl"

    def asks(lines: list[Any], answer: str) -> str:
        file.write_text("\n".join(map(json.dumps, lines)))
        return (
            f'mfv 1\nmodel m = tiny()\ndataset d = pairs("{file}", test=1, extract=0, train=0, '
            f"validation=0)\neval a {{ answer = {answer}, items = 2 }}\n"
        )

    assert refused(asks(lines, "choice")) == ["MFV5710"]
    assert refused(asks(lines, "yes_no")) == ["MFV5710"]
    asked = [{**line, "options": ["lamp", "cup"]} for line in lines]
    assert refused(asks([*asked[:3], lines[3]], "choice_text")) == ["MFV5710"]
    assert refused(asks(asked, "yes_no")) == ["MFV5711"]
    assert mfv.Recipe(asks(asked, "choice")).plan().rows


@pytest.mark.parametrize(
    ("eval_", "code"),
    [
        ("metrics = [chance]", "MFV5715"), ("metrics = [text_accuracy], answer = full", "MFV5715"),
        ("metrics = [letter_accuracy], answer = choice_text", "MFV5715"),
        ("classify = top(2), answer = choice_text", "MFV5714"),
        ("add = blend([fv(left), fv(right)]), layer = 1, answer = choice_text", "MFV5353"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_an_answer_is_refused_at_check(eval_: str, code: str):
    assert refused(f"{HEAD}eval a {{ {eval_} }}") == [code]


def test_what_defaults_say_is_refused_once():
    both = f"{HEAD}defaults {{ answer = yes_no }}\neval a {{ shots = 0 }}\neval b {{ shots = 1 }}"
    assert refused(both) == ["MFV5711"]
    assert refused(f"{HEAD}defaults {{ metrics = [chance] }}\neval a {{ shots = 0 }}") == [
        "MFV5715"
    ]


def test_letters_that_a_model_does_not_know_are_refused_before_anything_is_measured(tmp_path: Path):
    recipe = mfv.Recipe(f"{HEAD}eval a {{ answer = choice, items = 4 }}")
    with pytest.raises(MfvError, match="does not tell A, B, C, D apart") as error:
        recipe.run(tmp_path)
    assert error.value.code == "MFV5712"


# -- figures --------------------------------------------------------------------------------------
def test_always_saying_yes_is_worth_a_half():
    answers = ["yes"] * 9 + ["no"]
    always = np.array([answer == "yes" for answer in answers])
    assert always.mean() == 0.9 and balanced_accuracy(always, answers) == 0.5
    outcomes = Outcomes(np.ones(10), always, np.zeros(10, int))
    assert choice_fields([outcomes], answers, False) == {}
    assert choice_fields([outcomes], answers, True) == {"balanced_accuracy": 0.5}


def test_figures_of_letters_and_texts():
    choices = Choices(
        counts=np.array([2, 4]), right=np.array([1, 2]),
        p=np.array([[0.4, 0.6, 0, 0], [0.4, 0.3, 0.2, 0.1]]), in_order=np.array([0, 2]),
        said=np.array([0.5, 1.0]),
        text_log_p=np.array([[-3.0, -4.0, 0, 0], [-9.0, -8.0, -7.5, -2.0]]),
        text_tokens=np.array([[1, 4, 0, 0], [3, 4, 1, 1]]),
    )  # fmt: skip
    outcomes = Outcomes(np.zeros(2), np.array([True, False]), np.zeros(2, int), choices)
    assert choice_fields([outcomes], ["a", "b"], False) == {
        "balanced_accuracy": 0.5, "chance": 0.375, "most_frequent": 0.5, "letter_accuracy": 0.5,
        "text_accuracy": 0.5, "text_sum_accuracy": 0.0, "p_said": 0.75,
    }  # fmt: skip


def test_letters_that_are_hardly_said_are_told():
    from mfv_dsl.execute.conditions import Condition, Evaluation, Point
    from mfv_dsl.execute.notes import _unsaid

    def measured(said: float) -> Evaluation:
        two = np.array([0, 1])
        choices = Choices(
            two + 2, two, np.ones((2, 3)) / 3, two, np.full(2, said), np.zeros((2, 0)),
            np.zeros((2, 0), int),
        )  # fmt: skip
        outcomes = Outcomes(np.ones(2), two == 0, two, choices)
        return Evaluation((Condition(Point(), outcomes, two),), (), outcomes, ("a", "b"), ("left",))

    assert _unsaid("asked", [measured(0.5), measured(0.01)]) is None
    note = _unsaid("asked", [measured(0.01)])
    assert note is not None and "a probability of 0.01 as the next token" in note
