"""MFV71xx: datasets of files, and what `mfv data` finds."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

DATA: dict[str, Page] = {
    "MFV7106": Page(
        "a dataset's file or folder that cannot be read",
        """
It is not there, may not be read, is not UTF-8 text, or is not JSON. Paths are relative to the
folder that `mfv` runs in.""",
        'mfv 1\ndataset mine = pairs("no-such-file.jsonl")\n',
        whole=True,
    ),
    "MFV7107": Page(
        "mistakes in a dataset's table",
        """
Lines without a needed field, with an unknown one, with the wrong number of cells, that are no JSON,
that say the same as another line or contradict it, or that name a relation that a recipe cannot
write. All are listed with their lines; docs/data.md describes the formats. As a warning of
`mfv data check`: columns that are not used, and pictures that show two objects of the query's name.
""",
    ),
    "MFV7108": Page(
        "images that are not there",
        """
The table names images that the folder does not have. `missing = drop` leaves their items out and
counts them.""",
    ),
    "MFV7109": Page(
        "an image that cannot be read",
        """
It is empty, cut short, no image, has more than 50 million pixels (a small file may claim any size),
or has more than 8 bits a channel, which would be clipped. `mfv data check` finds all such images
before a run does.""",
    ),
    "MFV7112": Page(
        "a relation or split that the dataset does not have",
        """
A dataset whose rows name their splits has those and no others. `fv` reads `extract`, `eval` reads
`test` and chooses on `validation` unless told otherwise.""",
    ),
    "MFV7113": Page(
        "an image in two splits",
        """
What is chosen or extracted on an image says nothing new when it is measured on the same image. Rows
that name their splits name one for each image; `mfv data check` also finds equal pictures under two
names.""",
    ),
    "MFV7114": Page(
        "a list of synonyms with mistakes",
        """
It is a CSV whose first line is `canonical,synonym`; each further line gives a name to use and one
to replace. A synonym stands for one name, which is not itself a synonym.""",
    ),
    "MFV7115": Page(
        "nothing left of a dataset",
        """
There are no items, the rules left none, a relation asked for is not among them, or `balance` would
cut every relation down to none. The message says what was left out and why.""",
    ),
    "MFV7116": Page(
        "the library `datasets` is not installed",
        """
`hf_dataset` reads through it: `pip install datasets`. All other datasets do without.""",
    ),
    "MFV7117": Page(
        "a dataset of the hub that cannot be used",
        """
It could not be loaded (the message of the library says why), or has no columns of the names that
are looked for: say which they are by `image=`, `query=`, `answer=`, `relation=`.""",
    ),
    "MFV7118": Page(
        "a dataset that cannot be made",
        """
`mfv data make` writes into a folder that holds no dataset yet, as PNG or JPEG.""",
    ),
    "MFV7119": Page(
        "relations of very different size",
        """
A warning of `mfv data check`: in one split a relation has more than twice the items of another, so
averages over relations and `mix` corruption lean on a few images of the rare one. `balance = true`
keeps as many of each as the rarest has.""",
    ),
    "MFV7120": Page(
        "an image that is not read as it looks",
        """
A warning of `mfv data check`. Images are read as the models' training read them: not turned by
their EXIF data, without transparency, the first frame of an animation, CMYK without its profile.
""",
    ),
    "MFV7121": Page(
        "answers that begin with the same token",
        """
A warning of `mfv data check --model`. Answers are scored by their first token, so these count as
one and the same. Rename them by `synonyms`, or look at whole answers.""",
    ),
    "MFV7122": Page(
        "options of a dataset that leave nothing",
        """
The shares of all splits are 0, or a least amount is above the largest one.""",
        'mfv 1\ndataset mine = gqa("gqa.json", images=".", min_area=0.5, max_area=0.1)\n',
        whole=True,
    ),
    "MFV7123": Page(
        "a recipe without a dataset",
        """
`mfv data check` and `mfv data show` look at the datasets that a recipe declares.""",
    ),
}
