"""Heads to steps: task means, scores of heads, sets of heads."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.checked import Checked
from mfv_dsl.lang.entries import RANKING
from mfv_dsl.lang.functions import POOLED
from mfv_dsl.lang.syntax import Binary, Call, Expr, HeadLabel, Match, Name, Number, SetExpr, spine
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.plan.arithmetic import sweep
from mfv_dsl.plan.context import Context, case_of
from mfv_dsl.plan.planner import StepPlanner, parameters_of

#: By corruption: raised when twins of one seed would be others; in the key where it is not 1.
TWINS = {"shuffle": 2}
_LONGEST = 50  # operations of a chain that the label of a step shows
_SET_OPERATION = {"|": "head_union", "&": "head_intersection", "-": "head_difference"}


class HeadPlanner(StepPlanner, ABC):
    """Plans heads; :meth:`heads` returns the key of a step."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        #: keys of sets of heads, by the expression in the checked recipe and what it stands under:
        #: found once, used often
        self._sets: dict[tuple[Any, ...], str] = {}

    # -- what heads are scored by -----------------------------------------------------------------
    def activations(self, relation: str, options: Mapping[str, Any], context: Context) -> str:
        """Mean head outputs over a relation's prompts, and where a norm stands behind the heads its
        mean scale."""
        parameters = parameters_of("activations", options) | {"relation": relation, "corrupt": None}
        label = f"mean head outputs on {relation}"
        return self._activations(label, parameters, context)

    def shuffled_activations(
        self, relation: str, options: Mapping[str, Any], context: Context
    ) -> str:
        """Means over all prompts of a relation, their demonstrations' answers shuffled."""
        parameters = parameters_of("activations", options) | {
            "relation": relation, "correct_only": False, "corrupt": "shuffle",
            "twins": TWINS["shuffle"],
        }  # fmt: skip
        label = f"mean head outputs on {relation}, answers shuffled"
        return self._activations(label, parameters, context)

    def _activations(self, label: str, parameters: dict[str, Any], context: Context) -> str:
        parameters = _of_site(parameters)
        label += _of(parameters)
        if not self.model_facts(context).heads_add_up and "site" not in parameters:
            parameters |= {"norm": True}
        return self.add("activations", label, parameters, {}, context, dataset=True)

    def scores(self, by: str, relation: str, options: Mapping[str, Any], context: Context) -> str:
        """What a ranking scores every head by on one relation."""
        ranking = RANKING[by]
        assert ranking.operation is not None
        parameters = {name: options[name] for name in ranking.options if name in options}
        if "by" in ranking.options:
            parameters["by"] = by
        if "corrupt" in ranking.options:
            parameters["pool"] = self._pool(relation, options, context)
            parameters["twins"] = TWINS.get(options["corrupt"], 1)
        if ranking.options:
            parameters["relation"] = relation
        site = options.get("site", "attention")
        if site != "attention":
            parameters["site"] = site
        inputs: dict[str, str | tuple[str, ...]] = {}
        if "mean" in ranking.inputs:
            inputs["mean"] = self.activations(relation, options, context)
        if "outputs" in ranking.inputs:
            inputs["outputs"] = self.head_outputs(relation, options, context)
        if "others" in ranking.inputs:
            others = self._others(relation, options, context)
            every = self.dataset_facts(context).relations
            whole = set(others) == set(every) - {relation}
            parameters["pool"] = None if whole else others
            inputs["others"] = tuple(self.head_outputs(name, options, context) for name in others)
        label = ranking.label.format(relation=relation) or f"scores of heads on {relation}"
        label += _of(parameters)
        return self.add(
            ranking.operation, label, parameters, inputs, context, dataset=bool(ranking.options)
        )

    def head_outputs(self, relation: str, options: Mapping[str, Any], context: Context) -> str:
        """The outputs of every head on each of a relation's prompts."""
        parameters = _of_site(parameters_of("head_outputs", options)) | {"relation": relation}
        label = f"head outputs on each prompt of {relation}{_of(parameters)}"
        return self.add("head_outputs", label, parameters, {}, context, dataset=True)

    def _others(
        self, relation: str, options: Mapping[str, Any], context: Context
    ) -> tuple[str, ...]:
        """The relations of the pool but ``relation``, in the dataset's order.

        Raises MfvError (MFV5561) where there are none.
        """
        pool, every = options.get("pool"), self.dataset_facts(context).relations
        if pool is None or pool == "others":
            named = set(every)
        else:
            named = {context.relation(name) for name in pool}
        others = tuple(name for name in every if name in named and name != relation)
        if not others:
            raise MfvError(
                "MFV5561", f"heads are probed for telling `{relation}` from other relations, and "
                "there are none" + ("" if pool is None else " in `pool`"),
                help=f"the dataset has {', '.join(every)}",
            )  # fmt: skip
        return others

    def _pool(
        self, relation: str, options: Mapping[str, Any], context: Context
    ) -> tuple[str, ...] | None:
        """The relations that twins of ``relation`` take turns in, None for all of the dataset in
        its order and where twins take none.

        Raises MfvError (MFV5365) where they leave no other relation than the one under test.
        """
        pool, every = options.get("pool"), self.dataset_facts(context).relations
        if pool is None or options["corrupt"] not in POOLED:
            return None
        if pool == "others":
            names = tuple(name for name in every if name != relation)
        else:
            names = tuple(dict.fromkeys(context.relation(name) for name in pool))
        if not set(names) - {relation}:
            raise MfvError(
                "MFV5365",
                f"a corrupted twin of `{relation}` needs demonstrations of other relations, and "
                "`pool` has none",
                help=f"the dataset has {', '.join(every)}",
            )
        return None if names == tuple(every) else names

    # -- sets -------------------------------------------------------------------------------------
    def heads(self, expr: Expr, context: Context) -> str:
        """The step of a set of heads."""
        if isinstance(expr, Name):
            within = replace(context, relations={}, about=_about(context))
            return self.heads(self.checked.heads[expr.text].value, within)
        key = (id(expr), context.model, context.dataset, context.variation, context.about,
               *context.relations.items())  # fmt: skip
        if key not in self._sets:
            self._sets[key] = self._set(expr, context)
        return self._sets[key]

    def site_of(self, expr: Expr, context: Context) -> str:
        """Whose heads a set has: those of self-attention (``attention``), or of cross-attention
        (``xattn``).

        Raises MfvError (MFV5563) for a set that joins the two.
        """
        if isinstance(expr, Name):
            return self.site_of(self.checked.heads[expr.text].value, context)
        if isinstance(expr, Match):
            return self.site_of(case_of(expr, context), context)
        if isinstance(expr, Binary):
            first, chain = spine(expr)
            site = self.site_of(first, context)
            for operation in chain:
                if self.site_of(operation.right, context) != site:
                    raise MfvError(
                        "MFV5563", f"`{unparse(operation)}` joins heads of self-attention and "
                        "heads of cross-attention, which are others even where their numbers are "
                        "the same",
                        help="make a set of each",
                    )  # fmt: skip
            return site
        if isinstance(expr, Call):
            return str(self.options(expr).get("site", "attention"))
        return "attention"

    def _set(self, expr: Expr, context: Context) -> str:
        if isinstance(expr, Match):
            return self.heads(case_of(expr, context), context)
        if isinstance(expr, Binary):
            self.site_of(expr, context)
            first, chain = spine(expr)
            heads = self.heads(first, context)
            for place, operation in enumerate(chain):
                inputs = {"left": heads, "right": self.heads(operation.right, context)}
                label = f"... {operation.operator} {unparse(operation.right)}"
                if place < _LONGEST:
                    label = unparse(operation)
                heads = self.add(_SET_OPERATION[operation.operator], label, {}, inputs)
            return heads
        if isinstance(expr, SetExpr):
            labels = [(part.layer, part.head) for part in expr.items if isinstance(part, HeadLabel)]
            return self.head_set(unparse(expr), labels)
        assert isinstance(expr, Call)
        return self._head_call(expr, context)

    def _head_call(self, call: Call, context: Context) -> str:
        name, options = call.function.text, self.options(call)
        context = self.inner(options, context)
        all_heads = self._all_heads(context)
        if name == "all":
            return self.head_set("all heads", all_heads)
        if name == "layers":
            layers = sweep(options["which"])
            return self.head_set(unparse(call), [head for head in all_heads if head[0] in layers])
        if name == "random":
            heads = random.Random(options["seed"]).sample(all_heads, options["k"])
            return self.head_set(unparse(call), heads)
        if name == "top":
            return self._top(call, options, context)
        return self.operation_of(call, context)

    @abstractmethod
    def operation_of(self, call: Call, context: Context) -> str:
        """The step of a function that is one operation of its own name."""

    def _top(self, call: Call, options: Mapping[str, Any], context: Context) -> str:
        k = context.variation.k or options["k"]
        label = unparse(replace(call, arguments=(Number(k),)))
        crossing = options["site"] != "attention"
        if crossing and not RANKING[options["by"]].of_cross_attention:
            raise MfvError(
                "MFV5564", f"heads of cross-attention are not ranked by `{options['by']}`",
                help="they are by "
                + ", ".join(name for name, row in RANKING.items() if row.of_cross_attention),
            )  # fmt: skip
        if crossing and context.variation.random_heads is not None:
            raise MfvError(
                "MFV5564", "random heads are drawn of self-attention, and these are heads of "
                "cross-attention",
                help="leave out the control `random_heads`",
            )  # fmt: skip
        if RANKING[options["by"]].operation is None:
            heads = random.Random(options["seed"]).sample(self._all_heads(context), k)
            return self._varied(self.head_set(label, heads), k, context)
        names = options["on"] or self.dataset_facts(context).relations
        if options["per"] == "relation":
            relation = _about(context)
            assert relation is not None, "heads stand in a vector or in a block"
            names = (relation,)
            label += f" of {relation}"
        scores = tuple(
            self.scores(options["by"], context.relation(relation), options, context)
            for relation in names
        )
        parameters = _of_site({"k": k, "site": options["site"]})
        return self._varied(self.add("top", label, parameters, {"scores": scores}), k, context)

    def best_on(self, relation: str, options: Mapping[str, Any], k: int, context: Context) -> str:
        """The ``k`` heads with the largest effect on one relation."""
        k = context.variation.k or k
        scores = (self.scores("aie", relation, options, context),)
        best = self.add("top", f"top {k} on {relation}", {"k": k}, {"scores": scores})
        return self._varied(best, k, context)

    def _varied(self, best: str, k: int, context: Context) -> str:
        """The heads that were chosen, or where the eval varies it as many random others."""
        seed = context.variation.random_heads
        if seed is None:
            return best
        facts = self.model_facts(context)
        parameters = {"k": k, "seed": seed, "layers": facts.n_layers, "heads": facts.n_heads,
                      "without": facts.layers_without_heads}  # fmt: skip
        return self.add("other_heads", f"random heads ({k})", parameters, {"chosen": best})

    def _all_heads(self, context: Context) -> list[tuple[int, int]]:
        """All heads of the model."""
        facts = self.model_facts(context)
        return [(layer, head) for layer in facts.head_layers for head in range(facts.n_heads)]

    def head_set(self, label: str, heads: list[tuple[int, int]]) -> str:
        """The step of heads that are known."""
        return self.add("head_set", label, {"heads": sorted({(int(i), int(j)) for i, j in heads})})


def _of(parameters: Mapping[str, Any]) -> str:
    """What a label says of another site than that of self-attention."""
    return f" of {parameters['site']}" if "site" in parameters else ""


def _of_site(parameters: dict[str, Any]) -> dict[str, Any]:
    """``parameters`` without the site where it is that of self-attention."""
    if parameters.get("site") == "attention":
        return {name: value for name, value in parameters.items() if name != "site"}
    return parameters


def _about(context: Context) -> str | None:
    """The relation that the vector around an expression is of, else the one under test."""
    return context.about or context.relations.get("each")
