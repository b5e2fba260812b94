"""Types of what has no expression inside: names, `each`, heads."""

from __future__ import annotations

from mfv_dsl.base.facts import ModelFacts
from mfv_dsl.base.suggest import suggest
from mfv_dsl.lang.entries import CONSTANTS, FUNCTION, ITEM
from mfv_dsl.lang.scope import UNKNOWN, Scope, Type, TypingContext
from mfv_dsl.lang.syntax import HeadLabel, Name

MAX_LISTED = 12
RELATION = Type("Relation")


def name(scope: Scope, node: Name, context: TypingContext, want: str) -> Type:
    """The type of what a name stands for; ``want`` steers suggestions for an unknown one."""
    text = node.text
    if context.has_parameter(text):
        scope.use(node, "parameter")
        return RELATION
    if text == "each":
        return each(scope, node, context)
    kind = scope.kind(text)
    if kind is not None:
        scope.use(node, "name")
        if text in scope.doubtful and kind not in ITEM:
            return UNKNOWN
        if scope.is_family(text):
            return Type("Family")
        if kind == "vector" and text in scope.doubtful:
            return UNKNOWN
        if kind == "vector":
            return scope.vector_types.get(text, Type("Vector"))
        return Type(ITEM[kind].result) if kind in ITEM else UNKNOWN
    if text in CONSTANTS:
        return Type("Boolean")
    if text in (scope.relations(context) or {}):
        scope.use(node, "relation", context.dataset)
        return RELATION
    return _unknown_name(scope, node, scope.relations(context), want)


def _unknown_name(scope: Scope, node: Name, relations: dict[str, str] | None, want: str) -> Type:
    text = node.text
    nouns = {"Vector": "vector", "Heads": "heads", "Model": "model", "Dataset": "dataset"}
    if text in FUNCTION and suggest(text, scope.names) is None:
        return scope.error(
            "MFV2002", node, f"`{text}` is a function and needs its arguments", "",
            f"for example `{FUNCTION[text].example}`",
        )  # fmt: skip
    if want == "Heads" and looks_like_head(text):
        return scope.error(
            "MFV2002", node, f"unknown name `{text}`", "",
            "heads are written `L12H3` (layer 12, head 3), a set of them `{L12H3, L14H7}`",
        )  # fmt: skip
    kinds = {"Vector": ("vector", "tune"), "Heads": ("heads",)}.get(want, ())
    candidates = [*scope.of_kind(*kinds), *scope.names, *(relations or {})]
    label, help = f"a {want} is needed" if want else "", None
    if kinds:
        names = scope.of_kind(*kinds)
        listing = [*names[:MAX_LISTED], *(["..."] if len(names) > MAX_LISTED else [])]
        label = f"declared: {', '.join(listing)}" if names else "none is declared"
    if want == "Vector" and relations is None:
        help = f"if it is a relation, its function vector is `fv({text})`"
    return scope.unknown("MFV2002", nouns.get(want, "name"), node, candidates, label, help)


def looks_like_head(text: str) -> bool:
    """Whether a name was probably meant as a head's label, as in ``l12h3`` or ``L12``."""
    return text[:1] in "lL" and text[1:2].isdigit()


def each(scope: Scope, node: Name, context: TypingContext) -> Type:
    """The type of ``each``: the relation under test, which there is inside blocks only."""
    if not context.each:
        return scope.error(
            "MFV2010", node, "`each` has no meaning here",
            "it is the relation under test, in `eval`, `tune` and `save`",
            "a vector per relation is declared as a family: `vector name(r) = fv(r)`",
        )  # fmt: skip
    return RELATION


def head(scope: Scope, node: HeadLabel, context: TypingContext) -> None:
    """Check a head label against the models that may be meant."""
    facts = scope.model_facts(context)
    if not facts or any(f.has_head(node.layer, node.head) for f in facts):
        return
    shape = facts[0]
    scope.error(
        "MFV4002", node, f"the model has no head `L{node.layer}H{node.head}`",
        f"its layers are 0..{shape.n_layers - 1}, its heads 0..{shape.n_heads - 1}"
        + without_heads(shape),
    )  # fmt: skip


def without_heads(facts: ModelFacts) -> str:
    """Which layers of a model have no heads, for an error's label; empty where all have some."""
    holes = facts.layers_without_heads
    if not holes:
        return ""
    return (
        f"; no self-attention in {'layers' if holes[1:] else 'layer'} {', '.join(map(str, holes))}"
    )
