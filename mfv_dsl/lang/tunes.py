"""What holds of `tune` blocks, and of the vectors that they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.facts import DatasetFacts
from mfv_dsl.base.source import Span
from mfv_dsl.lang import calls, expressions, reach
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.entries import ITEM, TRAINING_SPLIT
from mfv_dsl.lang.scope import Scope, Type, TypingContext
from mfv_dsl.lang.syntax import Block, Call, Name

_PER_HEAD = ("head_scales", "head_mask")
#: Starts that are drawn, and have no per-head parts.
DRAWN = ("random", "normal")


def type_of(scope: Scope, block: Block, context: TypingContext) -> Type:
    """The type of the vectors that a block trains."""
    parts, layer = _keeps_parts(scope, block, context), _layer_of(scope, block, context)
    return Type("Vector", model=context.model, parts=parts, layer=layer)


def _keeps_parts(scope: Scope, block: Block, context: TypingContext) -> bool:
    """Whether the vectors that a block trains have per-head parts."""
    values = {attribute.name.text: attribute.value for attribute in block.attributes}
    variable = values.get("variable")
    if not isinstance(variable, Name):
        return False
    if variable.text != "scale":
        return variable.text in _PER_HEAD
    start = values.get("start")
    if start is None or (isinstance(start, Name) and start.text in DRAWN):
        return False
    reported = set(scope.reported)
    with scope.aside():  # it is looked at again, and reported, with the block's attributes
        parts = expressions.infer(scope, start, context).parts
    scope.reported = reported
    return parts


def _layer_of(scope: Scope, block: Block, context: TypingContext) -> int | None:
    """The layer that a block trains vectors for; None where it is not known."""
    parameter = ITEM["tune"].parameter("layer")
    values = {attribute.name.text: attribute.value for attribute in block.attributes}
    nodes = (values["layer"],) if "layer" in values else None
    reported = set(scope.reported)
    assert parameter is not None
    with scope.aside():  # as above
        layer = calls.option(scope, ITEM["tune"], parameter, nodes, context).value
    scope.reported = reported
    return layer if isinstance(layer, int) else None


def check_tune(
    scope: Scope, settings: Mapping[str, Setting], facts: Sequence[DatasetFacts], subject: str
) -> None:
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
    start_type = None if start.span is None else scope.node_types.get(start.span)
    if start.span is not None and start_type is not None and start_type.places:
        scope.error(
            "MFV3081", start.span,
            f"{subject} trains a vector of one layer, and this start has a part for each of "
            "several places", "", "read one layer, or begin with another vector",
        )  # fmt: skip
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
    mask = variable.value == "head_mask"
    for name, idle in (("sparsity", not mask), ("max_norm", mask)):
        span = settings[name].span
        if idle and settings[name].origin == "written" and span is not None:
            scope.error(
                "MFV2022", span, f"`{name}` has no effect in {subject}",
                f"`variable` is {variable.value}", severity="warning",
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
        if on is None or not isinstance(call, Call) or not isinstance(call.arguments[0], Name):
            continue
        relation = here.relation(call.arguments[0])
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
