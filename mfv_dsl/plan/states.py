"""Rows of states to steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.states import places_read
from mfv_dsl.lang.syntax import Call, Expr
from mfv_dsl.plan.arithmetic import Linear
from mfv_dsl.plan.context import Context, text_of
from mfv_dsl.plan.descriptions import row_bytes
from mfv_dsl.plan.heads import TWINS, HeadPlanner
from mfv_dsl.plan.planner import parameters_of, relation_argument

#: Bytes of the rows of one step beyond which it is refused.
MOST_OF_ROWS = 16 << 30


@dataclass(frozen=True)
class Queries:
    """Which queries rows are of: two values with other ones cannot be paired."""

    relation: str
    trials: int
    split: str
    seed: int
    dataset: str


class StatesPlanner(HeadPlanner):
    """Plans rows of states; :meth:`rows` returns the key of a step."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        #: the queries of the steps that give rows, by key
        self._queries: dict[str, Queries] = {}

    @abstractmethod
    def linear(self, expr: Expr, context: Context) -> Linear:
        """The linear form of a vector, or of rows."""

    @abstractmethod
    def combination(self, form: Linear, context: Context) -> str:
        """The step of a linear form."""

    def states(self, call: Call, context: Context) -> str:
        """The step of a call of ``states``.

        Raises MfvError: MFV5504 for more rows than can be held, MFV5365 for a pool without another
        relation.
        """
        options = self.options(call)
        context = self.inner(options, context)
        relation, facts = context.relation(relation_argument(call)), self.model_facts(context)
        shuffled = context.variation.shuffled and options["corrupt"] is None
        if shuffled and options["shots"] > 1:
            options |= {"corrupt": "shuffle", "correct_only": False}
        corrupt = options["corrupt"]
        parameters = parameters_of("states", options) | {
            "relation": relation,
            "places": places_read(options["layer"], options["site"], facts),
            "pool": self._pool(relation, options, context) if options["shots"] else None,
            "twins": TWINS.get(corrupt, 1),
        }
        if (size := row_bytes(parameters, facts)) > MOST_OF_ROWS:
            raise MfvError(
                "MFV5504",
                f"the rows of `{text_of(call, context)}` would take {size / 2**30:.0f} GiB",
                help="read fewer `trials`, or fewer layers or sites",
            )
        label = f"{text_of(call, context)}{context.variation}"
        key = self.add("states", label, parameters, {}, context, dataset=True)
        self._queries[key] = Queries(
            relation, options["trials"], options["split"], options["seed"],
            self.dataset_facts(context).hash,
        )  # fmt: skip
        return key

    def rows(self, expr: Expr, context: Context) -> str:
        """The step of an expression of rows.  Raises MfvError: MFV5502 where they cancel out,
        MFV5505 where rows of different queries are combined."""
        form = self.linear(expr, context)
        if not form:
            raise MfvError(
                "MFV5502",
                f"the rows of `{text_of(expr, context)}` cancel out, so there is nothing to reduce",
                help="subtract the states of other prompts, such as those without demonstrations",
            )
        return self.combination(form, context)

    def check_pairs(self, keys: Iterable[str]) -> None:
        """Refuse (MFV5505) to combine rows whose queries are known to differ."""
        of = [self._queries[key] for key in keys if key in self._queries]
        for name in ("relation", "dataset", "split", "trials", "seed"):
            values = list(dict.fromkeys(str(getattr(queries, name)) for queries in of))
            if len(values) > 1:
                shown = "" if name == "dataset" else f": {values[0]} and {values[1]}"
                raise MfvError(
                    "MFV5505", f"rows are paired by their queries, and their {name} differs{shown}",
                    help="means of different prompts can be combined: mean(...) - mean(...)",
                )  # fmt: skip

    def rows_among(self, keys: Iterable[str]) -> dict[str, bool]:
        """The parameter of a step that is made of rows; nothing where it is made of vectors."""
        return {"rows": True} if any(key in self._queries for key in keys) else {}

    def of_rows(self, key: str, made_of: Iterable[str]) -> str:
        """``key``, noted as that of rows where it is made of such."""
        for one in made_of:
            if one in self._queries:
                self._queries[key] = self._queries[one]
        return key

    def check_component(self, call: Call, context: Context) -> None:
        """Refuse (MFV5503) a principal component that so few rows cannot have."""
        options = self.options(call)
        key = self.rows(options["states"], self.inner(options, context))
        component, rows = options["component"], self._queries[key].trials
        if component >= rows:
            raise MfvError(
                "MFV5503",
                f"there is no principal component {component} of {rows} rows: about their mean "
                f"they vary in {rows - 1} directions at most",
                help="take an earlier component, or more `trials`",
            )
