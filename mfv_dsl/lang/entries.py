"""The words of the language, each declared once: units, controls and items.

Functions and the rankings of heads are in :mod:`mfv_dsl.lang.functions`, the constructors of models
and datasets in :mod:`mfv_dsl.lang.constructors`.  Constants that checking, planning and running
share stand where their subject is checked: those of functions and evals, ``TRAINING_SPLIT`` and
``EXAMPLES_SPLIT``, here.  Those that planning and running share (``BATCH``, ``OFF_TASK_SHOTS``) are
in :mod:`mfv_dsl.plan.descriptions`, which counts with them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from mfv_dsl.lang.constructors import DATASETS, MODELS
from mfv_dsl.lang.functions import FUNCTIONS, RANKINGS, SEED
from mfv_dsl.lang.registry import Control, Entry, Parameter, Unit, by_name

#: The split that vectors and adapters are trained on, also for planning and running.
TRAINING_SPLIT = "train"
#: The split whose items `classify` learns from, also for planning.
EXAMPLES_SPLIT = "extract"
#: What no number of things is above that anybody means.
MOST = 10**9
UNITS: dict[str, Unit] = {
    unit.name: unit
    for unit in (
        Unit("layer", "a decoder layer, from 0", whole=True, minimum=0),
        Unit("count", "how many, at least 1", whole=True, minimum=1, maximum=MOST),
        Unit(
            "demonstrations",
            "how many demonstrations, 0 or more",
            whole=True,
            minimum=0,
            maximum=MOST,
        ),
        Unit("factor", "a factor without a unit"),
        Unit("learning rate", "a step size above 0", above=0),
        Unit("decay", "0 or more", minimum=0),
        Unit("weight", "how much a term of a loss counts, 0 or more", minimum=0),
        Unit("positive", "a number above 0", above=0),
        Unit("length", "a vector's Euclidean length, above 0", above=0),
        Unit("seed", "a whole number, 0 or more", whole=True, minimum=0, maximum=2**63 - 1),
        Unit("amount", "a whole number, 0 or more", whole=True, minimum=0, maximum=MOST),
        Unit("part", "a part of the whole, from 0 to 1", minimum=0, maximum=1),
        Unit("cosine", "a cosine, from -1 to 1", minimum=-1, maximum=1),
        Unit("share", "0 or more", minimum=0),
        Unit("margin", "a difference in accuracy, above 0 and at most 1", above=0, maximum=1),
        Unit("pixels", "an image's side, at least 8", whole=True, minimum=8, maximum=8192),
    )
}
CONSTANTS = {"true": True, "false": False}
#: How many heads a function vector has when the recipe does not say.
DEFAULT_HEADS = 10

CONTROLS = (
    Control("random_heads", "random heads in place of each `top(...)`",
            of=("add", "replace", "project_out", "patch", "ablate", "classify")),
    Control("random_vector", "a random vector of the same length"),
    Control("other_relation", "the vector of another relation"),
    Control("shuffled", "vectors from prompts whose answers are shuffled"),
)  # fmt: skip
# What the reference says of these rows.
_CONTROLLED = "the same measured " + ", ".join(f"with {control.doc}" for control in CONTROLS)
#: Those of them that ask about the cells of a grid, which `scenes` alone has.
OFF_TASKS_BY_CELL = ("where", "what")
#: The ways of answering in which one of a question's options is the answer.
CHOOSING = ("choice", "choice_text", "yes_no")
#: The metrics that need some of them.
CHOICE_METRICS = {
    "letter_accuracy": ("choice",), "text_accuracy": ("choice", "choice_text"),
    "text_sum_accuracy": ("choice", "choice_text"), "chance": CHOOSING,
}  # fmt: skip
#: The metrics of an `eval` that are measured on off-task prompts.
OFF_TASK_METRICS = ("off_task_kl", "off_task_accuracy")
#: The kinds of off-task prompts, and how many demonstrations each has.
OFF_TASK_KINDS = {"few_shot": 4, "named": 0, "where": 0, "what": 0}
#: The attributes of an `eval` that write a vector at a layer and a site.
PLACED = ("add", "replace", "project_out")
#: Those that write a vector, all that write into the model, and these with what is read in place of
#: answers.
VECTOR_WRITES = (*PLACED, "patch")
WRITERS = (*VECTOR_WRITES, "ablate")
WRITES = (*WRITERS, "classify")

_MODEL = Parameter("model", ("Model",), "the model; the only one declared if left out", None,
                   from_defaults=True, key="never")  # fmt: skip
_DATASET = Parameter("dataset", ("Dataset",), "the dataset; the only one declared if left out",
                     None, from_defaults=True, key="never")  # fmt: skip
_ON = Parameter("on", ("List[Relation]",), "the relations; all of the dataset if left out", None,
                from_defaults=True, key="never")  # fmt: skip

_ALLOW = Parameter("allow", ("List[Code]",), "codes of warnings that are meant, and not shown; in "
                   "`defaults` for the whole recipe", (), from_defaults=True, key="never",
                   may_be_empty=True)  # fmt: skip

_LAYER_SWEEP = Parameter(
    "layer", ("Number", "List[Number]", "Range", "Choice", "Layers"),
    "the decoder layer written to; a list or range is a sweep; a set, `{3, 5}`, is both layers at "
    "once, `all` every layer at once; `native` is each head's own; if left out, the layer that a "
    "trained or loaded vector was made for",
    None, choices=("native", "all"), later=("all",), unit="layer", from_defaults=True,
    key="always", stored_as="layers", acts_in=PLACED,
)  # fmt: skip

ITEMS = (
    Entry("item", "model", "a model to run", result="Model", form="declaration",
          example="model flamingo = tiny()"),
    Entry("item", "dataset", "items to test it on", result="Dataset", form="declaration",
          example="dataset shapes = scenes(relations=[left, right])"),
    Entry("item", "heads", "a set of attention heads", result="Heads", form="declaration",
          example="heads early = top(10) & layers(0..4)"),
    Entry("item", "vector", "a vector, or with a parameter one vector per relation",
          result="Vector", form="declaration",
          example="vector pure(r) = fv(r) - mean(fv(left), fv(right))"),
    Entry("item", "use", "the declarations of another file, whose path is from this one; with "
          "`as`, under a name of their own: `c.NAME`", form="inclusion", label="text",
          example='use "common.mfv" as c'),
    Entry("item", "let", "a constant: its name stands for a number, a text, a range, a list, a set "
          "of heads or a word, wherever a value may stand", result="Constant", form="declaration",
          example="let simple = [left, right, above, below]"),
    Entry("item", "sweep", "a value that is one of several, a list or a range: whatever is made "
          "with it is made for each", result="Sweep", form="declaration",
          example="sweep draw = 1..5"),
    Entry("item", "defaults", "values for every block and call that does not say otherwise; with "
          "`for` a kind of block, or a function, for these alone, and before those of the other",
          form="block", example="defaults { trials = 50 }\ndefaults for tune { items = 80 }"),
    Entry(
        "item", "tune", "trains one vector per relation with the model frozen",
        (
            Parameter("start", ("Vector", "Choice"), "the vector to begin with; a `random` one, "
                      "a tenth as long as the residual stream it is added to; or one whose numbers "
                      "are drawn from the standard `normal` distribution",
                      choices=("random", "normal")),
            Parameter("layer", ("Number", "Layers", "Choice"), "the decoder layer written to; of "
                      "a set, `{3, 5}`, or of `all` layers each gets a part of its own; `native` "
                      "are the places of `start`, where it has several, and of its heads",
                      choices=("native", "all"), later=("native", "all"), unit="layer",
                      from_defaults=True, key="always", read_again=True),
            Parameter("site", ("Choice", "List[Choice]"), "what is written to there: the "
                      "`residual` stream behind the layer, or what the layer's `attention` or "
                      "`mlp` adds to it; a list is several, each with a part of its own",
                      "residual", choices=("residual", "attention", "mlp"),
                      later=("residual", "attention", "mlp")),
            Parameter("position", ("Choice", "Text"), "the tokens written to, as in an `eval`",
                      "last", choices=("last", "all", "images"), later=("images",), apart=True),
            _ON,
            Parameter("variable", ("Choice",), "what is learned: the vector; a factor before "
                      "`start` (scale), or for each of its places (place_scales) or heads "
                      "(head_scales); which of its heads to keep (head_mask); or which of them to "
                      "`patch`, learned by REINFORCE (patch_mask)",
                      "vector", choices=("vector", "scale", "place_scales", "head_scales",
                                         "head_mask", "patch_mask")),
            Parameter("items", ("Number", "Choice"), "training prompts per relation, from the "
                      "`train` split; or `all` that it has", 160, choices=("all",), unit="count",
                      key="always", read_again=True),
            Parameter("shots", ("Number",), "demonstrations in the training and the validation "
                      "prompts", 0, unit="demonstrations"),
            Parameter("epochs", ("Number",), "passes over the training prompts", 10, unit="count",
                      from_defaults=True, key="always", read_again=True),
            Parameter("batch", ("Number",), "prompts per step", 32, unit="count",
                      from_defaults=True, key="always", read_again=True),
            Parameter("lr", ("Number",), "Adam's learning rate at the first step; it falls to 0 "
                      "along a cosine", 0.1, unit="learning rate", from_defaults=True,
                      key="always", read_again=True),
            Parameter("loss", ("Choice",), "minimised: the answer's negative log-probability "
                      "(nll); or KL(teacher ‖ edited) of the next token, the teacher being the "
                      "unedited model behind demonstrations, asked the same (teacher)",
                      "nll", choices=("nll", "teacher"), from_defaults=True),
            Parameter("teacher_shots", ("Number",), "the teacher's demonstrations", 4,
                      unit="count"),
            Parameter("nll_weight", ("Number",), "with the teacher's loss: weight of the answer's "
                      "negative log-probability beside it", 0.0, unit="weight"),
            Parameter("weight_decay", ("Number",), "half the vector's squared length, times this, "
                      "is added to the loss", 0.0, unit="decay", from_defaults=True),
            Parameter("max_norm", ("Number",), "the longest that the vector may be, after every "
                      "step; no bound if left out", None, unit="length", from_defaults=True),
            Parameter("kl", ("Number",), "weight of KL(unedited ‖ edited) of the next token on "
                      "4-shot prompts of the dataset's other relations, which the vector should "
                      "leave alone", 0.0, unit="weight", from_defaults=True),
            Parameter("sparsity", ("Number",), "with head_mask and patch_mask: weight of the sum "
                      "of the heads' weights", 0.0, unit="weight"),
            Parameter("select_on", ("Split",), "the split that chooses the epoch; never `test`",
                      "validation", from_defaults=True, key="always"),
            Parameter("select_items", ("Number",), "prompts per relation that choose the epoch",
                      100, unit="count", key="always"),
            _MODEL, _DATASET, replace(SEED, read_again=True), _ALLOW,
        ),
        result="Family", form="block", label="name",
        example="tune tuned {\n  start = fv(each)\n  layer = 4\n}",
    ),
    Entry(
        "item", "eval", "measures how often the model answers correctly under a condition",
        (
            replace(_MODEL, read_again=True), replace(_DATASET, read_again=True), _ON,
            Parameter("shots", ("Number", "List[Number]", "Range"),
                      "demonstrations in the test prompts; a list or range is a sweep", 0,
                      unit="demonstrations", key="always"),
            Parameter("split", ("Split",), "the part of the dataset that is tested", "test",
                      key="always"),
            Parameter("items", ("Number",), "items per relation", 100, unit="count",
                      from_defaults=True, key="always"),
            Parameter("correct_with", ("Number",), "of the items only those that the model answers "
                      "correctly with so many demonstrations and no intervention; all if left out",
                      None, unit="demonstrations", from_defaults=True),
            Parameter("add", ("Vector", "List[Vector]"), "a vector added to the residual stream; "
                      "of a list each one for itself", None),
            Parameter("replace", ("Vector", "List[Vector]"), "a vector that takes the place of the "
                      "state; of a list each one for itself", None),
            Parameter("project_out", ("Vector", "List[Vector]"), "a vector along which nothing is "
                      "left of the state; of a list each one for itself", None),
            Parameter("patch", ("Vector", "List[Vector]"), "a vector whose per-head parts replace "
                      "the heads' outputs; of a list each one for itself", None),
            Parameter("adapter", ("Adapter",), "an adapter that is in the model: `lora(each)` or "
                      "`soft_prompt(each)`", None),
            Parameter("heads", ("Heads",), "the heads of every `fv` in the vector written that "
                      "names none", None, acts_in=VECTOR_WRITES, read_again=True),
            Parameter("ablate", ("Heads",), "heads whose outputs are taken away; beside `add` the "
                      "vector is added where they are", None),
            Parameter("ablate_with", ("Choice",), "what ablated heads put out", "zero",
                      choices=("zero", "mean"), from_defaults=True, key="always",
                      acts_in=("ablate",)),
            Parameter("classify", ("Heads",), "heads that give the answer, in place of the model's "
                      "output: each votes for the answer whose examples' mean output is nearest "
                      "by cosine, and most votes win", None),
            Parameter("examples", ("Number",), "items with their answers that `classify` learns "
                      "from, of each relation from the `extract` split", 100, unit="count",
                      key="always", acts_in=("classify",)),
            Parameter("k", ("Number", "List[Number]", "Range"), "how many heads, in place of the "
                      "number in every `top(...)` behind the vector or heads; a list or range is a "
                      "sweep", None, unit="count", stored_as="ks", acts_in=WRITES),
            _LAYER_SWEEP,
            Parameter("scale", ("Number", "List[Number]", "Range"),
                      "the factor before the vector; a list or range is a sweep", 1,
                      unit="factor", from_defaults=True, stored_as="scales",
                      acts_in=("add", "replace")),
            Parameter("scale_by", ("Choice",), "what `scale` is in units of: the `vector`; the "
                      "state's `length`, so that the vector gives the direction alone; or that "
                      "and, where the state points against the vector, more: times 1 less their "
                      "cosine (`angle`)", "vector", choices=("vector", "length", "angle"),
                      later=("vector", "length", "angle"), acts_in=("add",), read_again=True),
            Parameter("keep", ("Number",), "the factor before the state that the vector is added "
                      "to", 1, unit="factor", acts_in=("add",), read_again=True),
            Parameter("length", ("Choice",), "how long the state is when the vector is added: as "
                      "it comes out (`free`), or as long as before (`kept`)", "free",
                      choices=("free", "kept"), later=("free", "kept"), acts_in=("add",),
                      read_again=True),
            Parameter("site", ("Choice",), "what the vector is written to: the `residual` stream "
                      "behind the layer, or what the layer's `attention` or `mlp` adds to it",
                      "residual", choices=("residual", "attention", "mlp"),
                      later=("residual", "attention", "mlp"), from_defaults=True,
                      acts_in=PLACED, read_again=True),
            Parameter("position", ("Choice", "Text"), "the tokens written to: the `last` of the "
                      "prompt, `all`, those of its `images`, or those of a text where it stands "
                      'last in the query, such as `"Q:"`; `{query}` in it is the name asked about',
                      "last", choices=("last", "all", "images"), later=("images",), apart=True,
                      from_defaults=True, acts_in=WRITERS, read_again=True),
            Parameter("when", ("Vector",), "write only into prompts whose state behind "
                      "`when_layer`, at the last token of the unedited model, has a cosine with "
                      "this vector that is above `above`", None, acts_in=WRITERS),
            Parameter("when_layer", ("Number",), "the decoder layer behind which `when` looks",
                      None, unit="layer", acts_in=("when",), read_again=True),
            Parameter("above", ("Number",), "the cosine that a prompt has to exceed for `when`",
                      None, unit="cosine", acts_in=("when",), read_again=True),
            Parameter("choose", ("List[Choice]",), "swept attributes to settle per relation on "
                      "`select_on`, such as `layer`; `add`, `replace` or `project_out` is the best "
                      "of several vectors; before the winner is measured", (),
                      choices=("layer", "scale", "k", *PLACED), later=("replace", "project_out"),
                      acts_in=VECTOR_WRITES, may_be_empty=True),
            Parameter("select_on", ("Split",), "the split that `choose` looks at", "validation",
                      from_defaults=True, key="always", acts_in=VECTOR_WRITES),
            Parameter("answer", ("Choice",), "what counts as the model's answer: the object "
                      "that the likeliest next token begins (`first_token`: even where it begins "
                      "several), whose whole name is likeliest (`full`), or that greedy generation "
                      "begins with (`generate`); of items that have a question with options, the "
                      "option whose letter is likeliest, on average over all turns of their list "
                      "(`choice`), or whose text is, for each token (`choice_text`); or whether "
                      "the next token is yes or no (`yes_no`)", "first",
                      choices=("first", "first_token", "full", "generate", *CHOOSING),
                      later=CHOOSING, from_defaults=True),
            Parameter("against", ("Eval", "List[Eval]"), "evals of the same items to show the "
                      "paired difference from", (), key="never", may_be_empty=True),
            Parameter("margin", ("Number",), "with `against`: whether a loss of more than this is "
                      "excluded, and whether a difference of more is, either way; 0.02 is two "
                      "points of accuracy", None, unit="margin", from_defaults=True, key="never"),
            Parameter("controls", ("List[Choice]",), _CONTROLLED, (),
                      choices=tuple(control.name for control in CONTROLS), acts_in=WRITES,
                      may_be_empty=True),
            Parameter("metrics", ("List[Choice]",), "what is reported; `confusion` is how often "
                      "each relation's object was the answer, `balanced_accuracy` the mean over "
                      "right answers of how often each was given; of questions with options "
                      "`chance` is what guessing gives, and always the most frequent answer, "
                      "`letter_accuracy` that of letters in the set's own order, `text_accuracy` "
                      "and `text_sum_accuracy` those of the options' texts, for each token and as "
                      "they are; of what is written off its task, on prompts of the dataset's "
                      "other relations, `off_task_kl` is KL(unedited ‖ edited) of the next token, "
                      "and `off_task_accuracy` how many answers are right without and with it",
                       ("accuracy", "p_answer"),
                      choices=("accuracy", "p_answer", "confusion", "balanced_accuracy",
                               *CHOICE_METRICS, *OFF_TASK_METRICS),
                      later=("balanced_accuracy", *CHOICE_METRICS, *OFF_TASK_METRICS),
                      from_defaults=True, key="never"),
            Parameter("off_task", ("Choice",), "which off-task prompts: other relations, shown by "
                      "four demonstrations (few_shot) or named in the question (named); of "
                      "`scenes`, in words that only the bundled models know, in which cell an "
                      "object stands (where), or what stands in a cell (what)", "few_shot",
                      choices=tuple(OFF_TASK_KINDS), later=tuple(OFF_TASK_KINDS),
                      from_defaults=True, key="never"),
            Parameter("off_task_items", ("Number",), "off-task prompts for each relation", 100,
                      unit="count", from_defaults=True, key="never"),
            replace(SEED, read_again=True), _ALLOW,
        ),
        form="block", label="name",
        example="eval raw {\n  add = fv(each)\n  layer = 0..5\n}",
    ),
    Entry(
        "item", "save", "writes vectors into a library folder",
        (
            Parameter("vectors", ("List[Vector]",), "the vectors; `fv(each)` is one per relation"),
            Parameter("layer", ("Number",), "the layer they are meant for, noted in the file",
                      None, unit="layer"),
            Parameter("license", ("Text",), "the licence they are given under, noted in the files "
                      "and the card", None),
            _ON, _MODEL, _DATASET, _ALLOW,
        ),
        form="block", label="text",
        example='save "vectors/mine" {\n  vectors = [fv(each)]\n}',
    ),
    Entry(
        "item", "report", "numbers of the language as rows of the result, one for each relation "
        "where there is `each` in it",
        (_ON, _MODEL, _DATASET, _ALLOW),
        form="block", lines=True,
        example="report {\n  cosine(fv(left), fv(right))\n  norm(fv(each))\n}",
    ),
    Entry("item", "profile", "values in place of others, for `--profile name`: `name = ...` is the "
          "whole value of a model, a dataset, heads or a vector, `name.attribute = ...` an "
          "attribute of a block or of `defaults`, or an argument of a model or dataset",
          form="block", label="name",
          example="profile short {\n  flamingo        = tiny()\n  shapes.seed     = 1\n"
          "  defaults.trials = 50\n}"),
)  # fmt: skip


ITEM = by_name(ITEMS)
FUNCTION = by_name(FUNCTIONS)
RANKING = {ranking.name: ranking for ranking in RANKINGS}
CONTROL = {control.name: control for control in CONTROLS}


def off_task_metrics(metrics: object) -> bool:
    """Whether an eval with these metrics measures what it writes off its task."""
    return isinstance(metrics, tuple) and not set(OFF_TASK_METRICS).isdisjoint(metrics)


@cache
def takers(name: str) -> tuple[tuple[Entry, Parameter], ...]:
    """The blocks and functions whose attribute or option ``name`` a `defaults` block may give."""
    pairs = []
    for entry in (*ITEMS, *FUNCTIONS):
        parameter = entry.parameter(name)
        if parameter is not None and parameter.from_defaults:
            pairs.append((entry, parameter))
    return tuple(pairs)


def all_entries() -> tuple[Entry, ...]:
    """Every entry, in the order of the reference."""
    return (*ITEMS, *MODELS, *DATASETS, *FUNCTIONS)
