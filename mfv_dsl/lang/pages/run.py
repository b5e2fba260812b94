"""MFV5xxx: what goes wrong between a correct recipe and its results."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

RUN: dict[str, Page] = {
    "MFV5001": Page(
        "a model or dataset of which too little is known",
        """
Planning needs the number of layers and heads of a model, the relations and splits of a dataset.
This one's constructor cannot tell them without running. Use one that can.""",
        'mfv 1\nmodel llava = hf("llava-hf/llava-interleave-qwen-0.5b-hf")\n'
        "dataset shapes = scenes()\n\neval few {\n  shots = 4\n  add = zeros()\n  layer = 1\n}\n",
        "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes()\n\n"
        "eval few {\n  shots = 4\n  add = zeros()\n  layer = 1\n}\n",
        whole=True,
    ),
    "MFV5003": Page(
        "nothing of that name to run",
        """
`--only` takes the name of a `tune` or `eval`, or the folder of a `save` of the recipe.""",
    ),
    "MFV5004": Page(
        "names that stand for names for too many levels",
        """
Each name is looked into until nothing but relations is left. Hundreds of vectors that are each made
of the one before go too deep: write the sum in one piece, for example as one `mean(...)`.""",
    ),
    "MFV5005": Page(
        "a term that cancels",
        """
A warning: like terms of a sum add up to zero, so the vector does not depend on this one at all.
It is left out and not extracted: `fv(left) + fv(right) - fv(left)` is `fv(right)`.""",
    ),
    "MFV5006": Page(
        "two different vectors of one name in a library",
        """
A saved vector is called by its name, or by its relation: `fv(left)` and `fv(left, shots=2)` would
both be `left`, and the second would take the place of the first.""",
        'save "mine" { vectors = [fv(left), fv(left, shots=2)] }\n',
        'vector left_2 = fv(left, shots=2)\nsave "mine" { vectors = [fv(left), left_2] }\n',
    ),
    # -- edits on a running model -----------------------------------------------------------------
    "MFV5101": Page(
        "an edit or reading that never happened",
        """
Hooks were placed, but nothing passed through that module before the block was left, so the numbers
would look like those of an edit without effect. Call the model inside the `with` block, and pick a
site that the call passes.""",
    ),
    "MFV5102": Page(
        "a site that the model does not have",
        """
A site is a place in a model where activations are read and edited, such as `lm.resid`. The message
lists those of this model.""",
    ),
    "MFV5103": Page(
        "a site that the layer does not have",
        """
Layers count from 0, and not every site is in every layer: cross-attention stands in some of them
only. The message lists the layers of this site.""",
    ),
    "MFV5104": Page(
        "heads that the site does not have",
        """
Heads can be chosen only where a site is split by heads, and count from 0. For a site without heads
leave `heads` out.""",
    ),
    "MFV5105": Page(
        "a value whose shape does not fit its site",
        """
A value ends with the site's width, or with (chosen heads, width) where the site has heads. One
dimension more may stand before that: one value for each prompt. `scale` takes one number too.""",
    ),
    "MFV5106": Page(
        "a fast path that reaches the last token only",
        """
Many variants of a prompt are run together from a shared beginning, and only their last tokens are
computed anew. Edits and reads at other positions need the full pass, which takes any position.""",
    ),
    "MFV5107": Page(
        "an edit that cannot follow generated tokens",
        """
With `everywhere`, edits are made at each generated token too, so they are for the last position or
for all. Edits of other positions are made in the prompt alone: leave `everywhere` out.""",
    ),
    "MFV5109": Page(
        "a condition of a plan that cannot be attached",
        """
`plan.attach(model, eval, relation, layer=..., scale=..., k=..., vector=...)` binds one condition of
one eval. Name what the plan has several of; an eval without `add`, `patch` or `ablate` edits
nothing.""",
    ),
    "MFV5108": Page(
        "a model whose layers are not found",
        """
To edit a model of your own, its decoder layers must be where a known architecture has them, and for
edits of heads its attention's output projection too; the message lists the places. For any other
model say where they are, with the classes of `mfv_dsl.models.families`:
`bind(model, ..., sites=ModulePaths(layers="model.blocks", projection="attn.proj"))`, or give as
`sites` a function that makes the site table from the model.""",
    ),
    # -- measurements -----------------------------------------------------------------------------
    "MFV5201": Page(
        "no correct prompt to average over",
        """
`fv` averages head outputs over the prompts that the model answers correctly, and there were none.
Give it more `shots` or `trials`, or a relation that the model knows; `correct_only=false` averages
over all prompts.""",
        "eval raw {\n  add = fv(left, heads={L4H1}, shots=0, trials=1)\n  layer = 4\n}\n",
        "eval raw {\n  add = fv(left, heads={L4H1}, shots=4, trials=100)\n  layer = 4\n}\n",
    ),
    "MFV5202": Page(
        "no correct prompt to measure effects on",
        """
A head's effect is how far it brings back an answer that was right before the prompt was corrupted.
Where no answer is right there is nothing to bring back. Use more `shots` or `trials`, or find the
heads on another relation.""",
    ),
    # -- vectors ----------------------------------------------------------------------------------
    "MFV5301": Page(
        "a vector times a vector, in Python",
        """
`v * w` has no single meaning. The inner product is `dot(v, w)`; in a recipe the same slip is
MFV3003.""",
    ),
    "MFV5302": Page(
        "a function vector without heads",
        """
A function vector is a sum over heads, and the set that came out is empty. Look at the `&` and `-`
that make it.""",
        "heads none = layers(0..3) & layers(6..9)\n"
        "eval raw {\n  add = fv(left, heads=none, trials=5)\n  layer = 4\n  items = 2\n}\n",
        "heads some = layers(0..6) & layers(6..9)\n"
        "eval raw {\n  add = fv(left, heads=some, trials=5)\n  layer = 4\n  items = 2\n}\n",
    ),
    "MFV5303": Page(
        "vectors that do not belong together",
        """
Vectors are combined only if they come from the same weights, have the same size, belong to the same
kind of place, and treat the projection's bias alike. The message says which of these differs;
extract both anew in one way. `mfv check` finds it wherever it can; this comes from Python, or from
a file that changed since.""",
    ),
    "MFV5304": Page(
        "the zero vector has no direction",
        """
`normalize`, `cosine`, `project` and `reject` need a direction. The vector came out as exactly zero,
often because its terms cancel.""",
        "eval raw {\n  add = normalize(zeros())\n  layer = 4\n}\n",
        "eval raw {\n  add = normalize(fv(left) - fv(right))\n  layer = 4\n}\n",
    ),
    "MFV5305": Page(
        "no per-head parts in the vector",
        """
`patch` and `layer = native` write a vector head by head. A vector that was tuned, drawn at random
or loaded from a file without parts has only its sum: add it at a layer.""",
        'eval heads { patch = load("vectors/tuned", "left") }\n',
        'eval sum {\n  add = load("vectors/tuned", "left")\n  layer = 4\n}\n',
    ),
    "MFV5306": Page(
        "a number that came out as not finite",
        """
A measured number was zero and something was divided by it, or a factor or vector is too large to
hold. What can be seen in the recipe alone is MFV3009.""",
        "eval raw {\n  add = fv(each, heads={L4H1}, trials=5) / norm(zeros())\n  layer = 4\n"
        "  items = 2\n}\n",
        "eval raw {\n  add = normalize(fv(each, heads={L4H1}, trials=5))\n  layer = 4\n"
        "  items = 2\n}\n",
    ),
    "MFV5307": Page(
        "no heads to ablate",
        """
The set of heads came out empty, so nothing would be taken away and the figures would look like
those of an ablation without effect.""",
        "eval cut {\n  ablate = {L4H1} & {L4H2}\n  items = 2\n}\n",
        "eval cut {\n  ablate = {L4H1} | {L4H2}\n  items = 2\n}\n",
    ),
    "MFV5900": Page(
        "a failure that should not happen",
        """
Something went wrong that mfv-dsl did not foresee. Finished steps are kept, so nothing is lost. With
`MFV_DEBUG=1` in the environment the whole traceback is shown; please report it.""",
    ),
}
