"""MFV6xxx: files and vectors; MFV7xxx: models and data."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

FILES: dict[str, Page] = {
    "MFV6001": Page(
        "a vector file that is not there",
        """
`load("folder", "name")` reads `folder/name.safetensors`, as `save` writes it. Paths are relative to
the folder that `mfv` runs in.""",
        'eval raw {\n  add = load("vectors/nowhere", "left")\n  layer = 4\n}\n',
        'eval raw {\n  add = load("vectors/mine", "left")\n  layer = 4\n}\n',
    ),
    "MFV6002": Page(
        "a vector file that cannot be read",
        """
The file is damaged, was changed after it was written, or is no vector of mfv-dsl: its tensors must
have the declared shapes, finite values, and the hash that its metadata names. Get or make it again.
""",
    ),
    "MFV6003": Page(
        "a vector file of another format version",
        """
Files of the same major version can be read, newer minor versions included. For a newer major
version upgrade mfv-dsl; an older one is extracted again.""",
    ),
    "MFV6101": Page(
        "a recipe file that cannot be read",
        """
There is no such file, it is a folder, or it may not be read. A bare name such as `quickstart` is
looked for among the bundled recipes too; the message lists them.""",
    ),
    "MFV6102": Page(
        "a folder for results that cannot be made",
        """
Results go to `runs/<recipe name>` or to the folder named by `--out`. A file is in its place, or it
may not be written there. This is found before anything runs.""",
    ),
}

SOURCES: dict[str, Page] = {
    "MFV7001": Page(
        "a kind of model that cannot be loaded yet",
        """
Recipes may name it, but this version has no loader for it. `mfv models` lists what it can load.""",
    ),
    "MFV7002": Page(
        "a kind of dataset that cannot be read yet",
        """
Recipes may name it, but this version has no reader for it. The message lists those it has.""",
    ),
    # -- scenes(...) ------------------------------------------------------------------------------
    "MFV7101": Page(
        "a relation that cannot be drawn",
        """
`scenes` places two objects side by side, above one another, or diagonally; the message lists the
relations.""",
        "mfv 1\ndataset shapes = scenes(relations=[left, behind])\n",
        "mfv 1\ndataset shapes = scenes(relations=[left, right])\n",
        whole=True,
    ),
    "MFV7102": Page(
        "scenes of no relation",
        """
`relations` names one or more relations, each once. Left out it means all of them.""",
        "mfv 1\ndataset shapes = scenes(relations=[])\n",
        "mfv 1\ndataset shapes = scenes()\n",
        whole=True,
    ),
    "MFV7103": Page(
        "an image size that scenes cannot be drawn at",
        """
Scenes stand on a grid of four by four cells: `size` is a multiple of 4 and at least 20 pixels.""",
        "mfv 1\ndataset shapes = scenes(size=50)\n",
        "mfv 1\ndataset shapes = scenes(size=48)\n",
        whole=True,
    ),
    "MFV7104": Page(
        "too few scenes of a relation",
        """
`count` items are drawn for each relation and split, and a prompt with examples takes several: 2 is
the least.""",
        "mfv 1\ndataset shapes = scenes(count=1)\n",
        "mfv 1\ndataset shapes = scenes(count=100)\n",
        whole=True,
    ),
    "MFV7105": Page(
        "objects that scenes does not know",
        """
`objects` is `familiar`, `novel` or `all`. In a recipe another word is MFV2014; this comes from
Python.""",
    ),
    # -- prompts ----------------------------------------------------------------------------------
    "MFV7110": Page(
        "more prompts than items",
        """
Each prompt asks about an item of its own, so `items` and `trials` are at most the number of items
that the split has for the relation.""",
        "eval few { items = 1000 }\n",
        "eval few { items = 200 }\n",
    ),
    "MFV7111": Page(
        "too few images for the demonstrations",
        """
No image occurs twice in a prompt, so a relation needs more images in the split than there are
demonstrations. Use fewer `shots` or more images.""",
        "mfv 1\nmodel flamingo = tiny()\ndataset few = scenes(count=4)\n\n"
        "eval four {\n  shots = 4\n  items = 4\n}\n",
        "mfv 1\nmodel flamingo = tiny()\ndataset few = scenes(count=5)\n\n"
        "eval four {\n  shots = 4\n  items = 4\n}\n",
        whole=True,
    ),
    # -- models -----------------------------------------------------------------------------------
    "MFV7201": Page(
        "an answer without a first token of its own",
        """
An answer is scored by its first token after `A:`. This tokenizer glues the answer to what stands
before it, so there is no such token. Use another word for the answer, or another tokenizer.""",
    ),
    "MFV7202": Page(
        "weights that do not fit their configuration",
        """
The bundled model's files are not those of one version, or are damaged. Install mfv-dsl anew.""",
    ),
}
