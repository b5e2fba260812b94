"""How much arithmetic a plan is, counted from its steps and the sizes of its models.

Two operations for every multiply-add with a weight.  What a kind of work is:

- ``pictures``: each different picture encoded, once for a model;
- ``prompts``: all tokens of each prompt through all layers, and attention to the tokens before;
- ``variants``: a prompt's last token once more under some edits, from the edited layer on, and the
  output head; where a prefix is not shared, the whole prompt;
- ``generation``: the tokens of answers that are written out or scored whole;
- ``training``: a training prompt's last token above the injection, forward and backward (the
  weights are frozen, so that backward costs as much as forward), and the validation prompts; of an
  adapter whole prompts.

Counts are upper bounds where they depend on how many prompts the model answers correctly, and where
demonstrations may meet by chance (:mod:`mfv_dsl.plan.images`).  Drawing and reading pictures is not
in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from mfv_dsl.base.facts import PRECISIONS, ModelFacts
from mfv_dsl.base.layers import numbers_of
from mfv_dsl.lang.entries import OFF_TASK_KINDS
from mfv_dsl.lang.writing import SITES
from mfv_dsl.plan.described_evaluations import conditions
from mfv_dsl.plan.described_trainings import trained_places, training_items
from mfv_dsl.plan.descriptions import (
    MASK_EPOCHS,
    OFF_TASK_SHOTS,
    model_facts,
    options_of,
    shares_prefix,
    times_asked,
)
from mfv_dsl.plan.images import new_images
from mfv_dsl.plan.lengths import prompt_tokens
from mfv_dsl.plan.operations import OPERATIONS
from mfv_dsl.plan.steps import Plan, Step

#: Tokens of an answer that is written out, about.
_ANSWER_TOKENS = 4
#: Tokens of names that are scored whole, about: of those that may be the likeliest.
_NAME_TOKENS = 8


@dataclass(frozen=True)
class Work:
    """Floating-point operations by kind."""

    pictures: float = 0.0
    prompts: float = 0.0
    variants: float = 0.0
    generation: float = 0.0
    training: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return float(sum(getattr(self, item.name) for item in fields(self)))

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def work_by_step(plan: Plan, steps: Iterable[Step]) -> dict[str, Work]:
    """The work of each step by its key; none of it for one that runs no model.

    The sizes of its model have to be known (:func:`is_counted`).
    """
    steps, works = tuple(steps), {}
    images = new_images(plan, steps)
    for step in steps:
        counter = _COUNTERS.get(step.operation)
        works[step.key] = Work() if counter is None else counter(plan, step)
        if images[step.key]:
            pictures = 2.0 * images[step.key] * model_facts(plan, step).picture_work
            works[step.key] += Work(pictures=pictures)
    return works


def is_counted(plan: Plan) -> bool:
    """Whether the sizes of all models are known."""
    return all(getattr(model.facts, "layer_parameters", 0) for model in plan.models.values())


def peak_memory(plan: Plan) -> int:
    """About how many bytes running a plan takes: the weights of its models, and the keys and values
    of the step that holds most of them."""
    models = [m.facts for m in plan.models.values() if isinstance(m.facts, ModelFacts)]
    weights = sum(f.weights or PRECISIONS[f.precision] * f.parameters for f in models)
    held = [OPERATIONS[step.operation].describe(plan, step).memory for step in plan.steps]
    return weights + max(held, default=0)


def _token(facts: ModelFacts, layers: float, length: int) -> float:
    """One token through ``layers`` layers, behind ``length`` others."""
    return 2 * layers * (facts.layer_parameters + 2 * length * facts.d_model)


def _read(facts: ModelFacts, prompts: float, shots: int) -> Work:
    """Prompts through all layers."""
    length = prompt_tokens(facts, shots)
    return Work(prompts=prompts * length * _token(facts, facts.n_layers, length // 2))


def _answered(facts: ModelFacts, prompts: float, shots: int) -> Work:
    """Prompts, and what comes out at their ends."""
    return _read(facts, prompts, shots) + Work(prompts=prompts * 2 * facts.output_parameters)


def _copies(
    facts: ModelFacts, copies: float, layers: float, shots: int, shares: bool = True
) -> Work:
    """Last tokens through ``layers`` layers each, on average; whole prompts where a prefix is not
    shared."""
    shares = shares and facts.shares_prefix
    length = prompt_tokens(facts, shots)
    tokens = copies * _token(facts, layers, length)
    if not shares:
        tokens = copies * length * _token(facts, facts.n_layers, length // 2)
    return Work(variants=tokens + copies * 2 * facts.output_parameters)


def _activations(plan: Plan, step: Step) -> Work:
    facts = model_facts(plan, step)
    return _answered(facts, step.parameters["trials"], step.parameters["shots"])


def _mediation(plan: Plan, step: Step) -> Work:
    p, facts = step.parameters, model_facts(plan, step)
    read = _answered(facts, p["trials"], p["shots"])
    if p["by"] in ("gradient", "relp"):  # one pass forward, one backward, for every prompt
        return read + Work(prompts=read.prompts)
    above = sum(facts.n_layers - layer for layer in facts.head_layers) / len(facts.head_layers)
    return read + _copies(facts, p["trials"] * facts.head_count, above, p["shots"])


def _relevance(plan: Plan, step: Step) -> Work:
    read = _activations(plan, step)  # a pass forward, one backward
    return read + Work(prompts=read.prompts)


def _mask(plan: Plan, step: Step) -> Work:
    p, facts = step.parameters, model_facts(plan, step)
    read = _activations(plan, step)
    copies = _copies(facts, 2 * MASK_EPOCHS * p["trials"], facts.n_layers, p["shots"])
    return read + Work(training=copies.variants)


def _evaluate(plan: Plan, step: Step) -> Work:
    p, facts = step.parameters, model_facts(plan, step)
    if "unedited" in step.references:
        return Work()
    items, shots = p["items"], p["shots"]
    if p.get("mode") == "classify":
        return _answered(facts, items, shots)
    trials, measured = conditions(p)
    passes, n_layers = 2 if trials else 1, facts.n_layers
    places = [
        min(numbers)
        for layer in p.get("layers") or ()
        if (numbers := (0,) if layer == "all" else numbers_of(layer))
    ]
    above = sum(n_layers - layer for layer in places) / len(places) if places else n_layers
    shares = shares_prefix(facts, p)
    asked = times_asked(plan, step)
    work = _read(facts, round(items * passes * asked), shots) if shares else Work()
    copies = items * (trials + measured + (passes if "when" in step.inputs else 0))
    if p.get("mode") == "blend":
        work += _read(facts, items * passes, 0) if shares else Work()
        copies *= len(step.inputs["candidates"]) + 1
    texts = options_of(plan, step)
    return work + _answering(facts, p["answer"], copies * asked, above, shots, shares, texts)


def _off_task(plan: Plan, step: Step) -> Work:
    p, facts = step.parameters, model_facts(plan, step)
    (evaluation,) = step.input_keys
    shots, shares = OFF_TASK_KINDS[p["kind"]], shares_prefix(facts, plan[evaluation].parameters)
    work = _read(facts, p["items"], shots) if shares else Work()
    copies = p["items"] * (p["conditions"] + 1)
    return work + _copies(facts, copies, facts.n_layers, shots, shares)


def _answers(plan: Plan, step: Step) -> Work:
    p, facts = step.parameters, model_facts(plan, step)
    items, shots = p["items"], p["shots"]
    items = round(items * times_asked(plan, step))
    work = _read(facts, items, shots)
    texts = options_of(plan, step)
    return work + _answering(facts, p["answer"], items, facts.n_layers, shots, texts=texts)


def _answering(
    facts: ModelFacts, answer: str, copies: float, above: float, shots: int, shares: bool = True,
    texts: float = 1,
) -> Work:  # fmt: skip
    """Last tokens through ``above`` layers, or whole prompts, and the answers behind them: of a
    question with options so many ``texts``."""
    shares = shares and facts.shares_prefix
    tokens = {
        "full": _NAME_TOKENS, "generate": _ANSWER_TOKENS, "choice_text": texts * _NAME_TOKENS,
        "choice": texts / (texts + 1) * _NAME_TOKENS,  # one of all prompts is about texts
    }.get(answer, 0)  # fmt: skip
    work = _written(facts, copies * tokens, shots)
    if answer == "generate" and not shares:
        work += _read(facts, copies, shots)
    return work + _copies(facts, copies, above, shots, shares)


def _written(facts: ModelFacts, tokens: float, shots: int) -> Work:
    """Tokens of answers, behind their prompts."""
    each = _token(facts, facts.n_layers, prompt_tokens(facts, shots)) + 2 * facts.output_parameters
    return Work(generation=tokens * each)


def _tune(plan: Plan, step: Step) -> Work:
    p, facts = step.parameters, model_facts(plan, step)
    items = training_items(plan, step)
    shares = shares_prefix(facts, p)
    work = _read(facts, items + p["select_items"], p["shots"]) if shares else Work()
    if p["loss"] == "teacher":
        work += _answered(facts, items, p["teacher_shots"])
    site, first = min(trained_places(plan, step), key=lambda at: at[1], default=("", 0))
    above = facts.n_layers - first - (site == SITES["residual"])
    trained = 2 * p["epochs"] * items  # forward and backward
    measured = (p["epochs"] + 1) * p["select_items"]
    if p["kl"]:
        work += _read(facts, items, OFF_TASK_SHOTS)
        trained *= 2
        measured += items
    copies = _copies(facts, trained + measured, above, p["shots"], shares)
    return work + Work(training=copies.variants)


def _adapter(plan: Plan, step: Step) -> Work:
    """Whole prompts, forward and backward in training; the weights are frozen."""
    p, facts = step.parameters, model_facts(plan, step)
    passes = 2 * p["epochs"] * p["items"] + (p["epochs"] + 1) * p["select_items"]
    read = _answered(facts, passes, p["shots"])
    return Work(training=read.total)


_COUNTERS: dict[str, Callable[[Plan, Step], Work]] = {
    "activations": _activations,
    "states": _activations,
    "mediation": _mediation,
    "head_outputs": _activations,
    "head_relevance": _relevance,
    "head_mask": _mask,
    "evaluate": _evaluate,
    "answers": _answers,
    "off_task": _off_task,
    "tune": _tune,
    "lora": _adapter,
    "soft_prompt": _adapter,
}
