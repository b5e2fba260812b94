"""What a page asks and what comes of it: one model, one dataset, and the vectors of libraries.

studio = Studio.open(Settings())
request = Request(FromDataset("left", seed=1), expression="fv(left) - fv(right)", scale=1.5)
outcome = studio.ask(request)
outcome.effects.answers[0].word

Several may ask at once: a request has its own edits, and the model runs one request at a time.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mfv_dsl import data
from mfv_dsl.base.errors import MfvError, RecipeError
from mfv_dsl.data.items import Dataset
from mfv_dsl.execute.settings import Listener, Silence
from mfv_dsl.given import Given
from mfv_dsl.inputs import VectorInput, open_model
from mfv_dsl.inspection import Question, own_layer, unknown_words
from mfv_dsl.lang.constructed import as_call, constructed
from mfv_dsl.methods import geometry
from mfv_dsl.methods.layer_effects import LayerEffects, layer_effects
from mfv_dsl.methods.vectors import require_model
from mfv_dsl.models.base import Backend
from mfv_dsl.playground.expressions import (
    ADDED,
    DATASET,
    MODEL,
    CheckedExpression,
    ExpressionChecker,
)
from mfv_dsl.playground.libraries import (
    LibraryVector,
    default_libraries,
    short_names,
    vectors_of,
)
from mfv_dsl.playground.pictures import FromDataset, PictureChoice, question_about

#: Vectors that are kept computed.
_KEPT = 64
#: Bounds of what a request may ask for.
MOST_SCALE, MOST_TOKENS, MOST_FOLLOWED, MOST_COMPARED = 1000.0, 64, 8, 64
_TOP = 5


@dataclass(frozen=True)
class Settings:
    """What a page is about: texts as in a recipe.  ``libraries`` None are the bundled ones of the
    model; ``defaults`` are a recipe's, by name."""

    model: str = "tiny"
    dataset: str = "scenes"
    libraries: tuple[str, ...] | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A question, and the vector that is added.

    ``query`` is empty for the picture's own object, ``layer`` None for the vector's own; with
    ``tokens`` the model goes on for so many.
    """

    picture: PictureChoice
    query: str = ""
    expression: str = ""
    layer: int | str | None = None
    scale: float = 1.0
    tokens: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    ``checked`` is the expression; ``layer`` where the vector was added, None without one.
    ``neighbours`` are what stands around the object by relation, where that is known, ``tokens``
    the first token of each, and ``own`` the relation that the dataset asks for.  ``remarks`` are
    what is to be known besides.
    """

    request: Request
    question: Question
    text: str
    neighbours: Mapping[str, str]
    tokens: Mapping[str, int]
    own: str
    checked: CheckedExpression
    layer: int | str | None
    effects: LayerEffects
    seconds: float
    remarks: tuple[str, ...] = ()


class Ended(Exception):
    """The studio was closed while a request ran."""


class Studio:
    """A loaded model with what can be asked of it."""

    def __init__(
        self, backend: Backend, dataset: Dataset, settings: Settings, libraries: Sequence[str]
    ) -> None:
        self.backend, self.dataset = backend, dataset
        self.libraries, self.defaults = tuple(libraries), dict(settings.defaults)
        self.model_call, self.dataset_call = as_call(settings.model), as_call(settings.dataset)
        self.vectors = vectors_of(self.libraries)
        self.names = short_names(self.vectors, dataset.relations, (MODEL, DATASET, ADDED))
        given = Given({MODEL: backend, DATASET: dataset})
        self.checker = ExpressionChecker(
            self.model_call, self.dataset_call, given, self.defaults, self.libraries, self.names
        )
        self._running = threading.Lock()  # the model's hooks are one request's at a time
        self._checking = threading.Lock()
        self._closed = threading.Event()
        self._computed: OrderedDict[str, VectorInput] = OrderedDict()

    @classmethod
    def open(cls, settings: Settings) -> Studio:
        """Load the model and open the dataset and libraries.  Raises MfvError for what is wrong
        with any of them."""
        backend = open_model(settings.model)
        declared = constructed("dataset", settings.dataset)
        dataset = data.open_dataset(declared.constructor, **declared.arguments)
        libraries = settings.libraries
        if libraries is None:
            libraries = default_libraries(backend.facts.fingerprint)
        studio = cls(backend, dataset, settings, libraries)
        wrong = studio.check("zeros()").diagnostics  # the defaults, once for all
        errors = [one for one in wrong if one.severity == "error"]
        if errors:
            raise RecipeError(errors)
        return studio

    # -- asking -----------------------------------------------------------------------------------
    def question(self, picture: PictureChoice, query: str = "") -> Question:
        """The question about a picture; errors as
        :func:`~mfv_dsl.playground.pictures.question_about`."""
        return question_about(picture, query.strip(), self.dataset)

    def prompt(self, question: Question) -> str:
        """A question as the model reads it."""
        pieces: list[str] = self.backend.pieces(question.prompt)  # type: ignore[attr-defined]
        return "".join(pieces)

    def check(self, text: str) -> CheckedExpression:
        """An expression with all that is wrong with it; never raises."""
        with self._checking:
            return self.checker(text)

    def ask(self, request: Request, listener: Listener | None = None) -> Outcome:
        """Ask, without and with the vector; an expression that is wrong is left out, and what is
        wrong stands in ``checked``.  ``listener`` is told how far the vector's computation is.

        Raises MfvError: MFV5413 for what is out of bounds, MFV7124 for an object that cannot be
        asked about, and what computing the vector and running the model raise.
        """
        _check_bounds(request)
        question = self.question(request.picture, request.query)
        checked = self.check(request.expression)
        with self._running:
            self._go_on()
            begin = time.perf_counter()
            remarks = _remarks(checked, unknown_words(self.backend, question))
            vector = None if checked.expression is None else self._vector(checked, listener)
            layer = None
            if vector is not None:
                layer = request.layer
                layer = own_layer(self.backend, vector) if layer is None else layer
                require_model(self.backend, vector.vector)
            neighbours = dict(question.neighbours)
            effects = layer_effects(
                self.backend, self.backend.batch([question.prompt], question.dataset),
                None if vector is None else vector.vector, 0 if layer is None else layer,
                request.scale, top=_TOP, follow=[*neighbours.values()][:MOST_FOLLOWED],
                max_new_tokens=request.tokens,
            )  # fmt: skip
            first = self.backend.first_tokens([*neighbours.values()])
            tokens = dict(zip(neighbours, first, strict=True))
            seconds = time.perf_counter() - begin
        own = request.picture.relation if isinstance(request.picture, FromDataset) else ""
        return Outcome(
            request, question, self.prompt(question), neighbours, tokens,
            own if own in neighbours else "", checked, layer, effects, seconds, remarks,
        )  # fmt: skip

    def _vector(self, checked: CheckedExpression, listener: Listener | None) -> VectorInput:
        """The vector of an expression, computed once; the model is this request's."""
        assert checked.expression is not None
        key = checked.key
        if key not in self._computed:
            vector = checked.expression.vector(
                self.backend, self.dataset, _Stoppable(listener or Silence(), self._go_on),
                progress=False, **self.defaults,
            )  # fmt: skip
            self._computed[key] = VectorInput(vector, checked.layer)
            while len(self._computed) > _KEPT:
                self._computed.popitem(last=False)
        self._computed.move_to_end(key)
        return self._computed[key]

    def close(self, patience: float = 30.0) -> None:
        """Let the request that runs end, or be given up where a vector is computed; those that wait
        are not begun (:class:`Ended`)."""
        self._closed.set()
        if self._running.acquire(timeout=patience):
            self._running.release()

    def _go_on(self) -> None:
        if self._closed.is_set():
            raise Ended

    # -- libraries --------------------------------------------------------------------------------
    def cosines(self) -> tuple[list[str], list[list[float]]]:
        """The names of the vectors that are of the model, and the cosine of every two; NaN with one
        that is zero."""
        members = [one for one in self.vectors if one.fits(self.backend.facts.fingerprint)]
        members = members[:MOST_COMPARED]
        if not members:
            return [], []
        cosines = geometry.similarity([one.vector() for one in members], zero_is_nan=True)
        return [one.name for one in members], cosines.tolist()

    def call_for(self, vector: LibraryVector) -> str:
        """How an expression names a vector of a library."""
        from mfv_dsl.lang.unparse import unparse

        return vector.name if self.names.get(vector.name) == vector.load else unparse(vector.load)


class _Stoppable:
    """A listener that ends the work that it is told of where ``go_on`` raises."""

    def __init__(self, listener: Listener, go_on: Callable[[], None]) -> None:
        self.listener, self.go_on = listener, go_on

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        tell = self.listener.begin(label, total)

        def advance(units: int) -> None:
            self.go_on()
            tell(units)

        self.go_on()
        return advance


def _check_bounds(request: Request) -> None:
    wrong = ""
    if not abs(request.scale) <= MOST_SCALE:
        wrong = (
            f"the scale is {request.scale:g}, and has to be from -{MOST_SCALE:g} to {MOST_SCALE:g}"
        )
    elif not 0 <= request.tokens <= MOST_TOKENS:
        wrong = f"{request.tokens} tokens are asked for, and at most {MOST_TOKENS} are generated"
    if wrong:
        raise MfvError("MFV5413", wrong)


def _remarks(checked: CheckedExpression, unknown: Sequence[str]) -> tuple[str, ...]:
    remarks = []
    if checked.expression is None and not checked.is_empty:
        remarks.append("The vector is left out, as its expression is not right.")
    if unknown:
        remarks.append(f"The model's tokenizer does not know: {', '.join(unknown)}.")
    return tuple(remarks)
