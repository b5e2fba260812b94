"""What a page shows, as a recipe and as Python that give the same numbers.

A question of the dataset needs nothing else: an ``eval`` of one item asks it.  One about another
object, a drawn scene or an upload is a dataset of its own, ``question.jsonl`` beside the picture;
:func:`archive` has the files with both texts.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator

from mfv_dsl.data.items import Item
from mfv_dsl.data.prompts import DEFAULT_SEED
from mfv_dsl.lang.entries import FUNCTION
from mfv_dsl.lang.syntax import Number, Unary
from mfv_dsl.lang.unparse import unparse
from mfv_dsl.playground.expressions import ADDED, DATASET, MODEL
from mfv_dsl.playground.pictures import Drawn, FromDataset, png_of, split_of
from mfv_dsl.playground.studio import Outcome, Studio

#: The dataset of one question, and its files.
ASKED, LINES, PICTURE = "asked", "question.jsonl", "question.png"
#: The relation of an answer that nobody has named.
_ANSWER = "answer"


def own_question(outcome: Outcome) -> bool:
    """Whether the question is not one of the dataset's, so that it needs files."""
    choice, query = outcome.request.picture, outcome.request.query.strip()
    own = isinstance(choice, FromDataset) and bool(outcome.neighbours)
    return not own or query not in ("", outcome.question.prompt.query.query)


def items(outcome: Outcome) -> list[Item]:
    """The items that the recipe asks: what stands around the object, each as the answer once; where
    that is not known the model's own answer."""
    query = outcome.question.prompt.query.query
    words = (answer.word for answer in outcome.effects.answers)
    likeliest = next((word for word in words if any(map(str.isalnum, word))), _ANSWER)
    answers = outcome.neighbours or {_ANSWER: likeliest}
    return [Item(PICTURE, query, answer, relation) for relation, answer in answers.items()]


# -- recipe ---------------------------------------------------------------------------------------
def recipe_text(studio: Studio, outcome: Outcome) -> str:
    """A recipe whose ``before``, ``after`` and ``by_layer`` are the page's numbers: p(answer) for
    the answers that the page follows."""
    files, vector = own_question(outcome), outcome.checked.expression
    lines = [
        "mfv 1",
        "",
        f"# A question of the playground: {json.dumps(outcome.text, ensure_ascii=False)}",
        *([f"# Beside it lie {LINES} and {PICTURE}, which the page gives."] if files else []),
        "",
        f"model   {MODEL}  = {studio.model_call}",
    ]
    if not files or _of_dataset(outcome):
        lines.append(f"dataset {DATASET} = {studio.dataset_call}")
    lines += [f'dataset {ASKED}    = pairs("{LINES}")'] if files else []
    if vector is not None:
        lines += ["", *_vector_lines(studio, outcome, files)]
    lines += ["", *_evals(studio, outcome, files)]
    return "\n".join(lines) + "\n"


def _of_dataset(outcome: Outcome) -> bool:
    """Whether the vector is computed on prompts of the dataset."""
    called = map(FUNCTION.get, outcome.checked.functions)
    return any(p.name == "dataset" for entry in called if entry for p in entry.parameters)


def _vector_lines(studio: Studio, outcome: Outcome, files: bool) -> Iterator[str]:
    """The vector as it was computed: on the page's dataset and its seed, whatever is asked."""
    checked, computed = outcome.checked, _of_dataset(outcome)
    if studio.defaults and computed:
        yield "defaults {"
        yield from (f"  {name} = {value}" for name, value in studio.defaults.items())
        yield "}"
    called = {*checked.functions}
    called |= {"top"} if computed and "top(" in studio.defaults.get("heads", "") else set()
    seed = studio.defaults.get("seed", str(DEFAULT_SEED))
    for name in sorted(called):
        takes = {parameter.name for parameter in FUNCTION[name].parameters}
        fixed = [f"dataset = {DATASET}"] if files and "dataset" in takes else []
        fixed += [f"seed = {seed}"] if "seed" in takes else []
        if fixed:
            yield f"defaults for {name} {{ {', '.join(fixed)} }}"
    yield from (f"vector {name} = {unparse(load)}" for name, load in checked.names.items())
    yield f"vector {ADDED} = {checked.written}"


def _evals(studio: Studio, outcome: Outcome, files: bool) -> Iterator[str]:
    choice = outcome.request.picture
    if files:
        asked = f"dataset = {ASKED}, items = 1"
    else:
        assert isinstance(choice, FromDataset)
        asked = f"on = [{choice.relation}], items = 1, seed = {choice.seed}"
        split = split_of(studio.dataset)
        asked += "" if split == "test" else f", split = {split}"
    if "shots" in studio.defaults and _of_dataset(outcome):
        asked += ", shots = 0"  # the defaults are the vector's
    yield f"eval before {{ {asked} }}"
    if outcome.layer is None:
        return
    layers = outcome.effects.layers
    added = f"{asked}, add = {ADDED}, scale = {_number(outcome.request.scale)}"
    yield f"eval after {{ {added}, layer = {outcome.layer} }}"
    yield f"eval by_layer {{ {added}, layer = {layers[0]}..{layers[-1]} }}"


def _number(value: float) -> str:
    number = Number(int(value) if value == int(value) else value)
    return unparse(Unary("-", Number(-number.value)) if value < 0 else number)


# -- Python ---------------------------------------------------------------------------------------
def python_text(studio: Studio, outcome: Outcome) -> str:
    """A script that asks the same and prints the answers, without and with the vector."""
    checked, request = outcome.checked, outcome.request
    lines = [
        "import mfv_dsl as mfv",
        "from mfv_dsl import inspection",
        "",
        f"model = mfv.load_model({studio.model_call!r})",
        f"{DATASET} = mfv.load_dataset({studio.dataset_call!r})",
        f"question = {_question(outcome)}",
    ]
    arguments = ["model", "question"]
    if checked.expression is not None:
        options = "".join(f", {name}={value!r}" for name, value in studio.defaults.items())
        lines += [
            f"expression = mfv.compile({unparse(checked.expression.syntax)!r})",
            f"vector = expression.vector(model, {DATASET}{options})",
        ]
        arguments += ["vector", f"layer={outcome.layer!r}", f"scale={request.scale!r}"]
    lines += [
        f"reply = inspection.ask({', '.join(arguments)})",
        "print(question.text)",
        'print("before:", reply.before)',
    ]
    lines += ['print("after: ", reply.after)'] if checked.expression is not None else []
    return "\n".join(lines) + "\n"


def _question(outcome: Outcome) -> str:
    choice, query = outcome.request.picture, outcome.question.prompt.query.query
    if isinstance(choice, FromDataset) and not own_question(outcome):
        split = split_of(outcome.question.dataset)
        other = "" if split == "test" else f", split={split!r}"
        return f"inspection.about_item({DATASET}, {choice.relation!r}, seed={choice.seed}{other})"
    if isinstance(choice, Drawn):
        side = math.isqrt(len(choice.cells))
        starts = range(0, len(choice.cells), side)
        rows = (", ".join(map(repr, choice.cells[start : start + side])) for start in starts)
        cells = "".join(f"        {row},\n" for row in rows)
        about = f"    [\n{cells}    ],\n    {query!r}, seed={choice.seed},\n"
        return f"inspection.about_drawn(\n{about})"
    return f"inspection.about_picture({PICTURE!r}, {query!r})"


# -- files ----------------------------------------------------------------------------------------
def files(studio: Studio, outcome: Outcome) -> dict[str, bytes]:
    """The texts and, where they need them, the files beside them, by name."""
    found = {
        "recipe.mfv": recipe_text(studio, outcome).encode(),
        "ask.py": python_text(studio, outcome).encode(),
    }
    if own_question(outcome):
        size = getattr(studio.backend, "image_size", 224)
        lines = (
            {"image": item.image, "query": item.query, "answer": item.answer,
             "relation": item.relation, "split": "test"}
            for item in items(outcome)
        )  # fmt: skip
        found[LINES] = "".join(
            json.dumps(line, ensure_ascii=False) + "\n" for line in lines
        ).encode()
        found[PICTURE] = png_of(outcome.question.picture(size))
    return found


def archive(studio: Studio, outcome: Outcome) -> bytes:
    """:func:`files` as a ZIP file, the same for the same."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archived:
        for name, content in files(studio, outcome).items():
            archived.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()
