"""MFV5330 to MFV5349: evals, their controls and comparisons, and what counts as an answer."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

EVALS: dict[str, Page] = {
    "MFV5330": Page(
        "a comparison with an eval of other items",
        """
`against` shows paired differences: item by item, right or wrong here less right or wrong there.
Both evals need the same `dataset`, `split`, `items`, `seed` and `answer`, and the other one must
measure every relation of this one.""",
        "eval few {\n  shots = 4\n  items = 50\n}\n"
        "eval raw {\n  add = fv(each)\n  layer = 4\n  against = few\n}\n",
        "eval few { shots = 4 }\neval raw {\n  add = fv(each)\n  layer = 4\n  against = few\n}\n",
    ),
    "MFV5331": Page(
        "a comparison with more or less than one condition",
        """
The eval that `against` names has one condition for each relation: a sweep leaves open which one is
meant, unless `choose` settles it. An eval is not compared with itself.""",
        "eval few { shots = [2, 4] }\n"
        "eval raw {\n  add = fv(each)\n  layer = 4\n  against = few\n}\n",
        "eval few { shots = 4 }\neval raw {\n  add = fv(each)\n  layer = 4\n  against = few\n}\n",
    ),
    "MFV5332": Page(
        "a number of heads without heads to choose",
        """
`k` takes the place of the number in every `top(...)` that the vector or the heads are made with,
also through names. Here there is no `top`: the heads are given one by one, or the vector is read
from a file.""",
        "eval raw {\n  add = fv(each, heads={L4H1})\n  layer = 4\n  k = 1..5\n}\n",
        "eval raw {\n  add = fv(each, heads=top(5))\n  layer = 4\n  k = 1..5\n}\n",
    ),
    "MFV5333": Page(
        "a control that the eval cannot have",
        """
A control repeats an eval with one thing changed, so that thing must be there: `random_heads` needs
a `top(...)` behind the vector or the heads; `random_vector` needs `add` at a layer, for it has no
per-head parts; `other_relation` needs `each`; `shuffled` needs an `fv` of two shots or more.""",
        "eval steered {\n  add = fv(left)\n  layer = 4\n  controls = [other_relation]\n}\n",
        "eval steered {\n  add = fv(each)\n  layer = 4\n  controls = [other_relation]\n}\n",
    ),
    "MFV5334": Page(
        "too few heads for a random control",
        """
The random heads of a control are none of those that they take the place of, so the model needs
twice as many heads as are chosen.""",
        "eval cut {\n  ablate = top(50)\n  controls = [random_heads]\n}\n",
        "eval cut {\n  ablate = top(10)\n  controls = [random_heads]\n}\n",
    ),
    "MFV5340": Page(
        "objects that a first token does not tell apart",
        """
With `answer = first` the model's answer is the object that the likeliest next token begins. The
names listed begin with the same token under this model's tokenizer, so a right answer could not be
told from a wrong one. `answer = full` compares whole names; `answer = first_token` scores the first
token all the same, as the paper does.""",
    ),
}
