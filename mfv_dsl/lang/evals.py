"""What an `eval` asks of the expression it measures, and of the evals it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.entries import (
    CONTROL,
    DEFAULT_HEADS,
    ITEM,
    OFF_TASK_METRICS,
    PLACED,
    VECTOR_WRITES,
    WRITERS,
    WRITES,
    off_task_metrics,
)
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, Block, Call, Expr, Gap, ListExpr, Name, Node
from mfv_dsl.lang.values_in import references

#: modes that are about heads, not about a vector
_OF_HEADS = {"ablate": "an ablation", "classify": "a classification"}
#: attributes of which two evals must have the same for their items to be the same
_SAME_ITEMS = ("dataset", "split", "items", "correct_with", "seed", "answer")


def each_of(value: Any) -> tuple[Any, ...]:
    """The parts of a value that may be one, several or none."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def mode_of(settings: Mapping[str, Setting]) -> str | None:
    """What the eval does: the first of :data:`WRITES` that it has."""
    return next((name for name in WRITES if settings[name].value is not None), None)


def calls_behind(scope: Scope, expressions: Iterable[Expr]) -> Iterator[Call]:
    """Every call that the expressions are made of, also through declared names and `defaults`."""
    work, visited = list(expressions), set[str]()
    while work:
        node = work.pop()
        calls = [part for part in node.walk() if isinstance(part, Call)]
        yield from calls
        for name in references(node):
            item = scope.names.get(name.text)
            if name.text not in visited and item is not None:
                visited.add(name.text)
                if isinstance(item, Block):
                    work += [a.value for a in item.attributes if a.name.text == "start"]
                elif item.kind.text in ("heads", "vector"):
                    work.append(item.value)
        heads = scope.heads_of_fv
        if heads is not None and "defaults" not in visited and any(map(own_heads, calls)):
            visited.add("defaults")
            work.append(heads.value)


def own_heads(call: Call) -> bool:
    """Whether a call takes the heads of `defaults`, or where there are none its own `top`."""
    named = {keyword.name.text for keyword in call.keywords}
    return call.function.text == "fv" and "heads" not in named


# -- one eval -------------------------------------------------------------------------------------
def check_expressions(
    scope: Scope, attributes: Mapping[str, Attribute], settings: Mapping[str, Setting],
    context: TypingContext, subject: str,
) -> None:  # fmt: skip
    """Check `k` and `controls` against the vectors or heads that the eval is about."""
    mode = mode_of(settings)
    if any(name in attributes for name in WRITES) and mode is None:
        return  # its value is reported already
    expressions = each_of(settings[mode].value) if mode else ()
    ablated = each_of(settings["ablate"].value) if mode == "add" else ()
    margin = attributes.get("margin")
    if margin is not None and not margin.given and "against" not in attributes:
        scope.error(
            "MFV2022", margin.name, f"`margin` has no effect in {subject}",
            "it has no `against`", severity="warning",
        )  # fmt: skip
    for name in ("off_task", "off_task_items"):
        idle = attributes.get(name)
        if (
            idle is not None and not (idle.given or isinstance(idle.value, Gap))
            and not off_task_metrics(settings["metrics"].value)
        ):  # fmt: skip
            scope.error(
                "MFV2022", idle.name, f"`{name}` has no effect in {subject}",
                f"its `metrics` have neither {' nor '.join(f'`{m}`' for m in OFF_TASK_METRICS)}",
                severity="warning",
            )  # fmt: skip
    _check_idle(scope, attributes, mode, subject)
    if "k" in attributes and settings["k"].value is not None:
        counted = () if any(_tops(scope, heads) for heads in ablated) else expressions
        _check_k(scope, attributes["k"], settings["k"], counted, context)
    if isinstance(settings["controls"].value, tuple) and "controls" in attributes:
        check = _Controls(scope, attributes["controls"], settings, context, subject)
        for control in settings["controls"].value:
            check.control(control, mode, expressions)


def _check_idle(
    scope: Scope, attributes: Mapping[str, Attribute], mode: str | None, subject: str
) -> None:
    """MFV2022: attributes that have no effect with what the eval does.  Without any vector
    written, those that need one are looked at elsewhere."""
    present = {name for name in (*WRITES, "when") if name in attributes}
    for name, attribute in attributes.items():
        parameter = ITEM["eval"].parameter(name)
        if attribute.given or isinstance(attribute.value, Gap) or parameter is None:
            continue
        acts_in = {*parameter.acts_in}
        if not acts_in or name == "controls":  # of nothing, which is an error
            continue
        if mode is None and acts_in >= {*WRITERS}:
            why = "it writes nothing"
        elif mode == "classify" and acts_in == {*WRITERS}:
            why = "nothing is written where heads classify"
        elif len(acts_in) == 1 and acts_in < {"when", "classify"} and acts_in.isdisjoint(present):
            why = f"it has no {_either(acts_in)}"
        elif mode in VECTOR_WRITES and acts_in <= {*PLACED} and acts_in.isdisjoint(present):
            why = f"it acts beside {_either(parameter.acts_in)}"
        else:
            continue
        scope.error(
            "MFV2022", attribute.name, f"`{name}` has no effect in {subject}", why,
            severity="warning",
        )  # fmt: skip


def _either(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _check_k(
    scope: Scope, attribute: Attribute, setting: Setting, expressions: tuple[Expr, ...],
    context: TypingContext,
) -> None:  # fmt: skip
    for expression in expressions:
        if not _tops(scope, expression):
            scope.error(
                "MFV5332", attribute.name, "`k` counts heads of a `top(...)`, and there is none",
                "", "make the heads by `top(10)`, or take `k` out",
                secondary=[Label(expression.span, "made without `top`")],
            )  # fmt: skip
            return
    most = max((fact.head_count for fact in scope.model_facts(context)), default=0)
    largest = max(each_of(setting.value))
    if most and largest > most:
        scope.error(
            "MFV4004", attribute.value, f"the model has no {largest} heads", f"it has {most} in all"
        )


def _tops(scope: Scope, expression: Expr) -> list[int]:
    """How many heads each `top(...)` behind an expression chooses; `fv` alone has its own."""
    counts = []
    for call in calls_behind(scope, [expression]):
        if call.function.text == "top":
            options = scope.options.get(call.span, {})
            k = options["k"].value if "k" in options else None
            counts.append(1 if k is None else k)  # it may be wrong, and reported
        elif own_heads(call) and scope.heads_of_fv is None:
            counts.append(DEFAULT_HEADS)
    return counts


class _Controls:
    """Whether an eval can have the controls that it asks for."""

    def __init__(
        self, scope: Scope, attribute: Attribute, settings: Mapping[str, Setting],
        context: TypingContext, subject: str,
    ) -> None:  # fmt: skip
        self.scope, self.attribute, self.settings = scope, attribute, settings
        self.context, self.subject = context, subject

    def control(self, control: str, mode: str | None, expressions: tuple[Expr, ...]) -> None:
        """Report what keeps one control from taking the place of ``expressions``."""
        if mode is None:
            self._refuse(
                control, f"there is nothing to control in {self.subject}",
                "it writes nothing",
            )  # fmt: skip
        elif mode not in CONTROL[control].of:
            self._refuse(
                control, f"`{control}` is a control of a vector, and {self.subject} "
                + ("ablates heads" if mode == "ablate" else "classifies by heads"),
                help=f"the control of {_OF_HEADS[mode]} is `random_heads`",
            )  # fmt: skip
        else:
            before = len(self.scope.findings)
            check = getattr(self, f"_{control}", None)  # a control may ask for nothing
            for expression in expressions:
                if check and len(self.scope.findings) == before:  # one report a control is enough
                    check(control, mode, expression)

    def _random_heads(self, control: str, mode: str, expression: Expr) -> None:
        counts = _tops(self.scope, expression)
        if not counts:
            self._refuse(
                control, "there is no `top(...)` to put random heads in the place of",
                at=expression, where="made without `top`",
            )  # fmt: skip
            return
        largest = max(each_of(self.settings["k"].value) or counts)
        for facts in self.scope.model_facts(self.context):
            total = facts.head_count
            if 2 * largest > total:
                self._refuse(
                    control, f"the model has {total} heads, too few for {largest} chosen ones and "
                    "as many others", code="MFV5334", help=f"at most {total // 2} heads",
                )  # fmt: skip

    def _random_vector(self, control: str, mode: str, expression: Expr) -> None:
        node_type = self.scope.node_types.get(expression.span)
        if node_type is not None and node_type.places:
            return
        if mode == "patch" or "native" in each_of(self.settings["layer"].value):
            needs = "`patch`" if mode == "patch" else "`layer = native`"
            self._refuse(control, f"a random vector has no per-head parts, which {needs} needs")

    def _other_relation(self, control: str, mode: str, expression: Expr) -> None:
        if not any(isinstance(node, Name) and node.text == "each" for node in expression.walk()):
            self._refuse(
                control, "this vector does not depend on the relation under test",
                at=expression, where="made without `each`",
            )  # fmt: skip
        elif any(len(facts.relations) < 2 for facts in self.scope.dataset_facts(self.context)):
            self._refuse(control, "the dataset has no other relation")

    def _shuffled(self, control: str, mode: str, expression: Expr) -> None:
        behind = list(calls_behind(self.scope, [expression]))
        calls = [call for call in behind if call.function.text == "fv"]
        states = [call for call in behind if call.function.text == "states"]
        if states:
            self._shuffled_states(control, states)
        if not calls and not states:
            self._refuse(
                control, "there are no prompts behind this vector whose answers could be shuffled",
                at=expression, where="made without `fv` and without `states`",
            )  # fmt: skip
        for call in calls:
            options = self.scope.options.get(call.span, {})
            shots = options["shots"].value if "shots" in options else None
            if shots is not None and shots < 2:
                self._refuse(
                    control, "answers are shuffled among two demonstrations or more",
                    at=call, where=f"made with `shots = {shots}`",
                )  # fmt: skip
                return

    def _shuffled_states(self, control: str, calls: list[Call]) -> None:
        """Some of the prompts that are read have answers to shuffle, and none is a twin already."""
        most = 0
        for call in calls:
            options = self.scope.options.get(call.span, {})
            if options and options["corrupt"].value is not None:
                self._refuse(
                    control, "the prompts that are read are corrupted already",
                    at=call, where=f"by `corrupt = {options['corrupt'].value}`",
                )  # fmt: skip
                return
            shots = options["shots"].value if options else None
            most = max(most, 2 if shots is None else shots)
        if most < 2:
            self._refuse(
                control, "answers are shuffled among two demonstrations or more",
                at=calls[0], where="read with fewer",
            )  # fmt: skip

    def _refuse(
        self, control: str, message: str, label: str = "", help: str | None = None,
        at: Expr | None = None, where: str = "", code: str = "MFV5333",
    ) -> None:  # fmt: skip
        """Report at the control's name, ``at`` being another place that belongs to the story."""
        value = self.attribute.value
        names = value.items if isinstance(value, ListExpr) else (value,)
        places: list[Node] = [n for n in names if isinstance(n, Name) and n.text == control]
        self.scope.error(
            code, (places or [value])[0], message, label, help,
            secondary=[Label(at.span, where)] if at is not None else (),
        )  # fmt: skip


# -- evals compared -------------------------------------------------------------------------------
def check_comparisons(scope: Scope, blocks: Iterable[CheckedBlock]) -> None:
    """Check that evals named by `against` measure the same items, under one condition; of evals of
    one name, which are an error of their own, the first."""
    evals: dict[str, CheckedBlock] = {}
    for block in blocks:
        if block.kind == "eval":
            evals.setdefault(block.name, block)
    for block in evals.values():
        for name in each_of(block["against"]):
            if name in evals:
                _check_comparison(scope, block, evals[name])


def _check_comparison(scope: Scope, block: CheckedBlock, other: CheckedBlock) -> None:
    at = _place(scope, block, other)
    if block is other:
        scope.error("MFV5331", at, f"`{block.name}` is compared with itself")
        return
    several = [name for name in swept(other) if name not in each_of(other["choose"])]
    if several:
        place = other.settings[several[0]].span
        scope.error(
            "MFV5331", at, f"`{other.name}` has several conditions for each relation",
            "which one is meant?", f"give it one `{several[0]}`, or let it `choose`",
            secondary=[Label(place, f"`{other.name}` sweeps this")] if place else (),
        )  # fmt: skip
    for name in _SAME_ITEMS:
        own, counterpart = block.settings[name], other.settings[name]
        if own.value == counterpart.value or (
            None in (own.value, counterpart.value) and name != "correct_with"
        ):
            continue
        here, there = (
            "left out" if value is None else f"`{value}`"
            for value in (own.value, counterpart.value)
        )
        _differ(scope, block, other, name, f"is {here} here and {there} there")
        return
    missing = [name for name in each_of(block["on"]) if name not in each_of(other["on"])]
    if missing and block.dataset == other.dataset and other["on"] is not None:
        _differ(scope, block, other, "on", f"lacks `{missing[0]}` there")


def _differ(
    scope: Scope, block: CheckedBlock, other: CheckedBlock, name: str, problem: str
) -> None:
    place = other.settings[name].span
    scope.error(
        "MFV5330", _place(scope, block, other),
        f"`{block.name}` and `{other.name}` do not measure the same items",
        f"`{name}` {problem}", "a paired difference needs the same items on both sides",
        secondary=[Label(place, f"of `{other.name}`")] if place else (),
    )  # fmt: skip


def _place(scope: Scope, block: CheckedBlock, other: CheckedBlock) -> Node:
    """Where a block names the eval that it is compared with."""
    against = [a for a in scope.evals[block.name].attributes if a.name.text == "against"]
    nodes = [node for attribute in against for node in attribute.value.walk()]
    return next(node for node in nodes if isinstance(node, Name) and node.text == other.name)


def swept(block: CheckedBlock) -> list[str]:
    """The attributes of an eval that have several values and an effect."""
    mode = mode_of(block.settings)
    names = ["shots"]
    if mode is not None:
        names += [mode, "k"]
    if mode in PLACED:
        names.append("layer")
    if mode in ("add", "replace"):
        names.append("scale")
    return [name for name in names if len(each_of(block[name])) > 1]
