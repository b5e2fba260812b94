"""What an expression is evaluated under, and its text there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.relations import bound, substituted
from mfv_dsl.lang.syntax import Expr, Match
from mfv_dsl.lang.unparse import unparse


@dataclass(frozen=True)
class Variation:
    """What an eval changes in the expression that it measures.

    ``k`` takes the place of the number of heads of every ``top(...)``; with ``random_heads``, a
    seed, as many heads that it did not choose take the place of those that it did; ``shuffled``
    averages ``fv`` over prompts whose demonstrations' answers are shuffled, right or wrong.
    """

    k: int | None = None
    random_heads: int | None = None
    shuffled: bool = False

    def __str__(self) -> str:
        heads = " at random heads" if self.random_heads is not None else ""
        return heads + (" of shuffled prompts" if self.shuffled else "")


@dataclass(frozen=True)
class Context:
    """What an expression is evaluated under: a model, a dataset, values of relation names, what is
    changed in it, and ``about``, the relation that the vector around it is of."""

    model: str
    dataset: str
    relations: Mapping[str, str] = field(default_factory=dict)
    variation: Variation = Variation()
    about: str | None = None

    def relation(self, name: str) -> str:
        """The relation that a name stands for: its own, unless it is bound and not quoted."""
        return bound(name, self.relations)


def case_of(expr: Match, context: Context) -> Expr:
    """The value of the case that a ``match`` takes in a context.

    Raises MfvError (MFV2041) where there is none.
    """
    relation = context.relation(expr.subject.text)
    value = expr.value_for(relation)
    if value is None:
        raise MfvError("MFV2041", f"a `match` has no case of `{relation}`",
                       help="add the case, or `else: ...`")  # fmt: skip
    return value


def text_of(expr: Expr, context: Context) -> str:
    """The text of an expression with bound relation names written out."""
    return unparse(substituted(expr, context.relations))
