"""What an edit makes of a state, and for which prompts: held against plain hooks on the models' own
calls, one prompt at a time, with each formula written out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mfv_dsl.base.arguments import ArgumentError
from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.candidates import likeliest_sequences
from mfv_dsl.engine.edits import Edit, Gate
from mfv_dsl.engine.full_pass import full_pass
from mfv_dsl.engine.generation import generate
from mfv_dsl.engine.greedy import continue_greedily
from mfv_dsl.engine.prefix import encode_prefix, full_passes
from mfv_dsl.engine.sequences import sequence_log_p
from mfv_dsl.engine.trace import tracing
from mfv_dsl.models.base import PromptBatch
from mfv_dsl.models.vlm.backend import VisionLanguageModel
from tests.cases import one_quick
from tests.engine.plain_hooks import LAYER, POSITIONS, Plain, prompts_of
from tests.models.vlm.conftest import checkpoint, loaded  # noqa: F401
from tests.models.vlm.test_passes import ARCHITECTURES, batch_of, in_double


@pytest.fixture(params=["flamingo", "llava"])
def plain(request: pytest.FixtureRequest, scenes: Scenes) -> Plain:
    return Plain(request.param, scenes)


def length(states: torch.Tensor) -> torch.Tensor:
    return states.pow(2).sum(-1, keepdim=True).sqrt()


def icv(states: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """In-context vectors as the official code of arXiv:2311.06668 shifts a state by 0.8 · v."""
    lam, unit = 0.8, v / length(v)
    against = (-(states * unit).sum(-1, keepdim=True) / length(states)).clamp(min=0)
    shifted = states / length(states) + lam * (1 + against) * unit
    return shifted / length(shifted) * length(states)


#: What an edit says, with a value made of v, and the same by hand.
CHANGES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any], Any]] = {
    "replace": (lambda v: v, {"operation": "replace"}, lambda h, v: v.expand_as(h)),
    "project_out": (
        lambda v: v, {"operation": "project_out"},
        lambda h, v: h - (h @ v / (v @ v))[:, None] * v,
    ),
    "keep": (lambda v: v, {"keep": 0.4}, lambda h, v: 0.4 * h + v),
    "kept length": (
        lambda v: v, {"length": "kept"}, lambda h, v: (h + v) / length(h + v) * length(h)
    ),
    "by length": (
        lambda v: 0.8 * v / length(v), {"scaled_by": "length"},
        lambda h, v: h + 0.8 * length(h) * v / length(v),
    ),
    "icv": (lambda v: 0.8 * v / length(v), {"length": "kept", "scaled_by": "angle"}, icv),
}  # fmt: skip


def vector(plain: Plain) -> torch.Tensor:
    return 6 * torch.randn(plain.model.facts.d_model, generator=torch.Generator().manual_seed(3))


def edit_of(plain: Plain, name: str, site: str = "lm.resid") -> tuple[Edit, Any]:
    """An edit, and the same by hand."""
    value, how, change = CHANGES[name]
    v = vector(plain)
    edit = Edit(site, LAYER, **{"operation": "add", **how}, value=value(v))
    return edit, lambda states: change(states, v)


def batch_and_prompts(plain: Plain) -> tuple[PromptBatch, list[Any]]:
    prompts = prompts_of(plain.scenes)
    return plain.model.batch(prompts, plain.scenes), prompts


@pytest.mark.slow
@pytest.mark.parametrize("site", ["lm.resid", "lm.attn.out", "lm.mlp"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_its_formula(plain: Plain, name: str, site: str):
    edit, change = edit_of(plain, name, site)
    batch, prompts = batch_and_prompts(plain)
    unedited = full_pass(plain.model, batch).logits
    with torch.no_grad():
        behind = encode_prefix(plain.model, batch).scores([[], [edit]], logits=True).logits
    assert behind is not None
    for where in ("last", "all"):
        edited = full_pass(plain.model, batch, [replace(edit, positions=POSITIONS[where])]).logits
        for row, prompt in enumerate(prompts):
            wanted = plain.logits(prompt, change, site, where)
            torch.testing.assert_close(edited[row], wanted, atol=2e-4, rtol=1e-4)
            assert float((wanted - unedited[row]).abs().max()) > 2e-3  # else nothing is shown
            if where == "last":
                torch.testing.assert_close(behind[row, 1], wanted, atol=2e-4, rtol=1e-4)


def test_a_state_at_kept_length_has_its_length_and_a_projected_one_nothing_along(plain: Plain):
    batch, _ = batch_and_prompts(plain)
    states = {}
    for name in ("icv", "project_out"):
        edit, _ = edit_of(plain, name)
        for when, edits in (("before", []), (name, [edit])):
            read = full_pass(plain.model, batch, edits, [_read(LAYER)]).readings[0]
            states[when] = read[:, 0]
    torch.testing.assert_close(length(states["icv"]), length(states["before"]))
    assert float((states["project_out"] @ vector(plain)).abs().max()) < 1e-3
    assert float((states["before"] @ vector(plain)).abs().min()) > 1e-3


def _read(layer: int) -> Any:
    from mfv_dsl.engine.edits import Read

    return Read("lm.resid", layer)


# -- gates ----------------------------------------------------------------------------------------
def gate_of(plain: Plain, batch: PromptBatch) -> tuple[Gate, list[bool]]:
    """A gate that some prompts open and some do not, and which, by hand: a plain hook reads the
    state of each prompt alone."""
    direction, cosines = vector(plain), []
    for prompt in batch.prompts:
        seen: list[torch.Tensor] = []
        assert prompt is not None

        def read(states: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(states[0].clone())
            return states

        plain.logits(prompt, read, "lm.resid", "last")
        state = seen[0]
        cosines.append(float(state @ direction / (state.norm() * direction.norm())))
    threshold = sorted(cosines)[0] * 0.5 + sorted(cosines)[1] * 0.5
    opens = [cosine > threshold for cosine in cosines]
    assert 0 < sum(opens) < len(opens)
    return Gate(direction, LAYER, threshold), opens


@pytest.mark.parametrize("where", one_quick(["last", "all"]))
@pytest.mark.parametrize("name", one_quick(["keep", "replace", "project_out", "icv"]))
def test_a_gated_edit_is_made_in_the_prompts_that_open_the_gate_alone(
    plain: Plain, name: str, where: str
):
    batch, prompts = batch_and_prompts(plain)
    gate, opens = gate_of(plain, batch)
    edit, change = edit_of(plain, name)
    edit = replace(edit, positions=POSITIONS[where], when=gate)
    edited = full_pass(plain.model, batch, [edit]).logits
    unedited = full_pass(plain.model, batch).logits
    for row, prompt in enumerate(prompts):
        wanted = plain.logits(prompt, change, "lm.resid", where) if opens[row] else unedited[row]
        torch.testing.assert_close(edited[row], wanted, atol=2e-4, rtol=1e-4)
    prefix = (encode_prefix if where == "last" else full_passes)(plain.model, batch)
    scores = prefix.scores([[], [edit]]).log_p
    log_p = edited.log_softmax(-1).gather(1, batch.answers[:, None])[:, 0]
    torch.testing.assert_close(scores[:, 1], log_p, atol=1e-5, rtol=1e-5)
    shut = ~torch.tensor(opens)
    torch.testing.assert_close(scores[shut, 1], scores[shut, 0], atol=1e-6, rtol=1e-6)
    always = full_pass(plain.model, batch, [replace(edit, when=None)]).logits
    assert float((always - unedited)[shut].abs().max()) > 2e-3  # else nothing is shown


def test_a_gate_looks_at_the_unedited_model(plain: Plain):
    """An edit below the gate does not open or shut it, nor does one before it in the list."""
    batch, _ = batch_and_prompts(plain)
    gate, opens = gate_of(plain, batch)
    early = Edit("lm.resid", 0, "add", 50 * vector(plain))
    late = Edit("lm.resid", LAYER + 1, "replace", vector(plain), when=gate)
    mask = replace(late, when=torch.tensor(opens))
    torch.testing.assert_close(
        full_pass(plain.model, batch, [early, late]).logits,
        full_pass(plain.model, batch, [early, mask]).logits,
    )
    scores = encode_prefix(plain.model, batch).scores([[early, late], [early, mask]]).log_p
    assert torch.equal(scores[:, 0], scores[:, 1])


@pytest.mark.slow
def test_generations_and_whole_names_under_a_gate(plain: Plain):
    batch, _ = batch_and_prompts(plain)
    gate, opens = gate_of(plain, batch)
    edit, _ = edit_of(plain, "replace")
    gated, always = replace(edit, when=gate), edit
    texts = {
        name: [g.tokens for g in generate(plain.model, batch, 3, edits)]
        for name, edits in {"gated": [gated], "always": [always], "never": []}.items()
    }
    wanted = [texts["always" if is_open else "never"][i] for i, is_open in enumerate(opens)]
    assert texts["gated"] == wanted and texts["always"] != texts["never"]
    beams = generate(plain.model, batch, 3, [gated], beams=2)
    both = [generate(plain.model, batch, 3, edits, beams=2) for edits in ([], [always])]
    for row, is_open in enumerate(opens):
        assert beams[row].tokens == both[is_open][row].tokens
    for make in (encode_prefix, full_passes):
        prefix = make(plain.model, batch)
        assert continue_greedily(prefix, [[gated], []], 3).tokens[0] == wanted
        names = plain.model.answer_tokens(["red circle", "blue ring", "red"])
        targets = batch.answers.new_zeros(len(batch)).numpy()
        found = likeliest_sequences(prefix, names, targets, [[gated], [always], []])
        for row, is_open in enumerate(opens):
            chosen = found.target_log_p[row, 1 if is_open else 2]
            assert found.target_log_p[row, 0] == pytest.approx(chosen, abs=1e-4)
    log_p = [sequence_log_p(plain.model, batch, names, e, 2) for e in ([gated], [always], [])]
    for row, is_open in enumerate(opens):
        torch.testing.assert_close(log_p[0][row], log_p[1 if is_open else 2][row])


def test_a_trace_shows_where_gates_opened(plain: Plain):
    batch, _ = batch_and_prompts(plain)
    gate, opens = gate_of(plain, batch)
    edit = replace(edit_of(plain, "keep")[0], when=gate)
    for run in (lambda: full_pass(plain.model, batch, [edit]),
                lambda: encode_prefix(plain.model, batch).scores([[edit]])):  # fmt: skip
        with tracing(items=3) as touches:
            run()
        assert {t.item for t in touches if t.operation} == {i for i, o in enumerate(opens) if o}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_copies_equal_full_passes_in_every_architecture(name: str, loaded: Any):  # noqa: F811
    model: VisionLanguageModel = in_double(loaded(name))
    batch = batch_of(model, (2, 0, 1))
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(model.facts.d_model, generator=generator, dtype=torch.float64)
    layers = (0, model.facts.n_layers - 1)
    variants = [
        [Edit("lm.resid", layer, **{"operation": "add", **how}, value=value(v)) for layer in layers]
        for value, how, _ in CHANGES.values()
    ]
    variants += [[replace(e, when=Gate(v, 1, 0.0)) for e in edits] for edits in variants]
    with torch.no_grad():
        scores = encode_prefix(model, batch).scores(variants).log_p
    for number, edits in enumerate(variants):
        log_p = full_pass(model, batch, edits).logits.log_softmax(-1)
        wanted = log_p.gather(1, batch.answers[:, None])[:, 0]
        torch.testing.assert_close(scores[:, number], wanted, atol=1e-11, rtol=1e-11)


# -- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"operation": "replace", "keep": 0.5}, "are of an edit that adds"),
        ({"operation": "project_out", "length": "kept"}, "are of an edit that adds"),
        ({"length": "long"}, "`length` is one of free, kept"),
        ({"scaled_by": 3}, "`scaled_by` one of vector, length, angle"),
        ({"keep": "much"}, "`keep` has to be a number"),
        ({"when": "always"}, "a Gate, a mask of prompts or None"),
    ],
)
def test_an_edit_that_makes_no_sense(how: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        Edit("lm.resid", 0, **{"operation": "add", "value": torch.ones(4), **how})


def test_a_gate_is_refused_in_a_users_own_calls(plain: Plain):
    batch, _ = batch_and_prompts(plain)
    gate, opens = gate_of(plain, batch)
    edit = replace(edit_of(plain, "replace")[0], when=gate)
    with pytest.raises(MfvError, match="unedited model") as caught:
        HookPlan.of(plain.model, [edit])
    assert caught.value.code == "MFV5520"
    plan = HookPlan.of(plain.model, [replace(edit, when=torch.tensor(opens))])
    with plan.attach():
        found = plain.model.forward(batch)
    torch.testing.assert_close(found, full_pass(plain.model, batch, [edit]).logits)
    with (
        pytest.raises(MfvError, match="mask of 2"),
        plan.with_edits([replace(edit, when=torch.tensor([True, False]))]).attach(),
    ):
        plain.model.forward(batch)
    with pytest.raises(MfvError, match="its mask of prompts"):
        encode_prefix(plain.model, batch).scores([[replace(edit, when=torch.tensor([True]))]])
    with pytest.raises(MfvError, match="no layer 99"):
        full_pass(plain.model, batch, [replace(edit, when=Gate(vector(plain), 99, 0.0))])
