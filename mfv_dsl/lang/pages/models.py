"""MFV7210 to MFV7239: OpenFlamingo checkpoints, their files, and where they run."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

MODELS: dict[str, Page] = {
    "MFV7210": Page(
        "no checkpoint of that name",
        """
`openflamingo` takes the name of a published checkpoint or a folder. The message lists the published
ones (`mfv models` says more of them) and what a folder holds.""",
        "mfv 1\n"
        'model m = openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3")\n'
        "dataset d = scenes()\n\neval few { shots = 4 }\n",
        "mfv 1\n"
        'model m = openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3b")\n'
        "dataset d = scenes()\n\neval few { shots = 4 }\n",
        whole=True,
    ),
    "MFV7211": Page(
        "a checkpoint's folder that does not say what is in it",
        """
A `checkpoint.pt` alone does not say which language and vision models it was trained on, nor how
often cross-attention stands between the layers. `flamingo.json` beside it does. A folder that is
called like a published checkpoint needs none.""",
    ),
    "MFV7212": Page(
        "a flamingo.json that cannot be used",
        """
It holds exactly three things: `language` and `vision`, each a folder beside it or a repository of
the hub, and `cross_attn_every_n_layers`, a number of layers.""",
    ),
    "MFV7213": Page(
        "files of a checkpoint that are not here",
        """
Nothing is fetched unless you say so. The message lists every missing file, where it was looked for,
how much there is to fetch, and what to type. `mfv doctor` says which checkpoints would fit into
memory.""",
    ),
    "MFV7214": Page(
        "files that could not be fetched",
        """
The hub could not be reached, does not have the file, or the disk is full; the message says which.
What was fetched is kept.""",
    ),
    "MFV7215": Page(
        "a weights file that cannot be read",
        """
The file is damaged or cut off, is no weights file, or holds more than tensors. Weights are read as
data only: a file that would run code when it is opened is refused, and nothing in it is run.""",
    ),
    "MFV7216": Page(
        "weights that do not fit the model",
        """
Every weight must be in the files, with its shape, and none left over; the message lists those that
are not. Most often the checkpoint belongs to another language model, or the number of layers
between cross-attentions is another.""",
    ),
    "MFV7217": Page(
        "a configuration or tokenizer that cannot be read",
        """
`config.json` and `tokenizer.json` of the language model are as transformers saves them, and
`open_clip_config.json` as open_clip does. The message says what is wrong with this one.""",
    ),
    "MFV7218": Page(
        "a vision model that cannot be used",
        """
OpenFlamingo reads the patch tokens of a CLIP vision transformer. A tower of another kind has none,
and one that is built otherwise than it was trained, without QuickGELU for example, gives wrong
features without a word; so it is refused.""",
    ),
    "MFV7219": Page(
        "a device that is not there",
        """
The message lists what this machine and the installed torch have. `auto` takes the best of them;
`balanced` spreads a model over all GPUs.""",
    ),
    "MFV7220": Page(
        "a precision that is none",
        """
Weights are in `bf16`, `fp16` or `fp32`. In a recipe another word is MFV2014; this comes from
Python.""",
    ),
    "MFV7222": Page(
        "a package that is not installed",
        """
Models run on open_flamingo, which pins a torch of 2023 and is therefore installed on its own,
without what it asks for: `pip install --no-deps open_flamingo==2.0.1`. `mfv doctor` says what else
is missing.""",
    ),
}
