"""Looking at vectors: what they are made of, what they do to an answer, what they cost elsewhere.

probe = Probe.open("tiny", "scenes()")
found = find_vector("fv(left) - fv(right)", heads="top(10)")
probe.costs(found.vector, layer=3)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfv_dsl import data, models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.source import Source
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.data.off_task import draw_off_task, off_tasks, other_relations
from mfv_dsl.data.one_picture import OnePicture
from mfv_dsl.data.prompts import DEFAULT_SEED, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.template import OPENFLAMINGO
from mfv_dsl.execute.run import Silence
from mfv_dsl.execute.session import Listener, batched
from mfv_dsl.expression import Expression
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.lang.parser import parse_expression
from mfv_dsl.lang.syntax import Call, Name
from mfv_dsl.library.vector_file import load_vector
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.likeliest_answers import TokenProbabilities, likeliest_answers
from mfv_dsl.methods.off_task import OffTaskCost, off_task_cost
from mfv_dsl.methods.residual_stream import Stream, residual_stream
from mfv_dsl.methods.vectors import Vector, require_model
from mfv_dsl.models.base import Backend

_SUFFIX = ".safetensors"


# -- vectors, models and datasets as they are typed -----------------------------------------------
@dataclass(frozen=True)
class Found:
    """A vector, and the layer that its file says it is meant for."""

    vector: Vector
    layer: int | None = None


def find_vector(
    text: str,
    model: str = "tiny",
    dataset: str = "scenes",
    listener: Listener | None = None,
    **defaults: object,
) -> Found:
    """The vector of a ``.safetensors`` file, or of an expression, computed under ``model``,
    ``dataset`` and ``defaults`` (as in a recipe, those left None at their usual values)."""
    if text.endswith(_SUFFIX):
        stored = load_vector(text)
        layer = stored.metadata.get("layer")
        return Found(stored.vector, layer if isinstance(layer, int) else None)
    given = {name: value for name, value in defaults.items() if value is not None}
    expression = Expression.parse(text)
    return Found(expression.vector(model, dataset, listener, **given))


def read_library(paths: Sequence[str | Path], but: str = "") -> dict[str, Vector]:
    """The vectors of files, and of all files of folders, by name in order; ``but`` is left out.

    Vectors of one name from different folders are called by their paths.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    kept = [file for file in files if not (but and _same(file, Path(but)))]
    if not kept:
        names = ", ".join(map(str, paths))
        raise MfvError("MFV5350", f"there are no vectors to compare with in {names}")
    stems = [file.stem for file in kept]
    return {
        file.stem if stems.count(file.stem) == 1 else str(file): load_vector(file).vector
        for file in kept
    }


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)


def open_model(text: str) -> Backend:
    """Load the model that ``text`` constructs: ``tiny``, ``openflamingo("…", dtype=bf16)``."""
    declared = constructed("model", text)
    return models.load(declared.constructor, **declared.arguments)


def relations_of(vector: Vector, dataset: Dataset) -> tuple[str, ...]:
    """The relations that a vector is made of, as its expression says: those called upon, as in
    ``fv(left)``; none where the expression is not known."""
    try:
        syntax = parse_expression(Source(vector.expression, "<expression>"))
    except MfvError:
        return ()
    named = [
        node.arguments[0].text
        for node in syntax.walk()
        if isinstance(node, Call) and node.arguments and isinstance(node.arguments[0], Name)
    ]
    return tuple(relation for relation in dataset.relations if relation in named)


# -- a model to look with -------------------------------------------------------------------------
@dataclass(frozen=True)
class Probe:
    """A loaded model, and a dataset whose prompts it is looked at on."""

    backend: Backend
    dataset: Dataset

    @classmethod
    def open(cls, model: str = "tiny", dataset: str = "scenes") -> Probe:
        """Load what is typed as in a recipe."""
        shown = constructed("dataset", dataset)
        return cls(open_model(model), data.open_dataset(shown.constructor, **shown.arguments))

    def stream(
        self,
        items: int = 25,
        split: str = "extract",
        seed: int = DEFAULT_SEED,
        listener: Listener | None = None,
    ) -> Stream:
        """The residual stream on ``items`` zero-shot prompts of each relation."""
        prompts = [
            prompt
            for relation in self.dataset.relations
            for prompt in draw_prompts(self.dataset, relation, split, items, 0, seed)
        ]
        done = (listener or Silence()).begin("residual stream", len(prompts))
        return residual_stream(self.backend, batched(self.backend, self.dataset, prompts), done)

    def costs(
        self,
        vector: Vector,
        layer: int | str,
        scale: float = 1.0,
        relations: Sequence[str] | None = None,
        items: int = 100,
        split: str = "test",
        seed: int = DEFAULT_SEED,
        listener: Listener | None = None,
    ) -> dict[str, OffTaskCost]:
        """By kind of off-task prompt, what adding ``scale`` · ``vector`` at ``layer`` costs.

        ``relations`` are those that the vector is for, by default those that it is made of.
        """
        own = relations_of(vector, self.dataset) if relations is None else tuple(relations)
        others = other_relations(self.dataset, own)
        edits = adding(require_model(self.backend, vector), layer, scale)
        costs = {}
        for kind in off_tasks(self.dataset):
            prompts = draw_off_task(self.dataset, kind, others, split, items, seed)
            batches = batched(self.backend, self.dataset, prompts)
            done = (listener or Silence()).begin(f"off-task prompts: {kind}", len(prompts))
            costs[kind] = off_task_cost(self.backend, batches, edits, done)
        return costs


# -- one question ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class Question:
    """One picture and one query; ``neighbours`` are the objects around the query object by
    relation, where they are known."""

    dataset: Dataset
    prompt: Prompt

    @property
    def text(self) -> str:
        return OPENFLAMINGO.text(self.prompt)

    @property
    def neighbours(self) -> Mapping[str, str]:
        return self.prompt.query.neighbours

    def picture(self, size: int) -> np.ndarray:
        """The picture, (height, width, 3) uint8; a rendered scene at side ``size``."""
        return self.dataset.pictures(self.prompt.images, size)[0]


def about_picture(path: str | Path, query: str) -> Question:
    """A question about the user's own picture."""
    shown = OnePicture(path)
    return Question(shown, shown.question(query))


def about_scene(seed: int = 0, diagonal: bool = False, query: str | None = None) -> Question:
    """A question about a rendered scene, by default about the object with four neighbours."""
    relation = "above_left" if diagonal else "left"
    scenes = Scenes(seed=seed)
    item = scenes.items(relation, "test")[0]
    if query is not None and query != item.query:
        item = Item(item.image, query, query, relation)  # nothing is known of its neighbours
    return Question(scenes, Prompt((), item))


@dataclass(frozen=True)
class Reply:
    """The likeliest answers to a question, alone and with a vector added, if there was one."""

    before: TokenProbabilities
    after: TokenProbabilities | None
    layer: int | str | None


def ask(
    backend: Backend,
    question: Question,
    found: Found | None = None,
    layer: int | str | None = None,
    scale: float = 1.0,
    top: int = 5,
) -> Reply:
    """The ``top`` answers to a question, and with ``found`` also those after adding ``scale`` times
    the vector at ``layer``: by default the one that its file names, else ``native``, each head's
    own, or for a vector without parts a third of the way up, as in arXiv:2310.15213."""
    batch = backend.batch([question.prompt], question.dataset)
    if found is None:
        return Reply(likeliest_answers(backend, batch, [[]], top)[0], None, None)
    if layer is None:
        layer = found.layer
    if layer is None:
        layer = "native" if found.vector.has_parts else backend.facts.n_layers // 3
    edits = adding(require_model(backend, found.vector), layer, scale)
    before, after = likeliest_answers(backend, batch, [[], edits], top)
    return Reply(before, after, layer)
