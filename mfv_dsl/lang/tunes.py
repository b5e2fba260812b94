"""What holds of `tune` blocks, and of the vectors that they train."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.facts import DatasetFacts, ModelFacts
from mfv_dsl.base.source import Span
from mfv_dsl.lang import calls, expressions, reach
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.destinations import DRAWN, check_destination
from mfv_dsl.lang.entries import ITEM, TRAINING_SPLIT
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.states import Places, places_read
from mfv_dsl.lang.syntax import Block, Call, Name, Text

_PER_HEAD = ("head_scales", "head_mask", "patch_mask")
#: Those of it that keep a head or do not, and so cannot shorten what it writes.
_MASKS = ("head_mask", "patch_mask")
#: How far the logit of a chance is from a half when `patch_mask` begins; a step of Adam goes about
#: as far as its learning rate.
_TO_A_HALF = 1.0


def type_of(scope: Scope, block: Block, context: TypingContext) -> Type:
    """The type of the vectors that a block trains."""
    found = _written_at(scope, block, context)
    if found is None:
        return UNKNOWN
    layer, places, sites = found
    parts = not places and _keeps_parts(scope, block, context)
    return Type("Vector", model=context.model, parts=parts, layer=layer, places=places, sites=sites)


def _keeps_parts(scope: Scope, block: Block, context: TypingContext) -> bool:
    """Whether the vectors that a block trains have per-head parts."""
    values = {attribute.name.text: attribute.value for attribute in block.attributes}
    variable = values.get("variable")
    if not isinstance(variable, Name):
        return False
    if variable.text != "scale":
        return variable.text in _PER_HEAD
    start = _start_type(scope, block, context)
    return start is not None and start.parts


def _start_type(scope: Scope, block: Block, context: TypingContext) -> Type | None:
    """The type of the vector that a block begins with; None of one that is drawn, or missing."""
    values = {attribute.name.text: attribute.value for attribute in block.attributes}
    start = values.get("start")
    if start is None or (isinstance(start, Name) and start.text in DRAWN):
        return None
    reported = set(scope.reported)
    with scope.aside():  # it is looked at again, and reported, with the block's attributes
        start_type = expressions.infer(scope, start, context)
    scope.reported = reported
    return start_type


def _written_at(
    scope: Scope, block: Block, context: TypingContext
) -> tuple[int | None, Places | None, tuple[str, ...]] | None:
    """The layer that a block trains vectors for, where it is one; the places where it is several,
    None where they are not known; and the site, which is the stream where it is not one.  None
    where the block does not say, which is reported with its attributes."""
    layer, site = (_option(scope, block, name, context) for name in ("layer", "site"))
    stream = ("residual",)
    if layer is None or site is None:
        return None
    if layer == "native":
        start = _start_type(scope, block, context)
        return None, () if start is None else start.places, stream
    words = site if isinstance(site, tuple) else (site,)
    if isinstance(layer, int) and len(words) == 1:
        return layer, (), words
    found = {places_read(layer, site, facts) for facts in scope.model_facts(context)}
    if len(found) != 1:
        return None, None, stream
    (places,) = found
    return (places[0][1], (), words) if len(places) == 1 else (None, places, stream)


def _option(scope: Scope, block: Block, name: str, context: TypingContext) -> Any:
    """The value of an attribute of a block; None where it is not known."""
    parameter = ITEM["tune"].parameter(name)
    values = {attribute.name.text: attribute.value for attribute in block.attributes}
    nodes = (values[name],) if name in values else None
    reported = set(scope.reported)
    assert parameter is not None
    with scope.aside():  # as above
        value = calls.option(scope, ITEM["tune"], parameter, nodes, context).value
    scope.reported = reported
    return value


def check_tune(
    scope: Scope, settings: Mapping[str, Setting], facts: Sequence[DatasetFacts],
    models: Sequence[ModelFacts], subject: str,
) -> None:  # fmt: skip
    """Check what holds between the attributes of one block."""
    start, variable = settings["start"], settings["variable"]
    if variable.value in _PER_HEAD and start.span is not None:
        start_type = scope.node_types.get(start.span)
        if start.value in DRAWN or (start_type is not None and not start_type.parts):
            scope.error(
                "MFV3005", start.span,
                f"`variable = {variable.value}` needs per-head parts, and this start has none",
                "", "begin with a function vector, such as `fv(each)`",
                secondary=[Label(variable.span, "learns per head")] if variable.span else (),
            )  # fmt: skip
    check_destination(scope, settings, models, subject)
    select = settings["select_on"]
    if select.value == TRAINING_SPLIT and select.span is not None:
        scope.error(
            "MFV5312", select.span, f"the epoch is never chosen on `{TRAINING_SPLIT}`",
            "these are the prompts it is trained on", "write `select_on = validation`",
        )  # fmt: skip
    kl = settings["kl"]
    if kl.value and kl.span is not None and facts and len(facts[0].relations) < 2:
        scope.error(
            "MFV5311", kl.span, f"`kl` of {subject} needs prompts of other relations",
            f"the dataset has only {facts[0].relations[0]}",
        )  # fmt: skip
    if variable.value == "patch_mask":
        _check_sampling(scope, settings)
    mask, taught = variable.value in _MASKS, settings["loss"].value == "teacher"
    of_variable, of_loss = f"`variable` is {variable.value}", f"`loss` is {settings['loss'].value}"
    for name, idle, why in (
        ("sparsity", not mask, of_variable), ("max_norm", mask, of_variable),
        ("weight_decay", variable.value == "patch_mask", of_variable),
        ("teacher_shots", not taught, of_loss), ("nll_weight", not taught, of_loss),
    ):  # fmt: skip
        span = settings[name].span
        if idle and settings[name].origin == "written" and span is not None:
            scope.error(
                "MFV2022", span, f"`{name}` has no effect in {subject}", why, severity="warning"
            )


def _check_sampling(scope: Scope, settings: Mapping[str, Setting]) -> None:
    """What a mask that is learned from samples cannot do."""
    kl, batch, variable = settings["kl"], settings["batch"], settings["variable"]
    if kl.value and kl.span is not None:
        scope.error(
            "MFV3093", kl.span, "`variable = patch_mask` learns from the loss of answers alone",
            "this has a gradient of its own", "leave `kl` out",
        )  # fmt: skip
    if batch.value == 1 and batch.span is not None:
        scope.error(
            "MFV3093", batch.span, "`variable = patch_mask` compares the prompts of a step",
            "there is one", "give several: `batch = 32`",
        )  # fmt: skip
    epochs, items, lr = (settings[name].value for name in ("epochs", "items", "lr"))
    numbers = [n for n in (epochs, items, lr, batch.value) if isinstance(n, int | float)]
    if len(numbers) < 4 or variable.span is None:
        return
    steps = math.ceil(items / batch.value) * epochs
    if lr * (steps + 1) / 2 < _TO_A_HALF:  # of a learning rate that falls along a cosine
        scope.error(
            "MFV3101", variable.span,
            f"in {steps} step{'s' if steps != 1 else ''} with `lr = {lr:g}` hardly any head's "
            "chance of being patched comes above a half", "a head is patched above a half, and "
            "all begin at 0.27", "train longer, by more `epochs` or `items` or a smaller `batch`, "
            "or with a larger `lr`", severity="warning",
        )  # fmt: skip


def check_uses(scope: Scope, blocks: Sequence[CheckedBlock]) -> None:
    """Report every use of a tuned vector of a relation that its block does not train."""
    trained = {block.name: block["on"] for block in blocks if block.kind == "tune"}
    if not trained:
        return
    relations = scope.relations(TypingContext())
    missing: dict[Span, _Missing] = {}
    for here in reach.all_reached(scope, blocks):
        call = here.node
        on = trained.get(call.function.text) if isinstance(call, Call) else None
        if on is None or not isinstance(call, Call):
            continue
        argument = call.arguments[0]
        if not isinstance(argument, Name | Text):
            continue
        relation = here.relation(argument)
        if relation is None or relation in on:
            continue
        if relations is not None and relation not in relations:
            continue
        use = missing.setdefault(call.span, _Missing(call, on, here.within))
        if relation not in use.relations:
            use.relations.append(relation)
    for use in missing.values():
        name = use.call.function.text
        names = ", ".join(f"`{relation}`" for relation in use.relations)
        argument = use.call.arguments[0]
        bound = isinstance(argument, Name) and argument.text not in use.relations
        scope.error(
            "MFV5310", use.call, f"`{name}` trains no vector of {names}",
            f"it trains: {', '.join(use.trained)}",
            f"add what is missing to `on` of `tune {name}`, or leave it out here",
            notes=[f"needed by {use.within}"] if bound else [],
        )  # fmt: skip


@dataclass
class _Missing:
    """A call of a tuned family, the relations it trains, where it is used, and the relations that
    are used and not trained."""

    call: Call
    trained: Sequence[str]
    within: str
    relations: list[str] = field(default_factory=list)
