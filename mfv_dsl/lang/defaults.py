"""``defaults { … }`` and ``defaults for tune { … }``: values for what does not say otherwise.

A value is looked for where it is written, then in `defaults for` the kind of block or the function,
then in `defaults`, then in the registry.  What `defaults for` says of blocks is written into them
before they are checked; what it says of functions is found by
:meth:`~mfv_dsl.lang.scope.Scope.default_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.source import Span
from mfv_dsl.lang import values
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.copies import Copies
from mfv_dsl.lang.entries import ITEM, ITEMS, all_entries, takers
from mfv_dsl.lang.functions import FUNCTIONS
from mfv_dsl.lang.registry import Entry, Parameter, by_name
from mfv_dsl.lang.scope import Scope, TypingContext
from mfv_dsl.lang.syntax import Attribute, Block, Item, RecipeTree

DEFAULTS = "defaults"
#: codes of a value that is of another form than the word takes
_OF_ANOTHER_FORM = ("MFV3001", "MFV3013")


def _kinds() -> Iterator[Entry]:
    """What `defaults for` may name: blocks with attributes, and functions with options."""
    yield from (entry for entry in ITEMS if entry.form == "block" and entry.parameters)
    yield from (entry for entry in FUNCTIONS if any(map(_is_option, entry.parameters)))


def _is_option(parameter: Parameter) -> bool:
    """Whether a call may leave a parameter of a function out."""
    return not parameter.positional and not parameter.required


KINDS = by_name(_kinds())


def written_out(recipe: RecipeTree, copies: Copies) -> RecipeTree:
    """The recipe with what `defaults for` says of blocks as attributes of those that do not say it
    themselves."""
    given: dict[str, dict[str, Attribute]] = {}
    for item in recipe.items:
        if isinstance(item, Block) and item.kind.text == DEFAULTS and item.reach is not None:
            kind = item.reach.text
            if kind in ITEM and kind in KINDS:
                for attribute in item.attributes:
                    known = attribute.of is None and ITEM[kind].parameter(attribute.name.text)
                    if known:
                        given.setdefault(kind, {}).setdefault(attribute.name.text, attribute)
    if not given:
        return recipe
    return replace(recipe, items=tuple(_with(item, given, copies) for item in recipe.items))


def _with(item: Item, given: dict[str, dict[str, Attribute]], copies: Copies) -> Item:
    if not isinstance(item, Block) or item.kind.text not in given:
        return item
    own = {attribute.name.text for attribute in item.attributes}
    more = [
        replace(copies.again(attribute), given=True)
        for name, attribute in given[item.kind.text].items()
        if name not in own
    ]
    return replace(item, attributes=(*item.attributes, *more))


def enter_defaults(scope: Scope, block: Block, attributes: dict[str, Attribute]) -> None:
    """Note what a block of `defaults` says; a second one for the same is an error."""
    reach = None if block.reach is None else block.reach.text
    first = scope.default_blocks.setdefault(reach, block)
    if first is not block:
        shown = "`defaults`" if reach is None else f"`defaults for {reach}`"
        scope.error(
            "MFV2008", block.reach or block.kind, f"{shown} is given twice", "and again",
            secondary=[Label((first.reach or first.kind).span, "given here")],
        )  # fmt: skip
    elif reach is None:
        scope.defaults = attributes
    else:
        scope.reaching[reach] = attributes


def check_defaults(scope: Scope) -> None:
    """Check the values of `defaults` against what takes them."""
    context = scope.home()
    for name, attribute in scope.defaults.items():
        pairs = takers(name)
        if not pairs:
            _not_taken(scope, attribute)
            continue
        attempts = []
        for entry, parameter in pairs:
            with scope.aside() as findings:
                values.default(scope, name, parameter, context, f"`{entry.name}`")
            if not findings or f"defaults.{name}" in scope.reported:
                break
            attempts.append(findings)
        else:
            # What is wrong with the value itself, rather than what else a word would take.
            fitting = [a for a in attempts if all(d.code not in _OF_ANOTHER_FORM for d in a)]
            scope.findings.extend((fitting or attempts)[0])
            scope.once(f"defaults.{name}")
    for kind, attributes in scope.reaching.items():
        for attribute in attributes.values():
            _check_reaching(scope, KINDS[kind], attribute, context)


def _check_reaching(
    scope: Scope, entry: Entry, attribute: Attribute, context: TypingContext
) -> None:
    name = attribute.name.text
    parameter = entry.parameter(name)
    subject = f"`{entry.name}`"
    if parameter is None:
        words = [p.name for p in entry.parameters if entry.kind == "item" or _is_option(p)]
        scope.unknown(
            "MFV2004", f"attribute of `defaults for {entry.name}`:", attribute.name, words,
            f"{subject} takes: {', '.join(words)}",
        )  # fmt: skip
    elif entry.kind == "function" and not _is_option(parameter):
        scope.error(
            "MFV2018", attribute.name, f"`{name}` of {subject} cannot come from `defaults`",
            "each call says this itself",
        )  # fmt: skip
    elif entry.kind == "function":
        with scope.aside() as findings:
            values.default(scope, f"{entry.name}.{name}", parameter, context, subject)
        if scope.once(f"defaults.{entry.name}.{name}"):
            scope.findings.extend(findings)
    elif entry.name not in scope.kinds_of_blocks:  # otherwise the blocks are checked with it
        within = replace(context, each=name != "on")
        values.value(scope, parameter, attribute.value, within, subject)


def _not_taken(scope: Scope, attribute: Attribute) -> None:
    scope.once(f"defaults.{attribute.name.text}")
    name = attribute.name.text
    blocks = [entry.name for entry in ITEMS if entry.parameter(name) is not None]
    if blocks:
        scope.error(
            "MFV2018", attribute.name, f"`{name}` cannot come from `defaults`",
            "each block says this itself",
            " or ".join(f"`defaults for {kind}`" for kind in blocks) + " may give it",
        )  # fmt: skip
        return
    names = {p.name for entry in all_entries() for p in entry.parameters if p.from_defaults}
    scope.unknown(
        "MFV2004", "attribute of `defaults`:", attribute.name, sorted(names),
        "no block and no function takes it",
    )  # fmt: skip


def once_in_defaults(scope: Scope, findings: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """The findings, but of one kind at one place of a `defaults for` the first alone: it is about
    each of the blocks."""
    blocks = [block.span for reach, block in scope.default_blocks.items() if reach is not None]
    seen: set[tuple[str, Span]] = set()
    for finding in findings:
        span = finding.span
        if span is not None and any(b.start <= span.start < b.end for b in blocks):
            if (finding.code, span) in seen:
                continue
            seen.add((finding.code, span))
        yield finding


def default_settings(scope: Scope, context: TypingContext) -> dict[str, Setting]:
    """The values of `defaults`, as the first block or function that accepts them takes them."""
    return settings_of(scope, scope.defaults, context)


def settings_of(
    scope: Scope, attributes: Mapping[str, Attribute], context: TypingContext
) -> dict[str, Setting]:
    """The values of attributes of `defaults`, likewise."""
    settings = {}
    for name, attribute in attributes.items():
        for entry, parameter in takers(name):
            with scope.aside() as findings:
                subject = f"`{entry.name}`"
                value = values.value(scope, parameter, attribute.value, context, subject)
            if not findings:
                settings[name] = Setting(value, "defaults", attribute.value.span)
                break
    return settings


def reaching_settings(scope: Scope, context: TypingContext) -> dict[str, dict[str, Setting]]:
    """The values of `defaults for` functions, by function and option."""
    settings: dict[str, dict[str, Setting]] = {}
    for kind, attributes in scope.reaching.items():
        entry = KINDS[kind]
        for name, attribute in attributes.items():
            parameter = entry.parameter(name)
            if entry.kind == "function" and parameter is not None:
                value = values.value(scope, parameter, attribute.value, context, f"`{kind}`")
                settings.setdefault(kind, {})[name] = Setting(
                    value, "defaults", attribute.value.span
                )
    return settings
