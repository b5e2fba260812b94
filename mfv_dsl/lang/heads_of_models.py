"""Heads that were ranked in one model and are used in another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mfv_dsl.base.diagnostics import Label
from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.lang.checked import CheckedBlock, Setting
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.evals import own_heads
from mfv_dsl.lang.scope import Scope
from mfv_dsl.lang.syntax import Call, Case, Declaration, Match, Name, Node
from mfv_dsl.lang.values_in import arguments_of, own_words


@dataclass(frozen=True)
class _Use:
    """A call that ranks heads in the model that its ``setting`` names, where those of ``model``
    are wanted."""

    call: Call
    setting: Setting
    model: str


def check_heads(scope: Scope, blocks: Iterable[CheckedBlock]) -> None:
    """Report (MFV3100) heads that a block takes from another model than the one it runs: the number
    of a head says nothing of a head of another model.

    It is an error where the two have other layers or heads; a warning where they have the same, as
    a model and what was trained from it have; nothing where they have the same weights.
    """
    if len(scope.models) < 2:
        return
    reported: set[tuple[object, str]] = set()
    for block in blocks:
        if block.model is None:
            continue
        for setting in block.settings.values():
            values = setting.value if isinstance(setting.value, tuple) else (setting.value,)
            for value in values:
                for use in _uses(scope, value, block.model) if isinstance(value, Node) else ():
                    if (use.call.span, use.model) not in reported:
                        reported.add((use.call.span, use.model))
                        _report(scope, use, block)


def _uses(scope: Scope, value: Node, model: str) -> Iterator[_Use]:
    """The calls behind ``value``, which is for ``model``, that rank heads in another one."""
    work: list[tuple[Node, str]] = [(value, model)]
    visited = set[tuple[str, str]]()

    def follow(name: str, wanted: str) -> None:
        """Go on with what is declared; what a block trains is looked at there."""
        item = scope.names.get(name)
        declared = isinstance(item, Declaration) and item.kind.text in ("heads", "vector")
        if isinstance(item, Declaration) and declared and (name, wanted) not in visited:
            visited.add((name, wanted))
            work.append((item.value, wanted))

    while work:
        node, wanted = work.pop()
        if isinstance(node, Name):
            follow(node.text, wanted)
        elif not isinstance(node, Call):
            parts = node.cases if isinstance(node, Match) else node.children()
            work += [(case.value if isinstance(case, Case) else case, wanted) for case in parts]
        elif node.function.text not in FUNCTION:
            follow(node.function.text, wanted)
        else:
            setting = scope.options.get(node.span, {}).get("model")
            own = wanted
            if setting is not None and setting.origin == "written" and setting.value is not None:
                own = setting.value
            if own != wanted and setting is not None and _ranks(node):
                yield _Use(node, setting, wanted)
                continue
            work += [(v, own) for v, of in arguments_of(node) if of and not own_words(of)]
            if own_heads(node) and scope.heads_of_fv is not None:
                work.append((scope.heads_of_fv.value, own))


def _ranks(call: Call) -> bool:
    """Whether a call makes a set of heads by looking at a model."""
    entry = FUNCTION[call.function.text]
    return entry.result == "Heads" and entry.parameter("model") is not None


def _report(scope: Scope, use: _Use, block: CheckedBlock) -> None:
    ranked, wanted = (scope.models.get(name) for name in (use.setting.value, use.model))
    facts = [model.facts for model in (ranked, wanted) if model is not None]
    known = [fact for fact in facts if isinstance(fact, ModelFacts)]
    alike = len(known) == 2 and known[0].n_heads == known[1].n_heads
    alike = alike and known[0].head_layers == known[1].head_layers
    if alike and known[0].fingerprint == known[1].fingerprint:
        return
    name = f"`{block.kind} {block.own_name}`" if block.kind in ("eval", "tune") else block.kind
    place = block.settings["model"].span
    differ = len(known) == 2 and not alike
    scope.error(
        "MFV3100", use.setting.span or use.call.span,
        f"these heads are those of `{use.setting.value}`, and {name} uses their numbers in "
        f"`{use.model}`", "which has other layers or heads" if differ else "",
        f"rank them in `{use.model}`: leave `model` out; numbers that are meant for any model are "
        "written as a set, `{L3H1, L4H0}`",
        secondary=[Label(place, f"`{use.model}`")] if place is not None else (),
        severity="error" if differ else "warning",
    )  # fmt: skip
