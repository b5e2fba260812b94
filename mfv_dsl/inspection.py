"""A loaded model to look at vectors with: what they do to an answer, and what they cost elsewhere.

probe = Probe.open("tiny", "scenes()")
steer = read_vector("fv(left) - fv(right)", heads="top(10)")
probe.costs(steer.vector, layer=3)
ask(probe.backend, about_scene(seed=3), steer)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mfv_dsl import data
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.names import listed_relations, meant_relation
from mfv_dsl.base.suggest import did_you_mean
from mfv_dsl.data.drawn_scene import DrawnScene
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.data.marks import check_name
from mfv_dsl.data.off_task import draw_off_task, off_tasks, other_relations
from mfv_dsl.data.one_picture import OnePicture
from mfv_dsl.data.prompts import DEFAULT_SEED, corrupt, draw_prompts
from mfv_dsl.data.scenes import Scenes
from mfv_dsl.data.template import OPENFLAMINGO
from mfv_dsl.execute.session import batched
from mfv_dsl.execute.settings import Listener, Silence
from mfv_dsl.inputs import VectorInput, open_model, relations_of
from mfv_dsl.lang.constructed import constructed
from mfv_dsl.methods.evaluation import adding
from mfv_dsl.methods.likeliest_answers import TokenProbabilities, likeliest_answers
from mfv_dsl.methods.off_task import OffTaskCost, off_task_cost
from mfv_dsl.methods.residual_stream import Stream, residual_stream
from mfv_dsl.methods.vectors import Vector, require_model
from mfv_dsl.models.base import Backend
from mfv_dsl.models.openflamingo import OpenFlamingo
from mfv_dsl.report.prompt_row import PromptRow


# -- a model to look with -------------------------------------------------------------------------
@dataclass(frozen=True)
class Probe:
    """A loaded model, and a dataset whose prompts it is looked at on."""

    backend: Backend
    dataset: Dataset

    @classmethod
    def open(cls, model: str = "tiny", dataset: str = "scenes") -> Probe:
        """Load what is typed as in a recipe."""
        declared = constructed("dataset", dataset)
        opened = data.open_dataset(declared.constructor, **declared.arguments)
        return cls(open_model(model), opened)

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
    picture = OnePicture(path)
    return Question(picture, picture.question(query))


def about_scene(seed: int = 0, diagonal: bool = False, query: str | None = None) -> Question:
    """A question about a rendered scene, by default about the object with four neighbours."""
    relation = "above_left" if diagonal else "left"
    scenes = Scenes(seed=seed)
    item = scenes.items(relation, "test")[0]
    if query is not None and query != item.query:
        item = Item(item.image, query, query, relation)  # nothing is known of its neighbours
    return Question(scenes, Prompt((), item))


def about_drawn(cells: Sequence[str], query: str, seed: int = 0) -> Question:
    """A question about a scene put together of 4 × 4 ``cells``
    (:class:`~mfv_dsl.data.drawn_scene.DrawnScene`)."""
    scene = DrawnScene(cells, seed)
    return Question(scene, scene.question(query))


def about_item(
    dataset: Dataset, relation: str, seed: int = DEFAULT_SEED, split: str = "test"
) -> Question:
    """A question of a dataset: the one that an ``eval`` with ``items = 1`` and this ``seed``
    asks.  Raises MfvError (MFV7112) for a relation or split that the dataset does not have."""
    relation = relation_of(dataset, relation, split)
    return Question(dataset, draw_prompts(dataset, relation, split, 1, 0, seed)[0])


def relation_of(dataset: Dataset, relation: str, split: str) -> str:
    """The dataset's relation of a name or plain spelling; MfvError (MFV7112) for a relation or
    split that it does not have."""
    meant = meant_relation(relation, dataset.relations)
    for name, names, known in (
        (relation, dataset.relations, meant is not None),
        (split, dataset.splits, split in dataset.splits),
    ):
        if not known:
            raise MfvError(
                "MFV7112", f"the dataset has no `{name}`",
                help=did_you_mean(name, names, f"it has {listed_relations(names)}"),
            )  # fmt: skip
    assert meant is not None
    return meant


@dataclass(frozen=True)
class Reply:
    """The likeliest answers to a question, alone and with a vector added, if there was one."""

    before: TokenProbabilities
    after: TokenProbabilities | None
    layer: int | str | None


def ask(
    backend: Backend,
    question: Question,
    vector: VectorInput | Vector | None = None,
    layer: int | str | None = None,
    scale: float = 1.0,
    top: int = 5,
) -> Reply:
    """The ``top`` answers to a question, and with ``vector`` also those after adding ``scale`` ·
    ``vector`` at ``layer``: by default the one that its file names, else ``native``, each head's
    own or the place of each part, or for a vector without parts a third of the way up, as in
    arXiv:2310.15213.

    Raises MfvError (MFV7124) for a query that is blank or holds a mark of the model's own; one of
    words that its tokenizer does not know is warned of.
    """
    if unknown := unknown_words(backend, question):
        text = f"MFV5376: the model's tokenizer does not know: {', '.join(unknown)}"
        warnings.warn(text, stacklevel=2)
    batch = backend.batch([question.prompt], question.dataset)
    if vector is None:
        return Reply(likeliest_answers(backend, batch, [[]], top)[0], None, None)
    wanted = vector if isinstance(vector, VectorInput) else VectorInput(vector)
    layer = own_layer(backend, wanted) if layer is None else layer
    edits = adding(require_model(backend, wanted.vector), layer, scale)
    before, after = likeliest_answers(backend, batch, [[], edits], top)
    return Reply(before, after, layer)


def unknown_words(backend: Backend, question: Question) -> list[str]:
    """The words of the query that the model's tokenizer does not know.  Raises MfvError (MFV7124)
    for a query that is blank or holds a mark of the model's own."""
    query = question.prompt.query.query
    check_name(query, backend.marks)
    return backend.unknown_words([query])


def own_layer(backend: Backend, vector: VectorInput) -> int | str:
    """Where a vector is added if nothing is said, as :func:`ask` does it."""
    if vector.layer is not None:
        return vector.layer
    is_native = vector.vector.has_parts or vector.vector.space.places
    return "native" if is_native else backend.facts.n_layers // 3


# -- one prompt ----------------------------------------------------------------------------------
def preprocessed_pictures(
    preprocess: Callable[[Sequence[np.ndarray]], torch.Tensor], pictures: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Pictures after a model's own preprocessing, each (height, width, 3) uint8.

    Preprocessing ends with a scale and a shift of each channel; what it makes of black and of white
    says which, and they are undone.  White is where it puts no picture.
    """
    views = []
    for picture in pictures:
        ends = [preprocess([np.full_like(picture, level)]) for level in (0, 255)]
        black, white = ends
        level = (preprocess([picture]) - black) / (white - black)
        level = level.where(white != black, 1)[0]
        pixels = (level * 255).round().clamp(0, 255).permute(1, 2, 0)
        views.append(pixels.cpu().numpy().astype(np.uint8))
    return views


def prompt_rows(
    backend: OpenFlamingo,
    dataset: Dataset,
    relation: str,
    split: str,
    number: int,
    shots: int,
    seed: int,
    corruption: str,
) -> list[PromptRow]:
    """Prompt ``number`` (from 0) of a run on a relation and split, and its corrupted twin, as
    :func:`mfv_dsl.report.figures.prompts.prompt_figure` draws them.

    MfvError: MFV7112 for a relation or split that the dataset does not have.
    """
    relation = relation_of(dataset, relation, split)
    intact = draw_prompts(dataset, relation, split, number + 1, shots, seed)[number]
    twin = corrupt(intact, corruption, dataset, split, seed)
    title = f"{relation}, {split} split, prompt {number}"
    rows = []
    for prompt, heading in ((intact, f"{title}: {shots} demonstrations"),
                            (twin, f"its corrupted twin: {corruption}")):  # fmt: skip
        pictures = dataset.pictures(prompt.images, backend.image_size)
        texts = backend.pieces(prompt)
        views = preprocessed_pictures(backend.preprocess, pictures)
        rows.append(PromptRow(heading, views, texts, prompt.query.answer))
    return rows
