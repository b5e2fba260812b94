"""MFV4xxx: right in kind, out of range."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

VALUES: dict[str, Page] = {
    "MFV4001": Page(
        "a layer that the model does not have",
        """
Layers count from 0. The model's configuration says how many there are.""",
        "heads late = layers(8..15)\n",
        "heads late = layers(6..9)\n",
    ),
    "MFV4002": Page(
        "a head that the model does not have",
        """
`L12H3` is head 3 of layer 12, both from 0.""",
        "heads few = {L3H1, L12H3}\n",
        "heads few = {L3H1, L9H3}\n",
    ),
    "MFV4003": Page(
        "a number out of range",
        """
A count is at least 1, a seed at least 0, a learning rate above 0.""",
        "eval few { items = 0 }\n",
        "eval few { items = 50 }\n",
    ),
    "MFV4004": Page(
        "more heads than there are",
        """
The model's layers times its heads is the most that can be asked for.""",
        "heads many = top(500)\n",
        "heads many = top(50)\n",
    ),
    "MFV4005": Page(
        "choosing on the split that is measured",
        """
What is chosen on a split looks better on it than it is. Epochs, layers and scales are chosen on
`validation`, never on `test`, and not on the split that is measured.""",
        "eval raw {\n  add = fv(each)\n  layer = 2..6\n  choose = [layer]\n  select_on = test\n}\n",
        "eval raw {\n  add = fv(each)\n  layer = 2..6\n  choose = [layer]\n"
        "  select_on = validation\n}\n",
    ),
}
