"""``profile tiny { flamingo = tiny(), shapes.size = 40 }``: named values in place of others.

A profile's lines are changes as ``--set`` makes them, in the order in which they stand.  What a
recipe's profiles name is checked with the recipe; whether the recipe is right with one, when that
one is used, and by :func:`~mfv_dsl.lang.checker.check_every_profile`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.source import Source, Span
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.lang.changes import (
    Change,
    Unchangeable,
    changed_models,
    target_at,
    value_before,
    with_change,
)
from mfv_dsl.lang.overrides import NOT_IN_MODEL
from mfv_dsl.lang.syntax import Block, Item, ListExpr, Name, RecipeTree, Text, same

#: the code of a profile that changes nothing
NOTHING = "MFV2033"


def profiles_of(recipe: RecipeTree) -> dict[str, Block]:
    """The profiles of a recipe by name, in its order; of two of one name the first."""
    profiles: dict[str, Block] = {}
    for profile in _profiles(recipe):
        assert isinstance(profile.label, Name)
        profiles.setdefault(profile.label.text, profile)
    return profiles


def changes_of(profile: Block) -> list[Change]:
    """What a profile changes, line by line."""
    return [
        Change(line.name, None, line.value, line.span)
        if line.of is None
        else Change(line.of, line.name, line.value, line.span)
        for line in profile.attributes
    ]


def check_profiles(recipe: RecipeTree) -> list[Diagnostic]:
    """Profiles of one name, what a profile changes twice, what is not there to change, and profiles
    that change nothing."""
    findings: list[Diagnostic] = []
    names: dict[str, Name] = {}

    def report(code: str, span: Span, message: str, first: Span) -> None:
        places = (Label(first, "given here"),)
        findings.append(
            Diagnostic(code, message, recipe.source, span, "and again", secondary=places)
        )

    for profile in _profiles(recipe):
        assert isinstance(profile.label, Name)
        first = names.setdefault(profile.label.text, profile.label)
        if first is not profile.label:
            message = f"there are two profiles `{first.text}`"
            report("MFV2008", profile.label.span, message, first.span)
        targets: dict[tuple[str, str], Change] = {}
        for change in changes_of(profile):
            attribute = f".{change.attribute.text}" if change.attribute else ""
            earlier = targets.setdefault((change.name, attribute), change)
            if earlier is not change:
                message = f"`{change.name}{attribute}` is given twice"
                report("MFV2013", _place(change), message, _place(earlier))
        findings += [
            Diagnostic("MFV2031", error.message, recipe.source, error.span, help=error.help)
            for error in _applied(recipe.items, profile)[1]
        ]
        if not _changes_something(recipe.items, profile) and NOTHING not in _allowed(recipe.items):
            findings.append(
                Diagnostic(
                    NOTHING, f"the profile `{profile.label.text}` changes nothing", recipe.source,
                    profile.label.span,
                    "all of it is there without it" if profile.attributes else "it is empty",
                    "warning",
                    help="give other values in it, or take it out",
                )
            )  # fmt: skip
    return findings


def with_profile(recipe: RecipeTree, profile: Block) -> RecipeTree:
    """The recipe once the profile's changes are made, but for those that are not possible."""
    return replace(recipe, items=tuple(_applied(recipe.items, profile)[0]))


def set_aside(recipe: RecipeTree, profile: str) -> RecipeTree:
    """The recipe with folders of its own for what it saves: ``vectors/mine-tiny``."""

    def aside(item: Item) -> Item:
        if isinstance(item, Block) and item.kind.text == "save" and isinstance(item.label, Text):
            folder = f"{item.label.value.rstrip('/')}-{profile}"
            return replace(item, label=replace(item.label, value=folder))
        return item

    return replace(recipe, items=tuple(map(aside, recipe.items)))


def without_profiles(recipe: RecipeTree) -> RecipeTree:
    """The recipe with no profiles, such as one whose values are settled."""
    others = (item for item in recipe.items if item.kind.text != "profile")
    return replace(recipe, items=tuple(others))


def unknown_profile(name: str, recipe: RecipeTree) -> Diagnostic:
    """What is said of a profile that a recipe has not."""
    profiles = profiles_of(recipe)
    listed = f"it has {', '.join(profiles)}" if profiles else "it has none"
    return Diagnostic(
        "MFV2030", f"{recipe.source.name} has no profile `{name}`", Source(name, "--profile"),
        Span(0, len(name)), listed, help=did_you_mean(name, profiles),
    )  # fmt: skip


def blamed(finding: Diagnostic, recipe: RecipeTree, profile: Block) -> Diagnostic:
    """What is wrong only with a profile, with its place there: in the line that brought the model
    where the model is at fault, else at the profile's name.

    ``recipe`` is the one with the profile's changes.
    """
    assert isinstance(profile.label, Name)
    span = finding.span
    if span is None or profile.span.start <= span.start < profile.span.end:
        return finding
    at, help = profile.label.span, finding.help
    if finding.code in NOT_IN_MODEL and (
        changes := changed_models(recipe.items, changes_of(profile))
    ):
        at = changes[-1].span
        target = target_at(recipe.items, span)
        if target is not None:
            help = f"give `{target}` a value in the profile as well"
    elsewhere = Label(span, finding.label or "here")
    note = f"so it is with the profile `{profile.label.text}`"
    return replace(
        finding, span=at, label="", help=help, secondary=(elsewhere, *finding.secondary),
        notes=(*finding.notes, note), fixes=(),
    )  # fmt: skip


def _changes_something(items: Sequence[Item], profile: Block) -> bool:
    """Whether a profile gives a value that is not written where it puts it."""
    for change in changes_of(profile):
        before = value_before(items, change)
        if before is None or not same(before, change.value):
            return True
    return False


def _allowed(items: Sequence[Item]) -> set[str]:
    """The warnings that `defaults` allow for the whole recipe."""
    blocks = [item for item in items if isinstance(item, Block) and item.kind.text == "defaults"]
    lists = [
        attribute.value
        for block in blocks
        if block.reach is None
        for attribute in block.attributes
        if attribute.name.text == "allow" and isinstance(attribute.value, ListExpr)
    ]
    return {code.text for listed in lists for code in listed.items if isinstance(code, Name)}


def _place(change: Change) -> Span:
    """Where a change says what it changes."""
    last = change.attribute or change.target
    return change.target.span.to(last.span)


def _profiles(recipe: RecipeTree) -> list[Block]:
    """Every profile, also a second one of a name, but for those without a name."""
    blocks = [item for item in recipe.items if isinstance(item, Block)]
    return [b for b in blocks if b.kind.text == "profile" and isinstance(b.label, Name)]


def _applied(items: Sequence[Item], profile: Block) -> tuple[Sequence[Item], list[Unchangeable]]:
    """The items once the profile's changes are made, and why the others are not."""
    refused = []
    for change in changes_of(profile):
        try:
            items = with_change(items, change)
        except Unchangeable as error:
            refused.append(error)
    return items, refused
