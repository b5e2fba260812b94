"""From a checked recipe to a plan: its tunes, evals, reports and saves, and all they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mfv_dsl.base.diagnostics import Diagnostic
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import check_clash, check_name
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.lang.checked import Checked, CheckedBlock
from mfv_dsl.lang.relations import relation_text
from mfv_dsl.lang.saves import is_per_relation, vector_name
from mfv_dsl.lang.syntax import Call, Expr, Name
from mfv_dsl.plan.arithmetic import finite, sum_text
from mfv_dsl.plan.context import Context
from mfv_dsl.plan.evals import EvalPlanner
from mfv_dsl.plan.located import located, placed
from mfv_dsl.plan.steps import EvalRow, NumberRow, Plan, Save, Saved, TuneRow, needed
from mfv_dsl.plan.vector_files import check_files


def build_plan(checked: Checked, only: Sequence[str] | None = None) -> Plan:
    """The plan of a checked recipe.

    Args:
        checked: The recipe, whose models and datasets have facts.
        only: Names of tunes, evals and saves to plan, or `report`, with what they need; all if
            left out.

    Returns:
        The steps that the blocks need, each after its inputs, with the rows and saves that read
        their values; warnings: MFV5005 for a vector that cancels out of a sum; and errors, with
        which it can be looked at and not be run: MFV7110 and MFV7111 for more items or
        demonstrations than a dataset has.

    Raises:
        MfvError: MFV5001 where the shape of a model or dataset is not known, MFV5003 for a name in
            ``only`` that the recipe has not, MFV5004 for names that stand for one another through
            too many levels, MFV5306 for a number that is too large or divided by zero, MFV5313 for
            a ``tune`` that scales a zero vector, MFV5351 for a blend where one vector is needed;
            of a save, MFV5006, MFV6005 and MFV6006 for names that are no files' or taken, and
            MFV6073 for a vector of more others than a file can name.

    >>> from mfv_dsl.base.source import Source
    >>> from mfv_dsl.lang.checker import load_recipe
    >>> text = "mfv 1\\nmodel m = tiny()\\ndataset d = scenes(relations=[left])\\neval raw {\\n}\\n"
    >>> [step.label for step in build_plan(load_recipe(Source(text))).steps]
    ['unedited model: left from test, 0 shots', 'raw: left, 0 shots']
    """
    names = [block.own_name for block in checked.blocks]
    for name in only or ():
        if name not in names:
            raise MfvError(
                "MFV5003",
                f"the recipe has no tune, eval or save `{name}`",
                help=did_you_mean(name, names, f"it has {', '.join(dict.fromkeys(names))}"),
            )
    planner = BlockPlanner(checked)
    rows: list[EvalRow] = []
    saves: list[Save] = []
    numbers: list[NumberRow] = []
    ends: list[str] = []
    errors: dict[tuple[object, ...], Diagnostic] = {}
    try:
        for block in checked.blocks:
            if only and block.own_name not in only:
                continue
            try:
                if block.kind == "eval":
                    rows += planner.evaluate(block)
                elif block.kind == "save":
                    saves.append(planner.save(block))
                elif block.kind == "report":
                    numbers += planner.report(block)
                else:
                    ends += planner.tune(block)
            except MfvError as error:
                raise placed(error, checked, block) from None
            for shortage in planner.shortages:
                finding = located(shortage, checked, block)
                errors.setdefault((finding.code, finding.span), finding)
            planner.shortages.clear()
    except RecursionError:
        raise MfvError(
            "MFV5004",
            "the names of this recipe stand for one another through too many levels to follow",
            help="write long sums as one `mean(...)`, or with fewer names in between",
        ) from None
    ends += [step for row in rows for step in (row.step, *(key for _, key in row.against))]
    ends += [row.off_task for row in rows if row.off_task is not None]
    ends += [vector.step for save in saves for vector in save.vectors]
    ends += [row.step for row in numbers if row.step is not None]
    steps = needed(planner.steps.values(), ends)
    keys = {step.key for step in steps}
    tunes = [
        TuneRow(tune.own_name, relation, key, tune.axes)
        for (name, relation), key in planner.tuned.items()
        if key in keys and (tune := checked.tunes[name])
    ]
    check_files(checked, steps, saves, tunes)
    return Plan(
        checked.models, checked.datasets, steps, tuple(rows), tuple(saves),
        checked.copies.each_once(planner.warnings.values()), tuple(tunes),
        checked.copies.each_once(errors.values()), tuple(numbers), checked.docs,
    )  # fmt: skip


class BlockPlanner(EvalPlanner):
    """Plans tunes, evals, reports and saves."""

    def source_text(self, expr: Expr, context: Context) -> str:
        """What a vector is, in the recipe's language: a declared name or family by its terms."""
        form = self.linear(expr, context)
        return sum_text((value, self.steps[key].label) for key, value in form.items())

    def tune(self, block: CheckedBlock) -> list[str]:
        """The steps of all relations that a `tune` trains."""
        context = self.context_of(block)
        return [
            self.tuned_vector(block, relation, context) for relation in self.relations_of(block)
        ]

    def report(self, block: CheckedBlock) -> list[NumberRow]:
        """The numbers of a `report`: with `each` in it one for every relation."""
        rows = []
        for text, expr in zip(block.listed, block["numbers"], strict=True):
            each = is_per_relation(expr)
            for relation in self.relations_of(block) if each else [None]:
                bound = {} if relation is None else {"each": relation}
                context = replace(self.context_of(block), relations=bound)
                number = self.number(expr, context)
                step = None if isinstance(number, float) else number
                value = finite(number) if isinstance(number, float) else None
                rows.append(NumberRow(text, relation, step, value, block.axes))
        return rows

    def save(self, block: CheckedBlock) -> Save:
        """What a `save` writes: of a vector with `each` in it one for every relation.

        Raises MfvError: MFV5006 for two vectors of one name, MFV6005 and MFV6006 for names that a
        file cannot have.
        """
        base = self.context_of(block)
        relations = self.relations_of(block)
        saved: dict[str, Saved] = {}  # by name in small letters
        for expr in block["vectors"]:
            each = is_per_relation(expr)
            for relation in relations if each else [None]:
                bound = {} if relation is None else {"each": relation}
                context = replace(base, relations=bound)
                vector = Saved(
                    vector_name(expr, bound, block.axes), self.vector(expr, context),
                    self.source_text(expr, context), _relation_of(expr, context),
                    self.checked.docs.get(_declared_name(expr), ""),
                )  # fmt: skip
                other = saved.setdefault(check_name(vector.name).lower(), vector)
                check_clash(vector.name, [other.name])
                if other.step != vector.step:
                    raise MfvError(
                        "MFV5006",
                        f"two different vectors would be saved as `{vector.name}` in {block.name}",
                        help="declare one as `vector NAME = ...` and save it by that name",
                    )
        return Save(
            block.name,
            block["layer"],
            block["license"],
            base.model,
            base.dataset,
            tuple(saved.values()),
            block["allow"] or (),
        )


def _declared_name(expr: Expr) -> str:
    """The name of the vector or family that an expression is, empty where it is neither."""
    name = expr.function if isinstance(expr, Call) else expr
    return name.text if isinstance(name, Name) else ""


def _relation_of(expr: Expr, context: Context) -> str | None:
    if not isinstance(expr, Call) or not expr.arguments or expr.function.text == "load":
        return None
    relation = relation_text(expr.arguments[0])
    return None if relation is None else context.relation(relation)
