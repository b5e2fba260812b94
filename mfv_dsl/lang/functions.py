"""The functions of the language, each declared once, and the ways in which `top` ranks heads."""

from __future__ import annotations

from dataclasses import replace

from mfv_dsl.lang.registry import Entry, Parameter, Ranking

#: The corruptions whose demonstrations are of relations of a pool.
POOLED = ("mix", "same_images")
#: What the prompts of a mediation depend on, besides the relation.
_DRAWN = ("shots", "trials", "split", "seed")
_MEDIATED = ("shots", "trials", "split", "seed", "corrupt", "pool", "by", "correct_only")
RANKINGS = (
    Ranking("aie", "measured exactly", "mediation", "effect of every head on {relation}",
            _MEDIATED),
    Ranking("gradient", "estimated", "mediation", "effect of every head on {relation}", _MEDIATED),
    Ranking("relp", "estimated by relevance", "mediation", "effect of every head on {relation}",
            _MEDIATED),
    Ranking("lrp", "by their relevance to the answer", "head_relevance",
            "relevance of every head on {relation}", (*_DRAWN, "correct_only")),
    Ranking("mask", "by a mask that is learned over all of them", "head_mask",
            "learned mask of heads on {relation}", (*_DRAWN, "corrupt", "pool", "correct_only"),
            of_cross_attention=False),
    Ranking("probe", "by how well a linear probe tells relations apart", "head_probe",
            "probes of every head on {relation}", (*_DRAWN, "pool"), inputs=("outputs", "others")),
    Ranking("votes", "by how well they classify answers", "head_votes",
            "votes of every head on {relation}", _DRAWN, inputs=("outputs",), zero_shot=True),
    Ranking("norm", "by the size of their output", "head_norms", "output norms on {relation}",
            of_cross_attention=False),
    Ranking("random", "drawn", of_cross_attention=False),
)  # fmt: skip
# What the reference says of these rows.
_WAYS = [f"{ranking.doc} ({ranking.name})" for ranking in RANKINGS]
_RANKED = f"{', '.join(_WAYS[:-1])}, or {_WAYS[-1]}"

#: Also an attribute of blocks.
SEED = Parameter("seed", ("Number",), "seed of everything drawn", 1234, unit="seed",
                 from_defaults=True, key="always")  # fmt: skip
# A call has these from its own words or from the block it is used in, never from `defaults`.
_OF_MODEL = Parameter("model", ("Model",), "the model; that of the block it is used in if left out",
                      None, key="never")  # fmt: skip
_OF_DATASET = Parameter("dataset", ("Dataset",), "the dataset; that of the block if left out",
                        None, key="never")  # fmt: skip

# Options of prompts that are run to find heads or to average activations.
_SHOTS = Parameter("shots", ("Number",), "demonstrations in each prompt", 4,
                   unit="demonstrations", from_defaults=True, key="always")  # fmt: skip
_TRIALS = Parameter("trials", ("Number",), "prompts to run per relation", 100, unit="count",
                    from_defaults=True, key="always")  # fmt: skip
_CORRUPT = Parameter(
    "corrupt", ("Choice",),
    "the corrupted twin: other images of other relations (mix), the same images asked for other "
    "relations (same_images), permuted answers (shuffle), no demonstrations (none)",
    "mix", choices=("mix", "same_images", "shuffle", "none"), from_defaults=True, key="always",
)  # fmt: skip
_POOL = Parameter(
    "pool", ("List[Relation]", "Choice"),
    "the relations that the demonstrations of a `mix` or `same_images` twin take turns in, with "
    "the relation itself, and that a `probe` tells the relation from; all of the dataset if left "
    "out, or all but itself (others)",
    None, choices=("others",), from_defaults=True,
)  # fmt: skip
_CORRECT_ONLY = Parameter("correct_only", ("Boolean",), "leave out prompts answered wrongly", True,
                          from_defaults=True)  # fmt: skip
_EXTRACT = Parameter("split", ("Split",), "the part of the dataset the prompts come from",
                     "extract", from_defaults=True, key="always")  # fmt: skip

_STATES = Parameter("states", ("States",), "rows of states", positional=True)
_RELATION = Parameter("relation", ("Relation",), "the relation", positional=True)


def _trained(lr: float) -> tuple[Parameter, ...]:
    """How an adapter is trained: as a `tune` trains a vector."""
    return (
        Parameter("items", ("Number", "Choice"), "training prompts, from the `train` split; or "
                  "`all` that it has", 160, choices=("all",), unit="count", key="always"),
        Parameter("shots", ("Number",), "demonstrations in the training and the validation "
                  "prompts", 0, unit="demonstrations", key="always"),
        Parameter("epochs", ("Number",), "passes over the training prompts", 10, unit="count",
                  key="always"),
        Parameter("batch", ("Number",), "prompts per step", 32, unit="count", key="always"),
        Parameter("lr", ("Number",), "Adam's learning rate at the first step; it falls to 0 along "
                  "a cosine", lr, unit="learning rate", key="always"),
        Parameter("select_on", ("Split",), "the split that chooses the epoch; never `test`",
                  "validation", key="always"),
        Parameter("select_items", ("Number",), "prompts that choose the epoch", 100, unit="count",
                  key="always"),
        _OF_MODEL, _OF_DATASET, SEED,
    )  # fmt: skip


_V = Parameter("v", ("Vector",), "a vector", positional=True)
_W = Parameter("w", ("Vector",), "another vector", positional=True)

FUNCTIONS = (
    Entry(
        "function", "fv", "the function vector of a relation: the mean outputs of heads, added",
        (
            Parameter("relation", ("Relation",), "the relation", positional=True),
            Parameter("heads", ("Heads",), "the heads; if left out, the ten with the largest "
                      "effect on this relation", None, from_defaults=True),
            _SHOTS, _TRIALS, _CORRUPT, _POOL, _EXTRACT,
            _CORRECT_ONLY,
            Parameter("bias", ("Choice",), "the projection's bias: left out, or once per head",
                      "none", choices=("none", "per_head"), from_defaults=True),
            _OF_MODEL, _OF_DATASET, SEED,
        ),
        result="Vector", expanded=True, example="fv(left, heads=top(5), shots=4)",
    ),
    Entry("function", "load",
          "a vector from a library folder, a file, or `hf://org/repo@revision`",
          (Parameter("path", ("Text",), "the folder, file or address", positional=True),
           Parameter("name", ("Text",), "the vector's name in it; a file needs none", None,
                     positional=True),
           Parameter("allow_mismatch", ("Boolean",), "take it as one of this model and of "
                     "`bias=none`, whatever its file says; results say so", False)),
          result="Vector", expanded=True, example='load("vectors/tiny", "left")'),
    Entry(
        "function", "states", "what the unedited model holds on a relation's prompts: a row for "
        "each prompt, with a part for each place that is read",
        (
            Parameter("relation", ("Relation",), "the relation", positional=True),
            Parameter("layer", ("Number", "Layers", "Choice"), "the decoder layer that is read; a "
                      "set, `{3, 5}`, is each of them; or `all`", choices=("all",), unit="layer"),
            Parameter("site", ("Choice", "List[Choice]"), "the `residual` stream behind the layer, "
                      "or what the layer's `attention` or `mlp` adds to it; a list is each of them",
                      "residual", choices=("residual", "attention", "mlp"),
                      later=("residual", "attention", "mlp")),
            Parameter("position", ("Choice", "Text"), "the `last` token of the prompt; or the mean "
                      "over `all`, over those of its `images`, over those of a text where it "
                      'stands last in the query, such as `"Q:"`, or over the token before the '
                      "answer of each of its `demonstrations`",
                      "last", choices=("last", "all", "images", "demonstrations"),
                      later=("images", "demonstrations"), apart=True),
            _SHOTS, _TRIALS,
            Parameter("corrupt", ("Choice",), "read corrupted twins in place of the prompts: as "
                      "`corrupt` of `fv`; the prompts themselves if left out", None,
                      choices=("mix", "same_images", "shuffle", "none")),
            replace(_POOL, from_defaults=False),
            _EXTRACT,
            replace(_CORRECT_ONLY, default=False, from_defaults=False),
            _OF_MODEL, _OF_DATASET, SEED,
        ),
        result="States", expanded=True, example="states(left, layer=3, shots=4)",
    ),
    Entry("function", "mean", "the mean of vectors, or of the rows of states",
          (Parameter("vectors", ("Vector", "States"), "vectors, or the rows of states",
                     positional=True, variadic=True),),
          result="Vector", expanded=True, example="mean(fv(left), fv(right))"),
    Entry("function", "pca", "a principal component of the rows of states, of length 1: the "
          "direction in which they vary most about their mean, towards that mean",
          (_STATES,
           Parameter("component", ("Number",), "which, 1 being that of the largest variance", 1,
                     unit="count")),
          result="Vector", parts="none",
          example="pca(states(left, layer=3, shots=4) - states(left, layer=3, shots=0))"),
    Entry("function", "probe", "the direction, of length 1, in which a linear classifier tells the "
          "rows of the first states from those of the second",
          (_STATES, Parameter("others", ("States",), "rows of other states", positional=True)),
          result="Vector", parts="none",
          example="probe(states(left, layer=3), states(right, layer=3))"),
    Entry("function", "normalize", "the vector at length 1", (_V,), result="Vector",
          example="normalize(fv(left))"),
    Entry("function", "project", "the part of a vector along another",
          (_V, Parameter("onto", ("Vector",), "the direction")), result="Vector", parts="onto",
          example="project(fv(left), onto=fv(right))"),
    Entry("function", "reject", "what is left of a vector without its part along another",
          (_V, Parameter("from", ("Vector",), "the direction to take out")), result="Vector",
          example="reject(fv(left), from=fv(right))"),
    Entry("function", "clip", "the vector, shortened where it is longer than a bound",
          (_V, Parameter("most", ("Number",), "the longest that it may be", unit="length")),
          result="Vector", example="clip(fv(left), most=2.0)"),
    Entry("function", "random_like", "a random vector of the same length", (_V, SEED),
          result="Vector", parts="none", example="random_like(fv(left), seed=0)"),
    Entry("function", "blend", "for each test item, a sum of candidates: the weight of each is the "
          "probability that it gives the answer of a source pair, a first example of the tested "
          "relation in another image; only as what an `eval` adds, or a multiple of it",
          (Parameter("vectors", ("List[Vector]",), "the candidates", positional=True),
           Parameter("by", ("Choice",), "where the weights come from", "analogy",
                     choices=("analogy",))),
          result="Vector", expanded=True, example="blend([fv(left), fv(above)], by=analogy)"),
    Entry("function", "zeros", "the zero vector", result="Vector", expanded=True, parts="none",
          example="zeros()"),
    Entry("function", "norm", "a vector's length", (_V,), result="Number",
          example="norm(fv(left))"),
    Entry("function", "dot", "the inner product of two vectors", (_V, _W), result="Number",
          example="dot(fv(left), fv(right))"),
    Entry("function", "cosine", "the cosine of the angle between two vectors", (_V, _W),
          result="Number", example="cosine(fv(left), fv(right))"),
    Entry(
        "function", "lora", "low-rank matrices beside the linear maps of all decoder layers, "
        "trained on one relation with the model frozen, by peft (arXiv:2106.09685); for `adapter` "
        "of an `eval`",
        (_RELATION,
         Parameter("rank", ("Number",), "the rank of the matrices", 8, unit="count", key="always"),
         Parameter("alpha", ("Number",), "their product counts alpha / rank times", 16,
                   unit="positive", key="always"),
         Parameter("modules", ("Choice",), "the linear maps that have some: those of the "
                   "self-attention, or all of a layer", "attention", choices=("attention", "all"),
                   later=("attention",)),
         *_trained(lr=3e-3)),
        result="Adapter", example="lora(left, rank=4)",
    ),
    Entry(
        "function", "soft_prompt", "embeddings before the first token of every prompt, trained on "
        "one relation with the model frozen, by peft (arXiv:2104.08691); for `adapter` of an "
        "`eval`",
        (_RELATION,
         Parameter("tokens", ("Number",), "how many", 8, unit="count", key="always"),
         *_trained(lr=1e-1)),
        result="Adapter", example="soft_prompt(left, tokens=4)",
    ),
    Entry("function", "learned_numbers", "how many numbers of an adapter are learned",
          (Parameter("adapter", ("Adapter",), "an adapter", positional=True),),
          result="Number", example="learned_numbers(lora(left))"),
    Entry(
        "function", "top", "the k heads with the largest effect, on average over relations",
        (
            Parameter("k", ("Number",), "how many heads", positional=True, unit="count"),
            Parameter("by", ("Choice",), _RANKED, "aie",
                      choices=tuple(ranking.name for ranking in RANKINGS)),
            Parameter("on", ("List[Relation]",), "relations to pool over; all of the dataset if "
                      "left out", None),
            Parameter("per", ("Choice",), "one set for all of its relations (pooled); or for each "
                      "relation its own: of the vector around it, in `ablate` of the one under "
                      "test (relation)", "pooled", choices=("pooled", "relation")),
            Parameter("site", ("Choice",), "whose heads: those of self-attention (attention), or "
                      "of the cross-attention to pictures, where the model has one (xattn)",
                      "attention", choices=("attention", "xattn"), later=("attention", "xattn")),
            _TRIALS, _SHOTS, _CORRUPT, _POOL, _EXTRACT, _CORRECT_ONLY, _OF_MODEL, _OF_DATASET,
            SEED,
        ),
        result="Heads", expanded=True, example="top(10, by=aie, on=[left, right])",
    ),
    Entry("function", "layers", "all heads of some layers",
          (Parameter("which", ("Number", "List[Number]", "Range"), "the layers", positional=True,
                     unit="layer"),),
          result="Heads", expanded=True, example="layers(4..7)"),
    Entry("function", "all", "all heads of the model", result="Heads", expanded=True,
          example="all()"),
    Entry("function", "random", "k heads drawn at random",
          (Parameter("k", ("Number",), "how many heads", positional=True, unit="count"),
           Parameter("seed", ("Number",), "seed of the draw", 0, unit="seed")),
          result="Heads", expanded=True, example="random(10, seed=0)"),
)  # fmt: skip
