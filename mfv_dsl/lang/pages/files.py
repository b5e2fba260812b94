"""MFV6xxx: files and vectors; MFV7xxx: models and data."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

FILES: dict[str, Page] = {
    "MFV6001": Page(
        "a vector file that is not there",
        """
`load("folder", "name")` reads `folder/name.safetensors`, as `save` writes it. Paths are relative to
the folder that `mfv` runs in; the bundled libraries are found as `vectors/...` from anywhere. The
message lists the names that the library has. Vectors of the Hub are downloaded by `mfv run` and by
`mfv lock`, and by nothing else.""",
        'eval raw {\n  add = load("vectors/nowhere", "left")\n  layer = 4\n}\n',
        'eval raw {\n  add = load("vectors/mine", "left")\n  layer = 4\n}\n',
    ),
    "MFV6002": Page(
        "a vector file that cannot be read",
        """
The file is damaged, was changed after it was written, or is no vector of mfv-dsl: header and
metadata must be canonical, the tensors must have the declared shapes, finite values, and the hash
that the metadata names. Get or make it again. `docs/vector-format.md` describes the format.""",
    ),
    "MFV6003": Page(
        "a vector file of another format version",
        """
Files of the same major version can be read, newer minor versions included. For a newer major
version upgrade mfv-dsl; an older one is extracted again.""",
    ),
    "MFV6004": Page(
        "metadata or numbers that a vector file cannot hold",
        """
`save_vector` takes metadata as the format describes them (`docs/vector-format.md`), in what JSON
can hold, and a vector of finite numbers whose size is that of its model. Keys of your own begin
with `x_`.""",
    ),
    "MFV6005": Page(
        "a name that no vector may have",
        """
Names of vectors are names of files on every system: letters, digits, `_`, `-` and `.`, up to 100 of
them, not beginning with `-` or `.`, and none that Windows keeps for a device, such as `con`.
Declare a vector under another name and save it by that.""",
        'vector con = fv(left)\n\nsave "vectors/mine" { vectors = [con] }\n',
        'vector contrast = fv(left)\n\nsave "vectors/mine" { vectors = [contrast] }\n',
    ),
    "MFV6006": Page(
        "a name that is taken",
        """
A library has one vector of a name. Names that differ by capitals alone count as one, because some
systems would keep one file for both.""",
        'vector Left = -fv(right)\n\nsave "vectors/mine" { vectors = [fv(left), Left] }\n',
        'vector opposed = -fv(right)\n\nsave "vectors/mine" { vectors = [fv(left), opposed] }\n',
    ),
    "MFV6007": Page(
        "a link that leads out of its library",
        """
A library may come from anywhere, and a symbolic link in it could name any file of this machine. Put
the file itself there.""",
    ),
    "MFV6008": Page(
        "a library that cannot be written",
        """
Its folder cannot be made or written, or another process has held its lock, `.lock`, for a minute.
The lock is let go of when its holder ends, in whatever way.""",
    ),
    "MFV6009": Page(
        "a README.md that mfv did not write",
        """
`mfv vectors card` and every save write a library's card, but leave a file that somebody else wrote
as it is. `--force` replaces it; below its last line the new one can be added to.""",
    ),
    "MFV6010": Page(
        "a vector of another model",
        """
A vector has a meaning only in the residual stream of the model that it was made with, and the
fingerprint in its file is not that of the model it is used with. It may be another revision of the
same model. To try it all the same write `allow_mismatch=true`: results and saved vectors then say
so.""",
    ),
    "MFV6011": Page(
        "a vector of another size",
        """
The vector has more or fewer numbers than the model's residual stream, so it cannot be added to it.
""",
    ),
    "MFV6012": Page(
        "a vector of another site",
        """
The file says that its vector belongs to another kind of place than the residual stream, which is
where recipes add vectors.""",
    ),
    "MFV6013": Page(
        "vectors of two bias conventions",
        """
One was made without the output projection's bias, the other with the bias once per head, so that
their sum would hold it for some heads alone. Make both with the same `bias`.""",
        "eval raw {\n"
        '  add = load("vectors/flamingo-tiny", "left") + fv(right, bias=per_head)\n'
        "  layer = 1\n}\n",
        'eval raw {\n  add = load("vectors/flamingo-tiny", "left") + fv(right)\n  layer = 1\n}\n',
    ),
    "MFV6014": Page(
        "a vector's name that is missing or too much",
        """
A library folder and a repository of the Hub hold several vectors, so a name says which. A
`.safetensors` file is one vector, and takes none.""",
        'eval raw {\n  add = load("vectors/flamingo-tiny")\n  layer = 1\n}\n',
        'eval raw {\n  add = load("vectors/flamingo-tiny", "left")\n  layer = 1\n}\n',
    ),
    "MFV6015": Page(
        "an address that the Hub cannot have",
        """
A repository of the Hugging Face Hub is written `hf://org/repo`, with `@` and a branch, tag or
commit behind it if its main branch is not meant.""",
        'eval raw {\n  add = load("hf://vectors", "left")\n  layer = 1\n}\n',
        'eval raw {\n  add = load("hf://some-one/vectors@main", "left")\n  layer = 1\n}\n',
    ),
    "MFV6020": Page(
        "a loaded vector that mfv.lock does not pin",
        """
`mfv run --locked` loads nothing but what `mfv.lock`, beside the recipe, pins: the same content, and
from the Hub the same commit. `mfv lock RECIPE` pins what the recipe loads now.""",
    ),
    "MFV6021": Page(
        "a lock file that cannot be read",
        """
`mfv.lock` is JSON as `mfv lock` writes it. Take it away, or make it anew.""",
    ),
    "MFV6022": Page(
        "a loaded vector that is not what mfv.lock pins",
        """
The recipe still runs, with the vector as it is; `mfv run --locked` would refuse. `mfv lock RECIPE`
pins it as it is now.""",
    ),
    "MFV6023": Page(
        "a lock file that cannot be written",
        """
`mfv.lock` stands beside the recipe, so the recipe must be a file in a folder that can be written.
""",
    ),
    "MFV6030": Page(
        "a repository that the Hub does not show",
        """
The Hub answers alike for repositories that are not there and for private ones that the token it was
shown may not see. Look at the spelling; log in with `hf auth login`; for a push, `--create` makes
the repository. mfv never sees, prints or keeps the token: huggingface_hub does.""",
    ),
    "MFV6031": Page(
        "a file or revision that a repository does not have",
        """
The repository is there, but not this branch, tag or commit of it, or not this file in it.
`load("hf://org/repo", "name")` reads `name.safetensors` at the top of the repository.""",
    ),
    "MFV6032": Page(
        "a repository that is no library",
        """
A library has vector files, `name.safetensors`, at its top, none larger than 512 MiB. Nothing was
written.""",
    ),
    "MFV6033": Page(
        "a library that is not fit to push",
        """
Every vector file is read whole before anything is uploaded, and one is damaged; or there is none.
`mfv vectors verify FOLDER` looks at them all.""",
    ),
    "MFV6034": Page(
        "the Hub cannot be used",
        """
It could not be reached, answered with an error of its own, or a transfer was interrupted. Try again
later: files that came through are kept and not fetched again, and a push uploads all of its files
or none.""",
    ),
    "MFV6040": Page(
        "an import that leaves something open",
        """
Files of other tools do not say which model a vector is of, and many do not say at which layer it is
meant to be added. The message names the options that are missing. Mean head outputs, as the
official code pickles them, also need the effects that heads are chosen by.""",
    ),
    "MFV6041": Page(
        "a file that holds no vector that can be imported",
        """
`mfv vectors import` reads GGUF control vectors, `.npy` arrays, steering dictionaries of
lm-evaluation-harness, and what the official code of arXiv:2510.02528 writes: `.ckpt` vectors and
pickles of mean head outputs. A vector is an array of one axis, or with all others of size 1.""",
    ),
    "MFV6042": Page(
        "a pickle that would do more than hold numbers",
        """
A pickle is a program, and this one asks for something other than numbers, arrays, tensors and plain
containers. Nothing of it was run. If you trust it, open it yourself and save the numbers as `.npy`.
""",
    ),
    "MFV6043": Page(
        "an imported file that does not fit the model",
        """
Its numbers are not as many as the model's residual stream has, its layers or heads are not those of
the model, or the relation or layer asked for is not in it.""",
    ),
    "MFV6044": Page(
        "a vector that a format cannot express",
        """
A GGUF control vector and a steering dictionary name the layer that a vector is added at: say it
with `--layer` where its own file does not. llama.cpp knows no direction for layer 0.""",
    ),
    "MFV6045": Page(
        "a package that a conversion needs",
        """
GGUF files are read and written by the package gguf, which is not installed with mfv-dsl unless it
is asked for: `pip install 'mfv-dsl[convert]'`.""",
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
