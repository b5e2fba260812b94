"""The constructors of models and datasets, with their arguments.

What belongs to every word of the language together is in :mod:`mfv_dsl.lang.entries`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from mfv_dsl.base.errors import MfvError
from mfv_dsl.lang.registry import Entry, Parameter, by_name

_DTYPE = Parameter("dtype", ("Choice",), "precision of the weights", "bf16",
                   choices=("bf16", "fp16", "fp32"))  # fmt: skip
_DEVICE = Parameter("device", ("Choice", "Text"), 'where it runs: `"cuda:1"` as text, the best '
                    "there is (auto), spread over all GPUs (balanced)", "auto",
                    choices=("auto", "cpu", "cuda", "mps", "balanced"), key="never")  # fmt: skip

MODELS = (
    Entry("constructor", "tiny", "a bundled model, small enough for any machine: a Flamingo, or "
          'with `tiny("llava")` a LLaVA',
          (Parameter("name", ("Text",), "which of them: `flamingo` or `llava`; or a folder in the "
                     "layout of one", "flamingo", positional=True),),
          result="Model", module="mfv_dsl.models.tiny.constructor",
          example="tiny()"),
    Entry("constructor", "openflamingo", "an OpenFlamingo checkpoint, from the hub or a folder",
          (Parameter("path", ("Text",), "a published checkpoint's name, or a folder",
                     positional=True), _DTYPE, _DEVICE),
          result="Model", module="mfv_dsl.models.checkpoints.constructor",
          example='openflamingo("openflamingo/OpenFlamingo-4B-vitl-rpj3b", dtype=bf16)'),
    Entry("constructor", "hf", "a transformers vision-language model, from the hub or a folder",
          (Parameter("path", ("Text",), "repository or folder", positional=True),
           Parameter("revision", ("Text",), "commit, branch or tag of the repository", None),
           _DTYPE, _DEVICE,
           Parameter("prompt", ("Choice", "Text"), "how prompts are written: pictures and text "
                     "side by side (plain), as one turn of a chat (chat), one turn for each "
                     "picture (turns), as the official code does it for Qwen3-VL (official), or a "
                     "demonstration as text with `{image}`, `{query}` and `{answer}`", "plain",
                     choices=("plain", "chat", "turns", "official")),
           Parameter("pixels", ("Number",), "how many pixels every picture is brought to, in "
                     "models that take any size; the processor's own bounds if left out", None,
                     unit="count"),
           Parameter("tiles", ("Number",), "into how many tiles a picture is cut at most, by "
                     "models that cut pictures; whole pictures if left out", None, unit="count"),
           Parameter("quantize", ("Choice",), "the decoder layers' weights in 4 bits a "
                     "number (nf4) or 8 (int8), by bitsandbytes; `dtype` is what is calculated in",
                     "none", choices=("none", "nf4", "int8")),
           Parameter("attention", ("Choice",), "the code by which whole prompts attend: the "
                     "library's choice (auto), PyTorch's (sdpa), step by step (eager), or the "
                     "package flash_attn (flash)", "auto",
                     choices=("auto", "sdpa", "eager", "flash")),
           Parameter("architecture", ("Text",), "a TOML file that says how a model is built that "
                     "is not in the table of architectures", None)),
          result="Model", module="mfv_dsl.models.vlm.constructor",
          example='hf("Qwen/Qwen3-VL-4B-Instruct", dtype=bf16)'),
)  # fmt: skip

# What every dataset of files takes.
_SHARE = "share of the images in this split, relative to the other three"
_OF_FILES = (
    Parameter("relations", ("List[Name]",), "the relations to keep; all if left out", None),
    Parameter("extract", ("Number",), _SHARE, 0.4, unit="share"),
    Parameter("train", ("Number",), _SHARE, 0.2, unit="share"),
    Parameter("validation", ("Number",), _SHARE, 0.1, unit="share"),
    Parameter("test", ("Number",), _SHARE, 0.3, unit="share"),
    Parameter("seed", ("Number",), "seed that deals images to splits", 0, unit="seed"),
    Parameter("synonyms", ("Text",), "a CSV with the columns canonical and synonym; names are "
              "replaced by the canonical ones", None),
    Parameter("balance", ("Boolean",), "keep as many items of every relation as the rarest has",
              False),
    Parameter("missing", ("Choice",), "items whose image is missing: an error, or left out and "
              "counted", "error", choices=("error", "drop")),
)  # fmt: skip

# What datasets of statements, one object in relation to another, take.
_QUERY = Parameter("query", ("Choice",), "the end of a relation that is asked about", "subject",
                   choices=("subject", "object"))  # fmt: skip
_ASK = Parameter("ask", ("Choice",), "for the other object of true statements (answer), or of "
                 "every statement whether it is true or false (truth)", "answer",
                 choices=("answer", "truth"))  # fmt: skip
#: Of sets that have a question with options of their own.
_ASKED = "or the set's own question, whose answer is the right option (question)"
_ASK_TRUTH = replace(
    _ASK, choices=("answer", "truth", "question"),
    doc="for the other object of true statements (answer), of every statement whether it is true "
    f"or false (truth), {_ASKED}",
)  # fmt: skip
_ASK_QUESTION = replace(
    _ASK, choices=("answer", "question"), doc=f"for the other object (answer), {_ASKED}"
)
_OPTIONS = Parameter("options", ("Text",), "a column of lists of options, of which the answer is "
                     "one, its letter or its number", None)  # fmt: skip
_IMAGES = Parameter("images", ("Text",), "the folder of images")
_ANSWERS = Parameter("answers", ("Choice",), "what is done with a question that several objects "
                     "answer: leave it out (only), or take the nearest object (nearest)", "only",
                     choices=("only", "nearest"))  # fmt: skip

DATASETS = (
    Entry(
        "constructor", "scenes", "rendered scenes of shapes or of drawn things, made from a seed",
        (
            Parameter("relations", ("List[Name]",), "the relations to draw",
                      ("left", "right", "above", "below", "above_left", "above_right",
                       "below_left", "below_right")),
            Parameter("seed", ("Number",), "seed of the scenes", 0, unit="seed"),
            Parameter("count", ("Number",), "items per relation and split", 240, unit="count"),
            Parameter("objects", ("Choice",), "kinds of the query and the answer: those the "
                      "bundled model met in context, others, or both", "familiar",
                      choices=("familiar", "novel", "all")),
            Parameter("size", ("Number",), "side of an image; the model's own if left out", None,
                      unit="pixels"),
            Parameter("kinds", ("Choice",), "coloured shapes, as the bundled model knows them, or "
                      "drawn things such as apple and key", "shapes",
                      choices=("shapes", "things")),
        ),
        result="Dataset", module="mfv_dsl.data.scenes",
        example="scenes(relations=[left, right], seed=0)",
    ),
    Entry(
        "constructor", "metadata_csv", "a folder of images with a metadata.csv, as the official "
        "synthetic images have it",
        (
            Parameter("folder", ("Text",), "the folder; or one with a folder for each split",
                      positional=True),
            Parameter("clean", ("Boolean",), "rename objects as the paper does: `antiquemug` is "
                      "mug, `greenbottle` is bottle", True),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.metadata_csv",
        example='metadata_csv("data/synthetic")',
    ),
    Entry(
        "constructor", "gqa", "objects and relations in photographs: GQA's scene graphs, or the "
        "official filtered subset",
        (
            Parameter("file", ("Text",), "the JSON file", positional=True),
            Parameter("images", ("Text",), "the folder of images, named by image id"),
            Parameter("query", ("Choice",), "the end of a relation that is asked about",
                      "subject", choices=("subject", "object")),
            Parameter("min_area", ("Number",), "part of the image that an object covers at least",
                      0.05, unit="part"),
            Parameter("max_area", ("Number",), "part of the image that an object covers at most",
                      0.5, unit="part"),
            Parameter("min_objects", ("Number",), "objects an image has at least", 3,
                      unit="amount"),
            Parameter("max_objects", ("Number",), "objects an image has at most", 30,
                      unit="amount"),
            Parameter("max_relations", ("Number",), "relations an image has at most", 15,
                      unit="amount"),
            Parameter("unique_names", ("Boolean",), "leave out images with two objects of a name",
                      True),
            Parameter("unambiguous", ("Boolean",), "leave out images where a question has two "
                      "answers; the first is the answer otherwise", True),
            Parameter("without", ("List[Text]",), "names of objects to leave out; backgrounds "
                      "such as sky and wall if left out", None, may_be_empty=True),
            Parameter("filter", ("Choice",), "hold every image to these rules (paper) or none; "
                      "if left out, scene graphs are held to them, and the official filtered "
                      "subset is not filtered again", None, choices=("paper", "none")),
            Parameter("test_file", ("Text",), "a second file, whose images are the test split; "
                      "those of the first are dealt to the others", None),
            Parameter("suffix", ("Text",), "how the images' names end behind the image id", ".jpg"),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.gqa",
        example='gqa("data/gqa.json", images="data/images", relations=[holding, riding])',
    ),
    Entry(
        "constructor", "pairs", "one item a line, as JSON or CSV: image, query, answer, relation "
        "and, if wanted, split and a question with options",
        (
            Parameter("file", ("Text",), "the file, `.jsonl`, `.csv` or `.tsv`",
                      positional=True),
            Parameter("images", ("Text",), "the folder that image paths start from; that of the "
                      "file if left out", None),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.pairs",
        example='pairs("data/pairs.jsonl")',
    ),
    Entry(
        "constructor", "hf_dataset", "a dataset of the Hugging Face hub, through the library "
        "`datasets`",
        (
            Parameter("path", ("Text",), "its name on the hub, or a folder", positional=True),
            Parameter("config", ("Text",), "its configuration, if it has several", None),
            Parameter("revision", ("Text",), "commit or tag; the newest if left out", None),
            Parameter("part", ("Text",), "which of its own parts is read", "train"),
            Parameter("image", ("Text",), "the column of images", "image"),
            Parameter("query", ("Text",), "the column of query objects", "query"),
            Parameter("answer", ("Text",), "the column of answer objects", "answer"),
            Parameter("relation", ("Text",), "the column of relations", "relation"),
            Parameter("split", ("Text",), "a column of splits; dealt by image if left out", None),
            _OPTIONS, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.hf_dataset",
        example='hf_dataset("org/name", query="subject", answer="object")',
    ),
    Entry(
        "constructor", "vsr", "Visual Spatial Reasoning: captions of COCO's photographs, true and "
        "false, with 66 relations",
        (
            Parameter("file", ("Text",), "a file of JSON lines, or the folder of the official "
                      "splits' three", positional=True),
            _IMAGES, _QUERY, _ASK, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.vsr",
        example='vsr("data/vsr/all_vsr_validated_data.jsonl", images="data/vsr/images")',
    ),
    Entry(
        "constructor", "whatsup", "What's Up: pictures and captions of which one is right, its own "
        "and those of COCO and Visual Genome",
        (
            Parameter("file", ("Text",), "one of the set's JSON files", positional=True),
            _IMAGES, _QUERY, _ASK_TRUTH, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.whatsup",
        example='whatsup("data/whatsup/controlled_images_dataset.json", images="data/whatsup")',
    ),
    Entry(
        "constructor", "spatialsense", "SpatialSense: statements of nine relations that people "
        "chose to be hard, true and false",
        (
            Parameter("file", ("Text",), "the annotations' JSON file", positional=True),
            _IMAGES, _QUERY, _ASK,
            Parameter("unique_names", ("Boolean",), "leave out statements of a name that two "
                      "objects on the image have", True),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.spatialsense",
        example='spatialsense("data/spatialsense/annotations.json", images="data/spatialsense")',
    ),
    Entry(
        "constructor", "visual_genome", "Visual Genome: relations that people saw in photographs",
        (
            Parameter("file", ("Text",), "`relationships.json`", positional=True),
            _IMAGES, _QUERY,
            Parameter("unique_names", ("Boolean",), "leave out relations of a name that two "
                      "objects on the image have", True),
            Parameter("min_items", ("Number",), "items that a relation has at least, unless "
                      "`relations` names it", 100, unit="count"),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.visual_genome",
        example='visual_genome("data/vg/relationships.json", images="data/vg", '
        "relations=[holding, riding])",
    ),
    Entry(
        "constructor", "clevr", "CLEVR: rendered solids, left, right, in front and behind",
        (
            Parameter("file", ("Text",), "a JSON file of scenes, or the folder of the official "
                      "splits'", positional=True),
            _IMAGES, _QUERY, _ANSWERS, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.clevr",
        example='clevr("data/CLEVR_v1.0/scenes", images="data/CLEVR_v1.0/images")',
    ),
    Entry(
        "constructor", "boxes", "relations by geometry between boxes: COCO's, or of JSON lines",
        (
            Parameter("file", ("Text",), "COCO's `instances` or `panoptic` JSON, or JSON lines",
                      positional=True),
            _IMAGES, _QUERY, _ANSWERS,
            Parameter("min_area", ("Number",), "part of the image that an object covers at least",
                      0.01, unit="part"),
            Parameter("max_area", ("Number",), "part of the image that an object covers at most",
                      1.0, unit="part"),
            Parameter("margin", ("Number",), "how far apart the centres of left, right, above and "
                      "below are at least, as a part of the image's side", 0.1, unit="part"),
            Parameter("cone", ("Number",), "how many times as far apart they are in that direction "
                      "as in the other, at least; 1 or more", 1.0, unit="share"),
            Parameter("apart", ("Number",), "part of the smaller box that the two share at most, "
                      "for left, right, above and below", 0.1, unit="part"),
            Parameter("inside", ("Number",), "part of a box that lies in a larger one, for inside",
                      0.9, unit="part"),
            Parameter("overlap", ("Number",), "part of what two boxes cover together that they "
                      "share, for overlapping", 0.2, unit="part"),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.boxes",
        example='boxes("data/coco/annotations/instances_val2017.json", images="data/coco", '
        "relations=[left, inside])",
    ),
    Entry(
        "constructor", "embspatial", "EmbSpatial-Bench: rooms as somebody in them sees them, left, "
        "right, above and under",
        (
            Parameter("file", ("Text",), "its JSON file, a parquet file, or a folder of these",
                      positional=True),
            _QUERY, _ASK_QUESTION, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.embspatial",
        example='embspatial("data/embspatial_bench.json")',
    ),
    Entry(
        "constructor", "blink", "BLINK's Spatial_Relation: questions about photographs, yes or no",
        (
            Parameter("file", ("Text",), "a parquet file of the task, or a folder of them",
                      positional=True),
            _QUERY, _ASK_TRUTH, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.blink",
        example='blink("data/BLINK/Spatial_Relation")',
    ),
    Entry(
        "constructor", "spatialeval", "SpatialEval: questions with options about maps, mazes, "
        "grids and photographs",
        (
            Parameter("file", ("Text",), "a parquet file of its `vqa` or `vtqa`, or a folder of "
                      "them", positional=True),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.spatialeval",
        example='spatialeval("data/SpatialEval/vqa")',
    ),
    Entry(
        "constructor", "omnispatial", "OmniSpatial: questions with options, of motion, "
        "interaction, logic and perspective",
        (
            Parameter("file", ("Text",), "its `data.json`", positional=True),
            Parameter("images", ("Text",), "the folder of the folders of pictures; that of the "
                      "file if left out", None),
            *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.omnispatial",
        example='omnispatial("data/OmniSpatial/data.json")',
    ),
    Entry(
        "constructor", "parquet", "rows of parquet files on this machine, with their images",
        (
            Parameter("file", ("Text",), "a file, or a folder of them", positional=True),
            Parameter("image", ("Text",), "the column of images", "image"),
            Parameter("query", ("Text",), "the column of query objects", "query"),
            Parameter("answer", ("Text",), "the column of answer objects", "answer"),
            Parameter("relation", ("Text",), "the column of relations", "relation"),
            Parameter("split", ("Text",), "a column of splits; dealt by image if left out", None),
            _OPTIONS, *_OF_FILES,
        ),
        result="Dataset", module="mfv_dsl.data.parquet",
        example='parquet("data/set.parquet", query="subject", answer="object")',
    ),
    Entry(
        "constructor", "in_memory", "items that a Python program has, by `mfv_dsl.dataset(items)`",
        (
            Parameter("name", ("Text",), "what the program calls it", positional=True),
            Parameter("hash", ("Text",), "the hash of its items and pictures"),
        ),
        result="Dataset", module="mfv_dsl.data.in_memory",
        example='in_memory("items", hash="5f1d")',
    ),
)  # fmt: skip

#: The constructors by kind of declaration and name.
CONSTRUCTOR = {"model": by_name(MODELS), "dataset": by_name(DATASETS)}

#: What is said of a constructor that there is not, by kind of declaration.
_UNKNOWN = {
    "model": ("MFV7001", "models of the kind `{}` cannot be loaded yet"),
    "dataset": ("MFV7002", "datasets of the kind `{}` cannot be read yet"),
}


def constructor_module(kind: str, name: str) -> Any:
    """The module that knows the constructor ``name`` of a ``kind`` of declaration.

    Raises MfvError (MFV7001 of models, MFV7002 of datasets) for one that there is not.
    """
    entry = CONSTRUCTOR[kind].get(name)
    if entry is not None and entry.module is not None:
        return import_module(entry.module)
    code, message = _UNKNOWN[kind]
    known = [entry.name for entry in CONSTRUCTOR[kind].values() if entry.executable]
    raise MfvError(code, message.format(name), help=f"these can: {', '.join(known)}")
