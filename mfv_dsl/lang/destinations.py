"""Where a `tune` writes what it trains: its `layer`, `site` and `position`, against its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.entries import PLACED
from mfv_dsl.lang.evals import each_of
from mfv_dsl.lang.scope import Scope, Type
from mfv_dsl.lang.syntax import Call

#: Starts that are drawn, and have no per-head parts.
DRAWN = ("random", "normal")


def check_destination(
    scope: Scope, settings: Mapping[str, Setting], models: Sequence[ModelFacts], subject: str
) -> None:
    """Check that a block says where it writes, and that what it learns can be written there."""
    start, layer, site = settings["start"], settings["layer"], settings["site"]
    if layer.value is None or layer.span is None or site.value is None or start.span is None:
        return
    start_type = scope.node_types.get(start.span)
    known = start.value in DRAWN or (start_type is not None and start_type.name == "Vector")
    if not known:
        return
    here = [Label(layer.span, "here")]
    if layer.value == "native":
        if _belongs_nowhere(start, start_type):
            scope.error(
                "MFV3090", start.span,
                "`layer = native` does not say where this start is written",
                "it belongs to no places of its own, and has no per-head parts",
                "give layers, `{3, 5}` or `all`; or begin with states of several layers",
                secondary=here,
            )  # fmt: skip
            return
        if site.origin == "written" and site.span is not None:
            scope.error(
                "MFV3043", site.span, "`layer = native` writes each part at its own site", "",
                "leave `site` out: it was said where the parts were read", secondary=here,
            )  # fmt: skip
    elif start_type is not None and start_type.places:
        scope.error(
            "MFV3092", start.span,
            f"this start has a part for each of several places, and {subject} names another",
            "each part is trained where it was read", "write `layer = native`; or read one layer",
            secondary=here,
        )  # fmt: skip
        return
    _check_variable(scope, settings, start_type)
    words = site.value if isinstance(site.value, tuple) else (site.value,)
    for facts in models if "attention" in words else ():
        without = sorted({*numbers_of(layer.value)} & {*facts.layers_without_heads})
        if without:
            has = ", ".join(map(str, facts.head_layers))
            scope.error(
                "MFV4001", layer.span, f"layer {without[0]} of the model has no self-attention",
                f"these have: {has}", "train at the `residual` stream or the `mlp` there",
            )  # fmt: skip
            return


def _belongs_nowhere(start: Setting, start_type: Type | None) -> bool:
    """Whether nothing of a start says where it is written."""
    if start_type is None:
        return True
    zero = isinstance(start.value, Call) and start.value.function.text == "zeros"
    return not start_type.parts and (start_type.places == () or zero)


def _check_variable(scope: Scope, settings: Mapping[str, Setting], start_type: Type | None) -> None:
    """MFV3091 where what is learned cannot be written where the block says."""
    layer, site, variable = settings["layer"], settings["site"], settings["variable"]
    native = layer.value == "native"
    by_head = native and start_type is not None and start_type.places == ()
    sites = len(site.value) if isinstance(site.value, tuple) else 1
    several = not native and (sites > 1 or not isinstance(layer.value, int))
    what: tuple[str, str] | None = None
    if by_head and variable.value in ("vector", "place_scales"):
        what = (
            "each head's part is written at its own layer, and what is learned has no such parts",
            "learn `head_scales`, `head_mask`, `patch_mask` or `scale`; or give a layer",
        )
    elif variable.value == "patch_mask" and not native:
        what = "heads are patched where they are, in no layer to be given", "write `layer = native`"
    elif variable.value in ("head_scales", "head_mask") and several:
        what = (
            "the heads' sum is written in one layer, or each at its own",
            "give one layer, or `native`",
        )
    elif variable.value == "place_scales" and not native and not several:
        what = (
            "there is a factor for each place, and this is one place",
            "give several layers; or learn one factor: `variable = scale`",
        )
    if what is not None:
        assert layer.span is not None
        place = variable.span if variable.origin == "written" and variable.span else layer.span
        scope.error(
            "MFV3091", place, f"`variable = {variable.value}` does not go with where it is written",
            what[0], what[1], secondary=[Label(layer.span, "written here")],
        )  # fmt: skip


def check_written(scope: Scope, blocks: Sequence[CheckedBlock]) -> None:
    """Warn of a trained vector that an `eval` adds at another site, or to other tokens, than it was
    trained for; layers are compared where the eval is checked."""
    trained = {block.name: block for block in blocks if block.kind == "tune"}
    for block in blocks:
        if block.kind != "eval" or not trained:
            continue
        for vector in [v for mode in PLACED for v in each_of(block[mode])]:
            tune = trained.get(vector.function.text) if isinstance(vector, Call) else None
            if tune is None:
                continue
            own_sites = tune["layer"] != "native" and isinstance(tune["site"], str)
            native = "native" in each_of(block["layer"])
            for name in ("site", "position"):
                made, used = tune[name], block[name]
                if made in (None, used) or (name == "site" and (native or not own_sites)):
                    continue
                scope.error(
                    "MFV3094", vector,
                    f"this vector was trained with `{name} = {made}`, and `eval {block.name}` has "
                    f"`{name} = {used}`", "", f"write `{name} = {made}`", severity="warning",
                )  # fmt: skip
