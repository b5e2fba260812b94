"""MFV5310 to MFV5329: training vectors."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

_TUNE = "tune tuned {\n  start = fv(each, heads={L4H1}, trials=5)\n  layer = 4\n"
_SMALL = "  items = 4\n  select_items = 4\n  epochs = 1\n"

TUNING: dict[str, Page] = {
    "MFV5310": Page(
        "a relation that the block does not train",
        """
`tune` trains one vector for each relation of its `on`, by default for all of its dataset. Another
one's vector does not exist: add the relation there, or test only those that are trained.""",
        _TUNE + "  on = [left]\n}\neval trained {\n  add = tuned(each)\n  layer = 4\n}\n",
        _TUNE + "  on = [left]\n}\neval trained {\n  add = tuned(each)\n  layer = 4\n"
        "  on = [left]\n}\n",
    ),
    "MFV5311": Page(
        "no prompts that the vector should leave alone",
        """
`kl` keeps the model's answers to few-shot prompts of the dataset's other relations, and there is no
other relation. Leave it out, or give the dataset more relations.""",
        "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes(relations=[left])\n\n"
        "tune tuned {\n  start = random\n  layer = 4\n  kl = 0.1\n}\n",
        "mfv 1\nmodel flamingo = tiny()\ndataset shapes = scenes(relations=[left, right])\n\n"
        "tune tuned {\n  start = random\n  layer = 4\n  kl = 0.1\n}\n",
        whole=True,
    ),
    "MFV5312": Page(
        "an epoch chosen on the prompts it was trained on",
        """
A vector may learn its training prompts by heart, and only other prompts show that. The epoch is
chosen on `validation`.""",
        _TUNE + "  select_on = train\n}\n",
        _TUNE + "  select_on = validation\n}\n",
    ),
    "MFV5313": Page(
        "a factor before the zero vector",
        """
`variable = scale` learns by what factor the start is to be multiplied, and the start is zero.""",
        "tune tuned {\n  start = fv(left) - fv(left)\n  layer = 4\n  variable = scale\n}\n",
        "tune tuned {\n  start = fv(left) - fv(right)\n  layer = 4\n  variable = scale\n}\n",
    ),
    "MFV5314": Page(
        "a loss that is not finite any more",
        """
A step was so large that the model's numbers overflowed. Lower `lr`, or bound the vector's length by
`max_norm`.""",
        _TUNE + _SMALL + "  on = [left]\n  lr = 3e37\n}\n",
        _TUNE + _SMALL + "  on = [left]\n  lr = 1e-2\n}\n",
    ),
    "MFV5315": Page(
        "a mask that keeps no head",
        """
`variable = head_mask` keeps the heads whose weight ends above a half, and there were none in the
epoch that did best on validation. Lower `sparsity`, or train for fewer epochs.""",
    ),
}
