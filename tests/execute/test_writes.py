"""Evals that replace states, project a vector out of them, keep a part or their length, or write
into some prompts alone: held against passes by hand, with hooks of PyTorch's own on the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mfv_dsl as mfv
from mfv_dsl.base.errors import MfvError
from mfv_dsl.execute.bind import bind
from mfv_dsl.execute.run import RunResult
from mfv_dsl.plan.explain import explain_plan, plan_text
from mfv_dsl.plan.steps import Step
from tests.execute.test_positions import (
    agree,
    layer_of,
    measured,
    model_of,
    module_of,
    rows,
    step_of,
    value,
)

pytestmark = pytest.mark.slow

HEAD = """mfv 1
model m = {model}
dataset d = scenes(relations=[left, right, above, below], count=60)
heads few = {{L1H1, L2H3, L4H6}}
defaults {{ heads = few, trials = 12, items = 24, on = [left] }}
"""
RECIPE = f"""{HEAD}
eval task {{{{ replace = fv(each), layer = 1, scale = [1, 4], site = [residual, mlp] }}}}
eval out {{{{ project_out = fv(each), layer = [1, {{{{0, 2}}}}, all], position = [last, all] }}}}
eval icv {{{{
  add = fv(each), layer = all, scale = 0.4, scale_by = angle, length = kept, position = [last, all]
}}}}
eval part {{{{ add = fv(each), layer = 1, scale = 4, keep = [0.5, 0] }}}}
eval stays {{{{ add = fv(each), layer = 1, scale = 4, length = kept, position = [last, all] }}}}
eval gated {{{{
  replace = fv(each), layer = 2, scale = 4, position = [last, all]
  when = fv(right), when_layer = 1, above = 0, controls = [random_vector]
}}}}
eval patched {{{{ patch = fv(each), when = fv(right), when_layer = 0, above = 0 }}}}
eval moved {{{{
  add = fv(each), ablate = few, layer = 5, when = fv(right), when_layer = 0, above = 0
}}}}
eval open {{{{ add = fv(each), layer = 1, when = fv(right), when_layer = 1, above = -1 }}}}
eval shut {{{{ add = fv(each), layer = 1, when = fv(right), when_layer = 1, above = 1 }}}}
eval plain {{{{ add = fv(each), layer = 1 }}}}
eval zero {{{{ }}}}
eval best {{{{
  replace = [zeros(), fv(each)], layer = [0, 3], choose = [layer, replace]
  controls = [random_vector]
}}}}
eval said {{{{ replace = fv(each), layer = 1, scale = 4, answer = [generate] }}}}
eval whole {{{{
  project_out = fv(each), layer = all, position = all, answer = full
  when = fv(right), when_layer = 1, above = 0
}}}}
eval nothing {{{{ project_out = fv(each) - 1 * fv(each) + zeros(), layer = 1 }}}}
vector shift(r) = mean(states(r, layer={{{{1, 3}}}}, site=[attention, mlp], shots=2, trials=6))
eval parts {{{{ replace = shift(each), scale = 2 }}}}
eval less {{{{ project_out = shift(each), layer = native, position = all }}}}
eval turned {{{{ add = shift(each), scale = 0.3, scale_by = angle, length = kept, keep = 0.9 }}}}
eval mixed {{{{
  add = blend([fv(left), fv(right)], by=analogy), layer = 1, keep = [1, 0], length = [free, kept]
}}}}
""".replace("answer = [generate]", "answer = generate")


@pytest.fixture(scope="module", params=["tiny()", 'tiny("llava")'])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    recipe = mfv.Recipe(RECIPE.format(model=request.param), "e")
    return recipe.run(tmp_path_factory.mktemp("run"))


def length(states: torch.Tensor) -> torch.Tensor:
    return states.pow(2).sum(-1, keepdim=True).sqrt()


def at(ran: RunResult, step: Step, change: Any, *layers: int, site: str = "residual") -> list[Any]:
    model = model_of(ran, step)
    return [(module_of(model, site, layer), change, False) for layer in layers]


def every_layer(ran: RunResult) -> range:
    return range(ran.plan.models["m"].facts.n_layers)


@pytest.mark.parametrize("site", ["residual", "mlp"])
@pytest.mark.parametrize("scale", [1, 4])
def test_a_state_is_replaced(ran: RunResult, site: str, scale: int):
    """Task vectors (arXiv:2310.15916): the state of the last token behind a layer is the vector."""
    step = step_of(ran, "task", site=site)
    v = scale * value(ran, step).residual
    (row,) = rows(ran, "task", site=site, scale=scale)
    agree(row, measured(ran, step, "last", at(ran, step, lambda h: v.expand_as(h), 1, site=site)))
    assert row.written == "replace"


@pytest.mark.parametrize("position", ["last", "all"])
@pytest.mark.parametrize("layer", [1, "{0, 2}", "all"])
def test_a_direction_is_projected_out(ran: RunResult, layer: int | str, position: str):
    """Directional ablation (arXiv:2406.11717), of the stream behind layers."""
    step = step_of(ran, "out", position=position)
    v = value(ran, step).residual
    layers = {1: [1], "{0, 2}": [0, 2], "all": [*every_layer(ran)]}[layer]
    changes = at(ran, step, lambda h: h - (h @ v)[..., None] * v / (v @ v), *layers)
    (row,) = rows(ran, "out", layer=layer, position=position)
    agree(row, measured(ran, step, position, changes))
    assert row.scale is None and row.written == "project_out"


@pytest.mark.parametrize("position", ["last", "all"])
def test_in_context_vectors_as_their_official_code_adds_them(ran: RunResult, position: str):
    step = step_of(ran, "icv", position=position)
    v = value(ran, step).residual
    unit = v / v.norm()

    def change(h: torch.Tensor) -> torch.Tensor:
        against = torch.relu(-(h @ unit)[..., None] / length(h))
        shifted = h / length(h) + 0.4 * (1 + against) * unit
        return shifted / length(shifted) * length(h)

    (row,) = rows(ran, "icv", position=position)
    agree(row, measured(ran, step, position, at(ran, step, change, *every_layer(ran))))
    assert row.written == "add, scale_by=angle, length=kept"


@pytest.mark.parametrize("keep", [0.5, 0])
def test_a_part_of_the_state_is_kept(ran: RunResult, keep: float):
    """The linear combination of I2CL (arXiv:2405.14660)."""
    step = step_of(ran, "part", keep=keep)
    v = 4 * value(ran, step).residual
    (row,) = rows(ran, "part", keep=keep)
    agree(row, measured(ran, step, "last", at(ran, step, lambda h: keep * h + v, 1)))


@pytest.mark.parametrize("position", ["last", "all"])
def test_the_length_is_kept(ran: RunResult, position: str):
    step = step_of(ran, "stays", position=position)
    v = 4 * value(ran, step).residual
    changes = at(ran, step, lambda h: (h + v) / length(h + v) * length(h), 1)
    (row,) = rows(ran, "stays", position=position)
    agree(row, measured(ran, step, position, changes))


@pytest.mark.parametrize("name", ["parts", "less", "turned"])
def test_each_part_is_written_at_its_own_place(ran: RunResult, name: str):
    step = step_of(ran, name)
    parts = value(ran, step).parts_by_place()
    assert [*parts] == [(site, n) for n in (1, 3) for site in ("lm.attn.out", "lm.mlp")]
    changes = []
    for (site, layer), v in parts.items():
        unit = v / v.norm()

        def turned(h: torch.Tensor, unit: torch.Tensor = unit) -> torch.Tensor:
            against = torch.relu(-(h @ unit)[..., None] / length(h))
            total = 0.9 * h + 0.3 * length(h) * (1 + against) * unit
            return total / length(total) * length(h)

        change = {
            "parts": lambda h, v=v: (2 * v).expand_as(h),
            "less": lambda h, unit=unit: h - (h @ unit)[..., None] * unit,
            "turned": turned,
        }[name]
        where = {"lm.attn.out": "attention", "lm.mlp": "mlp"}[site]
        changes += at(ran, step, change, layer, site=where)
    (row,) = rows(ran, name)
    agree(row, measured(ran, step, "all" if name == "less" else "last", changes))
    assert row.layer == "native"


# -- gates ----------------------------------------------------------------------------------------
class Gate:
    """A gate by hand: it looks at the states that pass through a layer, and lets a change be made
    in the prompts that open it."""

    def __init__(self, ran: RunResult, step: Step, layer: int) -> None:
        self.w, self.opened = value(ran, step, "when").residual, list[torch.Tensor]()
        self.look = (layer_of(model_of(ran, step), layer), self._seen, False)

    def _seen(self, states: torch.Tensor) -> torch.Tensor:
        last = states[:, -1]
        self.opened.append(last @ self.w / (last.norm(dim=-1) * self.w.norm()) > 0)
        return states

    def __call__(self, change: Any) -> Any:
        return lambda h: torch.where(self.opened[-1][:, None, None], change(h), h)

    @property
    def share(self) -> float:
        return float(torch.cat(self.opened).float().mean())


@pytest.mark.parametrize("position", ["last", "all"])
@pytest.mark.parametrize("control", ["", "random_vector"])
def test_a_gate_is_looked_at_before_anything_is_written(
    ran: RunResult, position: str, control: str
):
    step = step_of(ran, "gated", position=position)
    v, gate = 4 * value(ran, step, control or "real").residual, Gate(ran, step, 1)
    changes = [gate.look, *at(ran, step, gate(lambda h: v.expand_as(h)), 2)]
    (row,) = [r for r in rows(ran, "gated", position=position) if r.control == control]
    agree(row, measured(ran, step, position, changes))
    assert row.opened == pytest.approx(gate.share) and 0 < gate.share < 1
    assert row.written == "replace, when"


def test_heads_are_patched_and_moved_behind_a_gate(ran: RunResult):
    facts = ran.plan.models["m"].facts
    for name in ("patched", "moved"):
        step = step_of(ran, name)
        gate, vector = Gate(ran, step, 0), value(ran, step)
        changes = [gate.look]
        for number, (layer, head) in enumerate(((1, 1), (2, 3), (4, 6))):
            part = vector.head_means[number] if name == "patched" else torch.zeros(facts.head_dim)

            def replaced(
                h: torch.Tensor, head: int = head, part: torch.Tensor = part
            ) -> torch.Tensor:
                heads = h.reshape(*h.shape[:-1], facts.n_heads, facts.head_dim).clone()
                heads[..., head, :] = part
                return heads.reshape(h.shape)

            changes.append(
                (module_of(model_of(ran, step), "attention", layer), gate(replaced), True)
            )
        if name == "moved":
            changes += at(ran, step, gate(lambda h, v=vector.residual: h + v), 5)
        (row,) = rows(ran, name)
        agree(row, measured(ran, step, "last", changes))
        assert row.opened == pytest.approx(gate.share)


def test_a_gate_that_is_always_open_or_never_changes_nothing(ran: RunResult):
    (opened,), (shut,) = rows(ran, "open"), rows(ran, "shut")
    (plain,), (zero,) = rows(ran, "plain"), rows(ran, "zero")
    assert opened.opened == 1 and shut.opened == 0 and plain.opened is None
    agree(opened, (plain.accuracy, plain.mean_p_answer))
    agree(shut, (zero.accuracy, zero.mean_p_answer))
    assert plain.written == "" and zero.written == ""


# -- what belongs to an eval ----------------------------------------------------------------------
def test_the_best_vector_and_layer_are_chosen(ran: RunResult):
    row, control = rows(ran, "best")
    tried = [choice for choice in ran.results.choices if choice["eval"] == "best"]
    best = max(tried, key=lambda choice: (choice["accuracy"], choice["mean_p_answer"]))
    assert len(tried) == 4 and (row.layer, row.vector) == (best["layer"], best["vector"])
    assert best["chosen"] and control.control == "random_vector"


def test_answers_that_are_written_out_or_scored_whole(ran: RunResult):
    """What is generated begins with the token that the first pass finds; a gate holds for names."""
    (said,), (task,) = rows(ran, "said"), rows(ran, "task", site="residual", scale=4)
    assert said.mean_p_answer == pytest.approx(task.mean_p_answer, abs=1e-6)
    (whole,) = rows(ran, "whole")
    assert whole.opened is not None and 0 < whole.opened < 1
    assert whole.accuracy is not None


def test_a_vector_without_a_direction_fails_alone(ran: RunResult):
    (row,) = rows(ran, "nothing")
    assert row.error["code"] == "MFV5521" and row.written == "project_out"


def test_a_blend_is_added_to_what_is_kept(ran: RunResult):
    """Nothing of the state kept, and its length: the direction of the blend is all that is left."""
    found = {tuple(r.axes.values()): r.mean_p_answer for r in rows(ran, "mixed")}
    assert len({round(p, 6) for p in found.values()}) == 4


def test_the_plan_says_what_is_written_and_how(ran: RunResult):
    text = plan_text(ran.plan, explain_plan(ran.plan, ()))
    for part in (
        "1, 4 × (fv(left)) in place of lm.resid", "fv(left) projected out of lm.resid",
        "layer 1, {0, 2}, all, at every token", ", 0.5 of them kept", "at the length that they had",
        "in prompts alone whose unedited last state behind layer 1 has a cosine above 0 with "
        "fv(right)",
    ):  # fmt: skip
        assert part in text, part


def test_edits_of_an_eval_are_bound_to_a_model_and_a_gate_is_not(ran: RunResult):
    model = model_of(ran, step_of(ran, "task", site="mlp"))
    plan = bind(ran.plan, model, "task", "left", scale=4, axes={"site": "mlp"})
    assert [edit.operation for edit in plan.edits] == ["replace"]
    plan = bind(ran.plan, model, "icv", "left", axes={"position": "last"})
    assert [edit.layer for edit in plan.edits] == [*every_layer(ran)]
    with pytest.raises(MfvError, match="unedited model"):
        bind(ran.plan, model, "gated", "left", axes={"position": "last"})
