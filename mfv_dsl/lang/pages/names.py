"""MFV2xxx: words that are not known, not known here, or known twice."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

NAMES: dict[str, Page] = {
    "MFV2001": Page(
        "an unknown relation",
        """
The dataset does not have this relation. Relations are bare names; which ones there are is the
dataset's business.""",
        "vector steer = fv(lft)\n",
        "vector steer = fv(left)\n",
    ),
    "MFV2002": Page(
        "an unknown name",
        """
Nothing of this name is declared. The order of declarations does not matter.""",
        "vector steer = fv(left)\nvector twice = 2 * stear\n",
        "vector steer = fv(left)\nvector twice = 2 * steer\n",
    ),
    "MFV2003": Page(
        "an unknown function",
        """
No function and no family has this name. `mfv reference` lists the functions.""",
        "vector unit = normalise(fv(left))\n",
        "vector unit = normalize(fv(left))\n",
    ),
    "MFV2004": Page(
        "an unknown attribute",
        """
This kind of block has no such attribute. `mfv reference eval` lists those of `eval`.""",
        "eval few { shot = 4 }\n",
        "eval few { shots = 4 }\n",
    ),
    "MFV2005": Page(
        "an unknown kind of item",
        """
Items are `model`, `dataset`, `heads`, `vector`, `defaults`, `tune`, `eval` and `save`.""",
        "vektor steer = fv(left)\n",
        "vector steer = fv(left)\n",
    ),
    "MFV2006": Page(
        "an unknown constructor",
        """
Models and datasets are made by constructors, such as `tiny()` and `scenes(...)`.""",
        "mfv 1\nmodel flamingo = tny()\n",
        "mfv 1\nmodel flamingo = tiny()\n",
        whole=True,
    ),
    "MFV2007": Page(
        "an unknown option",
        """
This function has no option of this name. `mfv reference fv` lists those of `fv`.""",
        "vector steer = fv(left, shot=2)\n",
        "vector steer = fv(left, shots=2)\n",
    ),
    "MFV2008": Page(
        "declared twice",
        """
A name means one thing in a recipe. Models, datasets, heads, vectors and tunes share their
names; evals have names of their own. `defaults` is given once.""",
        "vector steer = fv(left)\nvector steer = fv(right)\n",
        "vector steer = fv(left)\nvector other = fv(right)\n",
    ),
    "MFV2009": Page(
        "made of itself",
        """
A vector or a set of heads cannot be part of its own definition, not even through others.""",
        "vector a = b + fv(left)\nvector b = 2 * a\n",
        "vector a = fv(left)\nvector b = 2 * a\n",
    ),
    "MFV2010": Page(
        "`each` outside a block",
        """
`each` is the relation under test, and only `eval`, `tune` and `save` test relations. Elsewhere
a family does the same: one vector per relation.""",
        "vector double = 2 * fv(each)\n",
        "vector double(r) = 2 * fv(r)\n",
    ),
    "MFV2011": Page(
        "a parameter that hides a relation",
        """
Inside the family the relation could no longer be named, and a reader would take one for the
other.""",
        "vector other(left) = fv(left)\n",
        "vector other(r) = fv(r)\n",
    ),
    "MFV2012": Page(
        "no model or dataset, or several to choose from",
        """
A block works on one model and one dataset. With one declared it is taken; with several the
block or `defaults` says which.""",
        "model second = tiny()\neval few { shots = 4 }\n",
        "model second = tiny()\neval few {\n  model = second\n  shots = 4\n}\n",
    ),
    "MFV2013": Page(
        "given twice",
        """
An attribute or option has one value, and a list names a thing once.""",
        "eval few {\n  shots = 2\n  shots = 4\n}\n",
        "eval few { shots = [2, 4] }\n",
    ),
    "MFV2014": Page(
        "an unknown value",
        """
This attribute or option takes one of a few words.""",
        "vector steer = fv(left, corrupt=mixed)\n",
        "vector steer = fv(left, corrupt=mix)\n",
    ),
    "MFV2015": Page(
        "something is missing",
        """
An argument or attribute without a default has to be given. `add` needs to know the `layer`.""",
        "eval raw { add = fv(each) }\n",
        "eval raw {\n  add = fv(each)\n  layer = 4\n}\n",
    ),
    "MFV2016": Page(
        "too many arguments",
        """
The function takes fewer arguments without a name. Options are named.""",
        "vector steer = fv(left, 4)\n",
        "vector steer = fv(left, shots=4)\n",
    ),
    "MFV2017": Page(
        "attributes that exclude each other",
        """
One `eval` measures one intervention: `add`, `patch` or `ablate`.""",
        "eval both {\n  add = fv(each)\n  ablate = top(5)\n  layer = 4\n}\n",
        "eval raw {\n  add = fv(each)\n  layer = 4\n}\neval without { ablate = top(5) }\n",
    ),
    "MFV2018": Page(
        "cannot come from `defaults`",
        """
Some attributes say what a block is about, and each block says that itself.""",
        "defaults { add = fv(left) }\n",
        "eval raw {\n  add = fv(left)\n  layer = 4\n}\n",
    ),
    "MFV2019": Page(
        "a name that means something else",
        """
A family is called like a function, so `mean(left)` would have two meanings. `each` is the relation
under test wherever it stands.""",
        "vector mean(r) = fv(r)\n",
        "vector centre(r) = fv(r)\n",
    ),
    "MFV2020": Page(
        "an item of the wrong form",
        """
Each kind of item has one form: `vector name = ...`, `eval name { ... }`, `save "folder" { ...
}`, `defaults { ... }`. Only `vector` takes a parameter.""",
        "eval few = 4\n",
        "eval few { shots = 4 }\n",
    ),
    "MFV2021": Page(
        "an unknown split",
        """
The dataset has no part of this name.""",
        "eval few { split = tset }\n",
        "eval few { split = test }\n",
    ),
    "MFV2022": Page(
        "an attribute without effect",
        """
A warning: the attribute is read by nothing in this block. `layer` and `scale` say how a vector
is written, and mean nothing without `add` or `patch`.""",
        "eval plain { scale = 2 }\n",
        "eval plain { shots = 0 }\n",
    ),
    "MFV2023": Page(
        "a `--set` that sets nothing",
        """
An option `--set NAME.ATTRIBUTE=VALUE` gives an attribute of a block (`raw.layer=0..3`), of
`defaults` (`defaults.shots=8`), or an argument of a model's or dataset's constructor
(`shapes.seed=1`) another value. Without an attribute, `--set NAME=VALUE` replaces the whole value
of a declaration: `--set "flamingo=tiny()"` runs a recipe on another model. `NAME` must be one that
the recipe has.""",
    ),
}
