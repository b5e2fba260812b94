"""MFV3xxx: things of the wrong type, and numbers of the wrong kind."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

TYPES: dict[str, Page] = {
    "MFV3001": Page(
        "the wrong type",
        """
Every expression has a type: Number, Text, Relation, Heads, Vector, Family, Range or List. The
message names the one that is needed and the one that is there.""",
        "vector steer = top(10)\n",
        "vector steer = fv(left, heads=top(10))\n",
    ),
    "MFV3002": Page(
        "an operator between things it does not join",
        """
Vectors take `+` and `-` with each other, `*` and `/` with numbers. Sets of heads take `|`
(union), `&` (intersection) and `-` (difference).""",
        "heads few = top(10) + layers(0..3)\n",
        "heads few = top(10) | layers(0..3)\n",
    ),
    "MFV3003": Page(
        "a vector times a vector",
        """
The product of two vectors that makes a Number is `dot(v, w)`; `cosine(v, w)` leaves lengths
out.""",
        "vector odd = fv(left) * fv(right)\n",
        "vector scaled = dot(fv(left), fv(right)) * fv(left)\n",
    ),
    "MFV3004": Page(
        "vectors of two models",
        """
Vectors of different models live in different spaces and cannot be added.""",
        "model second = tiny()\nvector mixed = fv(left, model=flamingo) + fv(left, model=second)\n",
        "model second = tiny()\nvector joined = fv(left, model=second) + fv(right, model=second)\n",
    ),
    "MFV3005": Page(
        "no per-head parts",
        """
A function vector is a sum over heads and keeps its parts, so it can be written back head by
head. A vector that was tuned as a whole has only its sum; with `variable = head_scales` or
`head_mask` it keeps its parts.""",
        "tune tuned {\n  start = fv(each)\n  layer = 4\n}\neval heads { patch = tuned(each) }\n",
        "tune tuned {\n  start = fv(each)\n  layer = 4\n}\n"
        "eval sum {\n  add = tuned(each)\n  layer = 4\n}\n",
    ),
    "MFV3006": Page(
        "not a whole number",
        """
Layers, counts and seeds are whole numbers.""",
        "eval few { shots = 0.5 }\n",
        "eval few { shots = 2 }\n",
    ),
    "MFV3007": Page(
        "a number that is known only after the run",
        """
`norm`, `dot` and `cosine` are measured. They may scale vectors, but not set attributes.""",
        "eval raw {\n  add = fv(each)\n  layer = 4\n  scale = norm(fv(left))\n}\n",
        "eval raw {\n  add = norm(fv(left)) * fv(each)\n  layer = 4\n}\n",
    ),
    "MFV3008": Page(
        "a range that goes nowhere",
        """
`0..5` goes up and includes both ends; `0..30:2` has a step, which is above 0.""",
        "heads late = layers(9..5)\n",
        "heads late = layers(5..9)\n",
    ),
    "MFV3009": Page(
        "a number that is not finite",
        """
A division by zero, or a number too large to hold.""",
        "vector odd = fv(left) / 0\n",
        "vector half = fv(left) / 2\n",
    ),
    "MFV3010": Page(
        "a family without a relation, or a vector with one",
        """
A family has one vector per relation and is used with one: `pure(left)`, `pure(each)`. A vector
is used by its name alone.""",
        "vector pure(r) = fv(r) - mean(fv(left), fv(right))\nvector odd = 2 * pure\n",
        "vector pure(r) = fv(r) - mean(fv(left), fv(right))\nvector twice = 2 * pure(left)\n",
    ),
    "MFV3011": Page(
        "choosing among one value",
        """
`choose` settles a swept attribute on `select_on`, so the attribute has a list or a range.""",
        "eval raw {\n  add = fv(each)\n  layer = 4\n  choose = [layer]\n}\n",
        "eval raw {\n  add = fv(each)\n  layer = 2..6\n  choose = [layer]\n}\n",
    ),
    "MFV3012": Page(
        "a sweep that is too long",
        """
A range has at most 1000 values.""",
        "eval raw {\n  add = fv(each)\n  layer = 4\n  scale = 0..10000\n}\n",
        "eval raw {\n  add = fv(each)\n  layer = 4\n  scale = 0..10000:1000\n}\n",
    ),
    "MFV3013": Page(
        "one number, not a sweep",
        """
Only some attributes may be swept. `mfv reference` says which.""",
        "tune tuned {\n  start = fv(each)\n  layer = 2..6\n}\n",
        "tune tuned {\n  start = fv(each)\n  layer = 4\n}\n",
    ),
}
