"""MFV535x: blends, off-task prompts, and questions from the command line."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

PROBING: dict[str, Page] = {
    "MFV5350": Page(
        "no vectors to compare with",
        """
A folder of vectors is needed, as `save` writes one: `.safetensors` files, one a vector. The one
named holds none, or only the very vector that is to be identified.""",
    ),
    "MFV5351": Page(
        "a blend where one vector is needed",
        """
`blend` gives each test item a vector of its own, so it is no single vector that could be added to
another, saved, measured or tuned. It may be what an `eval` adds, a number times that, or a name for
it.""",
        "eval mixed {\n  add = blend([fv(left), fv(above)]) + fv(right)\n  layer = 1\n}\n",
        "eval mixed {\n  add = 2 * blend([fv(left), fv(above), fv(right)])\n  layer = 1\n}\n",
    ),
    "MFV5352": Page(
        "a blend of nothing",
        """
The weights of a blend are shared among its candidates, so there must be one at least.""",
        "eval mixed {\n  add = blend([])\n  layer = 1\n}\n",
        "eval mixed {\n  add = blend([fv(left), fv(above)])\n  layer = 1\n}\n",
    ),
    "MFV5353": Page(
        "what does not go with a blend",
        """
A blend is made anew for each test item, from the candidates as they stand, and scored by the first
token: `k`, `controls`, other answers than `answer = first` and further vectors in the list do not
apply to it. Give each its own `eval`.""",
        "eval mixed {\n  add = blend([fv(left), fv(above)])\n  layer = 1\n"
        "  controls = [random_vector]\n}\n",
        "eval mixed {\n  add = blend([fv(left), fv(above)])\n  layer = 1\n}\n"
        "eval raw {\n  add = fv(each)\n  layer = 1\n  controls = [random_vector]\n}\n",
    ),
    "MFV5354": Page(
        "nothing off the task",
        """
What a vector costs is measured on prompts of relations that it is not for, and it is for every
relation of the dataset. Use a dataset with more relations.""",
    ),
    "MFV5355": Page(
        "a picture that cannot be written",
        """
`--plot` takes a file name that ends with a format's suffix, such as `.png`, in a folder that is
there and may be written to.""",
    ),
}
