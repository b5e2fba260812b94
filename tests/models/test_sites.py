"""Sites of a user's own model: every family of the table, and models of another make."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from mfv_dsl.base.errors import MfvError
from mfv_dsl.engine.attach import HookPlan
from mfv_dsl.engine.edits import Edit, Read
from mfv_dsl.engine.hooks import Hooks, find_module
from mfv_dsl.library.hookpoints import layer_of_path
from mfv_dsl.models.families import FAMILIES, ModulePaths
from mfv_dsl.models.sites import Site, SiteTable, find_sites

TOKENS = torch.tensor([[3, 4, 5, 6]])
LAYERS, HEADS, WIDTH, HEAD_DIM = 3, 4, 32, 8
TRANSFORMERS = [name for name in FAMILIES if name != "mosaic_gpt"]  # that one is remote code

#: What a family needs beside the sizes that all have.
_EXTRA = {
    "mpt": {"max_seq_len": 32, "expansion_ratio": 2},
    "gpt_neo": {"attention_types": [[["global"], LAYERS]]},
    "gptj": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4},
    "opt": {"word_embed_proj_dim": WIDTH, "ffn_dim": 2 * WIDTH},
    "phi3": {"pad_token_id": 0},
}


def causal_model(model_type: str) -> nn.Module:
    """A small model of random weights."""
    torch.manual_seed(0)
    row = FAMILIES[model_type]
    config = AutoConfig.for_model(
        model_type, vocab_size=50,
        **{row.n_layers: LAYERS, row.n_heads: HEADS, row.d_model: WIDTH},
        **{"intermediate_size": 2 * WIDTH} if row.n_layers == "num_hidden_layers" else {},
        **{"head_dim": HEAD_DIM, "num_key_value_heads": 2} if row.mlp == "mlp"
        and row.projection == "self_attn.o_proj" else {},
        **_EXTRA.get(model_type, {}),
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval()


def run(model: nn.Module, sites: SiteTable, reads: list[Read], edits: list[Edit]) -> list:
    with torch.no_grad(), Hooks(model, sites, edits, reads) as hooks:
        model(TOKENS)
    return [hooks.read(read) for read in reads]


@pytest.fixture(scope="module", params=TRANSFORMERS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return causal_model(request.param)


def test_every_path_of_a_family_is_there(model: nn.Module):
    family = FAMILIES[model.config.model_type]
    for path in (family.core, family.layers, family.final_norm):
        model.get_submodule(path)
    model.get_submodule(f"{family.layers}.0.{family.attention}")
    for name in (family.n_layers, family.n_heads, family.d_model):
        assert getattr(model.config, name) in (LAYERS, HEADS, WIDTH)


def test_other_tools_find_a_layer_by_its_hookpoint(model: nn.Module):
    """They count a module's path from transformers' base model."""
    family = FAMILIES[model.config.model_type]
    path = family.hookpoint.replace("{layer}", "1")
    own = model.get_submodule(find_sites(model)["lm.resid"].module_path(1))
    assert model.base_model.get_submodule(path) is own
    assert layer_of_path(path) == layer_of_path(f"{family.layers}.1") == 1


def test_a_layer_adds_what_its_sites_say(model: nn.Module):
    """The residual stream grows by what is read at the attention's and the MLP's outputs, and the
    projection makes the first of the heads."""
    sites = find_sites(model)
    assert sites["lm.attn"].heads == HEADS and sites["lm.attn"].width == HEAD_DIM
    names = [name for name in ("lm.attn.out", "lm.mlp") if name in sites]
    before, after, heads, *added = run(
        model, sites,
        [Read("lm.resid", 0), Read("lm.resid", 1), Read("lm.attn", 1)]
        + [Read(name, 1) for name in names],
        [],
    )  # fmt: skip
    if len(added) == 2:
        torch.testing.assert_close(after, before + sum(added), atol=1e-5, rtol=1e-5)
    projection = find_module(model, sites["lm.attn.out"], 1)
    torch.testing.assert_close(projection(heads.flatten(-2)), added[0], atol=1e-6, rtol=1e-5)


def test_residual_and_head_edits_bind(model: nn.Module):
    value = torch.randn(WIDTH)
    with torch.no_grad():
        plain = model(TOKENS).logits
        edits = [
            Edit("lm.resid", 1, "add", value),
            Edit("lm.attn", 1, "replace", torch.randn(1, HEAD_DIM), heads=(2,)),
        ]
        for edit in edits:
            with HookPlan.of(model, [edit]).attach():
                edited = model(TOKENS).logits
            torch.testing.assert_close(edited[:, :-1], plain[:, :-1])
            assert not torch.allclose(edited[:, -1], plain[:, -1])


# -- models of another make -----------------------------------------------------------------------
class Config:
    hidden_size, num_attention_heads = WIDTH, HEADS


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixing, self.widening = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        states = states + self.mixing(states)
        return states + self.widening(states)


class OtherModel(nn.Module):
    """Decoder layers where no known architecture has them."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.embed = Config(), nn.Embedding(50, WIDTH)
        self.tower = nn.Sequential(*(Block() for _ in range(LAYERS)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.tower(self.embed(tokens))


HEAD_EDIT = Edit("lm.attn", 1, "replace", torch.zeros(1, HEAD_DIM), heads=(2,))
RESIDUAL_EDIT = Edit("lm.resid", 1, "add", torch.ones(WIDTH))


def test_paths_say_where_another_model_keeps_its_parts():
    model, paths = OtherModel(), ModulePaths("tower", projection="mixing", mlp="widening")
    sites = find_sites(model, paths)
    assert list(sites) == ["lm.attn", "lm.attn.out", "lm.mlp", "lm.resid"]
    before, after, mixed, widened = run(
        model, sites, [Read(name, layer) for name, layer in (
            ("lm.resid", 0), ("lm.resid", 1), ("lm.attn.out", 1), ("lm.mlp", 1),
        )], [],
    )  # fmt: skip
    torch.testing.assert_close(after, before + mixed + widened)
    with HookPlan.of(model, [HEAD_EDIT, RESIDUAL_EDIT], paths).attach(), torch.no_grad():
        model(TOKENS)
    with HookPlan.of(model, [RESIDUAL_EDIT], ModulePaths("tower")).attach(), torch.no_grad():
        model(TOKENS)


def test_a_function_may_make_the_table():
    def sites(model: nn.Module) -> SiteTable:
        return {"lm.resid": Site("tower.{layer}", "output", (0, 1, 2), WIDTH)}

    model = OtherModel()
    with HookPlan.of(model, [RESIDUAL_EDIT], sites).attach(), torch.no_grad():
        model(TOKENS)


@pytest.mark.parametrize(
    ("edit", "paths", "problem"),
    [
        (RESIDUAL_EDIT, None, "the decoder layers of a OtherModel are not where"),
        (RESIDUAL_EDIT, ModulePaths("towers"), "a OtherModel has no module towers.0"),
        (HEAD_EDIT, ModulePaths("tower", "attn"), "a OtherModel has no module tower.0.attn"),
        (HEAD_EDIT, ModulePaths("tower"), "output projection of a OtherModel is not where"),
    ],
)
def test_what_is_not_known_is_told_with_how_to_say_it(
    edit: Edit, paths: ModulePaths | None, problem: str
):
    with pytest.raises(MfvError, match=problem) as error:
        HookPlan.of(OtherModel(), [edit], paths)
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "MFV5108"
    assert "ModulePaths(layers=..., projection=...)" in (diagnostic.help or "")


def test_a_configuration_without_sizes_is_told():
    model = OtherModel()
    del model.config
    with pytest.raises(MfvError, match="does not give hidden_size"):
        find_sites(model, ModulePaths("tower"))


def test_an_unknown_projection_leaves_the_residual_stream():
    """A model of an unknown kind with its layers in a known place."""
    model = OtherModel()
    model.transformer = nn.Module()
    model.transformer.h = model.tower
    assert list(find_sites(model)) == ["lm.resid"]
    HookPlan.of(model, [RESIDUAL_EDIT])
    with pytest.raises(MfvError, match="output projection"):
        HookPlan.of(model, [HEAD_EDIT])
