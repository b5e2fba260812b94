"""Values of parameters: an expression against the types, choices and units that are declared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mfv_dsl.base.diagnostics import Fix
from mfv_dsl.base.layers import together
from mfv_dsl.base.names import listed_relations, plain_spelling, quoted_relation
from mfv_dsl.base.suggest import suggest
from mfv_dsl.base.texts import tidy
from mfv_dsl.lang import expressions
from mfv_dsl.lang.checked import Setting
from mfv_dsl.lang.defaults_used import adopt, circle_of
from mfv_dsl.lang.entries import CONSTANTS
from mfv_dsl.lang.leaves import each
from mfv_dsl.lang.literals import MAX_VALUES, numbers_of
from mfv_dsl.lang.operators import mismatch
from mfv_dsl.lang.registry import Parameter
from mfv_dsl.lang.relations import Quoted
from mfv_dsl.lang.scope import CircularDefault, Scope, TypingContext, Use
from mfv_dsl.lang.syntax import Expr, Gap, HeadLabel, ListExpr, Name, Range, SetExpr, Text
from mfv_dsl.lang.value_rules import in_unit, no_repeats, not_a_list

#: types whose values are made by steps: the expression is the value
_OF_STEPS = ("Vector", "Heads", "States", "Adapter")


def value(
    scope: Scope, parameter: Parameter, node: Expr, context: TypingContext, subject: str
) -> Any:
    """The plain value (of what steps make: the expression), or None after a report.

    ``subject`` names the block or function that takes the value, as in "`fv`".
    """
    if isinstance(node, Gap):
        return None
    types, element = parameter.types, parameter.element
    if element and isinstance(node, ListExpr):
        scope.types[node.span] = "List"
        if not node.items and not parameter.may_be_empty:
            scope.error(
                "MFV3014", node, f"`{parameter.name}` of {subject} is an empty list",
                "nothing in it",
                None if parameter.required else f"fill it, or leave `{parameter.name}` out",
            )  # fmt: skip
            return None
        more = [t for t in ("Choice", "Layers") if t in types and element != "Relation"]
        element_types = tuple(dict.fromkeys((element, *more)))
        entries = [scalar(scope, element_types, parameter, item, context) for item in node.items]
        no_repeats(scope, node, entries)
        return None if any(item is None for item in entries) else tuple(entries)
    if isinstance(node, Range) and "Range" in types:
        return expand(scope, parameter, node, context)
    scalars = parameter.scalars
    if not scalars:
        return not_a_list(scope, parameter, node, element or "")
    if "Number" in scalars and isinstance(node, ListExpr | Range):
        scope.error(
            "MFV3013", node, f"`{parameter.name}` of {subject} takes one number, not a sweep",
            "one number is needed",
        )  # fmt: skip
        return None
    return scalar(scope, scalars, parameter, node, context)


def scalar(
    scope: Scope, types: tuple[str, ...], parameter: Parameter, node: Expr, context: TypingContext
) -> Any:
    """One value of one of the types."""
    if isinstance(node, Gap):
        return None
    subject = f"`{parameter.name}`"
    if "Choice" in types:
        if isinstance(node, Name) and node.text in parameter.choices:
            scope.types[node.span] = "Choice"
            return node.text
        if "Text" in types and isinstance(node, Text):
            return _text_beside_words(scope, parameter, node, context)
        if _means_choice(scope, types, parameter, node):
            return _not_a_choice(scope, parameter, node, context)
    if "Layers" in types and isinstance(node, SetExpr):
        return _layers(scope, parameter, node, context)
    want = next((name for name in _OF_STEPS if name in types), None)
    if want is not None:
        node_type = expressions.expect(scope, node, context, want, subject)
        return node if node_type.name == want else None
    if "Number" in types:
        return number(scope, parameter, node, context)
    if "Relation" in types:
        return relation(scope, node, context, subject)
    if "Split" in types:
        return _split(scope, node, context, subject)
    if "Eval" in types:
        return _eval(scope, node, subject)
    if "Code" in types:
        return _code(scope, node, context, subject)
    if "Text" in types:
        if isinstance(node, Text):
            scope.types[node.span] = "Text"
            return node.value
        return _report_type(scope, node, context, "Text", subject)
    if "Name" in types and isinstance(node, Text):
        return _relation_of_data(scope, node, subject)
    if not isinstance(node, Name):
        return _report_type(scope, node, context, types[0], subject)
    if "Boolean" in types:
        if node.text in CONSTANTS:
            scope.types[node.span] = "Boolean"
            return CONSTANTS[node.text]
        scope.unknown("MFV2014", f"value of {subject}:", node, CONSTANTS, "it takes: true, false")
        return None
    if "Name" in types:
        scope.types[node.span] = "Relation"
        return node.text
    return _declared(scope, node, context, types[0], subject)


def _layers(
    scope: Scope, parameter: Parameter, node: SetExpr, context: TypingContext
) -> int | str | None:
    """Layers that are written to together."""
    scope.types[node.span] = "Layers"
    if not node.items:
        scope.error("MFV3014", node, f"`{parameter.name}` is an empty set of layers", "none in it")
        return None
    layers = [number(scope, parameter, item, context) for item in node.items]
    no_repeats(scope, node, layers)
    return None if None in layers else together(int(layer) for layer in layers if layer is not None)


def _text_beside_words(
    scope: Scope, parameter: Parameter, node: Text, context: TypingContext
) -> str | None:
    """A text where a word may stand, too."""
    if parameter.apart and node.value in parameter.choices:
        _not_a_choice(scope, parameter, node, context)
        return None
    if parameter.apart and not node.value.strip():
        message = f"`{parameter.name}` is a text with nothing in it"
        scope.error("MFV3014", node, message, "nothing in it")
        return None
    scope.types[node.span] = "Text"
    return node.value


def _means_choice(scope: Scope, types: tuple[str, ...], parameter: Parameter, node: Expr) -> bool:
    """Whether a value that is no choice was meant as one, where other types are allowed too."""
    if "Vector" in types and isinstance(node, Name):  # it may be a vector's name
        return scope.kind(node.text) is None and suggest(node.text, parameter.choices) is not None
    return isinstance(node, Name | Text) or not {"Vector", "Number"} & set(types)


def _report_type(scope: Scope, node: Expr, context: TypingContext, want: str, subject: str) -> None:
    """Report that an expression is not a ``want``, once its own mistakes are reported."""
    if isinstance(node, Name) and want == "Text" and scope.kind(node.text) is None:
        scope.error(
            "MFV3001", node, f"{subject} needs a Text", "a bare name", f'write `"{node.text}"`',
            fixes=[Fix(f'write `"{node.text}"`', node.span, f'"{node.text}"')],
        )  # fmt: skip
        return
    node_type = expressions.infer(scope, node, context)
    if node_type.name != "Unknown":
        mismatch(scope, node, node_type, want, subject, context)


def _not_a_choice(scope: Scope, parameter: Parameter, node: Expr, context: TypingContext) -> None:
    """Report that a value is none of a parameter's words."""
    takes = f"it takes: {', '.join(parameter.choices)}"
    if "Number" in parameter.types:
        takes += " or a number"
    if parameter.apart:
        takes += " or a text"
    if isinstance(node, Name):
        kind = f"value of `{parameter.name}`:"
        scope.unknown("MFV2014", kind, node, parameter.choices, takes)
    elif isinstance(node, Text) and node.value in parameter.choices:
        scope.error(
            "MFV3001", node, f"`{parameter.name}` takes a name without quotes", "",
            f"write `{node.value}`", fixes=[Fix("drop the quotes", node.span, node.value)],
        )  # fmt: skip
    else:
        node_type = expressions.infer(scope, node, context)
        if node_type.name != "Unknown":
            scope.error(
                "MFV3001", node, f"`{parameter.name}` needs one of its words, and this is a "
                f"{node_type}", takes,
            )  # fmt: skip


def _relation_of_data(scope: Scope, node: Text, subject: str) -> str | None:
    """The name of a relation that a dataset is asked for."""
    name = tidy(node.value)
    if not name:
        scope.error("MFV3014", node, f"a relation in {subject} has no name", "nothing in it")
        return None
    scope.types[node.span] = "Relation"
    return name


def _declared(
    scope: Scope, node: Name, context: TypingContext, want: str, subject: str
) -> str | None:
    """The name of a declared model or dataset."""
    kind = want.lower()
    if scope.kind(node.text) == kind:
        scope.use(node, "name")
        scope.types[node.span] = want
        return node.text
    if scope.kind(node.text) is not None or node.text in (scope.relations(context) or {}):
        _report_type(scope, node, context, want, subject)
        return None
    names = scope.of_kind(kind)
    label = f"declared: {', '.join(names)}" if names else f"no {kind} is declared"
    scope.unknown("MFV2002", kind, node, names, label)
    return None


def _code(scope: Scope, node: Expr, context: TypingContext, subject: str) -> str | None:
    """The code of a finding."""
    if not isinstance(node, Name):
        _report_type(scope, node, context, "Code", subject)
        return None
    from mfv_dsl.lang.codes import all_codes  # it reads a folder, and few recipes have any

    if node.text in all_codes():
        scope.types[node.span] = "Code"
        return node.text
    label = "codes are written as in `warning[MFV4010]`"
    scope.unknown("MFV2061", "code", node, all_codes(), label)
    return None


def _eval(scope: Scope, node: Expr, subject: str) -> str | None:
    """The name of an eval."""
    if not isinstance(node, Name):
        scope.error("MFV3001", node, f"{subject} needs the name of an eval", "not a name")
        return None
    if node.text in scope.evals:
        scope.use(node, "eval")
        scope.types[node.span] = "Eval"
        return node.text
    label = f"the recipe has: {', '.join(scope.evals)}"
    scope.unknown("MFV2002", "eval", node, scope.evals, label)
    return None


# -- relations and splits -------------------------------------------------------------------------
def relation(scope: Scope, node: Expr, context: TypingContext, subject: str) -> str | None:
    """The relation's name, ``each``, or a family's parameter."""
    if isinstance(node, Gap):
        return None
    relations = scope.relations(context)
    if isinstance(node, Name):
        scope.types[node.span] = "Relation"
        if context.has_parameter(node.text):
            scope.use(node, "parameter")
            return node.text
        if node.text == "each":
            return None if each(scope, node, context).name == "Unknown" else "each"
        if relations is None or node.text in relations:
            scope.use(node, "relation", context.dataset)
            return node.text
        _unknown_relation(scope, node, context, relations)
        return None
    if isinstance(node, Text):
        scope.types[node.span] = "Relation"
        if relations is None or node.value in relations:
            scope.uses[node.span] = Use("relation", node.value, context.dataset)
            return Quoted(node.value)
        _unknown_relation(scope, node, context, relations)
        return None
    node_type = expressions.infer(scope, node, context, "Relation")
    if node_type.name != "Unknown":
        mismatch(scope, node, node_type, "Relation", subject, context)
    return None


def _unknown_relation(
    scope: Scope, node: Name | Text, context: TypingContext, relations: dict[str, str]
) -> None:
    if (
        isinstance(node, Name)
        and scope.kind(node.text) is not None
        and node.text not in scope.doubtful
    ):
        node_type = expressions.infer(scope, node, context)
        scope.error(
            "MFV3001",
            node,
            f"a Relation is needed, and `{node.text}` is a {node_type}",
            f"a {node_type}",
        )
        return
    if context.dataset or len(scope.datasets) == 1:
        dataset = context.dataset or next(iter(scope.datasets))
        label = f"the dataset `{dataset}` has: {listed_relations(relations)}"
    else:
        label = f"the datasets have: {listed_relations(relations)}"
    word = node.text if isinstance(node, Name) else node.value
    near = suggest(word, [*relations, *(["each"] if context.each else [])])
    if near is None:  # a plain spelling that several have, or one that is nearly right
        spellings = {plain_spelling(relation): relation for relation in reversed([*relations])}
        near = spellings.get(suggest(plain_spelling(word), spellings) or "")
    written = quoted_relation(near) if near in relations else near
    scope.error(
        "MFV2001", node, f"unknown relation `{word}`", label,
        None if written is None else f"did you mean `{written}`?",
        fixes=[] if written is None else [Fix(f"write `{written}`", node.span, written)],
    )  # fmt: skip


def _split(scope: Scope, node: Expr, context: TypingContext, subject: str) -> str | None:
    if not isinstance(node, Name):
        _report_type(scope, node, context, "Split", subject)
        return None
    scope.types[node.span] = "Split"
    facts = scope.dataset_facts(context)
    splits = [split for fact in facts for split in fact.splits]
    if not facts or node.text in splits:
        return node.text
    names = list(dict.fromkeys(splits))
    scope.unknown("MFV2021", "split", node, names, f"the dataset has: {', '.join(names)}")
    return None


# -- numbers --------------------------------------------------------------------------------------
def number(
    scope: Scope, parameter: Parameter, node: Expr, context: TypingContext
) -> int | float | None:
    """A number known before the run, in the parameter's unit."""
    subject = f"`{parameter.name}`"
    if isinstance(node, SetExpr) and not any(isinstance(n, HeadLabel) for n in node.items):
        scope.error("MFV3001", node, f"{subject} takes one number, not a set", "a set")
        return None
    node_type = expressions.infer(scope, node, context, "Number")
    if node_type.name == "Unknown":
        return None
    if node_type.name != "Number":
        mismatch(scope, node, node_type, "Number", subject, context)
        return None
    if node_type.value is None:
        scope.error("MFV3007", node, f"{subject} needs a number that is known before the run")
        return None
    return in_unit(scope, parameter, node_type.value, node, context)


def expand(
    scope: Scope, parameter: Parameter, node: Range, context: TypingContext
) -> tuple[int | float, ...] | None:
    """The numbers of a range, both ends included."""
    scope.types[node.span] = "Range"
    bare = replace(parameter, unit=None)
    ends = [number(scope, bare, end, context) for end in (node.start, node.stop)]
    step = 1 if node.step is None else number(scope, bare, node.step, context)
    start, stop = ends
    if start is None or stop is None or step is None:
        return None
    if step <= 0:
        assert node.step is not None
        direction = "is 0" if step == 0 else "goes down"
        scope.error("MFV3008", node.step, f"the step of this range {direction}", "above 0")
        return None
    if start > stop:
        fix = f"{stop}..{start}" + (f":{step}" if node.step else "")
        scope.error(
            "MFV3008", node, f"this range begins at {start} and ends before it, at {stop}", "",
            f"write `{fix}`", fixes=[Fix(f"write `{fix}`", node.span, fix)],
        )  # fmt: skip
        return None
    exact = numbers_of(start, stop, step)
    if exact is None:
        scope.error("MFV3012", node, f"this range has more than {MAX_VALUES} values")
        return None
    numbers = []
    for amount in exact:
        amount_in_unit = in_unit(scope, parameter, amount, node, context)
        if amount_in_unit is None:
            return None
        numbers.append(amount_in_unit)
    return tuple(numbers)


# -- defaults -------------------------------------------------------------------------------------
def from_defaults(
    scope: Scope, key: str, parameter: Parameter, context: TypingContext, subject: str
) -> Setting:
    """What `defaults` give for a parameter under a key; what is wrong with it is reported once.

    A value that is right is not looked into again as long as it is asked for in the same way, but
    for vectors, of which more may be known later.
    """
    kept = scope.kept_defaults.get(key)
    if kept is not None and kept[0] is parameter and kept[1] == context:
        return kept[2]
    with scope.aside() as findings:
        found = default(scope, key, parameter, context, subject)
    adopt(scope, key, findings, subject, parameter)
    setting = Setting(found, "defaults", scope.default_at(key).value.span)
    if findings or "Vector" in parameter.types:
        scope.kept_defaults.pop(key, None)
    else:
        scope.kept_defaults[key] = (parameter, context, setting)
    return setting


def default(
    scope: Scope, key: str, parameter: Parameter, context: TypingContext, subject: str
) -> Any:
    """The value that `defaults` gives for a parameter under a key, None after a report.

    A value that is made by a call which takes it from `defaults` again, or through others, is
    reported once (MFV2009), and nothing else of it.
    """
    attribute = scope.default_at(key)
    if key in scope.open_defaults:
        first = scope.open_defaults.index(key)
        circle = scope.open_defaults[first:]
        if scope.once(f"circle of defaults: {sorted(circle)}"):
            scope.circles.append(circle_of(scope, circle, subject))
        scope.reported.update(f"defaults.{name}" for name in circle)
        raise CircularDefault
    scope.open_defaults.append(key)
    try:
        return value(scope, parameter, attribute.value, context, subject)
    except CircularDefault:
        if len(scope.open_defaults) > 1:
            raise
        scope.once(f"defaults.{key}")
        return None
    finally:
        scope.open_defaults.pop()
