"""Rows of states against plain hooks on the models' own calls, and what is made of them against the
formulas written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mfv_dsl.base.errors import MfvError
from mfv_dsl.data.items import Prompt
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.engine.edits import IMAGES, Span
from mfv_dsl.engine.positions import ALL, DEMONSTRATIONS
from mfv_dsl.methods.states import (
    States,
    combine_states,
    mean_of,
    principal_component,
    probe_direction,
    queries_of,
    read_states,
)
from mfv_dsl.methods.vectors import Space
from tests.cases import one_quick
from tests.engine.plain_hooks import Plain, prompts_of, tokens_at

PLACES = (("lm.attn.out", 0), ("lm.mlp", 2), ("lm.resid", 2))
TOLD = {"last": None, "all": ALL, "images": IMAGES, "Q:": Span("Q:"),
        "{query}": Span("{query}"), "demonstrations": DEMONSTRATIONS}  # fmt: skip


@pytest.fixture(scope="module", params=["flamingo", "llava"])
def plain(request: pytest.FixtureRequest, scenes: Scenes) -> Plain:
    return Plain(request.param, scenes)


def module_of(plain: Plain, site: str, layer: int) -> Any:
    whole = plain.model.model
    if plain.is_flamingo:
        block = whole.lang_encoder.gpt_neox.layers[layer]
        inner = block.decoder_layer
        return {"lm.resid": block, "lm.attn.out": inner.attention.dense, "lm.mlp": inner.mlp}[site]
    block = whole.model.language_model.layers[layer]
    return {"lm.resid": block, "lm.attn.out": block.self_attn.o_proj, "lm.mlp": block.mlp}[site]


def token_count(plain: Plain, prompt: Prompt) -> int:
    return plain.inputs(prompt)["lang_x" if plain.is_flamingo else "input_ids"].shape[1]


@torch.no_grad()
def by_hand(plain: Plain, prompt: Prompt, name: str) -> torch.Tensor:
    """(places, d_model): the model's own call on one prompt, with plain hooks."""
    inputs = plain.inputs(prompt)
    tokens = inputs["lang_x" if plain.is_flamingo else "input_ids"][0]
    if name == "demonstrations":  # each as the query of a prompt that ends there
        shown = prompt.demonstrations
        own = [Prompt(shown[:number], shown[number]) for number in range(len(shown))]
        places = [token_count(plain, shorter) - 1 for shorter in own]
    else:
        places = tokens_at(name, tokens, plain.image)
    found: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            found[number] = states[0, places].mean(0)

        return hook

    handles = [
        module_of(plain, *place).register_forward_hook(keep(number))
        for number, place in enumerate(PLACES)
    ]
    try:
        plain.model.model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([found[number] for number in range(len(PLACES))])


@pytest.mark.parametrize("name", one_quick(TOLD))
def test_rows_are_what_plain_hooks_read(plain: Plain, scenes: Scenes, name: str):
    prompts = prompts_of(scenes, (2, 1, 3))  # of different lengths
    batches = [plain.model.batch(prompts[:2], scenes), plain.model.batch(prompts[2:], scenes)]
    states = read_states(plain.model, batches, queries_of(prompts), PLACES, TOLD[name])
    wanted = torch.stack([by_hand(plain, prompt, name) for prompt in prompts])
    assert states.space.places == PLACES
    torch.testing.assert_close(states.rows, wanted, rtol=1e-4, atol=1e-4)


def test_prompts_without_demonstrations_are_refused(tiny, scenes: Scenes):
    prompts = prompts_of(scenes, (0,))
    with pytest.raises(MfvError) as caught:
        batch = tiny.batch(prompts, scenes)
        read_states(tiny, [batch], queries_of(prompts), PLACES, DEMONSTRATIONS)
    assert caught.value.code == "MFV5121"


@pytest.mark.slow
def test_only_prompts_that_are_answered_have_rows(tiny, scenes: Scenes):
    prompts = prompts_of(scenes, (0,) * 12)
    batches = [tiny.batch(prompts[:8], scenes), tiny.batch(prompts[8:], scenes)]
    every = read_states(tiny, batches, queries_of(prompts), PLACES)
    right = [bool((tiny.forward(b).argmax(-1) == b.answers)[row])
             for b in batches for row in range(len(b))]  # fmt: skip
    assert 0 < sum(right) < 12
    some = read_states(tiny, batches, queries_of(prompts), PLACES, correct_only=True)
    assert some.queries == tuple(q for q, is_right in zip(every.queries, right, strict=True)
                                 if is_right)  # fmt: skip
    assert torch.equal(some.rows, every.rows[right])


# -- what is made of rows -------------------------------------------------------------------------
def drawn(n: int = 12, places: int = 3, d: int = 5, seed: int = 0, shift: float = 0.7) -> States:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, places, d, generator=generator) + shift
    at = tuple(("lm.resid", layer) for layer in range(places)) if places > 1 else ()
    return States(rows, tuple(f"q{row}" for row in range(n)), Space("m", d, places=at))


def test_rows_are_paired_by_their_queries():
    a, b = drawn(seed=1), drawn(seed=2)
    order = list(range(11, -1, -1))
    turned = States(b.rows[order], tuple(b.queries[row] for row in order), b.space)
    wanted = 2 * a.rows.double() - b.rows.double()
    assert torch.equal(combine_states([(2.0, a), (-1.0, turned)]).rows, wanted.float())


def test_rows_of_other_queries_or_places_are_refused():
    a, b = drawn(), drawn(n=11)
    with pytest.raises(MfvError) as caught:
        combine_states([(1.0, a), (1.0, b)])
    assert caught.value.code == "MFV5505"
    with pytest.raises(MfvError) as caught:
        combine_states([(1.0, a), (1.0, drawn(places=2))])
    assert caught.value.code == "MFV5303"


@pytest.mark.parametrize("component", [1, 2, 5])
def test_components_are_those_of_the_covariance(component: int):
    states = drawn()
    rows = states.rows.flatten(1).double().numpy()
    _, vectors = np.linalg.eigh(np.cov(rows.T))
    wanted = vectors[:, -component]
    wanted = wanted * np.sign(wanted @ rows.mean(0))
    found = principal_component(states, component)
    assert found.space == states.space and found.norm() == pytest.approx(1)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


def test_the_sign_of_a_component_that_is_orthogonal_to_the_mean():
    rows = torch.tensor([[[5.0, -3.0]], [[5.0, 3.0]]])
    found = principal_component(States(rows, ("a", "b"), Space("m", 2)))
    assert found.residual.tolist() == [0, 1]
    negated = principal_component(States(-rows, ("a", "b"), Space("m", 2)))
    assert negated.residual.tolist() == [0, 1]
    shifted = principal_component(
        States(rows - torch.tensor([0.0, 1.0]), ("a", "b"), Space("m", 2))
    )
    assert shifted.residual.tolist() == [0, -1]


def test_a_component_beyond_the_rows_is_refused():
    with pytest.raises(MfvError) as caught:
        principal_component(drawn(n=3), 3)
    assert caught.value.code == "MFV5503"


def test_the_direction_of_in_context_vectors_is_their_mean_and_first_component():
    """arXiv:2311.06668: rows over all layers, first component of the centred rows plus their mean;
    its code's sign of the component is that of the row that it weighs most."""
    states = drawn(n=20)
    rows = states.rows.flatten(1)
    mean = rows.mean(0, keepdim=True)
    u, _, vt = torch.linalg.svd((rows - mean).double(), full_matrices=False)
    first = vt[0] * u[u[:, 0].abs().argmax(), 0].sign()
    wanted = first + mean[0]
    direction = mean_of(states) + principal_component(states)
    other = mean_of(states) - principal_component(states)
    nearest = min(float((v.residual - wanted).abs().max()) for v in (direction, other))
    assert nearest < 1e-5
    parts = list(direction.parts_by_place().values())
    assert torch.equal(torch.stack(parts), direction.residual.view(3, 5))


@pytest.mark.parametrize("shift", [0.3, 3.0])
def test_a_probe_is_the_logistic_regression_of_all_numbers(shift: float):
    first, second = drawn(seed=1, shift=shift), drawn(n=9, seed=2, shift=0.0)
    rows = torch.cat([first.rows.flatten(1), second.rows.flatten(1)]).double()
    signs = torch.tensor([1.0] * 12 + [-1.0] * 9, dtype=torch.float64)
    w = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    b = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = (w @ w) / 2 + torch.log1p(torch.exp(-signs * (rows @ w + b))).sum()
        value.backward()
        return value

    search.step(loss)
    found = probe_direction(first, second)
    assert found.norm() == pytest.approx(1)
    wanted = (w / w.norm()).detach().float()
    torch.testing.assert_close(found.residual, wanted, rtol=1e-4, atol=1e-5)
    assert torch.allclose(probe_direction(second, first).residual, -wanted, atol=1e-5)


def test_a_probe_of_equal_rows_is_refused():
    one = drawn(n=1)
    with pytest.raises(MfvError) as caught:
        probe_direction(one, one)
    assert caught.value.code == "MFV5506"


def test_a_probe_of_rows_that_differ_by_rounding_alone_is_refused():
    one = drawn(n=12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    other = replace(one, rows=one.rows[order] * (1 + 1e-7))
    with pytest.raises(MfvError) as caught:
        probe_direction(one, other)
    assert caught.value.code == "MFV5506"


def test_rows_of_two_sites_do_not_belong_together():
    one = drawn(n=3, places=1)
    other = replace(one, space=replace(one.space, site="lm.mlp"))
    with pytest.raises(MfvError, match="read at lm.resid and lm.mlp") as caught:
        combine_states([(1.0, one), (-1.0, other)])
    assert caught.value.code == "MFV5303"


def test_queries_that_are_asked_twice_stay_apart(scenes: Scenes):
    (prompt,) = prompts_of(scenes, (0,))
    first, second = queries_of([prompt, prompt])
    assert first != second
