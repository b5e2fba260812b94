"""From tree to checked recipe: declarations, facts, cycles, then every expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from mfv_dsl.base.collecting import uncollected
from mfv_dsl.base.diagnostics import Diagnostic, Label
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.base.facts import DatasetFacts, ModelFacts, VectorFacts
from mfv_dsl.base.source import Source, Span
from mfv_dsl.lang import (
    blocks,
    calls,
    destinations,
    evals,
    expressions,
    heads_of_models,
    reach,
    saves,
    tunes,
)
from mfv_dsl.lang.checked import Checked, CheckedBlock, Constructed
from mfv_dsl.lang.constructors import CONSTRUCTOR
from mfv_dsl.lang.declaring import declare
from mfv_dsl.lang.defaults import (
    check_defaults,
    default_settings,
    once_in_defaults,
    reaching_settings,
)
from mfv_dsl.lang.docs import docs_of
from mfv_dsl.lang.entries import ITEM
from mfv_dsl.lang.expansion import Expanded, expand
from mfv_dsl.lang.inclusion import Joined, NoFiles, Reader, told, with_files
from mfv_dsl.lang.lints import lint, without_unused_elsewhere
from mfv_dsl.lang.loads import VectorFinder
from mfv_dsl.lang.names import check_names
from mfv_dsl.lang.order import in_order
from mfv_dsl.lang.overrides import Overrides, Shown
from mfv_dsl.lang.parser import ParseResult, parse
from mfv_dsl.lang.profiles import (
    blamed,
    check_profiles,
    profiles_of,
    set_aside,
    unknown_profile,
    with_profile,
)
from mfv_dsl.lang.registry import Entry
from mfv_dsl.lang.relations import relation_text, with_relations
from mfv_dsl.lang.scope import UNKNOWN, Scope, TypingContext
from mfv_dsl.lang.syntax import Block, Call, Declaration, Gap, Item, Name, RecipeTree, Text

#: a recipe that is given as a text alone uses no other files
NO_FILES = NoFiles()

Facts = Callable[[Entry, Mapping[str, Any]], "ModelFacts | DatasetFacts | None"]


@dataclass(frozen=True)
class CheckResult:
    """``checked`` is None if there is any error; warnings alone do not stop a recipe."""

    checked: Checked | None
    diagnostics: tuple[Diagnostic, ...]
    #: what was found of names, types and options on the way, also where there are errors; of a
    #: text that could not be read None
    scope: Scope | None = field(default=None, compare=False, repr=False)
    #: the blocks as far as they are right, in source order
    blocks: tuple[CheckedBlock, ...] = field(default=(), compare=False, repr=False)


def registry_facts(entry: Entry, arguments: Mapping[str, Any]) -> ModelFacts | DatasetFacts | None:
    """Facts from the module that the entry names; None for an entry without one."""
    if entry.module is None:
        return None
    facts: ModelFacts | DatasetFacts = import_module(entry.module).facts(**arguments)
    return facts


def no_vectors(path: str, name: str | None) -> VectorFacts | None:
    """The finder of stored vectors that knows none: what is loaded fits every model."""
    return None


def check(
    recipe: RecipeTree, facts: Facts | None = None, find: VectorFinder = no_vectors
) -> CheckResult:
    """Check a tree, complete or with gaps, and report all that is wrong with it.

    ``facts`` gives the shape of a model or dataset from its entry and arguments, ``find`` what is
    known of a stored vector from its path and name; they raise MfvError for what cannot be.

    >>> tree = parse(Source("mfv 1\\nvector steer = fv(left)\\nvector steer = fv(right)\\n")).recipe
    >>> [diagnostic.message for diagnostic in check(tree).diagnostics]
    ['`steer` is declared twice']
    """
    expanded = expand(recipe)
    scope = Scope(recipe.source, find, findings=[*expanded.findings], uses={**expanded.uses})
    named = declare(scope, expanded.recipe)
    before = len(scope.findings)
    _construct(scope, facts or registry_facts)
    scope, named = _with_relations(scope, expanded, named, before)
    check_names(scope, expanded.written)
    check_defaults(scope)
    _expressions(scope)
    checked_blocks = tuple(
        blocks.check_block(scope, item)
        for item in named
        if isinstance(item, Block) and item.kind.text not in ("defaults", "profile")
    )
    evals.check_comparisons(scope, checked_blocks)
    reach.check_cases(scope, checked_blocks)
    tunes.check_uses(scope, checked_blocks)
    destinations.check_written(scope, checked_blocks)
    heads_of_models.check_heads(scope, checked_blocks)
    saves.check_saves(scope, checked_blocks)
    scope.findings += scope.circles
    found = expanded.copies.each_once(lint(scope, expanded.written, named, checked_blocks))
    findings = tuple(sorted(once_in_defaults(scope, found), key=_place))
    if any(diagnostic.severity == "error" for diagnostic in findings):
        return CheckResult(None, findings, scope, checked_blocks)
    checked = _checked(scope, expanded, checked_blocks, findings)
    return CheckResult(checked, findings, scope, checked_blocks)


def _with_relations(
    scope: Scope, expanded: Expanded, named: list[Item], before: int
) -> tuple[Scope, list[Item]]:
    """The scope and the items with relations as the datasets call them, where the recipe spells
    them otherwise; ``before`` is how many findings there were without the datasets."""
    relations = scope.relations(TypingContext()) or {}
    recipe = with_relations(expanded.recipe, relations, scope.names)
    if recipe is expanded.recipe:
        return scope, named
    spelled = Scope(scope.source, scope.find, findings=[*expanded.findings], uses={**scope.uses},
                    models=scope.models, datasets=scope.datasets, types=scope.types,
                    options=scope.options)  # fmt: skip
    named = declare(spelled, recipe)
    spelled.findings += scope.findings[before:]
    spelled.doubtful |= scope.doubtful
    return spelled, named


def _checked(
    scope: Scope,
    expanded: Expanded,
    checked_blocks: tuple[Any, ...],
    findings: tuple[Diagnostic, ...],
) -> Checked:
    declared = [item for item in scope.names.values() if isinstance(item, Declaration)]
    context = scope.home()
    return Checked(
        recipe=expanded.written,
        models=scope.models,
        datasets=scope.datasets,
        heads={item.name.text: item for item in declared if item.kind.text == "heads"},
        vectors={item.name.text: item for item in declared if item.kind.text == "vector"},
        blocks=checked_blocks,
        defaults=default_settings(scope, context),
        reaching=reaching_settings(scope, context),
        types=scope.types,
        options=scope.options,
        loads=scope.loads,
        warnings=findings,
        copies=expanded.copies,
        docs=docs_of(expanded.written.items),
    )


@uncollected()
def check_source(
    source: Source,
    facts: Facts | None = None,
    overrides: Sequence[str] = (),
    find: VectorFinder = no_vectors,
    profile: str | None = None,
    parsed: ParseResult | None = None,
    read: Reader = NO_FILES,
) -> CheckResult:
    """Parse and check a text: everything found, in source order, and the recipe if it is right.

    ``profile`` is the name of one of its profiles; ``overrides`` are options
    ``NAME.ATTRIBUTE=VALUE``, which come after it; see :mod:`mfv_dsl.lang.overrides`.
    ``facts`` and ``find`` are those of :func:`check`; ``parsed`` is the text's tree where it is
    there already; ``read`` gives the files that it uses.  Never raises for what is wrong in the
    text.

    >>> result = check_source(Source("mfv 1\\nmodel m = tiny()\\nvector steer = fv(left) + 1\\n"))
    >>> [diagnostic.code for diagnostic in result.diagnostics]
    ['MFV3002']
    """
    parsed = parsed or parse(source)
    if parsed.recipe is None:
        return CheckResult(None, parsed.diagnostics)
    written, findings = with_files(parsed.recipe, read)
    findings = [*parsed.diagnostics, *findings, *check_profiles(written)]
    recipe, source = written, written.source
    used = profiles_of(recipe).get(profile or "")
    if used is not None:
        recipe = with_profile(recipe, used)
    elif profile is not None:
        shown = tuple(told(finding, source) for finding in findings)
        return CheckResult(None, (*shown, unknown_profile(profile, recipe)))
    changes = Overrides(source, overrides)
    if overrides:
        recipe, refused = changes.apply(recipe)
        findings += refused
    if profile is not None:
        recipe = set_aside(recipe, profile)
    result = check(recipe, facts, find)
    more = result.diagnostics
    if used is not None and more:
        plain = check(replace(written, source=recipe.source), facts, find).diagnostics
        more = tuple(
            d if d in plain or _place(d)[0] >= len(source.text) else blamed(d, recipe, used)
            for d in more
        )
    more = without_unused_elsewhere(more, source)
    show = Shown(changes)
    findings = [show(finding) for finding in sorted((*findings, *more), key=_place)]
    broken = any(diagnostic.severity == "error" for diagnostic in findings)
    checked = None
    if result.checked is not None and not broken:
        files = source.parts[1:] if isinstance(source, Joined) else ()
        checked = replace(result.checked, show=show, files=files, warnings=tuple(findings))
    return replace(result, checked=checked, diagnostics=tuple(findings))


def check_each_profile(
    source: Source,
    facts: Facts | None = None,
    find: VectorFinder = no_vectors,
    read: Reader = NO_FILES,
) -> dict[str, CheckResult]:
    """What :func:`check_source` gives with each profile of a text, by its name.

    >>> text = 'mfv 1\\nmodel m = tiny()\\nprofile other { m = tinny() }\\n'
    >>> [name for name, result in check_each_profile(Source(text)).items() if not result.checked]
    ['other']
    """
    recipe = parse(source).recipe
    names = () if recipe is None else profiles_of(with_files(recipe, read)[0])
    return {name: check_source(source, facts, (), find, name, read=read) for name in names}


def check_every_profile(
    source: Source,
    facts: Facts | None = None,
    find: VectorFinder = no_vectors,
    read: Reader = NO_FILES,
) -> tuple[Diagnostic, ...]:
    """What is wrong with a text when one of its profiles is used, and is not without.

    >>> text = 'mfv 1\\nmodel m = tiny()\\nprofile other { m = tinny() }\\n'
    >>> [diagnostic.message for diagnostic in check_every_profile(Source(text))]
    ['unknown model constructor `tinny`']
    """
    results = check_each_profile(source, facts, find, read)
    known = check_source(source, facts, (), find, read=read).diagnostics if results else ()
    return of_profiles(results, known)


def of_profiles(
    results: Mapping[str, CheckResult], known: Sequence[Diagnostic]
) -> tuple[Diagnostic, ...]:
    """The diagnostics under profiles that are not ``known`` without, each once, in source order."""
    findings: list[Diagnostic] = []
    for result in results.values():
        findings += [d for d in result.diagnostics if d not in (*known, *findings)]
    return tuple(sorted(findings, key=_place))


def load_recipe(
    source: Source,
    facts: Facts | None = None,
    overrides: Sequence[str] = (),
    find: VectorFinder = no_vectors,
    profile: str | None = None,
    read: Reader = NO_FILES,
) -> Checked:
    """The checked recipe, with its warnings; the arguments are those of :func:`check_source`.

    Raises RecipeError with everything that was found, in source order.

    >>> checked = load_recipe(Source("mfv 1\\nmodel m = tiny()\\nheads few = top(10)\\n"))
    >>> checked.models["m"].constructor, list(checked.heads), checked.warnings
    ('tiny', ['few'], ())
    """
    result = check_source(source, facts, overrides, find, profile, read=read)
    if result.checked is None:
        raise RecipeError(result.diagnostics)
    return result.checked


def _place(diagnostic: Diagnostic) -> tuple[int, int]:
    return (diagnostic.span.start, diagnostic.span.end) if diagnostic.span else (0, 0)


# -- models and datasets --------------------------------------------------------------------------
def _construct(scope: Scope, facts: Facts) -> None:
    for name, item in scope.names.items():
        if not isinstance(item, Declaration) or name in scope.doubtful:
            continue
        if item.kind.text in CONSTRUCTOR:
            constructed = _constructed(scope, item, facts)
            if constructed is None:
                scope.doubtful.add(name)
            elif item.kind.text == "model":
                scope.models[name] = constructed
            else:
                scope.datasets[name] = constructed


def _constructed(scope: Scope, item: Declaration, facts: Facts) -> Constructed | None:
    kind, node = item.kind.text, item.value
    entries = CONSTRUCTOR[kind]
    if isinstance(node, Name) and node.text in entries:
        needed = any(parameter.required for parameter in entries[node.text].parameters)
        help = f"write `{node.text}({'...' if needed else ''})`"
        scope.error("MFV2003", node, f"`{node.text}` needs its parentheses", "", help)
        return None
    if not isinstance(node, Call):
        scope.error(
            "MFV3001", node, f"a {kind} is made by a constructor", "",
            f"for example `{ITEM[kind].example}`",
        )  # fmt: skip
        return None
    entry = entries.get(node.function.text)
    if entry is None:
        label = f"there are: {', '.join(entries)}"
        scope.unknown("MFV2006", f"{kind} constructor", node.function, entries, label)
        return None
    before = len(scope.findings)
    arguments, _ = calls.bind(scope, node, entry)
    settings = {
        p.name: calls.option(scope, entry, p, arguments.get(p.name), TypingContext())
        for p in entry.parameters
    }
    scope.types[node.span] = entry.result
    if len(scope.findings) > before or any(isinstance(part, Gap) for part in node.walk()):
        return None
    scope.options[node.span] = settings
    values = {name: setting.value for name, setting in settings.items()}
    try:
        known = facts(entry, values)
    except MfvError as error:
        blamed = arguments.get(error.argument or "")
        at = blamed[0].span if blamed else node.span
        scope.error(error.code, at, error.message, "", error.help, notes=error.notes)
        return None
    for code, message in known.warnings if isinstance(known, DatasetFacts) else ():
        scope.error(code, node, message, severity="warning")
    return Constructed(item.name.text, entry.name, values, known, item.span)


# -- heads and vectors ----------------------------------------------------------------------------
def _expressions(scope: Scope) -> None:
    """Check declared heads and vectors, each after those it is made of."""
    context = scope.home()
    for name in in_order(scope):
        item = scope.names[name]
        if isinstance(item, Block):
            within = blocks.context_of(scope, item)
            scope.vector_types[name] = tunes.type_of(scope, item, within)
        elif name not in scope.doubtful:
            _declared(scope, item, context)


def _declared(scope: Scope, item: Declaration, context: TypingContext) -> None:
    kind, name = item.kind.text, item.name.text
    want = ITEM[kind].result
    for parameter in item.parameters:
        _hides(scope, parameter, context)
    context = replace(context, parameters=item.parameters)
    node_type = expressions.expect(scope, item.value, context, want, f"`{kind} {name}`")
    if kind == "vector" and node_type.name in ("Vector", UNKNOWN.name):
        scope.vector_types[name] = node_type


def _hides(scope: Scope, parameter: Name, context: TypingContext) -> None:
    """Report a parameter that is called as a relation."""
    relations = scope.relations(context) or {}
    dataset = relations.get(parameter.text)
    if dataset is not None:
        declaration = scope.names[dataset]
        scope.error(
            "MFV2011", parameter, f"the parameter `{parameter.text}` hides a relation", "",
            "call it something else, such as `r`",
            secondary=[Label(_place_of(declaration, parameter.text), "the relation")],
        )  # fmt: skip


def _place_of(declaration: Item, relation: str) -> Span:
    """Where a dataset's declaration names a relation, else its name."""
    for node in declaration.walk():
        if isinstance(node, Name | Text) and relation_text(node) == relation:
            return node.span
    assert isinstance(declaration, Declaration)
    return declaration.name.span
